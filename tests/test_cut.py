"""Where a network is cut in two, and that the two parts are the network, on both backends."""

import conftest
import numpy as np
import pytest

from kcomp.system.backends import choose_backend, is_installed, prepare_backend

if is_installed("torch") or is_installed("jax"):
    prepare_backend(choose_backend(None))
import keras
from keras import layers

from kcomp import models
from kcomp.engine.initial_weights import draw_weights_on_host
from kcomp.models.trainable import alternatives, check_alternatives
from kcomp.training.frozen.cut import cut, split_frozen


def top_of(model):
    return model.output._keras_history.operation.name


@pytest.fixture(scope="module")
def lite():
    with draw_weights_on_host(0):  # quicker than the backend's own initializers
        return models.classifier(models.efficientnet_lite0(64, weights=None), 3)


@pytest.mark.parametrize(
    ("pattern", "batch_norm", "spatial", "expected"),
    [
        ("head", False, False, "head_pool"),  # dropout stays with the head
        ("head", False, True, "top_activation"),
        ("head|top.*|block[67].*", False, False, "block5c_add"),
        ("head|top.*|block[67].*", False, True, "block5c_add"),
        ("head|block6a_bn", True, False, "block6a_dwconv"),  # this block has no skip connection
        ("head|block3b_project_conv", False, False, "block3a_project_bn"),  # inside a skip connection: before it
    ],
)
def test_the_cut_is_the_latest_tensor_that_all_paths_pass(lite, pattern, batch_norm, spatial, expected):
    models.set_trainable(lite, pattern, train_batch_norm=batch_norm)
    names, paths = [layer.name for layer in lite.layers], [v.path for v in lite.trainable_variables]
    frozen, rest = cut(lite, spatial=spatial)
    assert top_of(frozen) == expected
    assert not frozen.trainable_variables
    assert [v.path for v in rest.trainable_variables] == paths  # an optimizer's state is kept by position
    assert {id(v) for v in rest.trainable_variables} == {id(v) for v in lite.trainable_variables}
    assert [layer.name for layer in lite.layers] == names


def test_skip_connections_with_noise_in_them():
    """Drop connect before a trained block is behind the last frozen weights, and yet the frozen block is cached whole."""
    x = inputs = keras.Input((8, 8, 3))
    for name in "abc":
        y = layers.Dropout(0.2, noise_shape=(None, 1, 1, 1))(layers.Conv2D(3, 1, name=f"{name}_conv")(x))
        x = layers.Add(name=f"{name}_add")([y, x])
    network = models.classifier(keras.Model(inputs, x), 3)
    for pattern, expected in (("head", "head_pool"), ("head|c_conv", "b_add"), ("head|[bc]_conv", "a_add")):
        models.set_trainable(network, pattern)
        assert top_of(cut(network)[0]) == expected


def chain(*parts):
    x = inputs = keras.Input((8, 8, 3))
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def test_a_sequential_is_cut_as_a_functional_model():
    parts = [
        keras.Input((8, 8, 3)),
        layers.Conv2D(4, 3),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(2, name="head"),
    ]
    network = keras.Sequential(parts)
    models.set_trainable(network, "head")
    frozen, rest = cut(network)
    assert top_of(frozen) == "pool" and [*frozen.weights, *rest.weights] == network.weights
    images = np.ones((2, 8, 8, 3), "float32")
    apart_, whole = (keras.ops.convert_to_numpy(found) for found in (rest(frozen(images)), network(images)))
    np.testing.assert_array_equal(apart_, whole)


def test_noise_behind_the_last_frozen_weights_is_trained_with():
    conv, head = layers.Conv2D(4, 3, name="conv"), layers.Dense(2, name="head")
    network = chain(
        conv, layers.ReLU(name="relu"), layers.SpatialDropout2D(0.1, name="late"),
        layers.GlobalAveragePooling2D(name="pool"), layers.Dropout(0.1), head,
    )  # fmt: skip
    models.set_trainable(network, "head")
    assert top_of(cut(network)[0]) == "relu"
    models.set_trainable(network, "head|conv")
    with pytest.raises(ValueError, match="nothing can be cut off below 'conv'"):
        cut(network)
    assert split_frozen(network) == (None, network)


def test_augmentation_inside_the_network_is_not_cut_off():
    """In inference mode it would be off; drop connect among the frozen weights may be."""
    normal = layers.Normalization(mean=[0.5] * 3, variance=[1.0] * 3)
    flipped = chain(layers.Rescaling(2.0), layers.RandomFlip(name="flip"), layers.Conv2D(4, 3))
    for start in ((normal, layers.RandomFlip(name="flip"), layers.Conv2D(4, 3)), (flipped,)):
        network = chain(*start, layers.GlobalAveragePooling2D(), layers.Dense(2, name="head"))
        models.set_trainable(network, "head")
        with pytest.raises(ValueError, match="layer 'flip' of the network draws noise on images"):
            cut(network)
        assert split_frozen(network) == (None, network)
    network = chain(normal, layers.Conv2D(4, 3), layers.Dropout(0.1), layers.Conv2D(4, 3), layers.Dense(2, name="head"))
    models.set_trainable(network, "head")
    frozen, rest = split_frozen(network)
    assert len(frozen.weights) == 4 and rest.layers[-1].name == "head"


def test_statistics_that_learn_belong_to_the_rest():
    norm = layers.BatchNormalization(center=False, scale=False, name="norm")  # it has nothing but statistics
    network = chain(
        layers.Conv2D(4, 3, name="conv"), norm, layers.GlobalAveragePooling2D(name="pool"), layers.Dense(2, name="head")
    )
    models.set_trainable(network, "head")
    assert top_of(cut(network)[0]) == "pool"
    models.set_trainable(network, "head|norm", train_batch_norm=True)
    assert top_of(cut(network)[0]) == "conv"


def test_inner_models_are_cut_around():
    inner = chain(layers.Conv2D(4, 3, name="conv"), layers.GlobalAveragePooling2D(name="pool"))
    inner.name = "inner"
    network = chain(inner, layers.Dense(2, name="head"))
    models.set_trainable(network, "head")
    assert top_of(cut(network)[0]) == "inner"
    models.set_trainable(network, "head|inner/conv")
    with pytest.raises(ValueError, match="'inner', the first layer that is trained"):
        cut(network)


def test_what_cannot_be_cut():
    network = chain(layers.Flatten(), layers.Dense(3, name="first"), layers.Dense(2, name="head"))
    models.set_trainable(network, "head")
    with pytest.raises(ValueError, match="one tensor of 4 dimensions between"):
        cut(network, spatial=True)
    network.trainable = False
    with pytest.raises(ValueError, match="no layer is trained"):
        cut(network)
    with pytest.raises(ValueError, match="only a Sequential, or a functional model"):
        cut(type("Own", (keras.Model,), {})())
    two = [keras.Input((4,)), keras.Input((4,))]
    with pytest.raises(ValueError, match="of one input and one output"):
        cut(keras.Model(two, layers.Dense(2)(layers.Add()(two))))


PARTS = """
import numpy as np, keras
from keras import layers
from kcomp import models
from kcomp.prediction.forward import compile_forward
from kcomp.training.frozen.cut import cut
keras.utils.set_random_seed(0)
x = inputs = keras.Input((16, 16, 3), name="images")
x = layers.Rescaling(1 / 255)(x)
for number in range(3):
    y = layers.BatchNormalization(name=f"bn{number}")(layers.Conv2D(3, 3, padding="same", name=f"conv{number}")(x))
    x = layers.Add(name=f"add{number}")([x, layers.ReLU()(y) * 0.5])
network = models.classifier(keras.Model(inputs, x, name="tiny"), 4)
network.get_layer("head").set_weights([np.ones((3, 4)) * [1, 2, 3, 4], np.zeros(4)])
images = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype("float32")
found = {}
for pattern, spatial in (("head", False), ("head", True), ("head|conv2", False), ("head|conv[12]", False)):
    models.set_trainable(network, pattern)
    frozen, rest = cut(network, spatial=spatial)
    features = compile_forward(frozen)(images)
    difference = np.abs(compile_forward(rest)(features) - compile_forward(network)(images)).max()
    found[f"{pattern} {spatial}"] = [list(features.shape), float(difference)]
give(size=float(np.abs(compile_forward(network)(images)).max()), **found)
"""


@pytest.mark.parametrize("backend", conftest.backends())
def test_the_two_parts_are_the_network(backend):
    found = conftest.in_backend(backend, PARTS)
    size = found.pop("size")
    assert [shape for shape, _ in found.values()] == [[4, 3], [4, 16, 16, 3], [4, 16, 16, 3], [4, 16, 16, 3]]
    np.testing.assert_array_less([difference for _, difference in found.values()], 1e-6 * size)


def test_alternatives_of_a_regular_expression():
    assert alternatives(r"head|top.*|block[6|7].*|(a|b)c|d\|e|[]|]|\[f|g") == [
        "head", "top.*", "block[6|7].*", "(a|b)c", r"d\|e", "[]|]", r"\[f", "g"
    ]  # fmt: skip
    check_alternatives("(?i)HEAD|TOP.*", ["head", "top_conv"])
    check_alternatives("head", ["head/dense"])
    with pytest.raises(ValueError, match="the alternative 'top' matches no layer"):
        check_alternatives("(?i)HEAD|top", ["head", "top_conv"])
