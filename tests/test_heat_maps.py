"""Heat maps: Grad-CAM and attention rollout against maps worked out by hand, on both backends."""

import numpy as np
import pytest
from conftest import backends, in_backend

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
    # 35 % of the pixel and 65 % of inferno's last colour, (252, 255, 164)
    np.testing.assert_allclose(picture[0, 1], 35 + 0.65 * np.array([252, 255, 164]), atol=2)
    assert overlay(pixels[..., 0], np.zeros((5, 5))).shape == (1, 3, 3)  # grey image, map of another size
    assert overlay(np.zeros((4, 4, 6)), np.zeros((4, 4))).shape == (4, 4, 3)


def test_explain_imports_no_keras():
    values = in_backend("jax", "import sys, kcomp.explain\ngive(keras='keras' in sys.modules)", fresh=True)
    assert not values["keras"]
