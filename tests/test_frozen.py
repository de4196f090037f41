"""What is frozen runs ahead of the training step: the labels and features by hand, and Keras's own losses."""

import conftest
import pytest
from conftest import in_backend

TOOLS = """
import keras, numpy as np
from keras import layers
from kcomp import augment, data, models
from kcomp.fast.install import patched
from kcomp.training.frozen.cut import split_frozen
from kcomp.engine.initial_weights import draw_weights_on_host
from kcomp.targets import OneOf
from kcomp.training.frozen.forward import split_stage
TEN = OneOf(tuple("0123456789"))
from kcomp.training.mixed import Mixed

mixing = [augment.MixUp(0.4), augment.RandomErasing(0.5)]
table = data.sklearn_digits().rows(np.arange(64))
def batches(layers): return list(data.Batches(table, 16, batch_size=16, training=True, seed=1, layers=layers).epochs(0, 2))
def array(values): return keras.ops.convert_to_numpy(values)

def network(rate=0.0, precision="float32"):
    keras.config.set_dtype_policy(precision)
    with draw_weights_on_host(0):
        x = inputs = keras.Input((16, 16, 3))
        x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(layers.Rescaling(1 / 255)(x))
        x = layers.Activation("silu")(layers.BatchNormalization(name="norm")(x))
        x = layers.Dropout(rate, noise_shape=(None, 1, 1, 1))(x)
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, name="conv")(x)))
        made = keras.Model(inputs, layers.Dense(10, dtype="float32", name="head")(layers.GlobalAveragePooling2D()(x)))
        made.get_layer("norm").moving_variance.assign(np.full(8, 0.1))
    return made

def trained(made, trainable, layers, ahead):
    "Losses of some steps, and the weights after them; with all of it in the step, as Keras does it, or without."
    models.set_trainable(made, trainable)
    with patched(ahead):
        weights = np.linspace(0.5, 2, 10, dtype="float32")
        parts = split_stage(made, layers)
        model, prepare = (Mixed(parts.trained, parts.layers, weights, target=TEN), parts.prepare) if ahead else (Mixed(made, layers, weights, target=TEN), lambda batch: batch)
        model.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(from_logits=True),
                      metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")])
        losses = []
        class Kept(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs): losses.append([float(logs["loss"]), float(logs["accuracy"])])
        model.fit(((prepare(batch),) for batch in batches(layers)), epochs=1, steps_per_epoch=8, verbose=0, callbacks=[Kept()])
    return losses, np.concatenate([array(weight).ravel() for weight in made.weights])
"""


@pytest.mark.parametrize("backend", conftest.backends())
def test_steps_are_those_of_the_whole_network(backend):
    """Losses, accuracies and weights of Keras's own training, mixed and not, of a head and of a block with it."""
    found = in_backend(
        backend,
        TOOLS
        + """
off = {}
start = np.concatenate([array(weight).ravel() for weight in network().weights])
for trainable in ("head", "head|conv"):
    for name, used in (("plain", []), ("mixed", mixing)):
        (losses, weights), (others, wanted) = (trained(network(), trainable, used, ahead) for ahead in (True, False))
        off[f"{trainable} {name}"] = [float(np.abs(np.subtract(losses, others)).max()), float(np.abs(weights - wanted).max()), float(np.abs(wanted - start).max())]
frozen = split_frozen(network())[0]
give(off=off, whole=frozen is None)
""",
    )
    assert found["whole"]  # where everything learns
    for losses, weights, moved in found["off"].values():
        assert losses < 1e-5 and weights < 1e-5 and moved > 1e-3


@pytest.mark.parametrize("backend", conftest.backends())
def test_frozen_layers_are_in_inference_mode_and_follow_their_weights(backend):
    found = in_backend(
        backend,
        TOOLS
        + """
made = network(rate=0.5)
models.set_trainable(made, "head")
frozen, rest = split_frozen(made)
batch = batches(mixing)[0]
with patched(True):
    parts = split_stage(made, mixing)
    model, prepare = Mixed(parts.trained, parts.layers), parts.prepare
    one, two = prepare(batch), prepare(batch)
    mixed = mixing[0]({k: batch[k] for k in ("images", "labels")}, plan=batch["plans"][0])
    mixed = mixing[1](mixed, plan=batch["plans"][1])
wanted = array(frozen(mixed["images"], training=False))
with patched(True):
    made.get_layer("norm").gamma.assign(np.full(8, 3.0))
    after = array(prepare(batch)["images"])
later = array(frozen(mixed["images"], training=False))
def off(one, other): return float(np.abs(array(one) - array(other)).max())
give(again=off(one["images"], two["images"]), features=off(one["images"], wanted), mixed=off(one["mixed"], mixed["labels"]),
     labels=off(one["labels"], batch["labels"]), after=off(after, later), moved=off(after, wanted), keys=sorted(one),
     plain=sorted(split_stage(made, []).prepare(batch)))
""",
    )
    assert found["again"] == found["labels"] == found["mixed"] == 0 and found["keys"] == ["images", "labels", "mixed"]
    assert (
        found["features"] < 1e-5
        and found["after"] < 1e-5 < 0.01 < found["moved"]
        and found["plain"] == ["images", "labels"]
    )


@pytest.mark.parametrize("backend", conftest.backends())
def test_mixed_precision_trains_what_is_unfrozen(backend):
    """The frozen layers' features come in float32, rounded as bfloat16 rounds; later stages train from other weights."""
    found = in_backend(
        backend,
        TOOLS
        + """
made = network(precision="mixed_bfloat16")
losses = [trained(made, trainable, mixing, True)[0][-1][0] for trainable in ("head", "head|conv")]
other = network(precision="mixed_bfloat16")
plain = [trained(other, trainable, mixing, False)[0][-1][0] for trainable in ("head", "head|conv")]
give(losses=losses, plain=plain, off=float(np.abs(array(made.get_layer("conv").kernel) - array(other.get_layer("conv").kernel)).max()),
     moved=float(np.abs(array(made.get_layer("conv").kernel) - array(network().get_layer("conv").kernel)).max()))
""",
    )
    assert found["losses"] == pytest.approx(found["plain"], rel=0.02) and found["off"] < 0.2 * found["moved"]


@pytest.mark.parametrize("backend", conftest.backends())
def test_a_layer_on_both_sides_and_one_with_a_state_train_whole(backend):
    """Keras on JAX takes the values of what it trains out of their variables; a state moves only in its step."""
    found = in_backend(
        backend,
        TOOLS
        + """
shared, noise = layers.Dense(8, name="shared"), layers.Dropout(0.1, seed=1)
x = inputs = keras.Input((16, 16, 3))
x = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.Rescaling(1 / 255)(x))
x = layers.Conv2D(8, 3, name="other")(noise(shared(x)))
x = noise(shared(layers.Dense(8, name="top")(x)))
made = keras.Model(inputs, layers.Dense(10, name="head")(layers.GlobalAveragePooling2D()(x)))
losses = trained(made, "top|head", mixing, True)[0]

class Noisy(augment.MixUp):
    "Another draw in each step."
    def build(self, shape=None): self.states = keras.random.SeedGenerator(1)
    def call(self, inputs, plan=None):
        return inputs | {"images": inputs["images"] + keras.random.normal((16, 16, 16, 3), seed=self.states)}
noisy = Noisy(0.4)
noisy.build()
made = network()
models.set_trainable(made, "head")
with patched(True):
    whole = split_stage(made, [noisy]).trained is made and split_stage(made, []).trained is not made
give(losses=losses, whole=whole, twice=[trained(network(), "head", [noisy], True)[0][-1][0] for _ in range(2)])
""",
    )
    assert len(found["losses"]) == 8 and all(0 < loss < 10 for loss, _ in found["losses"]) and found["whole"]
    assert all(0 < loss < 100 for loss in found["twice"])


@pytest.mark.parametrize("backend", conftest.backends())
def test_statistics_are_estimated_as_they_are_trained(backend):
    """With noise off among the layers that are frozen below: as if there were none."""
    found = in_backend(
        backend,
        TOOLS
        + """
from kcomp.training.averages.batch_norm import estimate
used = data.Batches(table, 16, batch_size=16, training=True, seed=1, layers=mixing)
statistics = []
for rate in (0.0, 0.5):
    made = network(rate)
    norm = next(layer for layer in made.layers if isinstance(layer, layers.BatchNormalization) and layer.name != "norm")
    models.set_trainable(made, f"head|{norm.name}", train_batch_norm=True)
    with patched(True):
        statistics.append(np.concatenate(estimate(made, [norm], used, layers=mixing)))
give(off=float(np.abs(statistics[0] - statistics[1]).max()), moved=float(np.abs(statistics[0]).max()))
""",
    )
    assert found["off"] < 1e-6 < 0.01 < found["moved"]
