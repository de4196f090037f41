"""KerasCV's layers as batch layers, on both backends: what they do to pixels and labels, and that a seed fixes it."""

import functools
import importlib.util

import pytest
from conftest import backends, in_backend, kcomp

MISSING = [name for name in ("keras_cv", "tensorflow") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")
LAYERS = ["FourierMix", "GridMask", "CutMix"]

# Every image is one level, which tells its class: 20, 70, 120 or 170. So what a layer pasted can be counted.
MEASURE = """
import hashlib, random
import keras, keras_cv
import numpy as np
import pandas as pd
from kcomp import data, targets
from kcomp.data.foreign_layers import call_seeded

LEVELS = np.array([20, 70, 120, 170])
make = {
    "FourierMix": keras_cv.layers.FourierMix,
    "GridMask": lambda: keras_cv.layers.GridMask(ratio_factor=(0.4, 0.6)),
    "CutMix": keras_cv.layers.CutMix,
}
numbers = np.arange(16)
frame = pd.DataFrame({"image_id": [f"row-{number}" for number in numbers]}, dtype=object)
frame["image"] = pd.Series([np.full((16, 16, 3), LEVELS[n % 4], np.uint8) for n in numbers], dtype=object)
for c in range(4):
    frame[f"class {c}"] = (numbers % 4 == c).astype(np.float32)
rows = data.Table(frame, targets.OneOf(tuple(f"class {c}" for c in range(4))))

def batches(name, workers=1):
    made = data.Batches(rows, 16, batch_size=8, training=True, seed=3, layers=[make[name]()])
    made.workers = workers
    return made

def sha(batch):
    return hashlib.sha256(batch["images"].tobytes() + batch["labels"].tobytes()).hexdigest()

def states():
    kept = [repr(random.getstate()), repr(np.random.get_state())]
    if keras.backend.backend() == "torch":
        import torch
        kept.append(torch.get_rng_state().tolist())
    return kept

def measure(name):
    before = states()
    made = batches(name)
    first = [made.load(0, index) for index in range(2)]
    untouched = states() == before
    backwards = [made.load(0, index) for index in (1, 0)][::-1]
    plain = made.order(0)[:8] % 4
    images, labels = first[0]["images"], first[0]["labels"]
    share = (np.abs(images[..., :1] - LEVELS) < 0.01).mean((1, 2))
    keras.config.set_dtype_policy("mixed_bfloat16")
    coarse = batches(name).load(0, 0)
    keras.config.set_dtype_policy("float32")
    return {
        "shapes": [list(images.shape), list(labels.shape)],
        "types": [str(images.dtype), str(labels.dtype)],
        "sums": float(np.abs(labels.sum(1) - 1).max()),
        "soft": sum(int((batch["labels"].max(1) < 0.999).sum()) for batch in first),
        "hard_equal": np.array_equal(labels, np.eye(4)[plain]),
        "share_error": float(np.abs(share - labels).max()),
        "known_levels": bool(np.isclose(share.sum(1), 1).all()),
        "zero": ((images == 0).mean((1, 2, 3))).tolist(),
        "own_or_zero": bool(((images == LEVELS[plain][:, None, None, None]) | (images == 0)).all()),
        "untouched": untouched,
        "first": [sha(batch) for batch in first],
        "backwards": [sha(batch) for batch in backwards],
        "one_worker": [sha(batch) for batch in batches(name).epochs(0, 2)],
        "four_workers": [sha(batch) for batch in batches(name, workers=4).epochs(0, 2)],
        "mixed_precision": sha(coarse),
    }

def message(layer):
    try:
        call_seeded(layer, {"images": np.zeros((4, 8, 8, 3)), "labels": np.eye(4)}, 1)
    except ValueError as error:
        return str(error)

class Unseeded(keras.layers.Layer):
    def call(self, batch):
        return {**batch, "images": batch["images"] + keras.random.uniform((16, 8, 8, 3))}

def twice(layer):
    batch = {"images": np.random.default_rng(0).uniform(0, 255, (16, 8, 8, 3)), "labels": np.eye(16)}
    found = [sha(call_seeded(layer, batch, seed)) for seed in (1, 2, 1)]
    return [found[0] == found[2], found[0] == found[1]]

give(
    layers={name: measure(name) for name in make},
    own={
        "flip": twice(keras.layers.RandomFlip()),
        "many": twice(keras.layers.Pipeline([keras.layers.RandomFlip(), keras.layers.RandomContrast(0.5)])),
        "unseeded": twice(Unseeded()),
    },
    shape=message(keras_cv.layers.Resizing(4, 4)),
    no_dict=message(keras.layers.GaussianNoise(0.5)),
)
"""

RECIPE = """
from dataclasses import dataclass

import keras
import keras_cv
import numpy as np

from kcomp import data
from kcomp.recipe import Recipe, Stage


@dataclass(frozen=True)
class Config:
    rows: int = 120


def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(config.rows)), 3)


def batches(config, rows, training, seed):
    mixing = [keras_cv.layers.CutMix(), keras_cv.layers.FourierMix()]
    return data.Batches(rows, 32, batch_size=20, training=training, seed=seed, layers=mixing)


def model(config, target):
    layers = [keras.layers.Conv2D(4, 3, strides=2), keras.layers.Flatten(), keras.layers.Dense(target.outputs)]
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), *layers])


def stages(config):
    return [Stage("all", 1, "all", keras.optimizers.SGD(0.01))]


recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="last")
"""


@functools.cache
def outcome(backend):
    """What MEASURE gives, or the error it ends with, so that a failing process is not run again for each test."""
    try:
        return in_backend(backend, MEASURE)
    except RuntimeError as error:
        return error


def measured(backend):
    found = outcome(backend)
    if isinstance(found, RuntimeError):
        raise found
    return found


both_backends = pytest.mark.parametrize("backend", backends())
every_layer = pytest.mark.parametrize("name", LAYERS)


@both_backends
@every_layer
def test_a_batch_keeps_its_shapes_and_label_sums(backend, name):
    found = measured(backend)["layers"][name]
    assert found["shapes"] == [[8, 16, 16, 3], [8, 4]]
    assert found["types"] == ["float32", "float32"]
    assert found["sums"] < 1e-6


@both_backends
def test_fourier_mix_gives_each_class_the_share_of_its_pixels(backend):
    found = measured(backend)["layers"]["FourierMix"]
    assert found["soft"] >= 4  # of 16; a partner of the same class leaves a label hard
    assert found["known_levels"]
    assert found["share_error"] <= 0.5 / 256 + 1e-6  # KerasCV rounds the mask to pixels, not the label


@both_backends
def test_cut_mix_pastes_pixels_and_softens_labels(backend):
    found = measured(backend)["layers"]["CutMix"]
    assert found["soft"] >= 4
    assert found["known_levels"]  # the label is not the share of the pixels: KerasCV forgets what the border cut off


@both_backends
def test_grid_mask_blackens_pixels_and_keeps_labels(backend):
    found = measured(backend)["layers"]["GridMask"]
    assert found["hard_equal"]
    assert found["own_or_zero"]
    assert all(0.05 < share < 0.8 for share in found["zero"])


@both_backends
@every_layer
def test_a_seed_fixes_a_batch_whatever_came_before_and_on_any_thread(backend, name):
    found = measured(backend)["layers"][name]
    assert found["first"] == found["backwards"] == found["one_worker"][:2]
    assert found["one_worker"] == found["four_workers"]
    assert len(set(found["one_worker"])) == 4  # two epochs of two batches


@both_backends
@every_layer
def test_mixed_precision_does_not_reach_the_pixels(backend, name):
    found = measured(backend)["layers"][name]
    assert found["mixed_precision"] == found["first"][0]


@both_backends
@every_layer
def test_the_generators_training_uses_are_left_alone(backend, name):
    assert measured(backend)["layers"][name]["untouched"]


@every_layer
def test_both_backends_get_the_same_batches(name):
    if any(importlib.util.find_spec(backend) is None for backend in ("jax", "torch")):
        pytest.skip("needs both backends")
    assert measured("jax")["layers"][name]["one_worker"] == measured("torch")["layers"][name]["one_worker"]


@both_backends
@pytest.mark.parametrize("name", ["flip", "many", "unseeded"])
def test_keras_own_layers_follow_the_seed(backend, name):
    same, equal = measured(backend)["own"][name]
    assert same
    assert not equal


@both_backends
def test_a_layer_that_cannot_be_used_is_named(backend):
    found = measured(backend)
    assert "must keep the shape of `images`, (4, 8, 8, 3); Resizing returned (4, 4, 4, 3)" in found["shape"]
    assert "must take and return a dict of `images` and `labels`; GaussianNoise does not" in found["no_dict"]


@both_backends
def test_a_recipe_trains_with_it(backend, tmp_path):
    (tmp_path / "mixing.py").write_text(RECIPE)
    kcomp("train", "mixing.py", "-o", "run", backend=backend, cwd=tmp_path)
    assert (tmp_path / "run" / "result.json").is_file()
