"""Optimizers against the formulas of the papers in float64, and in runs that are killed and continued, on both backends."""

import random

import conftest
import numpy as np
import pandas as pd
import pytest
import test_plateau

FORMULAS = """
import keras
import numpy as np
from kcomp import optimizers
def path(optimizer, steps):
    "Weights of sum(curvature * w ** 2) / 2 after each step of a compiled training, from w = (2, -1, 0.5)."
    layer = keras.layers.Dense(1, use_bias=False, name="layer")
    x = keras.Input((3,))
    model = keras.Model(x, layer(x))
    layer.kernel.assign(np.array([[2.0], [-1.0], [0.5]]))
    curvature = keras.ops.convert_to_tensor([[1.0], [4.0], [0.3]])
    def loss(labels, outputs): return keras.ops.sum(curvature * layer.kernel.value ** 2) / 2 + 0 * keras.ops.sum(outputs)
    model.compile(optimizer, loss=loss)
    weights = []
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(layer.kernel.numpy()[:, 0].tolist()))
    model.fit(np.ones((1, 3)), np.ones((1, 1)), epochs=steps, verbose=0, callbacks=[after])
    return weights
lookahead = optimizers.Lookahead(keras.optimizers.SGD(0.2, momentum=0.9), period=3, share=0.4)
again = optimizers.Lookahead.from_config(lookahead.get_config())
accumulated = optimizers.Lookahead(keras.optimizers.SGD(0.2, gradient_accumulation_steps=2), period=3)
messages = []
multi = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1)))
for arguments in ((keras.optimizers.SGD(), 0), (keras.optimizers.SGD(), 5, 1.5), (multi,)):
    try: optimizers.Lookahead(*arguments)
    except ValueError as error: messages.append(str(error))
give(lookahead=path(lookahead, 14), again=path(again, 14), accumulated=path(accumulated, 14), messages=messages,
     free=path(optimizers.ScheduleFreeAdamW(0.1, beta_1=0.9, beta_2=0.99, epsilon=1e-8, warmup_steps=4), 14))
"""
CURVATURE, START = np.array([1.0, 4.0, 0.3]), np.array([2.0, -1.0, 0.5])


def lookahead(steps, rate, momentum, period, share, accumulate=1):
    """Algorithm 1 of Zhang et al. 2019 with SGD inside."""
    fast, slow, velocity, path = START.copy(), START.copy(), np.zeros(3), []
    for step in range(1, steps + 1):
        if step % accumulate == 0:
            velocity = momentum * velocity - rate * CURVATURE * fast
            fast = fast + velocity
        if step % (period * accumulate) == 0:
            slow = slow + share * (fast - slow)
            fast = slow.copy()
        path.append(fast)
    return np.array(path)


def schedule_free(steps, rate, beta1, beta2, warmup):
    """Defazio et al. 2024, algorithm 1 without weight decay; the average has equal weights."""
    x, z, v, path = START.copy(), START.copy(), np.zeros(3), []
    for t in range(1, steps + 1):
        y = (1 - beta1) * z + beta1 * x
        gradient = CURVATURE * y
        v = beta2 * v + (1 - beta2) * gradient**2
        z = z - rate * min(t / warmup, 1) * gradient / (np.sqrt(v / (1 - beta2**t)) + 1e-8)
        x = (1 - 1 / t) * x + z / t
        path.append((1 - beta1) * z + beta1 * x)  # the network has y
    return np.array(path)


@pytest.mark.parametrize("backend", conftest.backends())
def test_weights_are_those_of_the_formulas(backend):
    measured = conftest.in_backend(backend, FORMULAS)
    expected = lookahead(14, 0.2, 0.9, 3, 0.4)
    np.testing.assert_allclose(measured["lookahead"], expected, rtol=1e-5, atol=1e-6)
    assert measured["again"] == measured["lookahead"]
    np.testing.assert_allclose(measured["accumulated"], lookahead(14, 0.2, 0, 3, 0.5, 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(measured["free"], schedule_free(14, 0.1, 0.9, 0.99, 4), rtol=1e-4, atol=1e-5)
    words = ["at least 1 update", "received 5 and 1.5", "received MultiOptimizer"]
    assert all(word in message for word, message in zip(words, measured["messages"], strict=True))


OPTIMIZERS = {
    "AdamW": "keras.optimizers.AdamW(schedules.OneCycle(2e-2, config.epochs), weight_decay=0.1)",
    "SGD": "keras.optimizers.SGD(schedules.Cyclic(0.05, 1.0, rise=1), momentum=0.9, nesterov=True, weight_decay=1e-3)",
    "Lion": "keras.optimizers.Lion(schedules.Exponential(1e-2, config.epochs, 1e-3), weight_decay=0.1)",
    "Muon": "keras.optimizers.Muon(schedules.Polynomial(1e-2, config.epochs), exclude_layers=['head'], weight_decay=0.1)",
    "Adafactor": "keras.optimizers.Adafactor(schedules.Polynomial(0.3, config.epochs), weight_decay=1e-3)",
    "ScheduleFreeAdamW": "optimizers.ScheduleFreeAdamW(1e-2, warmup_steps=4)",
    "Lookahead": "optimizers.Lookahead(keras.optimizers.AdamW(schedules.Plateau(5e-2, 1, 0.5), weight_decay=0.1), 5)",
}


def recipe_with(optimizer):
    source = test_plateau.RECIPE.replace("models, schedules", "models, optimizers, schedules")
    source = source.replace("optimizer = keras.optimizers.SGD(rate, momentum=0.9)", f"optimizer = {optimizer}")
    return source.replace("epochs: int = 9", "epochs: int = 3").replace("rows: int = 80", "rows: int = 300")


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("backend", conftest.backends())
def test_a_killed_run_continues_with_each_optimizer(backend, name, tmp_path):
    (tmp_path / "small.py").write_text(recipe_with(OPTIMIZERS[name]))
    train = ("train", "small.py", "-o")
    conftest.kcomp(*train, "whole", backend=backend, cwd=tmp_path)
    conftest.killed_after(random.randint(1, 3), tmp_path / "run", (*train, "run"), backend=backend, cwd=tmp_path)
    conftest.kcomp(*train, "run", backend=backend, cwd=tmp_path)
    ours, theirs = (pd.read_csv(tmp_path / folder / "log.csv") for folder in ("run", "whole"))
    exact = ["epoch", "stage", "rate", "loss", "log_loss"]
    pd.testing.assert_frame_equal(ours[exact], theirs[exact])
    assert (tmp_path / "run" / "oof.csv").read_bytes() == (tmp_path / "whole" / "oof.csv").read_bytes()
    assert theirs.log_loss.iloc[-1] < theirs.log_loss[0] - 0.003  # chance is 2.303; the stages after the head learn
