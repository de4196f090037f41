"""The head of CORAL against its formula, weights of another run, and the scale of ArcFace; both backends."""

import numpy as np
import pytest
from conftest import backends, in_backend

HEADS = """
import keras, numpy as np
from pathlib import Path
from kcomp import losses, models, targets
from kcomp.engine.initial_weights import draw_weights_on_host
from kcomp.models.transfer import take_weights
draws = np.random.default_rng(0)
features = draws.normal(size=(5, 6)).astype("float32")
ORDINAL, CLASSES = targets.Grades(("a", "b", "c", "d"), loss_name="ordinal"), targets.OneOf(("x", "y", "z"))

def backbone():
    images = keras.Input((1, 1, 6))
    return keras.Model(images, keras.layers.Activation("linear")(images))

def outputs(network): return keras.ops.convert_to_numpy(network(features[:, None, None])).tolist()

def error(make):
    try: make()
    except ValueError as problem: return str(problem)

with draw_weights_on_host(0):
    coral = models.classifier(backbone(), ORDINAL, head="coral")
    arcface = models.classifier(backbone(), CLASSES, head=models.ArcFaceHead(8.0))
start, weights = outputs(coral), [draws.normal(size=w.shape).astype("float32") for w in coral.get_weights()]
coral.set_weights(weights)
path = Path(sys.argv[1]) / "one.weights.h5"
coral.save_weights(path)
other = models.classifier(backbone(), ORDINAL, head="coral")
loaded = take_weights(other, path, order=ORDINAL.head_order(ORDINAL))
loss, plain = losses.ArcFace(), models.classifier(backbone(), CLASSES)
loss.bind_to_network(arcface)
give(
    features=features.tolist(), start=start, coral=outputs(coral), weights=[w.tolist() for w in weights],
    loaded=loaded, same=outputs(other) == outputs(coral),
    scale=loss.scale,
    errors=[
        error(lambda: models.classifier(backbone(), CLASSES, head="coral")),
        error(lambda: models.classifier(backbone(), CLASSES, head="arcface", imagenet_classes=[1, 2, 3])),
        error(lambda: losses.ArcFace().bind_to_network(plain)),
        error(lambda: losses.ArcFace(scale=64.0).bind_to_network(arcface)),
    ],
)
"""
ERRORS = (
    "head='coral' needs a target Grades with loss_name='ordinal'",
    "imagenet_classes needs head='dense'",
    "its last layer is 'head'",
    "it must be the head's, 8.0; received 64.0",
)


@pytest.mark.parametrize("backend", backends())
def test_coral_shares_its_weights(backend, tmp_path):
    outcome = in_backend(backend, HEADS, tmp_path)
    features, (kernel, bias) = np.array(outcome["features"]), map(np.array, outcome["weights"])
    assert np.array(outcome["start"]).tolist() == np.zeros((5, 3)).tolist()
    np.testing.assert_allclose(outcome["coral"], features @ kernel + bias, rtol=1e-5, atol=1e-6)
    assert outcome["loaded"] and outcome["same"]
    assert outcome["scale"] == 8.0
    for text, rule in zip(outcome["errors"], ERRORS, strict=True):
        assert rule in text
