"""`kcomp check`: from a recipe or from data to the three files of a report, on both backends."""

import json
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
from chromium import needs_chromium, open_page
from click.testing import CliRunner
from conftest import in_backend, kcomp, one_slow
from test_train_targets import RECIPE

from kcomp.cli import main

NAMES = ["ant", "bee"]
# Kernels that do not depend on the seed count as pretrained, so the features are from this small network.
CONSTANT = 'kernel_initializer=keras.initializers.Constant(0.1), name="conv"'
SMALL = RECIPE.replace('name="conv"', CONSTANT)
HOSTILE = "<img src=x onerror=alert(1)>"


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
    (folder / "small.py").write_text(SMALL)
    return folder


@pytest.mark.parametrize("kind", ["labels", "numbers", "grades"])
@pytest.mark.parametrize("backend", one_slow(slow="jax"))
def test_a_recipe_of_each_target_is_checked(backend, kind, recipes):
    done = kcomp("check", "small.py", "--set", f"kind={kind}", "-o", f"{backend}-{kind}", backend=backend, cwd=recipes)
    folder = recipes / f"{backend}-{kind}"
    assert done.stdout.splitlines()[-1] == f"{backend}-{kind}/check.html"
    content = json.loads((folder / "check.json").read_text())
    assert (content["recipe"], content["rows"], content["test_rows"]) == ("small", 96, 20)
    assert not [part for part in content["parts"].values() if "failed" in part]
    assert "the recipe's own network" in content["network"]
    assert content["parts"]["augmented"]["image_shape"] == [8, 8, 3]
    assert list(pd.read_csv(folder / "findings.csv")) == ["kind", "severity", "image_id", "message"]


def test_data_is_checked_without_a_recipe(images):
    done = kcomp("check", "insects", backend="torch", cwd=images.parent)
    page = images.parent / done.stdout.splitlines()[-1]
    assert page.parts[-4:-2] == ("check", "insects") and page.is_file()
    content = json.loads((page.parent / "check.json").read_text())
    assert (content["rows"], content["test_rows"]) == (24, None)
    page.write_text("old")
    (page.parent / "mine.txt").write_text("mine")
    again = kcomp("check", "insects", backend="torch", cwd=images.parent).stdout.splitlines()[-1]
    assert images.parent / again == page  # the same data has the same folder, and the report is replaced
    names = sorted(path.name for path in page.parent.iterdir())
    assert names == ["check.html", "check.json", "findings.csv", "mine.txt"]
    assert page.read_text() != "old"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["check"], 2, "Missing argument 'RECIPE|DATA'"),
        (["check", "nothing"], 2, "no recipe, folder or table at nothing"),
        (["check", "empty"], 2, "it has 0 images\n"),
        (["check", "ids.csv"], 2, "--images FOLDER; kcomp check has no such option: write a recipe with `kcomp new`"),
        (["check", "small.py", "--set", "kin=labels"], 2, "kind"),
        (["check", "small.py", "--backend", "jaxx"], 2, "jax or torch"),
        (["check", "small.py", "--runs", "nowhere"], 2, "no run at or below nowhere"),
        (["check", "small.py", "-o", "small.py"], 2, "small.py is a file; name another folder"),
        (["check", "broken.py"], 1, "broken.py, line"),
        (
            ["check", "../lonely"],
            1,
            "there are 0; to read the table in another way",
        ),  # and no line of a recipe in memory
    ],
)
def test_wrong_usage_is_one_line(arguments, code, text, recipes):
    broken = RECIPE.replace(
        "def table(config): return", "def table(config): raise ValueError('no rows for you')\ndef old(config): return"
    )
    (recipes / "broken.py").write_text(broken)
    (recipes / "empty").mkdir(exist_ok=True)
    (recipes.parent / "lonely" / "images").mkdir(parents=True, exist_ok=True)
    (recipes.parent / "lonely" / "train.csv").write_text("image_id,label\na,cat\nb,dog\n")
    for position, name in enumerate("ab"):
        cv2.imwrite(str(recipes.parent / "lonely" / "images" / f"{name}.png"), draw(position, NAMES[position]))
    (recipes / "ids.csv").write_text("image_id,label\n" + "".join(f"{n},{NAMES[n % 2]}\n" for n in range(8)))
    done = kcomp(*arguments, backend="torch", cwd=recipes, check=False)
    assert done.returncode == code and text in done.stderr
    lines = [line for line in done.stderr.splitlines() if "classes with fewer than 2 rows" not in line]
    assert len(lines) == 1


def test_a_file_with_the_name_of_the_default_folder_is_reported_first(recipes, tmp_path):
    (tmp_path / "check").touch()
    done = kcomp("check", recipes / "small.py", backend="torch", cwd=tmp_path, check=False)
    hint = f"{tmp_path / 'check'} is a file; choose another folder with -o"
    assert done.stderr == f"kcomp: the default folder check cannot be written: {hint}\n"
    assert (done.returncode, done.stdout) == (2, "")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A table of 24 images with names that a page must escape; one file is cut off, one is missing.

    Two ids are repeated, one of them with another label.
    """
    folder = tmp_path_factory.mktemp("damaged") / "insects"
    (folder / "images").mkdir(parents=True)
    ids = [HOSTILE, "=1+1", "a b'c", "\u00e4\u2028\u4e2d", *(f"r{number}" for number in range(20))]
    rows = pd.DataFrame({"image_id": ids, "label": [f"<b>{name}</b>" for name in NAMES * 12]})
    for position, image_id in enumerate(ids):
        if image_id != "r7":
            content = cv2.imencode(".png", draw(position, NAMES[position % 2]))[1].tobytes()
            (folder / "images" / f"{image_id}.png").write_bytes(content[: 3000 if image_id == HOSTILE else None])
    repeated = rows.iloc[[5, 6]].assign(label=rows["label"].iloc[5])
    pd.concat([rows, repeated]).to_csv(folder / "train.csv", index=False)
    kcomp("check", "insects", "-o", "shown", backend="torch", cwd=folder.parent)  # no failure without --strict
    return folder


def test_damaged_files_and_strange_names_are_findings(damaged):
    done = kcomp("check", "insects", "-o", "out", "--strict", backend="torch", cwd=damaged.parent, check=False)
    assert done.returncode == 1, done.stderr
    rows = pd.read_csv(damaged.parent / "out" / "findings.csv", keep_default_na=False)
    errors = rows[rows["severity"] == "error"]
    assert set(errors["image_id"]) >= {HOSTILE, "r7"}
    assert rows.loc[rows["kind"] == "repeated-id", "image_id"].tolist() == ["r1"]
    assert errors.loc[errors["kind"] == "contradicting-labels", "image_id"].tolist() == ["r2"]
    assert "error: " in done.stdout and done.stdout.splitlines()[-1] == "out/check.html"


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2", "imagehash"])
def test_a_missing_package_of_the_report_is_named_before_the_work(missing, images, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    done = CliRunner().invoke(main, ["check", str(images)])
    line = f"kcomp: {missing} is not installed; run: pip install 'kcomp[report]'\n"
    assert (done.exit_code, done.output) == (1, line)


@pytest.mark.parametrize("backend", one_slow(slow="jax"))
def test_errors_of_the_recipe_are_findings(backend, recipes):
    """The network and the test rows cannot be used. The other checks run, with features of another network."""
    source = SMALL.replace("def model(config, target):", "def model(config, target):\n    raise KeyError('units')")
    source = source.replace("def test(config): return", "def test(config): return {}['images'] or")
    (recipes / "raises.py").write_text(source)
    done = kcomp("check", "raises.py", "-o", f"raises-{backend}", backend=backend, cwd=recipes)
    lines = [1 + source[: source.index(text)].count("\n") for text in ("raise KeyError", "return {}['images']")]
    places = [f"({recipes}/raises.py, line {line})" for line in lines]
    assert f"error: network: the recipe cannot build its network: KeyError: 'units' {places[0]}" in done.stdout
    assert f"warning: missing: the test rows cannot be read: KeyError: 'images' {places[1]}" in done.stdout
    assert "warning: features: " not in done.stdout and done.stderr == ""


def test_missing_pretrained_weights_are_one_warning():
    code = """
from rich.console import Console
from kcomp.check import features
from kcomp.probe.features import FrozenFeatures
from kcomp.probe.frozen_network import NetworkError
from kcomp.report.progress import StepProgress

def missing(loaded, tables, progress):
    if loaded is None and not installed:
        raise ModuleNotFoundError("run: pip install weights")
    if loaded == "a recipe":
        raise NetworkError("no network") from ModuleNotFoundError("run: pip install weights")
    return FrozenFeatures((None,), "a network", True, 0)

parts, features.frozen_features = [], missing
with StepProgress(Console(quiet=True), "check", 1) as progress:
    for installed in (True, False):
        parts.append(features.compute_features("a recipe", [[]], progress, 1)[2])
give(findings=[[(f.kind, f.severity, f.message) for part in group for f in part.findings] for group in parts])
"""
    (network,), (features,) = in_backend("torch", code)["findings"]
    text = "run: pip install weights"
    assert network == ["network", "warning", f"the recipe cannot build its network: {text}"]
    assert features == [
        "features",
        "warning",
        f"checks that need features of a pretrained network are left out: {text}",
    ]


@needs_chromium
def test_the_page_opens_in_a_browser(damaged):
    with open_page(damaged.parent / "shown" / "check.html") as shown:
        shown.check()
        titles = shown.page.locator("h2").all_inner_texts()
        assert titles[0] == "Result" and "What the network is fed" in titles
        link = shown.page.locator("#section-1 td a").first
        section = link.get_attribute("href")
        link.click()
        assert shown.page.url.endswith(section) and shown.page.locator(section).count() == 1


def test_unreadable_test_rows_are_a_finding(recipes):
    source = SMALL.replace(
        "def test(config): return", "def test(config): raise OSError('no test images')\ndef old(config): return"
    )
    (recipes / "no_test.py").write_text(source)
    done = kcomp("check", "no_test.py", "-o", "no_test", backend="torch", cwd=recipes)
    assert "warning: missing: the test rows cannot be read: no test images" in done.stdout
