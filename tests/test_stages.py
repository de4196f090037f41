"""What a stage does to the arithmetic, with numbers worked out by hand, on both backends."""

import conftest
import numpy as np
import pytest

SMALL = """
import numpy as np, keras
from keras import layers
from kcomp import augment
from kcomp.recipe import Stage
from kcomp.training.class_weights import class_weights
from kcomp.training.optimizer import exclude_from_decay
from kcomp.training.mixed import Mixed
from kcomp.data import Table, plans, sklearn_digits
from kcomp.targets import OneOf
inputs = keras.Input((2, 2, 1), name="images")
x = layers.Flatten()(layers.BatchNormalization(name="norm")(inputs))
network = keras.Model(inputs, layers.Dense(2, kernel_initializer="zeros", name="head")(x))
images = np.arange(16, dtype="float32").reshape(4, 2, 2, 1) / 16
labels = np.array([[1, 0], [0, 1], [0.25, 0.75], [0, 1]], "float32")
trainers = []
def numpy(value): return keras.ops.convert_to_numpy(value).astype("float64")
def step(optimizer, weights=None, epochs=1, batch=4, trainer_layers=(), extra=None):
    trainer = Mixed(network, trainer_layers, weights, target=OneOf(("a", "b")))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    trainer.compile(optimizer, loss, metrics=[keras.metrics.CategoricalAccuracy(name="train_accuracy")])
    trainers.append(trainer)
    parts = [({"images": images[s:s+batch], "labels": labels[s:s+batch], **(extra or {})},) for s in range(0, 4, batch)]
    return trainer.fit((part for _ in range(epochs) for part in parts), steps_per_epoch=len(parts), epochs=epochs, verbose=0, shuffle=False)
def stage(optimizer, **options):
    return Stage("s", 1, "head", optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), **options)
"""


@pytest.mark.parametrize("backend", conftest.backends())
def test_class_weights_multiply_the_loss_of_soft_labels(backend):
    found = conftest.in_backend(
        backend,
        SMALL
        + """
history = step(keras.optimizers.SGD(0.0), np.array([3.0, 0.5], "float32"))
table = sklearn_digits().rows(np.arange(300))
by_name = class_weights(stage(None, class_weights={str(d): d + 1.0 for d in range(10)}), table)
try: class_weights(stage(None, class_weights={"0": 1.0}), table)
except ValueError as error: message = str(error)
give(loss=history.history["loss"][0], balanced=class_weights(stage(None, class_weights="balanced"), table).tolist(),
     truth=table.labels.argmax(1).tolist(), by_name=by_name.tolist(), none=class_weights(stage(None), table), message=message)
""",
    )
    # logits are 0, so each row costs ln 2, times 3, 0.5, (0.25 * 3 + 0.75 * 0.5) and 0.5
    assert found["loss"] == pytest.approx(np.log(2) * (3 + 0.5 + 1.125 + 0.5) / 4, rel=1e-6)
    from sklearn.utils.class_weight import compute_class_weight

    theirs = compute_class_weight("balanced", classes=np.arange(10), y=np.array(found["truth"]))
    np.testing.assert_allclose(found["balanced"], theirs, rtol=1e-6)
    assert found["by_name"] == [float(d + 1) for d in range(10)] and found["none"] is None
    assert "missing ['1'" in found["message"]


@pytest.mark.parametrize("backend", conftest.backends())
def test_the_first_step_is_the_first_call_of_the_network(backend):
    """Keras would call it once more to learn its shapes: seconds for a real network, at every stage of every fold."""
    found = conftest.in_backend(
        backend,
        SMALL
        + """
class Counted(Mixed):
    calls = 0
    def call(self, inputs, training=False):
        self.calls += 1
        return super().call(inputs, training)
Mixed = Counted
mixing = [augment.MixUp(0.5), augment.CutMix(1.0)]
plans = {"plans": tuple(layer.draw(np.random.default_rng(number), (2, 2, 2)) for number, layer in enumerate(mixing))}
history = step(keras.optimizers.SGD(0.1), epochs=3, batch=2, trainer_layers=mixing, extra=plans).history
give(calls=trainers[0].calls, logs=sorted(history), jax=keras.backend.backend() == "jax")
""",
    )
    assert found["calls"] == (1 if found["jax"] else 6)  # traced once, or run in each of 3 x 2 steps
    assert found["logs"] == ["loss", "train_accuracy"]


@pytest.mark.parametrize("backend", conftest.backends())
def test_weight_decay_leaves_out_biases_and_normalisation(backend):
    """With no gradient (rate times decay alone acts), AdamW multiplies a weight by 1 - rate * decay."""
    found = conftest.in_backend(
        backend,
        SMALL
        + """
result = {}
for name, options in (("without", {}), ("on all", {"weight_decay_on_all": True})):
    head = network.get_layer("head")
    head.set_weights([np.full((4, 2), 2.0), np.full(2, 2.0)])
    optimizers = keras.optimizers.AdamW(0.1, weight_decay=0.5), keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(optimizers[0], {"head/.*": optimizers[1]}))
    exclude_from_decay(stage(optimizer, **options), network)
    variables = network.trainable_variables
    optimizer.apply([keras.ops.zeros(v.shape) for v in variables], variables)
    result[name] = {v.path: float(numpy(v.value).ravel()[0]) for v in variables}
give(**result)
""",
    )
    decayed, kept = 2 * (1 - 0.1 * 0.5), {"head/kernel": 2.0, "head/bias": 2.0, "norm/gamma": 1.0, "norm/beta": 0.0}
    assert found["without"] == pytest.approx(kept | {"head/kernel": decayed})
    assert found["on all"]["head/bias"] == pytest.approx(found["on all"]["head/kernel"])


@pytest.mark.parametrize("backend", conftest.backends())
def test_accumulated_gradients_equal_the_large_batch_and_frozen_statistics_stay(backend):
    found = conftest.in_backend(
        backend,
        SMALL
        + """
from kcomp.models import set_trainable
set_trainable(network, "head")
start = [numpy(w.value).tolist() for w in network.get_layer("norm").weights]
result = {}
for name, batch, accumulate in (("large", 4, None), ("small", 2, 2)):
    network.get_layer("head").set_weights([np.zeros((4, 2)), np.zeros(2)])
    step(keras.optimizers.SGD(0.5, gradient_accumulation_steps=accumulate), epochs=3, batch=batch)
    result[name] = numpy(network.get_layer("head").kernel.value).tolist()
give(**result, frozen=start == [numpy(w.value).tolist() for w in network.get_layer("norm").weights])
""",
    )
    np.testing.assert_allclose(found["small"], found["large"], rtol=1e-5)
    assert found["frozen"] and np.abs(found["large"]).max() > 0.01


@pytest.mark.parametrize("backend", conftest.backends())
def test_mixing_in_the_step_gives_the_loss_of_the_mixed_batch(backend):
    """One row becomes its partner wholly, in pixels and label; under a mixed policy plans keep their precision."""
    found = conftest.in_backend(
        backend,
        SMALL
        + """
plan = {"plans": (plans.MixPlan(np.array([1, 1, 2, 3], "int32"), np.array([0, 1, 1, 1], "float32"),
                                  np.zeros((4, 4), "int32"), np.array([0.71257, 1, 1, 1], "float32")),)}
network.get_layer("head").set_weights([np.zeros((4, 2)), np.array([0.0, 1.0])])
losses = []
for policy in ("float32", "mixed_bfloat16"):
    keras.config.set_dtype_policy(policy)
    losses.append(step(keras.optimizers.SGD(0.0), trainer_layers=[augment.MixUp(1.0)], extra=plan).history["loss"][0])
give(losses=losses)
""",
    )
    first, second = np.log(1 + np.e), np.log(1 + np.e) - 1  # what a row of the first, of the second class costs
    mixed = 0.71257 * first + (1 - 0.71257) * second
    expected = (mixed + second + (0.25 * first + 0.75 * second) + second) / 4
    assert found["losses"] == pytest.approx([expected, expected], rel=1e-6)


def test_patience():
    from kcomp.system.backends import choose_backend, prepare_backend

    prepare_backend(choose_backend(None))
    from kcomp.metrics import log_loss
    from kcomp.recipe import Stage
    from kcomp.training.progress import TrainingProgress
    from kcomp.training.record import out_of_patience

    stage = Stage("s", 9, "head", None, None, patience=2)
    for losses, over in (
        ([3, 2, 1], False),
        ([3, 2, 2, 2], True),
        ([1, 2, 0.5, 2], False),
        ([1, 2, 3], True),
        ([1, 2], False),
    ):
        log = [{"log_loss": -1.0}] + [{"log_loss": value} for value in losses]  # the first is an earlier stage's
        progress = TrainingProgress(stage_epochs=len(losses), log=log)
        assert out_of_patience(progress, stage, log_loss) is over, losses


@pytest.mark.parametrize("backend", conftest.backends())
def test_precision_says_the_same_on_both_backends(backend):
    """float32 leaves no backend a default of its own; PyTorch's would round convolutions on a GPU."""
    found = conftest.in_backend(
        backend,
        """
import keras
from kcomp.engine.precision import precision_in_use, use_precision
used = {}
for name in ("float32", "tensorfloat32", "mixed_bfloat16"):
    use_precision(name)
    used[name] = [keras.config.dtype_policy().name, precision_in_use()]
flags = None
if keras.backend.backend() == "torch":
    import torch
    use_precision("float32")
    flags = [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
give(used=used, flags=flags)
""",
    )
    assert [policy for policy, _ in found["used"].values()] == ["float32", "float32", "mixed_bfloat16"]
    assert found["flags"] in (None, [False, False])
    if backend == "torch":
        texts = ["float32, TF32 off", "float32, TF32 on", "mixed_bfloat16, TF32 on"]
        assert [text for _, text in found["used"].values()] == texts
