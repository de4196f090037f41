"""Heat maps: Grad-CAM and attention rollout against maps worked out by hand, on both backends."""

import numpy as np
import pytest
from conftest import backends, in_backend, one_slow

CONVOLUTION = """
import keras, numpy as np
from kcomp import explain
inputs = keras.Input((4, 4, 1))
x = keras.layers.Conv2D(2, 1, activation="relu", name="maps")(inputs)
x = keras.layers.GlobalAveragePooling2D()(x)
network = keras.Model(inputs, keras.layers.Dense(2, name="head")(x))
network.set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, 8.0]), np.array([[2.0, 1.0], [-1.0, 3.0]]), np.zeros(2)])
image = np.arange(16.0).reshape(4, 4, 1)
"""


@pytest.mark.parametrize("backend", backends())
def test_grad_cam_of_a_pooled_convolution_is_the_class_activation_map(backend):
    """The gradient of a logit by map k is w[k] / 16 everywhere, so the map is relu(sum of w[k] A[k]) up to a factor.

    The feature maps are A[0] = p and A[1] = relu(8 - p) for pixel p.
    """
    maps = in_backend(
        backend,
        CONVOLUTION
        + """
both = explain.heat_maps(network, np.stack([image, image]), [0, 1])
signed = explain.heat_map(network, image, 0, signed=True)
give(both=both.tolist(), signed=signed.tolist(), dtype=str(both.dtype), shape=both.shape)
""",
    )
    p = np.arange(16.0).reshape(4, 4)
    first = 2 * p - np.maximum(8 - p, 0)  # -8 to 30
    second = p + 3 * np.maximum(8 - p, 0)  # 24 to 8, then to 15
    np.testing.assert_allclose(maps["both"], [np.maximum(first, 0) / 30, second / 24], atol=1e-6)
    np.testing.assert_allclose(maps["signed"], first / 30, atol=1e-6)
    assert (maps["dtype"], maps["shape"]) == ("float32", [2, 4, 4])


@pytest.mark.parametrize("backend", backends())
def test_hires_cam_and_grad_cam_by_hand(backend):
    """The feature map is the image p, and the logit is the sum of w p. HiResCAM is w p, and Grad-CAM is mean(w) p."""
    maps = in_backend(
        backend,
        """
import keras, numpy as np
from kcomp import explain
inputs = keras.Input((2, 2, 1))
x = keras.layers.Flatten()(keras.layers.Conv2D(1, 1, use_bias=False)(inputs))
network = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(x))
network.set_weights([np.ones((1, 1, 1, 1)), np.array([[1.0], [-1.0], [2.0], [0.0]])])
image = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
give(**{
    "hires-cam": explain.heat_map(network, image, 0).tolist(),
    "grad-cam": explain.heat_map(network, image, 0, method="grad-cam").tolist(),
    "signed": explain.heat_map(network, image, 0, signed=True).tolist(),
})
""",
    )
    np.testing.assert_allclose(maps["hires-cam"], [[1 / 6, 0], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(maps["grad-cam"], [[1 / 4, 1 / 2], [3 / 4, 1]], atol=1e-6)
    np.testing.assert_allclose(maps["signed"], [[1 / 6, -1 / 3], [1, 0]], atol=1e-6)


NETWORKS = """
import cv2, keras, numpy as np
from pathlib import Path
from kcomp import explain, models
from kcomp.explain.heat import maps as heat
from kcomp.fast.install import patched
from keras import layers, ops

class Block(layers.Layer):  # attention inside of a custom layer
    def __init__(self):
        super().__init__()
        self.norm, self.attention, self.dense = layers.LayerNormalization(), layers.MultiHeadAttention(2, 8), layers.Dense(16)
    def call(self, x):
        y = self.norm(x)
        x = x + self.attention(y, y)
        return x + self.dense(ops.gelu(x))

class ClassToken(layers.Layer):
    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="random_normal")
    def call(self, x):
        return ops.concatenate([ops.repeat(self.token, ops.shape(x)[0], 0), x], 1)

def conv():  # a backbone as an inner model
    backbone = models.application(keras.applications.MobileNetV2, 64, weights=None, alpha=0.35)
    inputs = keras.Input((64, 64, 3))
    x = layers.GlobalAveragePooling2D()(keras.Model(backbone.input, backbone.output, name="inner")(inputs))
    return keras.Model(inputs, layers.Dense(3)(x))

def vit(token=True):
    inputs = keras.Input((48, 32, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Reshape((6, 16))(layers.Conv2D(16, 16, 16, name="patches")(x))  # 3 x 2 patches
    x = ClassToken()(x) if token else x
    for _ in range(3):
        x = Block()(x)
    x = layers.LayerNormalization()(x)
    return keras.Model(inputs, layers.Dense(3)(x[:, 0] if token else layers.GlobalAveragePooling1D()(x)))

def grouped():
    inputs = keras.Input((4, 4, 3))
    x = layers.Reshape((16, 3))(inputs)
    x = x + layers.GroupQueryAttention(4, 4, 2)(x, x)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))

def lite():
    return models.classifier(models.efficientnet_lite0(96, weights=None), 3)

def built(make):
    # random weights, and batch normalisation by the statistics of the images
    network, draw = make(), np.random.default_rng(0)
    for variable in network.trainable_variables:
        shape = variable.shape
        fan_in = np.prod(shape[:2]) if len(shape) == 4 and shape[3] == 1 else np.prod(shape[:-1])
        kernel = draw.normal(0, (2 / fan_in) ** 0.5, shape) * (2 if len(shape) == 3 else 1)  # clear attention
        variable.assign(kernel if len(shape) > 1 else draw.uniform(-0.5, 0.5, shape) + ("gamma" in variable.path))
    for layer in network._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    network(images_of(network, 16).astype("float32"), training=True)
    return network

def images_of(network, count=5):
    draw, (height, width, channels) = np.random.default_rng(1), network.input_shape[1:]
    coarse = draw.integers(0, 256, (count, 4, 4, channels)).astype("float32")
    return np.stack([cv2.resize(image, (width, height)) for image in coarse]).round().astype("uint8")
"""


@pytest.mark.parametrize("make", ["conv", "vit", pytest.param("lite", marks=pytest.mark.slow)])
def test_both_backends_make_the_same_maps_of_one_weights_file(make, tmp_path):
    """Random weights; with the fast paths and without."""
    code = (
        NETWORKS
        + """
path = Path(sys.argv[2])
make = globals()[sys.argv[1]]
if path.exists():
    network = make()
    network.load_weights(path)
else:
    network = built(make)
    network.save_weights(path)
arguments = images_of(network), [0, 1, 2, 0, 1]
maps = explain.heat_maps(network, *arguments)
heat._explainers.clear()
with patched(False):
    plain = explain.heat_maps(network, *arguments)
give(maps=maps.tolist(), plain=plain.tolist())
"""
    )
    arguments = (make, tmp_path / "network.weights.h5")
    torch, jax = (in_backend(name, code, *arguments) for name in ("torch", "jax"))
    reference = np.array(jax["plain"])
    assert reference.std(axis=(1, 2)).min() > 0.02  # not flat
    np.testing.assert_allclose(reference.max(axis=(1, 2)), 1)
    for maps in (jax["maps"], torch["plain"], torch["maps"]):
        for one, other in zip(np.array(maps), reference, strict=True):
            assert np.corrcoef(one.ravel(), other.ravel())[0, 1] >= 0.999
        # rounding can turn a ReLU of the random network on or off, and with it a path of the gradient
        np.testing.assert_allclose(maps, reference, atol=0.1 if make == "lite" else 0.03)


@pytest.mark.parametrize("backend", backends())
def test_attention_rollout_by_hand(backend):
    """Two tokens, the pixels 0 and 1. Queries are ln 3 times the pixel and keys the pixel, so the scores are
    (1/2, 1/2) for pixel 0 and (1/4, 3/4) for pixel 1, in both layers. With the identity and halved, these rows are
    a = (3/4, 1/4) and b = (1/8, 7/8). The product of two layers has the rows 3/4 a + 1/4 b and 1/8 a + 7/8 b. Their
    mean is 7/16 a + 9/16 b = (51, 77) / 128.
    """
    maps = in_backend(
        backend,
        """
import keras, numpy as np
from keras import layers
from kcomp import explain
inputs = keras.Input((1, 2, 1))
x = layers.Reshape((2, 1))(inputs)
for _ in range(2):
    x = x + layers.MultiHeadAttention(1, 1, use_bias=False)(x, x)
network = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
for layer in network.layers:
    if isinstance(layer, layers.MultiHeadAttention):
        one = np.ones((1, 1, 1))
        layer.set_weights([np.log(3) * one, one, 0 * one, one])  # query, key, value, output
image = np.array([[[0.0], [1.0]]])
maps = [explain.heat_map(network, image, index) for index in (0, 1)]
give(maps=np.array(maps).tolist(), calls=["call" in vars(layer) for layer in network.layers])
""",
    )
    np.testing.assert_allclose(maps["maps"], [[[51 / 77, 1]]] * 2, atol=1e-6)  # class-agnostic
    assert not any(maps["calls"])  # the layers are as before


@pytest.mark.parametrize("backend", one_slow(slow="jax"))
def test_maps_of_many_kinds_of_networks(backend):
    values = in_backend(
        backend,
        NETWORKS
        + CONVOLUTION
        + """
batch = np.random.default_rng(0).uniform(0, 15, (5, 4, 4, 1)).astype("float32")
classes = [0, 1, 1, 0, 1]
expected = explain.heat_maps(network, batch, classes)
def difference(other, images=batch, **options):
    return float(np.abs(explain.heat_maps(other, images, classes, **options) - expected).max())

sequential = keras.Sequential([keras.Input((4, 4, 1)), *network.layers[1:]])
inputs = keras.Input((4, 4, 1))
x = keras.Model(network.input, network.get_layer("maps").output, name="inner")(inputs)
nested = keras.Model(inputs, network.layers[-1](network.layers[-2](x)))
first = keras.Input((1, 4, 4))
x = layers.Conv2D(2, 1, activation="relu", data_format="channels_first")(first)
x = layers.Dense(2)(layers.GlobalAveragePooling2D(data_format="channels_first")(x))
channels_first = keras.Model(first, x)
channels_first.set_weights(network.get_weights())
mixed = {}
for policy in ("mixed_float16", "mixed_bfloat16"):
    keras.config.set_dtype_policy(policy)
    inputs = keras.Input((4, 4, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1, activation="relu")(inputs))
    half = keras.Model(inputs, layers.Dense(2, dtype="float32")(x))
    half.set_weights(network.get_weights())
    mixed[policy] = difference(half)
keras.config.set_dtype_policy("float32")
token, mean = built(vit), built(lambda: vit(token=False))
give(
    batches=difference(network, batch_size=2),
    single=float(np.abs(explain.heat_map(network, batch[4], 1) - expected[4]).max()),
    layer=difference(network, layer="maps"),
    sequential=difference(sequential),
    nested=difference(nested),
    inner=difference(nested, layer="inner/maps"),
    channels_first=difference(channels_first, batch.transpose(0, 3, 1, 2)),
    mixed=mixed,
    shapes=[explain.heat_map(net, images_of(net)[0], 0).shape for net in (token, mean, built(grouped))],
    patches=explain.heat_map(token, images_of(token)[0], 0, layer="patches").shape,
)
""",
    )
    for name in ("batches", "single", "layer", "sequential", "nested", "inner", "channels_first"):
        assert values[name] < 1e-5, name
    assert values["mixed"]["mixed_float16"] < 0.01
    assert values["mixed"]["mixed_bfloat16"] < 0.05
    assert values["shapes"] == [[48, 32], [48, 32], [4, 4]]


def test_the_feature_map_before_the_last_downsampling_is_used():
    layers = in_backend(
        "jax",
        NETWORKS
        + """
from kcomp.engine.initial_weights import draw_weights_on_host
from kcomp.explain.heat.flat import flatten
from kcomp.explain.heat.method import choose_method

def chosen(network):
    flat = flatten(network)
    method = choose_method(flat, lambda logits: logits)
    return flat.paths[method.tensor] if hasattr(method, "tensor") else f"{len(method.layers)} attention layers"

def branches():  # the last fine maps are in two branches, which no single map replaces
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, padding="same", name="before")(inputs)
    fine = layers.Conv2D(4, 1, name="branch")(x)
    x = layers.Concatenate()([layers.MaxPooling2D()(x), layers.Conv2D(4, 3, strides=2, padding="same")(fine)])
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))

def hybrid():  # attention between feature maps
    inputs = keras.Input((16, 16, 3))
    x = layers.Reshape((16, 4))(layers.Conv2D(4, 4, strides=4)(inputs))
    x = layers.Reshape((4, 4, 4), name="grid")(x + layers.MultiHeadAttention(1, 4)(x, x))
    x = layers.Conv2D(4, 3, name="last")(x)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))

with draw_weights_on_host(0):
    give(layers=[chosen(make()) for make in (lite, conv, branches, hybrid, vit)])
""",
    )["layers"]
    assert layers == [
        "block6a_expand_activation",
        "inner/block_13_expand_relu",
        "before",
        "grid",
        "3 attention layers",
    ]


def test_errors_name_what_is_allowed():
    texts = in_backend(
        "jax",
        CONVOLUTION
        + """
def text(network, *arguments, function=explain.heat_map, **options):
    try:
        function(network, *arguments, **options)
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"

class Plain(keras.Model):
    def call(self, x):
        return x
inputs = keras.Input((4, 4, 1))
flat = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
give(texts=[
    text(network, image, 2),
    text(network, image, 0.5),
    text(network, image[:3], 0),
    text(network, image, 0, layer="mops"),
    text(network, image, 0, layer="head"),
    text(network, image, 0, method="cam"),
    text(flat, image, 0),
    text(Plain(), image, 0),
    text(network, image[None], [0, 1], function=explain.heat_maps),
])
""",
    )["texts"]
    assert texts == [
        "ValueError: a class index must be an integer from 0 to 1, one of 2 outputs; received 2",
        "ValueError: a class index must be an integer from 0 to 1, one of 2 outputs; received 0.5",
        "ValueError: images must have the network's shape (None, 4, 4, 1), four dimensions; received (1, 3, 4, 1)",
        "ValueError: layer='mops': the network has no such layer; did you mean 'maps'?",
        "ValueError: layer='head': a heat map needs a layer that returns a feature map of four dimensions; this one "
        "returns (None, 2)",
        "ValueError: method must be one of 'hires-cam', 'grad-cam'; received 'cam'",
        "ValueError: a heat map needs a feature map (batch, rows, columns, channels) after a layer with weights, or "
        "attention layers of Keras; received a network of Flatten, Dense",
        "TypeError: heat maps need a Sequential, or a functional model keras.Model(inputs, outputs) with one input and "
        "one output; received a Plain",
        "ValueError: heat maps need one class index for each of 1 images; received (2,)",
    ]


@pytest.mark.parametrize("backend", backends())
def test_grades_are_explained_by_the_expected_grade(backend):
    """The grade is the sum of two sigmoids at 0, so its gradient is a quarter of that of the sum of the logits."""
    maps = in_backend(
        backend,
        CONVOLUTION
        + """
from kcomp.targets import Grades, Numbers
network.layers[-1].set_weights([np.array([[2.0, 1.0], [-1.0, 3.0]]), -np.array([2.0, 1.0]) * 7.5 - np.array([-1.0, 3.0]) * 36 / 16])
grades = Grades(("none", "mild", "severe"), loss_name="ordinal")
give(
    grade=explain.heat_map(network, image, 0, target=grades).tolist(),
    number=explain.heat_map(network, image, 1, target=Numbers(("a", "b"))).tolist(),
)
""",
    )
    p = np.arange(16.0).reshape(4, 4)
    other = np.maximum(8 - p, 0)
    np.testing.assert_allclose(maps["grade"], (3 * p + 2 * other) / 45, atol=1e-6)
    np.testing.assert_allclose(maps["number"], (p + 3 * other) / 24, atol=1e-6)


def test_overlay_colours_hot_pixels():
    from kcomp.explain import overlay

    pixels = np.full((1, 3, 3), 100, np.uint8)
    picture = overlay(pixels, np.array([[0, 1, -1]], np.float32))
    assert picture.dtype == np.uint8
    assert picture[0, 0].tolist() == picture[0, 2].tolist() == [100, 100, 100]
    # 20 % of the pixel and 80 % of inferno's last colour, (252, 255, 164)
    np.testing.assert_allclose(picture[0, 1], 20 + 0.8 * np.array([252, 255, 164]), atol=2)
    assert overlay(np.array([[[255, 0, 0]]]), np.zeros((1, 1)))[0, 0].tolist() == [76, 76, 76]  # 0.299 of red, in grey
    assert overlay(pixels[..., 0], np.zeros((5, 5))).shape == (1, 3, 3)  # grey image, map of another size
    assert overlay(np.zeros((4, 4, 6)), np.zeros((4, 4))).shape == (4, 4, 3)


def test_explain_imports_no_keras():
    values = in_backend("jax", "import sys, kcomp.explain\ngive(keras='keras' in sys.modules)", fresh=True)
    assert not values["keras"]
