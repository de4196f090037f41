"""`kcomp check`: from a recipe or from data to the three files of a report, on both backends."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import backends, kcomp
from test_train_targets import RECIPE

NAMES = ["ant", "bee"]


def draw(seed, name):
    """An image of a class: noise, and a bright square for bees."""
    pixels = np.random.default_rng(seed).integers(0, 120, (48, 64, 3), np.uint8)
    if name == "bee":
        pixels[12:36, 20:44] += 120
    return pixels


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with a folder of images for each class."""
    folder = tmp_path_factory.mktemp("check") / "insects"
    for position, name in enumerate(NAMES * 12):
        (folder / name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name / f"{position}.png"), draw(position, name))
    return folder


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "small.py").write_text(RECIPE)
    return folder


@pytest.mark.parametrize("kind", ["labels", "numbers", "grades"])
@pytest.mark.parametrize("backend", backends())
def test_a_recipe_of_each_target_is_checked(backend, kind, recipes):
    done = kcomp("check", "small.py", "--set", f"kind={kind}", "-o", f"{backend}-{kind}", backend=backend, cwd=recipes)
    folder = recipes / f"{backend}-{kind}"
    assert done.stdout.splitlines()[-1] == f"{backend}-{kind}/check.html"
    content = json.loads((folder / "check.json").read_text())
    assert (content["recipe"], content["rows"], content["test_rows"]) == ("small", 96, 20)
    assert not [part for part in content["parts"].values() if "failed" in part]
    assert content["parts"]["augmented"]["image_shape"] == [8, 8, 3]
    assert list(pd.read_csv(folder / "findings.csv")) == ["kind", "severity", "image_id", "message"]


def test_data_is_checked_without_a_recipe(images):
    done = kcomp("check", "insects", cwd=images.parent)
    page = images.parent / done.stdout.splitlines()[-1]
    assert page.parts[-4:-2] == ("check", "insects") and page.is_file()
    content = json.loads((page.parent / "check.json").read_text())
    assert (content["rows"], content["test_rows"]) == (24, None)
    again = kcomp("check", "insects", cwd=images.parent).stdout.splitlines()[-1]
    assert images.parent / again == page  # the same data has the same folder


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["check"], 2, "Missing argument 'RECIPE|DATA'"),
        (["check", "nothing"], 2, "no recipe, folder or table at nothing"),
        (["check", "small.py", "--set", "kin=labels"], 2, "kind"),
        (["check", "small.py", "--backend", "jaxx"], 2, "jax or torch"),
        (["check", "small.py", "--runs", "nowhere"], 2, "no run at or below nowhere"),
        (["check", "small.py", "-o", "small.py"], 2, "-o small.py cannot be written"),
        (["check", "broken.py"], 1, "broken.py, line"),
    ],
)
def test_wrong_usage_is_one_line(arguments, code, text, recipes):
    broken = RECIPE.replace(
        "def table(config): return", "def table(config): raise ValueError('no rows for you')\ndef old(config): return"
    )
    (recipes / "broken.py").write_text(broken)
    done = kcomp(*arguments, cwd=recipes, check=False)
    assert done.returncode == code and text in done.stderr
    assert len(done.stderr.splitlines()) == 1
