"""Data sets of TensorFlow Datasets are built and read with TensorFlow hidden, as if it were not installed."""

import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import backends, environment, in_backend

from kcomp.data.datasets import origin_of

MISSING = [name for name in ("tensorflow_datasets", "array_record") if importlib.util.find_spec(name) is None]
needs_tfds = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

FIRST_BACKEND = next(name for name in ("jax", "torch") if importlib.util.find_spec(name))

HIDE = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, path=None, target=None: None if name == "tensorflow" else find(name, path, target)
"""

TOY_SIGNS = """
import io
import cv2
import numpy as np
import tensorflow_datasets as tfds

NAMES = ["stop", "left", "yield"]

def pixels(number):
    return np.random.default_rng(number).integers(0, 256, (12, 10, 3), np.uint8)

class ToySigns(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({
            "picture": tfds.features.Image(shape=(12, 10, 3), encoding_format="png"),
            "grey": tfds.features.Tensor(shape=(6, 5), dtype=np.uint8),
            "sign": tfds.features.ClassLabel(names=NAMES),
            "secret": tfds.features.ClassLabel(names=NAMES),
            "file": tfds.features.Text(),
            "number": tfds.features.Scalar(dtype=np.int64),
        })
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, download_manager):
        return {"train": self._generate_examples(0, 30), "test": self._generate_examples(30, 36)}

    def _generate_examples(self, first, end):
        for number in range(first, end):
            png = cv2.imencode(".png", pixels(number)[:, :, ::-1])[1].tobytes()
            yield number, {"picture": io.BytesIO(png), "grey": pixels(number)[:6, :5, 0], "sign": number % 3,
                           "secret": -1, "file": f"sign-{number}", "number": number}
"""

BUILD = "import toy_signs\ntoy_signs.ToySigns(data_dir='store', file_format='array_record').download_and_prepare()"

READ = """
import sys
sys.path.insert(0, sys.argv[1])
import cv2, numpy as np, toy_signs
from kcomp import data
from kcomp.data.decoding import decode

store = sys.argv[1] + "/store"
def read(split="train", **options):
    return data.read_tfds("toy_signs", split, **{"image": "picture", "label": "sign", "data_dir": store, **options})

def message(read, *arguments, **options):
    try:
        read(*arguments, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

table = read(image_id="file")
numbers = [int(image_id.removeprefix("sign-")) for image_id in table.ids]
grey = read(image="grey")
identities = [image.identity for rows in (table, grey, read("test")) for image in rows.images]
folded = data.stratified_folds(table, 5)
batches = data.Batches(folded, 12, batch_size=8, training=True)
first = batches.load(0, 0)
rows = batches.order(0)[:8]
expected = [cv2.resize(toy_signs.pixels(numbers[row]), (12, 12), interpolation=cv2.INTER_AREA) for row in rows]
give(
    tensorflow="tensorflow" in sys.modules,
    numbers=sorted(numbers),
    classes=table.columns,
    labels=[table.columns[c] for c in table.labels.argmax(1)] == [toy_signs.NAMES[number % 3] for number in numbers],
    encoded=[type(image()).__name__ for image in table.images[:2]],
    pixels=[np.array_equal(decode(image), toy_signs.pixels(number)) for image, number in zip(table.images, numbers)],
    grey=[np.array_equal(image(), toy_signs.pixels(n)[:6, :5, 0]) for image, n in zip(grey.images, numbers)],
    identities=[len(set(identities)), identities[:30] == [image.identity for image in read().images]],
    default_ids=read("test").ids,
    integer_ids=sorted(read("test", image_id="number", label=None).ids),
    unlabelled=read("test", label=None).columns,
    sliced=[len(read("train[:50%]")), len(read("train+test"))],
    folds=[[int(data.split(folded, fold)[1].labels[:, c].sum()) for c in range(3)] for fold in range(5)],
    images_differ=float(np.abs(first["images"] - np.array(expected)).max()),
    labels_equal=np.array_equal(first["labels"], folded.labels[rows]),
    errors={
        "split": message(read, "valid"),
        "slice": message(read, "train[:"),
        "feature": message(read, image="photo"),
        "not pixels": message(read, image="number"),
        "not a class": message(read, label="number"),
        "not an id": message(read, image_id="picture"),
        "no labels": message(read, label="secret"),
        "no such set": message(data.read_tfds, "toy_sings", "train", data_dir=store),
        "no such version": message(data.read_tfds, "toy_signs:2.0.0", "train", data_dir=store),
        "not prepared": message(data.read_tfds, "cifar10", "train", data_dir=store),
    },
)
"""

TFRECORD = """
import json, pathlib, sys
from kcomp import data
info = pathlib.Path(sys.argv[1], "store/toy_signs/1.0.0/dataset_info.json")
kept = info.read_text()
info.write_text(json.dumps({**json.loads(kept), "fileFormat": "tfrecord"}))
try:
    data.read_tfds("toy_signs", "train", image="picture", label="sign", data_dir=sys.argv[1] + "/store")
except ValueError as error:
    give(message=str(error))
finally:
    info.write_text(kept)
"""

RECIPE = """
from dataclasses import dataclass

import keras

from kcomp import data
from kcomp.recipe import Recipe, Stage


@dataclass(frozen=True)
class Config:
    data_dir: str = ""


def table(config):
    rows = data.read_tfds("toy_signs", "train", image="picture", label="sign", data_dir=config.data_dir)
    return data.stratified_folds(rows, 3)


def batches(config, rows, training, seed):
    return data.Batches(rows, 16, batch_size=5, training=training, seed=seed)


def model(config, target):
    layers = [keras.layers.Conv2D(4, 3, strides=2), keras.layers.Flatten(), keras.layers.Dense(target.outputs)]
    return keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Rescaling(1 / 255), *layers])


def stages(config):
    return [Stage("all", 1, "all", keras.optimizers.SGD(0.01))]


recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="last")
"""


@functools.cache
def built():
    """A folder, removed when the tests end, with toy_signs.py and, in `store`, the data set it makes."""
    folder = tempfile.TemporaryDirectory()
    Path(folder.name, "toy_signs.py").write_text(TOY_SIGNS)
    command = [sys.executable, "-c", HIDE + "import sys; sys.path.insert(0, '.')\n" + BUILD]
    done = subprocess.run(command, cwd=folder.name, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return folder


@functools.cache
def outcome():
    """What READ gives, or the error it ends with; reading knows nothing of backends, so one will do."""
    try:
        return in_backend(FIRST_BACKEND, HIDE + READ, built().name, fresh=True)
    except RuntimeError as error:
        return error


def found():
    if isinstance(outcome(), RuntimeError):
        raise outcome()
    return outcome()


@needs_tfds
def test_rows_carry_the_names_ids_and_pixels_that_were_stored():
    assert not found()["tensorflow"]
    assert found()["numbers"] == list(range(30))
    assert found()["classes"] == ["left", "stop", "yield"]
    assert found()["labels"]
    assert found()["encoded"] == ["bytes", "bytes"]
    assert found()["pixels"] == [True] * 30
    assert found()["grey"] == [True] * 30


@needs_tfds
def test_every_image_has_an_identity_that_lasts():
    assert found()["identities"] == [66, True]  # 30 pictures, 30 grey ones and 6 of the test split


def test_a_data_set_prepared_again_has_other_identities(tmp_path):
    builder = SimpleNamespace(data_dir=str(tmp_path))
    assert origin_of(builder, "train") is None
    texts = []
    for time in (10**18, 10**18 + 1):
        (tmp_path / "dataset_info.json").write_text("{}")
        os.utime(tmp_path / "dataset_info.json", ns=(time, time))
        texts.append(origin_of(builder, "train"))
    assert len(set(texts)) == 2


@needs_tfds
def test_ids_and_splits():
    assert found()["default_ids"] == [f"test-{row:06d}" for row in range(6)]
    assert found()["integer_ids"] == ["30", "31", "32", "33", "34", "35"]
    assert found()["unlabelled"] == []
    assert found()["sliced"] == [15, 36]


@needs_tfds
def test_folds_and_batches():
    assert found()["folds"] == [[2, 2, 2]] * 5
    assert found()["images_differ"] == 0
    assert found()["labels_equal"]


@needs_tfds
@pytest.mark.parametrize(
    ("case", "parts"),
    [
        ("split", ["ValueError", "'valid'", "['test', 'train']"]),
        ("slice", ["ValueError", "'train[:'", "['test', 'train']"]),
        ("feature", ["ValueError", "'photo'", "'picture'"]),
        ("not pixels", ["ValueError", "Image or a uint8 Tensor", "'number'"]),
        ("not a class", ["ValueError", "ClassLabel", "'number'"]),
        ("not an id", ["ValueError", "one text or number", "'picture'"]),
        ("no labels", ["ValueError", "30 of 30", "label=None"]),
        ("no such set", ["ValueError", "toy_sings", "not found"]),
        ("no such version", ["ValueError", "2.0.0", "only: 1.0.0"]),
        ("not prepared", ["FileNotFoundError", "cifar10", "file_format='array_record'"]),
    ],
)
def test_errors_are_one_line_and_say_what_is_allowed(case, parts):
    message = found()["errors"][case]
    assert all(part in message for part in parts), message
    assert "\n" not in message


@needs_tfds
def test_files_that_only_tensorflow_reads_are_named():
    message = in_backend(FIRST_BACKEND, HIDE + TFRECORD, built().name, fresh=True)["message"]
    assert "are tfrecord, which only TensorFlow reads" in message
    assert "\n" not in message


def test_without_the_extra_the_error_says_what_to_install():
    code = """
        import sys
        sys.modules["tensorflow_datasets"] = None
        from kcomp import data
        try:
            data.read_tfds("mnist", "train")
        except ModuleNotFoundError as error:
            give(message=str(error))
    """
    assert "pip install 'kcomp[tfds]'" in in_backend(FIRST_BACKEND, code)["message"]


@needs_tfds
@pytest.mark.parametrize("backend", backends())
def test_a_recipe_trains_from_it(backend, tmp_path):
    (tmp_path / "toy.py").write_text(RECIPE)
    arguments = ["train", "toy.py", "--set", f"data_dir={built().name}/store", "-o", "run"]
    command = [sys.executable, "-c", HIDE + "from kcomp.cli import main; main()", *arguments]
    done = subprocess.run(command, env=environment(backend), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run" / "result.json").is_file()
