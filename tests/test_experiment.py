"""Building an experiment: networks that return probabilities are refused, and what each function must return."""

import conftest
import pytest

CODE = """
import keras, numpy as np
from keras import layers
from kcomp.experiment.checks import check_output
from kcomp.targets import OneOf

def functional(end):
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, end(x))

class Inner(keras.Model):
    def __init__(self, activation):
        super().__init__()
        self.dense = layers.Dense(3, activation=activation)
    def call(self, x):
        return self.dense(x)

class OwnSoftmax(layers.Layer):
    def call(self, x):
        return keras.ops.softmax(x)

class Own(layers.Dense):
    pass

def inner(activation):
    x = keras.Input((3,))
    return keras.Model(x, layers.Dense(3, activation=activation)(x))

SHARED = layers.Dropout(0.5)
networks = {
    "dense": functional(layers.Dense(3, activation="softmax")),
    "sigmoid": functional(layers.Dense(3, activation="sigmoid")),
    "own layer": functional(Own(3, activation="softmax")),
    "activation layer": functional(lambda x: layers.Activation("softmax")(layers.Dense(3)(x))),
    "softmax layer": functional(lambda x: layers.Softmax()(layers.Dense(3)(x))),
    "operation": functional(lambda x: keras.ops.softmax(layers.Dense(3)(x))),
    "float32 after it": functional(lambda x: layers.Activation("linear", dtype="float32")(layers.Dense(3, activation="softmax")(x))),
    "inner model": functional(inner("softmax")),
    "sequential": keras.Sequential([keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(3, activation="softmax")]),
    "subclassed": functional(Inner("softmax")),
    "subclassed layer": functional(OwnSoftmax()),
    "cast": functional(lambda x: keras.ops.cast(layers.Dense(3, activation="softmax")(x), "float32")),
    "shared layer": functional(lambda x: SHARED(layers.Dense(3, activation="softmax")(SHARED(x)))),
    "lambda": functional(layers.Dense(3, activation=lambda y: keras.ops.softmax(y))),
}
logits = {
    "dense": functional(layers.Dense(3)),
    "relu": functional(layers.Dense(3, activation="relu")),
    "log": functional(lambda x: keras.ops.log_softmax(layers.Dense(3)(x))),
    "sequential": keras.Sequential([keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(3)]),
    "inner model": functional(inner(None)),
    "subclassed": functional(Inner(None)),
    "zeros": functional(layers.Dense(3, kernel_initializer="zeros")),
}
def message(network):
    try:
        return check_output(network, OneOf(("a", "b", "c")))
    except ValueError as error:
        return str(error)
give(refused={name: message(network) for name, network in networks.items()},
     accepted={name: message(network) for name, network in logits.items()})
"""


@pytest.mark.parametrize("backend", conftest.backends())
def test_a_network_that_returns_probabilities_is_refused(backend):
    answer = conftest.in_backend(backend, CODE)
    for name, message in answer["refused"].items():
        assert message and "must end in logits" in message and "\n" not in message, name
    assert "the activation softmax of layer" in answer["refused"]["dense"]
    assert answer["accepted"] == dict.fromkeys(answer["accepted"])
