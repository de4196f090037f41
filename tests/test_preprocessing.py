"""The scaling of images in networks of keras.applications, against each family's own preprocess_input."""

import conftest
import pytest

CODE = """
import inspect
import keras
import numpy as np
from kcomp import models
from kcomp.engine.initial_weights import draw_weights_on_host

images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
differences, inside = {}, []
for name, module in inspect.getmembers(keras.applications, inspect.ismodule):
    functions = [value for _, value in inspect.getmembers(module, inspect.isfunction) if value.__name__[0].isupper()]
    if not functions: continue
    def scaled(input_tensor, include_top=False, weights=None):
        return keras.Model(keras.utils.get_source_inputs(input_tensor), keras.layers.Activation("linear")(input_tensor))
    scaled.__module__ = functions[0].__module__
    expected = module.preprocess_input(images.copy())
    received = models.application(scaled, 32, weights=None).predict_on_batch(images)
    differences[name] = float(np.abs(received - expected).max())
    if np.array_equal(expected, images): inside.append(name)

with draw_weights_on_host(0):
    network = models.application(keras.applications.MobileNetV3Small, 32, weights=None)
first = next(layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D))
before = keras.Model(network.input, first.input).predict_on_batch(images)
try: models.application(keras.applications.MobileNetV3Small, 32, weights=None, include_preprocessing=False)
except ValueError as error: message = str(error)
give(differences=differences, inside=inside, mobile=float(np.abs(before - (images / 127.5 - 1)).max()), message=message)
"""


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_networks_scale_images_as_their_library_does(backend):
    measured = conftest.in_backend(backend, CODE)
    assert len(measured["differences"]) >= 15 and max(measured["differences"].values()) < 1e-4
    # these scale in their first layers, so their preprocess_input does nothing
    assert set(measured["inside"]) == {"convnext", "efficientnet", "efficientnet_v2"}  # and mobilenet_v3, below
    assert measured["mobile"] < 1e-5
    assert "leave out include_preprocessing" in measured["message"]
