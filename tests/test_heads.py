"""Heads against formulas in float64, and the losses that they are trained with, on both backends."""

import conftest
import numpy as np
import pytest

CODE = """
import keras
import numpy as np
from kcomp import losses, models, targets
from kcomp.training.mixed import Mixed

draws = np.random.default_rng(0)
images = draws.normal(size=(6, 2, 2, 5)).astype("float32")
labels = np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]]
target = targets.OneOf(("a", "b", "c"))

def backbone():
    x = keras.Input((2, 2, 5))
    return keras.Model(x, keras.layers.Activation("linear", name="same")(x))

def train(network, loss, rate):
    model = Mixed(network, ())
    model.compile(keras.optimizers.SGD(rate), loss, metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")])
    batches = (({"images": images, "labels": labels},) for _ in range(20))
    seed = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: keras.utils.set_random_seed(3))
    return model.fit(batches, steps_per_epoch=1, epochs=20, verbose=0, shuffle=False, callbacks=[seed]).history

def message(**options):
    try: models.classifier(backbone(), options.pop("target", target), **options)
    except ValueError as error: return str(error)

arcface = models.classifier(backbone(), target, dropout=0.0, head=models.ArcFaceHead(scale=8, centres=2))
layer = arcface.get_layer("head")
layer.kernel.assign(draws.normal(size=(5, 2, 3)))
kernel, logits = layer.kernel.numpy().tolist(), arcface.predict_on_batch(images).tolist()
layer.set_weights([array[..., [2, 0, 1]] for array in layer.get_weights()])  # classes in another order, as take_weights does
reordered = arcface.predict_on_batch(images).tolist()
layer.kernel.assign(kernel)
loss = losses.ArcFace(0.3, target=target)
loss.bind_to_network(arcface)
history = train(arcface, loss, 0.05)["loss"]

network = models.classifier(backbone(), target, dropout=0.5, dropout_samples=4)
network.get_layer("head").kernel.assign(draws.normal(size=(5, 3)))
state = network.get_layer("head_dropout").seed_generator.state
before = keras.ops.copy(state.value)
keras.utils.set_random_seed(3)  # dropout draws from the global generator of PyTorch, and from its state on JAX
samples = keras.ops.convert_to_numpy(network(images, training=True)).tolist()
state.assign(before)
crossentropy = keras.losses.CategoricalCrossentropy(from_logits=True)
sample_history = train(network, crossentropy, 0.0)
plain = models.classifier(backbone(), target)
plain.get_layer("head").set_weights(network.get_layer("head").get_weights())
again = keras.layers.deserialize(keras.layers.serialize(network.get_layer("head_dropout")))
give(images=images.tolist(), labels=labels.tolist(), kernel=kernel, logits=logits, reordered=reordered, history=history, samples=samples,
     sample_loss=sample_history["loss"][0], accuracy=sample_history["accuracy"][0], rates=[again.rate, again.samples],
     inference=network.predict_on_batch(images).tolist(), plain=plain.predict_on_batch(images).tolist(),
     messages=[message(dropout_samples=0), message(dropout_samples=3, dropout=0.0), message(head="cosine"),
               message(head="arcface", target=targets.Numbers(("x",)))])
"""

DROP_PATH = """
import keras
from kcomp import models
from kcomp.engine.initial_weights import draw_weights_on_host
with draw_weights_on_host(0):
    network = models.application(keras.applications.EfficientNetB0, 32, weights=None, drop_path=0.4)
    rates = [layer.rate for layer in network.layers if "_drop" in layer.name]
    messages = []
    for function, rate in ((keras.applications.MobileNet, 0.1), (keras.applications.MobileNet, 1.0)):
        try: models.application(function, 32, weights=None, drop_path=rate)
        except ValueError as error: messages.append(str(error))
give(rates=rates, messages=messages)
"""


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("backend", conftest.backends())
def test_heads_compute_their_formulas(backend):
    measured = {name: np.array(value) for name, value in conftest.in_backend(backend, CODE).items()}
    features, labels = measured["images"].mean((1, 2)), measured["labels"]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    directions = measured["kernel"] / np.linalg.norm(measured["kernel"], axis=0)
    expected = 8 * np.einsum("nf,fco->nco", unit, directions).max(1)
    np.testing.assert_allclose(measured["logits"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(measured["reordered"], expected[:, [2, 0, 1]], rtol=1e-5, atol=1e-5)
    # the first loss is that of the angles with a margin; it falls
    angles = np.arccos(expected / 8)
    with_margin = np.where(labels == 1, 8 * np.cos(angles + 0.3), expected)
    assert (angles + 0.3 < np.pi).all()
    assert measured["history"][0] == pytest.approx(-(log_softmax(with_margin) * labels).sum() / 6, rel=1e-4)
    assert measured["history"][-1] < 0.9 * measured["history"][0]
    # four masks for each image: the loss is the mean over all, the accuracy that of one mask
    samples = measured["samples"].reshape(4, 6, 3)
    assert (np.abs(samples[0] - samples[1:]).max((1, 2)) > 0.01).all()
    by_sample = -(log_softmax(samples) * labels).sum(-1)
    assert measured["sample_loss"] == pytest.approx(by_sample.mean(), rel=1e-5)
    assert measured["accuracy"] == pytest.approx((samples[0].argmax(-1) == labels.argmax(-1)).mean())
    np.testing.assert_array_equal(measured["inference"], measured["plain"])
    assert measured["rates"].tolist() == [0.5, 4]
    words = ["received 0 and 0.2", "received 3 and 0.0", "received 'cosine'", "needs a target OneOf"]
    assert all(word in message for word, message in zip(words, measured["messages"].tolist(), strict=True))


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_the_rate_of_stochastic_depth_rises_to_the_last_block(backend):
    measured = conftest.in_backend(backend, DROP_PATH)
    # EfficientNet-B0 has 16 blocks, of which 9 add their input: the last has the rate 0.4 * 14 / 16
    with_input = [2, 4, 6, 7, 9, 10, 12, 13, 14]
    np.testing.assert_allclose(measured["rates"], [0.4 * block / 16 for block in with_input], rtol=1e-6)
    assert "has no stochastic depth" in measured["messages"][0] and "received 1.0" in measured["messages"][1]
