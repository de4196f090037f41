"""Rates against the formulas of the papers in float64, on both backends, at every step and inside a training."""

import json
import math

import conftest
import numpy as np
import pytest

STEPS, PER_EPOCH = 48, 5  # of the tests below; a training takes the first 6 steps

# Python expressions of schedules, and functions of the step t that return their rates in float64.
SCHEDULES = {
    "WarmupCosine(1.0, 7, warmup=2, final=0.1)": lambda t: (
        (t + 1) / 11 if t < 10 else 0.1 + 0.45 * (1 + math.cos(math.pi * min((t - 10) / 25, 1)))
    ),
    "CosineRestarts(0.4, 6, 4, final=0.1, warmup=0.6)": lambda t: (
        min((t + 1) / 4, 1) * (0.1 + 0.15 * (1 + math.cos(math.pi * (t % 8) / 8)))
    ),
    "Constant(0.5, warmup=0.8)": lambda t: 0.5 * min((t + 1) / 5, 1),
    "Step(0.8, 1.5, 0.5)": lambda t: 0.8 * 0.5 ** (t // 7),
    "Exponential(0.5, 6, 0.002)": lambda t: 0.5 * (0.002 / 0.5) ** min(t / 30, 1),
    "Exponential(1e-5, 9, 10.0)": lambda t: 10.0 ** (-5 + 6 * min(t / 45, 1)),
    "Polynomial(0.4, 6, 0.9, 0.1)": lambda t: 0.1 + 0.3 * (1 - min(t / 30, 1)) ** 0.9,
    "Polynomial(0.4, 6, 3)": lambda t: 0.4 * (1 - min(t / 30, 1)) ** 3,
    "OneCycle(1.0, 8, cycle=6, low=0.2, final=0.001)": lambda t: np.interp(t, [0, 15, 30, 40], [0.2, 1.0, 0.2, 0.001]),
    "OneCycle(0.5, 8)": lambda t: np.interp(t, [0, 18, 36, 40], [0.05, 0.5, 0.05, 0.0005]),
    "Cyclic(0.1, 0.9, 1.6)": lambda t: triangle(t, 8, 0.1, 0.9),
    "Cyclic(0.1, 0.9, 1.6, per_cycle=0.5)": lambda t: triangle(t, 8, 0.1, 0.9, 0.5 ** (t // 16)),
    "Cyclic(0.0, 0.9, 1.6, per_epoch=0.7)": lambda t: triangle(t, 8, 0.0, 0.9, 0.7 ** (t / 5)),
    "Tail(Polynomial(0.4, 6), 2, 0.3, low=0.1, every=0.8)": lambda t: (
        0.4 * (1 - t / 30) if t < 10 else 0.3 - 0.2 * ((t - 10) % 4 + 1) / 4
    ),
}

RATES = """
import keras
import numpy as np
from kcomp import schedules
from kcomp.training import rates
names, count, per_epoch = json.loads(sys.argv[1])
kinds = {name: getattr(schedules, name) for name in schedules.__all__}
def rates_of(schedule): return [float(schedule(np.int32(step))) for step in range(count)]
values, again, layers, optimizers = {}, {}, [], {}
for number, name in enumerate(names):
    schedule = eval(name, dict(kinds))
    layers.append(keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name=f"layer{number}"))
    optimizers[f"layer{number}/.*"] = keras.optimizers.SGD(schedule)
x = keras.Input((1,))
model = keras.Model(x, keras.layers.Add()([layer(x) for layer in layers]))
optimizer = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(1.0), optimizers))
rates.bind(optimizer, per_epoch)
for name, part in zip(names, optimizers.values()):
    values[name] = rates_of(part._learning_rate)
    stored = json.loads(json.dumps(keras.optimizers.schedules.serialize(part._learning_rate)))
    again[name] = rates_of(keras.optimizers.schedules.deserialize(stored, custom_objects=kinds))
model.compile(optimizer, loss=lambda labels, outputs: keras.ops.mean(outputs))  # the gradient of each weight is 1
weights = []
after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append([float(w.numpy()[0, 0]) for w in model.weights]))
model.fit(np.ones((1, 1)), np.ones((1, 1)), epochs=6, verbose=0, callbacks=[after])
trained = -np.diff(np.array([[0.0] * len(names), *weights]), axis=0)
give(values=values, again=again, trained=dict(zip(names, trained.T.tolist())))
"""


def triangle(t, rise, low, peak, factor=1.0):
    """Smith 2017, section 3.1: his code with a factor of the height."""
    cycle = math.floor(1 + t / (2 * rise))
    x = abs(t / rise - 2 * cycle + 1)
    return low + (peak - low) * max(0, 1 - x) * factor


@pytest.mark.parametrize("backend", conftest.backends())
def test_rates_are_those_of_the_formulas(backend):
    measured = conftest.in_backend(backend, RATES, json.dumps([list(SCHEDULES), STEPS, PER_EPOCH]))
    for name, formula in SCHEDULES.items():
        expected = np.array([formula(step) for step in range(STEPS)])
        np.testing.assert_allclose(measured["values"][name], expected, rtol=2e-6, atol=1e-7, err_msg=name)
        assert measured["again"][name] == measured["values"][name], name
        np.testing.assert_allclose(measured["trained"][name], expected[:6], rtol=1e-4, atol=3e-6, err_msg=name)


PEER = """
import torch
from kcomp import schedules
parameter = torch.nn.Parameter(torch.zeros(()))
optimizer = torch.optim.SGD([parameter], 0.1)
peer = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, 1.0, total_steps=41, pct_start=16 / 41, anneal_strategy="linear", div_factor=5, final_div_factor=200,
    three_phase=True, cycle_momentum=False)
theirs = []
for step in range(41):
    theirs.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    if step < 40:
        peer.step()
rate = schedules.OneCycle(1.0, 8, cycle=6, low=0.2, final=0.001, steps_per_epoch=5)
give(ours=[float(rate(step)) for step in range(41)], theirs=theirs)
"""


@pytest.mark.parametrize("backend", conftest.backends()[1:])
def test_one_cycle_is_that_of_pytorch(backend):
    rates = conftest.in_backend(backend, PEER)
    np.testing.assert_allclose(rates["ours"], rates["theirs"], rtol=1e-5)


ERRORS = """
import keras
from kcomp import schedules
from kcomp.training.rates import rate_of
messages = []
for wrong in sys.argv[1:]:
    try: eval(wrong, vars(schedules))
    except ValueError as error: messages.append(str(error))
    else: messages.append("accepted")
both = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), {"a": keras.optimizers.SGD(0.3)}))
give(messages=messages, now=rate_of(keras.optimizers.AdamW(schedules.Step(0.8, 1.5, 0.5, steps_per_epoch=2))), both=rate_of(both))
"""


@pytest.mark.parametrize("backend", conftest.backends()[:1])  # plain Python, the same on each backend
def test_wrong_arguments_are_rejected(backend):
    wrong = {
        "WarmupCosine(1.0, 4, warmup=4)": "shorter than the 4 epochs",
        "WarmupCosine(-1, 4)": "above 0",
        "Step(1, 0)": "every must be above 0",
        "OneCycle(1.0, 4, cycle=5)": "at most the 4 epochs",
        "OneCycle(1.0, 4, low=2.0)": "at most the peak 1.0",
        "Cyclic(0.2, 0.1, 1)": "low below peak",
        "Cyclic(0.1, 0.2, 1, per_cycle=2)": "at most 1; received 2",
        "Exponential(0.1, 2, 0.0)": "final rate must be above 0",
        "Polynomial(0.1, 2, power=0)": "power must be above 0",
        "Polynomial(0.1, 2)(0)": "Polynomial counts epochs; outside of a recipe, give it steps_per_epoch",
    }
    measured = conftest.in_backend(backend, ERRORS, *wrong)
    for message, expected in zip(measured["messages"], wrong.values(), strict=True):
        assert expected in message
    assert measured["now"] == pytest.approx(0.8) and measured["both"] == pytest.approx(0.3)
