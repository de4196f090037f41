"""`kcomp explain` of trained runs on both backends: heat maps, and stress that names what the held-out images have."""

import json

import chromium
import conftest
import pytest

RECIPE = '''
from dataclasses import dataclass
import keras
import numpy as np
import pandas as pd
from keras import layers
from kcomp import data, models
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    rotated: bool = True

def table(config):
    """600 digits in two folds. The images of fold 0 are rotated by 90, 180 or 270 degrees."""
    rows = data.stratified_folds(data.sklearn_digits().rows(np.arange(600)), 2, seed=0)
    images = [
        np.ascontiguousarray(np.rot90(image, 1 + number % 3)) if fold == 0 and config.rotated else image
        for number, (image, fold) in enumerate(zip(rows.images, rows.frame["fold"]))
    ]
    frame = rows.frame.assign(image=pd.Series(images, rows.frame.index, dtype=object), number=np.arange(600) % 7)
    return data.Table(frame, rows.target)

def batches(config, rows, training, seed):
    return data.Batches(rows, 16, batch_size=50, training=training, seed=seed)

def model(config, target):
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Rescaling(1 / 128, offset=-1)(x)
    for number, filters in enumerate((16, 32)):
        x = layers.Conv2D(filters, 3, strides=2 - number, padding="same", activation="relu", name=f"conv{number}")(x)
    x = layers.Conv2D(48, 3, strides=2, activation="relu", name="conv2")(x)
    return models.classifier(keras.Model(inputs, x, name="tiny"), target, dropout=0.0)

def stages(config):
    return [Stage("all", 20, "all", keras.optimizers.Adam(3e-3))]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="last", metric="accuracy")
'''


def explained(folder, backend, *arguments):
    (folder / "turned.py").write_text(RECIPE)
    conftest.kcomp("train", "turned.py", "--fold", "0", *arguments, "-o", "run", backend=backend, cwd=folder)
    done = conftest.kcomp("explain", "run", "-o", "out", "--stress", "150", cwd=folder)
    return done.stdout, json.loads((folder / "out/explain.json").read_text())


@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
@chromium.needs_chromium
def test_rotated_held_out_images_are_named_first(tmp_path, backend):
    printed, content = explained(tmp_path, backend)
    first = content["stress"]["ranking"][0]
    assert first["change"] == "rotation" and first["is_repair"]
    assert content["summary"]["findings"][0]["kind"] == "stress"
    [verdict] = [line for line in printed.splitlines() if line.startswith("Where do the models fail?")]
    assert "The held-out images differ from the training images by rotation" in verdict
    assert content["stress"]["rows"] == 150 and len(first["scores"]) == 13
    assert {each["column"] for each in content["slices"]["slices"]} >= {"number", "brightness"}
    with chromium.open_page(tmp_path / "out/explain.html") as shown:
        shown.check()
        pictures = shown.figure(content["errors"]["groups"][0]["caption"]).locator("img")
        width, height = pictures.first.evaluate("image => [image.naturalWidth, image.naturalHeight]")
        assert pictures.count() == 24 and width == 2 * height  # the image and its heat map
        assert "label: " in shown.figure(content["errors"]["groups"][0]["caption"]).inner_text()


@pytest.mark.slow
def test_upright_held_out_images_are_not_called_rotated(tmp_path):
    _, content = explained(tmp_path, "torch", "--set", "rotated=False")
    assert not any(each["is_repair"] for each in content["stress"]["ranking"])
    [rotation] = [each for each in content["stress"]["ranking"] if each["change"] == "rotation"]
    assert rotation["scores"][-1] < content["stress"]["ranking"][0]["scores"][0] or rotation["is_harmful"]
