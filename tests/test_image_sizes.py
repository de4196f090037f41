"""Images that are not square: decoded, batched, trained, predicted, exported and compared on both backends."""

import importlib.util

import conftest
import cv2
import numpy as np
import pandas as pd
import pytest

from kcomp import data
from kcomp.data.image_size import height_and_width

RECIPE = """
from dataclasses import dataclass
import albumentations as A
import keras
import numpy as np
from keras import layers
from kcomp import augment, data, models, views
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    image_size: tuple[int, int] = (40, 56)

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(96)), 4, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, config.image_size, batch_size=16, training=training, seed=seed,
        transform=A.Compose([A.HorizontalFlip(p=0.5)]) if training else None,
        layers=[augment.Switch(augment.MixUp(0.2), augment.CutMix(1.0)), augment.RandomErasing(0.5)])

def model(config, target):
    x = inputs = keras.Input((*config.image_size, 3), name="images")
    x = layers.Conv2D(4, 3, 2, padding="same", name="low")(layers.Rescaling(1 / 255)(x))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(8, 3, 2, padding="same", name="high")(layers.ReLU()(x)))
    return models.classifier(keras.Model(inputs, layers.ReLU()(x), name="tiny"), target)

def stages(config):
    return [Stage("head", 1, "head", keras.optimizers.Adam(1e-2)),
            Stage("high", 1, "high|norm|head.*", keras.optimizers.Adam(1e-2), cache_views=1, mix_features=True),
            Stage("all", 1, "all", keras.optimizers.Adam(1e-2), train_batch_norm=True)]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages,
                views=lambda config: [views.left_right, views.upside_down, *views.random(1)],
                test=lambda config: data.sklearn_digits().rows(np.arange(1700, 1720)))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizes")
    (folder / "wide.py").write_text(RECIPE)
    return folder


@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
def test_trains_predicts_and_exports(folder, backend):
    done = conftest.kcomp("train", "wide.py", "--fold", "0", backend=backend, cwd=folder)
    assert "images of 40 x 56 pixels" in done.stdout
    [run] = folder.glob(f"runs/wide/*/{backend}-seed*-fold0")
    conftest.kcomp("predict", run, backend=backend, cwd=folder)
    assert len(pd.read_csv(run / "oof.csv")) == 24 and len(pd.read_csv(run / "test.csv")) == 20
    if any(importlib.util.find_spec(name) is None for name in ("torch", "onnx", "onnxscript", "onnxruntime")):
        return
    conftest.kcomp("export", run, "-o", folder / f"{backend}.onnx", cwd=folder)
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / f"{backend}.onnx")
    assert session.get_inputs()[0].shape[1:] == [40, 56, 3]


@pytest.mark.slow
def test_compares(folder):
    done = conftest.kcomp("compare", "wide.py", "-o", "page.html", cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "fit, size, shape",
    [
        ("stretch", (40, 56), (40, 56)),
        ("crop", (40, 56), (40, 56)),
        ("crop", (56, 40), (56, 40)),
        ("shorter", (40, 56), (56, 56)),  # 30 x 30 grows by 56 / 30
        ("shorter", 40, (40, 40)),
    ],
)
def test_fits(fit, size, shape):
    images = data.Images(size, fit=fit, cache_bytes=0)
    assert images.load("a", np.zeros((30, 30, 3), np.uint8)).shape == (*shape, 3)


def test_crop_takes_the_centre_without_stretching():
    """A 100 x 80 picture to (20, 40): halved to 50 x 40, of which rows 15 to 35 remain."""
    pixels = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None], (100, 80, 3))
    cut = data.Images((20, 40), fit="crop", cache_bytes=0).load("a", pixels)
    assert cut.shape == (20, 40, 3)
    np.testing.assert_allclose(cut[:, 0, 0], np.arange(30, 70, 2) + 0.5, atol=0.5)


def test_sizes_of_one_number_and_two():
    assert height_and_width(7) == height_and_width((7, 7)) == height_and_width([7, 7]) == (7, 7)
    assert data.Images((8, 8), cache_bytes=0).settings == data.Images(8, cache_bytes=0).settings
    for size in (0, (4, 0), (1, 2, 3), "32", 4.0, (4.5, 3), None):
        with pytest.raises(ValueError, match=r"number of pixels from 1, or \(height, width\); received"):
            height_and_width(size)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 8])
@pytest.mark.parametrize("resampling", ["area", "linear", "bilinear", "bicubic"])
def test_channels_are_resized_one_by_one(channels, resampling):
    """Each channel is what the grey image of it becomes."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, channels), np.uint8)
    resized = data.Images((8, 12), resampling=resampling, channels=channels, cache_bytes=0).load("a", pixels)
    grey = data.Images((8, 12), resampling=resampling, cache_bytes=0)
    assert resized.shape == (8, 12, channels)
    for channel in range(channels):
        np.testing.assert_array_equal(resized[:, :, channel], grey.load("a", pixels[:, :, channel])[:, :, 0])


def test_grey_and_transparent_images():
    colours = np.zeros((2, 2, 4), np.uint8)
    colours[..., :3] = [100, 200, 50]
    colours[..., 3] = 7
    encoded = cv2.imencode(".png", colours[..., [2, 1, 0, 3]])[1].tobytes()

    def load(channels, image=encoded):
        return data.Images(None, channels=channels, cache_bytes=0).load("a", image)

    assert load(4)[0, 0].tolist() == [100, 200, 50, 7] and load(3)[0, 0].tolist() == [100, 200, 50]
    assert load(1)[0, 0].tolist() == [153]  # 0.299 * 100 + 0.587 * 200 + 0.114 * 50
    assert load(3, np.full((2, 2), 9, np.uint8))[0, 0].tolist() == [9, 9, 9]
    with pytest.raises(ValueError, match=r"must have 2 channels; received shape \(2, 2, 4\)"):
        load(2)
    with pytest.raises(ValueError, match="from 1 to 8; received 9"):
        data.Images(None, channels=9)


def test_batches_have_the_channels_of_their_images(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path))
    encoded = cv2.imencode(".png", np.full((60, 60, 4), 5, np.uint8))[1].tobytes()
    rows = data.Table(pd.DataFrame({"image_id": ["a", "b"], "image": [encoded] * 2}))
    for _ in range(2):  # the second time from the cache
        batches = data.Batches(rows, (6, 8), batch_size=2, images=data.Images((6, 8), channels=4))
        assert batches[0]["images"].shape == (2, 6, 8, 4) and (batches[0]["images"] == 5).all()


BACKBONES = """
import keras
from kcomp import models
from kcomp.engine.initial_weights import draw_weights_on_host
with draw_weights_on_host(0):  # JAX would compile a program for the shape of each weight
    shapes = [
        models.efficientnet_lite0((64, 96), weights=None).output_shape,
        models.application(keras.applications.MobileNetV2, (64, 96), weights=None, alpha=0.35).output_shape,
        models.efficientnet_lite0(64, weights=None, channels=5).input_shape,
    ]
errors = []
for size, options in (((64, 31), {"weights": None}), (64, {"channels": 1})):
    try:
        models.efficientnet_lite0(size, **options)
    except ValueError as error:
        errors.append(str(error))
give(shapes=shapes, errors=errors)
"""


@pytest.mark.parametrize("backend", conftest.backends()[:1])
def test_backbones_take_height_and_width(backend):
    outcome = conftest.in_backend(backend, BACKBONES)
    assert [shape[1:3] for shape in outcome["shapes"][:2]] == [[2, 3], [2, 3]]
    assert outcome["shapes"][2] == [None, 64, 64, 5]
    assert "at least 32 px; received 64 x 31" in outcome["errors"][0]
    assert "ImageNet weights take 3 channels; received channels=1" in outcome["errors"][1]
