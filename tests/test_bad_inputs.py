"""Bad files of every kind end in one line that names the rule and the value, and nothing is written."""

import hashlib
import json
import re
import shutil
import warnings
from dataclasses import dataclass

import click
import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from damage_here import no_process  # noqa: F401

from kcomp import data
from kcomp.cli import main
from kcomp.ensembles.view_weights import read_weights
from kcomp.recipe import load
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities
from kcomp.system.errors import readable_errors
from kcomp.training.state_file import check_state

IDS = [f"i{number}" for number in range(12)]
CLASSES = ["cat", "dog", "fox"]
MANIFEST = {
    "recipe": "r",
    "fingerprint": "f",
    "backend": "torch",
    "seed": 0,
    "classes": CLASSES,
    "table": "t",
    "target": {"target": "one class", "classes": CLASSES},
    "metric": "log_loss",
    "scores": ["log_loss", "accuracy"],
}
RECIPE = """
from dataclasses import dataclass
from kcomp.recipe import Recipe

@dataclass(frozen=True)
class Config:
    rate: float = 0.1

def nothing(config, *arguments): raise NotImplementedError

recipe = Recipe(Config(), table=nothing, batches=nothing, model=nothing, stages=nothing)
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with images, tables, a sample submission, a recipe and two complete runs."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "images").mkdir()
    for number, name in enumerate(IDS):
        cv2.imwrite(str(folder / "images" / f"{name}.png"), np.full((8, 8, 3), 20 * number, np.uint8))
    rows = pd.DataFrame({"image_id": IDS, "label": CLASSES * 4, "x": range(12), "y": 0.5})
    rows.to_csv(folder / "train.csv", index=False)
    rows[["image_id"]].to_csv(folder / "test.csv", index=False)
    pd.DataFrame({"image_id": ["t1", "t2"]} | dict.fromkeys(CLASSES, 0.3)).to_csv(folder / "sample.csv", index=False)
    (folder / "recipe.py").write_text(RECIPE)
    for fold in (0, 1):
        make_run(folder / "runs" / f"fold{fold}", fold)
    return folder


def make_run(folder, fold):
    (folder / "recipe").mkdir(parents=True)
    (folder / "recipe" / "r.py").write_text(RECIPE)
    (folder / "config.json").write_text('{"rate": 0.5}')
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"fold": fold}))
    (folder / "result.json").write_text(json.dumps({"scores": {"log_loss": 0.5, "accuracy": 0.5}, "seconds": 1.0}))
    ids = IDS[fold::2]
    random = np.random.default_rng(fold)
    write_probabilities(folder / "oof.csv", ids, CLASSES, random.dirichlet(np.ones(3), len(ids)))
    write_probabilities(folder / "labels.csv", ids, CLASSES, np.eye(3)[[int(name[1:]) % 3 for name in ids]])
    write_probabilities(folder / "test.csv", ["t1", "t2"], CLASSES, np.full((2, 3), 1 / 3))


@dataclass(frozen=True)
class Case:
    """A bad input.

    Attributes:
        name: The name of the test.
        file: The file that is bad.
        content: Its content: bytes or a text, a dict of changed entries of a JSON file, None for a missing file, or
            a function of the path that makes the file.
        call: A command line, or a function of the folder.
        line: The whole line after "kcomp: ", without the folder. "…" stands for words of other libraries.
        code: The exit code.
    """

    name: str
    file: str
    content: object
    call: object
    line: str
    code: int = 1

    def make(self, folder):
        path = folder / self.file
        if callable(self.content):
            self.content(path)
        elif self.content is None:
            path.unlink()
        elif isinstance(self.content, dict):
            path.write_text(json.dumps(json.loads(path.read_text()) | self.content))
        else:
            path.write_bytes(self.content if isinstance(self.content, bytes) else self.content.encode())


def read(*arguments, **options):
    return lambda folder: data.read_csv(folder / "train.csv", *arguments, **options)


def folder_instead(path):
    path.unlink()
    path.mkdir()


def link_to_itself(path):
    path.unlink()
    path.symlink_to(path)


def two_tables(path):
    shutil.copy(path, path.with_name("a.csv"))
    path.rename(path.with_name("b.csv"))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def table(header="image_id,label", *rows):
    return "\n".join([header, *(rows or ("i0,cat", "i1,dog"))]) + "\n"


def cells(**changes):
    """The held-out predictions of the first run with other cells in a row."""

    def change(path):
        frame = pd.read_csv(path, dtype=object)
        for name, value in changes.items():
            frame.loc[1, name] = value
        frame.to_csv(path, index=False)

    return change


def loaded(folder):
    return load(folder / "recipe.py")


def recipe_of_run(folder):
    return Run(folder / "runs/fold0").recipe()


BINARY = bytes(range(256)) * 9
ENSEMBLE = ["ensemble", "runs"]
SUBMIT = ["submit", "runs", "--sample", "sample.csv", "-o", "submission.csv"]
RUN = "runs/fold0"
M, R, OOF = f"{RUN}/manifest.json", f"{RUN}/result.json", f"{RUN}/oof.csv"

TABLES = [
    Case("missing", "train.csv", None, read(), "no table at train.csv; name a CSV file that exists"),
    Case("folder", "train.csv", folder_instead, read(), "no table at train.csv; name a CSV file that exists"),
    Case("link to itself", "train.csv", link_to_itself, read(), "no table at train.csv; name a CSV file that exists"),
    Case("empty", "train.csv", "", read(), "train.csv is not a readable CSV: …"),
    Case("binary", "train.csv", BINARY, read(), "train.csv is not UTF-8, UTF-16, CP949 or Latin-1; name its encoding, such as encoding='shift_jis' or encoding='gb18030' or encoding='big5' or encoding='cp1252' or encoding='cp1251'"),
    Case("no rows", "train.csv", "image_id,label\n", read(label="label"), "train.csv has no rows"),
    Case("wrong encoding", "train.csv", "image_id\n\xe9\n".encode("latin-1"), read(encoding="utf-8"), "train.csv is not utf-8: invalid continuation byte at byte 9"),
    Case("unknown encoding", "train.csv", table(), read(encoding="utf-99"), "`encoding` must be one of Python's encodings; received 'utf-99'"),
    Case("column twice", "train.csv", table("image_id,label,label", "i0,cat,dog"), read(label="label"), "train.csv: column names must be unique; ['label'] are repeated"),
    Case("more cells", "train.csv", table("image_id,label", "i0,cat,dog"), read(label="label"), "train.csv: rows have more cells than the 2 names of the first line; quote cells that contain commas"),
    Case("a longer row", "train.csv", table("image_id,label", "i0,cat", "i1,cat,dog"), read(label="label"), "train.csv is not a readable CSV: …"),
    Case("open quote", "train.csv", table("image_id,label", 'i0,"cat'), read(label="label"), "train.csv is not a readable CSV: …"),
    Case("no id column", "train.csv", table("name,label"), read(label="label"), "train.csv lacks the columns ['image_id']; it has ['name', 'label']; name the column of ids with `id=`"),
    Case("no label column", "train.csv", table("image_id,x"), read(label="label"), "train.csv lacks the columns ['label']; it has ['image_id', 'x']"),
    Case("empty id", "train.csv", table("image_id,label", "i0,cat", ",dog"), read(label="label"), "every row needs an image id; 1 of 2 have none"),
    Case("repeated ids", "train.csv", table("image_id,label", *["i0,cat", "i0,dog"] * 3), read(label="label"), "image ids must be unique; 5 are repeated, first 'i0'; if each row of an id has another label, use `labels=`; if an id has several images, name it with `item=` too"),
    Case("empty label", "train.csv", table("image_id,label", "i0,cat", "i1,"), read(label="label"), "train.csv: 1 rows have no 'label', first 'i1'"),
    Case("one class", "train.csv", table("image_id,label", "i0,cat", "i1,cat"), read(label="label"), "a target needs at least two classes; received ['cat']"),
    Case("text for a number", "train.csv", table("image_id,x", "i0,1", "i1,many"), read(numbers="x"), "train.csv: 'x' must hold numbers; 1 rows do not, first 'i1' with 'many'"),
    Case("infinite number", "train.csv", table("image_id,x", "i0,1", "i1,inf"), read(numbers="x"), "each label must be a finite number, or NaN if it is missing; 1 row is not, first 'i1' with [inf]"),
    Case("one-hot sum", "train.csv", table("image_id,a,b", "i0,1,0", "i1,1,1"), read(one_hot=["a", "b"]), "train.csv: `one_hot` allows one class a row; 1 rows have several, first 'i1' with [1.0, 1.0]; `multi_hot` allows several"),
    Case("multi-hot range", "train.csv", table("image_id,a,b", "i0,1,0", "i1,2,1"), read(multi_hot=["a", "b"]), "each label must be a number from 0 to 1, or NaN if it is missing; 1 row is not, first 'i1' with [2.0, 1.0]"),
    Case("text as grade", "train.csv", table("image_id,g", "i0,1", "i1,bad"), read(grades="g"), "train.csv: 'g' holds 'bad', which is not a number; give the order of the grades, lowest first: grades={'g': [...]}"),
    Case("two kinds of labels", "train.csv", table(), read(label="label", labels="label"), "set one of label, labels, one_hot, multi_hot, numbers, grades; received label='label', labels='label'"),
    Case("missing image", "images/i1.png", None, read(label="label"), "1 of 12 images are missing in images, first ['i1']; its 11 images are such as i0.png; on_bad=\"drop\" leaves their rows out, and kcomp check lists them; name another folder with `images=`"),
    Case("no image folder", "train.csv", table(), read("pictures", label="label"), "no folder of images at pictures or pictures; `images` is a folder, or a pattern such as 'images/{image_id}.jpg'"),
    Case("column of a pattern", "train.csv", table(), read("images/{name}.png", label="label"), "the image pattern 'images/{name}.png' names the column 'name'; there are ['image_id', 'label']"),
    Case("open brace", "train.csv", table(), read("images/{image_id", label="label"), "the image pattern 'images/{image_id' needs a brace at both ends of a column: …"),
    Case("format in a pattern", "train.csv", table(), read("images/{}.png", label="label"), "the image pattern 'images/{}.png' names the column ''; there are ['image_id', 'label']"),
    Case("empty image", "images/i1.png", b"", read(label="label"), "1 of 12 images are damaged: images/i1.png (the file is empty); replace the files, or leave their rows out with on_bad=\"drop\"; kcomp check shows them"),
    Case("cut image", "images/i1.png", cut, read(label="label"), "1 of 12 images are damaged: images/i1.png (…); replace the files, or leave their rows out with on_bad=\"drop\"; kcomp check shows them"),
    Case("text as image", "images/i1.png", "text", read(label="label"), "1 of 12 images are damaged: images/i1.png (not an image in a known format); replace the files, or leave their rows out with on_bad=\"drop\"; kcomp check shows them"),
    Case("box of text", "train.csv", table("image_id,a,b,w,h", "i0,0,0,4,4", "i1,0,0,4,big"), read(box=["a", "b", "w", "h"]), "each box must be four numbers with a width and a height above 0; 1 rows are not, first 'i1' with ['0', '0', '4', 'big'], read as size"),
    Case("no such group", "train.csv", table(), read(label="label", group="patient"), "train.csv lacks the columns ['patient']; it has ['image_id', 'label']"),
    Case("word for on_bad", "train.csv", table(), read(label="label", on_bad="skip"), "`on_bad` must be one of error, drop, warn, ignore; received 'skip'"),
    Case("too many folds", "train.csv", table(), lambda folder: data.folds(read(label="label")(folder), 5), "the number of folds must lie between 2 and the number of rows (2); received 5"),
    Case("pseudo-labels", "pseudo.csv", "image_id\na\n", lambda folder: data.with_pseudo(data.folds(read(label="label")(folder), 2), folder / "pseudo.csv"), "pseudo.csv lacks the columns ['fold', 'teachers_table', 'cat', 'dog', 'fox']; it has ['image_id']"),
    Case("class folders", "images/i0.png", None, lambda folder: data.read_folders(folder / "images"), "no image in the folders of images; expected images/<class>/<image>.jpg"),
]  # fmt: skip

RUNS = [
    Case("manifest is text", M, "no JSON", ENSEMBLE, "runs/fold0/manifest.json is damaged: runs/fold0/manifest.json is damaged, it is not JSON: …; remove its folder"),
    Case("manifest is a list", M, "[]", ENSEMBLE, "runs/fold0/manifest.json is damaged: runs/fold0/manifest.json is damaged, it is not a JSON object but a list; remove its folder"),
    Case("manifest is empty", M, "", ENSEMBLE, "runs/fold0/manifest.json is damaged: runs/fold0/manifest.json is damaged, it is not JSON: …; remove its folder"),
    Case("manifest is binary", M, BINARY, ENSEMBLE, "runs/fold0/manifest.json is damaged: runs/fold0/manifest.json is damaged, it is not JSON: …; remove its folder"),
    Case("manifest is deep", M, "[" * 100_000, ENSEMBLE, "runs/fold0/manifest.json is damaged: runs/fold0/manifest.json is damaged, it is not JSON: …; remove its folder"),
    Case("manifest without seed", M, json.dumps({"recipe": "r"}), ENSEMBLE, "runs/fold0/manifest.json is damaged: runs/fold0/manifest.json is damaged: it lacks fingerprint, backend, seed, fold, table, classes, metric, scores; remove its folder"),
    Case("seed is a text", M, {"seed": "0"}, ENSEMBLE, "runs/fold0/manifest.json is damaged: runs/fold0/manifest.json is damaged: 'seed' must be a whole number; received '0'; remove its folder"),
    Case("classes are numbers", M, {"classes": [1]}, ENSEMBLE, "runs/fold0/manifest.json is damaged: runs/fold0/manifest.json is damaged: 'classes' must be a list of texts; received [1]; remove its folder"),
    Case("unknown target", M, {"target": {"target": "boxes"}}, ENSEMBLE, "runs/fold0/manifest.json is damaged: a target must be one of 'one class', 'several labels', 'numbers', 'grades'; received 'boxes'"),
    Case("fields of a target", M, {"target": {"target": "one class", "names": []}}, ENSEMBLE, "runs/fold0/manifest.json is damaged: these are not the fields of a target 'one class': names"),
    Case("target of other type", M, {"target": {"target": "one class", "classes": 5}}, ENSEMBLE, "runs/fold0/manifest.json is damaged: these are not the fields of a target 'one class': classes"),
    Case("other target", M, {"target": {"target": "several labels", "classes": CLASSES}}, ENSEMBLE, "runs that are combined must have the same target; runs/fold0 has several labels, runs/fold1 one class"),
    Case("other table", M, {"table": "u"}, ENSEMBLE, "runs that are combined must share rows, labels and folds, so that no run has trained on a row that another held out; runs/fold1 and runs/fold0 differ"),
    Case("unknown metric of runs", M, {"metric": "best"}, ENSEMBLE, "the runs were trained with different metrics, best, log_loss; choose one with --metric"),
    Case("result is cut", R, cut, ["explain", "runs", "-o", "out"], "runs/fold0/result.json is damaged, it is not JSON: …; remove it, and train the run to its end again"),
    Case("scores are texts", R, {"scores": {"log_loss": "good"}}, ["explain", "runs", "-o", "out"], "runs/fold0/result.json is damaged: scores must be numbers; received 'good'; remove it, and train the run to its end again"),
    Case("weights outside", R, {"average": {"weights": ["../x.h5"]}}, ["explain", "runs", "-o", "out"], "runs/fold0/result.json is damaged: 'average' must name weights in the run's folder; received {'weights': ['../x.h5']}; remove it, and train the run to its end again"),
    Case("incomplete run", R, None, ENSEMBLE, "1 of 2 runs is not complete, first runs/fold0; run the same `kcomp train` again to finish, or name complete runs alone (`kcomp runs` shows which)"),
    Case("no oof", OOF, None, ENSEMBLE, "runs/fold0 has no oof.csv; train it to its end"),
    Case("oof is empty", OOF, "", ENSEMBLE, "runs/fold0/oof.csv cannot be read as a CSV: …"),
    Case("oof is binary", OOF, BINARY, ENSEMBLE, "runs/fold0/oof.csv cannot be read as a CSV: …"),
    Case("oof without rows", OOF, "image_id,cat,dog,fox\n", ENSEMBLE, "runs/fold0/oof.csv has no rows"),
    Case("oof with text", OOF, cells(cat="much"), ENSEMBLE, "runs/fold0/oof.csv: the column 'cat' must hold numbers; row 'i2' has 'much'"),
    Case("oof with NaN", OOF, cells(cat="nan"), ENSEMBLE, "runs/fold0/oof.csv: the column 'cat' must hold numbers; row 'i2' has 'nan'"),
    Case("oof with infinity", OOF, cells(cat="inf"), ENSEMBLE, "runs/fold0/oof.csv: 1 rows hold NaN or infinity, first 'i2'"),
    Case("oof sums to 2", OOF, cells(cat="1", dog="1", fox="0"), ENSEMBLE, "runs/fold0/oof.csv has invalid predictions: each row's probabilities must sum to 1; 1 row is not, first 'i2' with [1.0, 1.0, 0.0]"),
    Case("oof of other classes", OOF, "image_id,a,b\ni0,0.5,0.5\n", ENSEMBLE, "runs/fold0/oof.csv must have the columns ['cat', 'dog', 'fox'] of the run's target; it has ['a', 'b']"),
    Case("oof id twice", OOF, cells(image_id="i0"), ENSEMBLE, "runs/fold0/oof.csv: image ids must be unique; 'i0' is double"),
    Case("oof column twice", OOF, "image_id,cat,cat,fox\ni0,0.5,0.5,0\n", ENSEMBLE, "runs/fold0/oof.csv must have the columns ['cat', 'dog', 'fox'] of the run's target; it has ['cat', 'cat.1', 'fox']"),
    Case("oof of rows of another run", OOF, cells(image_id="i1"), ENSEMBLE, "the runs of one recipe, backend and seed must hold out different rows; 'i1' is held out by runs/fold0 and runs/fold1"),
    Case("labels of other ids", f"{RUN}/labels.csv", cells(image_id="zz"), ENSEMBLE, "runs/fold0/labels.csv lacks 1 ids of its oof.csv, first 'i2'"),
    Case("labels that are no labels", f"{RUN}/labels.csv", cells(cat="0.2", dog="0.2", fox="0.2"), ENSEMBLE, "runs/fold0/labels.csv: each row's labels must be numbers from 0 to 1 that sum to 1; 1 row is not, first 'i2' with [0.2, 0.2, 0.2]"),
    Case("no test predictions", f"{RUN}/test.csv", None, [*ENSEMBLE, "-o", "out.csv"], "runs/fold0 has no test.csv; run: kcomp predict runs/fold0 (with --test, unless the recipe has test rows)"),
    Case("test of other ids", f"{RUN}/test.csv", cells(image_id="zz"), [*ENSEMBLE, "-o", "out.csv"], "runs that are combined must predict the same rows; runs/fold1/test.csv lacks 1 ids that runs/fold0/test.csv has, first ['zz'] (--allow-partial uses the rows that all have)"),
    Case("no runs", "train.csv", table(), ["ensemble", "images"], "no run at or below images; runs are folders with a manifest.json", 2),
    Case("file as runs", "train.csv", table(), ["ensemble", "train.csv"], "no run at or below train.csv; runs are folders with a manifest.json", 2),
    Case("missing runs", "train.csv", table(), ["runs", "nowhere"], "no run at or below nowhere; runs are folders with a manifest.json", 2),
    Case("unknown column", "train.csv", table(), ["runs", "runs", "--sort", "loss"], "--sort: the table has no column 'loss'; did you mean 'log_loss'?", 2),
    Case("unknown metric", "train.csv", table(), [*ENSEMBLE, "--metric", "best"], "no metric 'best'; known: …"),
    Case("output is a folder", "train.csv", table(), [*ENSEMBLE, "-o", "images"], "-o images is a folder; name a file", 2),
    Case("output below a file", "train.csv", table(), [*ENSEMBLE, "-o", "train.csv/out.csv"], "-o train.csv/out.csv cannot be written: train.csv is a file; name another file", 2),
    Case("views of others", f"{RUN}/views.json", '{"views": ["plain"], "weights": [1]}', lambda folder: read_weights(Run(folder / RUN), ["plain", "flip"]), "runs/fold0/views.json must have weights of the recipe's views ['plain', 'flip']; it has those of ['plain']. Remove the file, or fit again with `kcomp predict --fit-views`"),
    Case("weight of a view", f"{RUN}/views.json", '{"views": ["plain"], "weights": [null]}', lambda folder: read_weights(Run(folder / RUN), ["plain"]), "runs/fold0/views.json must have weights that are numbers from 0 to 1; it has [None]. Remove the file"),
    Case("views are binary", f"{RUN}/views.json", BINARY, lambda folder: read_weights(Run(folder / RUN), ["plain"]), "runs/fold0/views.json is damaged, it is not JSON: …"),
    Case("state is text", f"{RUN}/state.npz", "text", lambda folder: check_state(folder / f"{RUN}/state.npz"), "runs/fold0/state.npz is damaged: its content does not fit its checksum"),
    Case("state is empty", f"{RUN}/state.npz", "", lambda folder: check_state(folder / f"{RUN}/state.npz"), "runs/fold0/state.npz is damaged: its content does not fit its checksum"),
    Case("state is a folder", f"{RUN}/state.npz", lambda path: path.mkdir(), lambda folder: check_state(folder / f"{RUN}/state.npz"), "runs/fold0/state.npz is damaged: …"),
]  # fmt: skip

SAMPLES = [
    Case("no sample", "sample.csv", None, SUBMIT, "no sample submission at sample.csv"),
    Case("empty sample", "sample.csv", "", SUBMIT, "sample.csv is not a readable CSV: …"),
    Case("binary sample", "sample.csv", BINARY, SUBMIT, "sample.csv is not UTF-8, UTF-16, CP949 or Latin-1; name its encoding, such as encoding='shift_jis' or encoding='gb18030' or encoding='big5' or encoding='cp1252' or encoding='cp1251'"),
    Case("sample without rows", "sample.csv", "image_id,cat\n", SUBMIT, "sample.csv must have rows, a column of ids and a column to fill; it has 0 rows and the columns ['image_id', 'cat']"),
    Case("sample of one column", "sample.csv", "image_id\nt1\n", SUBMIT, "sample.csv must have rows, a column of ids and a column to fill; it has 1 rows and the columns ['image_id']"),
    Case("sample without an id", "sample.csv", table("image_id,cat,dog,fox", "t1,0,0,0", ",0,0,0"), SUBMIT, "sample.csv has 1 rows without 'image_id'"),
    Case("sample with an id twice", "sample.csv", table("image_id,cat,dog,fox", "t1,0,0,0", "t1,0,0,0"), SUBMIT, "sample.csv has the id 't1' twice; 1 ids are repeated"),
    Case("sample of other ids", "sample.csv", table("image_id,cat,dog,fox", "t1,0,0,0", "t9,0,0,0"), SUBMIT, "runs/fold0 has not predicted the sample's rows, and its recipe has no test rows; name the folder of the test images with --images FOLDER"),
    Case("sample of other classes", "sample.csv", table("image_id,cat,dog,cow", "t1,0,0,0", "t2,0,0,0"), SUBMIT, "the predictions do not fit sample.csv: the sample asks for columns that are not predicted: 1, first ['cow']; it lacks the predicted columns: 1, first ['fox']"),
    Case("unknown positive class", "sample.csv", table("image_id,target", "t1,0", "t2,0"), [*SUBMIT, "--positive", "cow"], "the predictions do not fit sample.csv: --positive takes one of two classes; received 'cow', and the classes are ['cat', 'dog', 'fox']"),
]  # fmt: skip

RECIPES = [
    Case("recipe is missing", "recipe.py", None, loaded, "no recipe at recipe.py; name a Python file that defines `recipe`; Recipes that come with kcomp: …"),
    Case("recipe is binary", "recipe.py", BINARY, loaded, "recipe.py: …null bytes"),
    Case("recipe is a folder", "recipe.py", folder_instead, loaded, "no recipe at recipe.py; name a Python file that defines `recipe`; Recipes that come with kcomp: …"),
    Case("syntax", "recipe.py", "recipe = (\n", loaded, "recipe.py, line 1: '(' was never closed"),
    Case("zero byte", "recipe.py", "recipe = 1\n\0", loaded, "recipe.py: …null bytes"),
    Case("import", "recipe.py", "import nowhere_to_find\n", loaded, "recipe.py does not load: ModuleNotFoundError: No module named 'nowhere_to_find'"),
    Case("no recipe", "recipe.py", "x = 1\n", loaded, "recipe.py must define `recipe = Recipe(...)`; found NoneType"),
    Case("recipe of another type", "recipe.py", "recipe = 5\n", loaded, "recipe.py must define `recipe = Recipe(...)`; found int"),
    Case("config is a class", "recipe.py", RECIPE.replace("Recipe(Config()", "Recipe(Config"), loaded, "recipe.py does not load: TypeError: a recipe's config must be an instance of a dataclass; received <class 'recipe_recipe.Config'>"),
    Case("metric", "recipe.py", RECIPE.replace("stages=nothing)", "stages=nothing, metric='best')"), loaded, "recipe.py does not load: ValueError: no metric 'best'; known: …"),
    Case("precision", "recipe.py", RECIPE.replace("stages=nothing)", "stages=nothing, precision='half')"), loaded, "recipe.py does not load: ValueError: precision must be one of float32, tensorfloat32, mixed_bfloat16, mixed_float16; received 'half'"),
    Case("error in a recipe", "recipe.py", RECIPE + "1 / 0\n", loaded, "division by zero (recipe.py, line 12; kcomp --debug ... shows the traceback)"),
    Case("exit in a recipe", "recipe.py", RECIPE + "raise SystemExit(3)\n", loaded, "the recipe calls sys.exit() (recipe.py, line 12)"),
    Case("stored recipe is missing", f"{RUN}/recipe/r.py", None, recipe_of_run, "no recipe at runs/fold0/recipe/r.py; name a Python file that defines `recipe`; Recipes that come with kcomp: …"),
    Case("stored values of a text", f"{RUN}/config.json", '{"rate": "fast"}', recipe_of_run, "rate must be float; received 'fast'"),
    Case("stored values unknown", f"{RUN}/config.json", '{"speed": 1}', recipe_of_run, "the recipe has no value 'speed'; it has rate"),
    Case("stored values are a list", f"{RUN}/config.json", "[1]", recipe_of_run, "runs/fold0/config.json is damaged, it is not a JSON object but a list"),
]  # fmt: skip

NEW = [
    Case("no data", "train.csv", table(), ["new", "nowhere"], "no file or folder at nowhere; name a folder or a CSV", 2),
    Case("no table", "train.csv", table(), ["new", "recipe.py"], "DATA is a folder, or a table that ends in .csv or .tsv; received recipe.py", 2),
    Case("two tables", "train.csv", two_tables, ["new", "."], "which table has the labels: a.csv, b.csv? Name it instead of .", 2),
    Case("table without rows", "train.csv", "image_id,label\n", ["new", "."], "train.csv has no rows below its first line", 2),
    Case("binary table", "train.csv", BINARY, ["new", "."], "train.csv is not UTF-8, UTF-16, CP949 or Latin-1 text; save it as UTF-8", 2),
    Case("no id", "train.csv", table(), ["new", ".", "--id", "name"], "--id takes a column of train.csv, which are ['image_id', 'label']; received 'name'", 2),
    Case("no folder", "train.csv", table(), ["new", ".", "--images", "pictures"], "--images takes a folder in .; there is no pictures", 2),
]  # fmt: skip

CASES = [*TABLES, *RUNS, *SAMPLES, *RECIPES, *NEW]


def contents(folder):
    """The kind and the content of everything in a folder, by path."""
    return {
        str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else path.is_dir()
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


def invoke(call):
    """Run a command line, or a function as a command, in this process."""
    if not callable(call):
        return CliRunner().invoke(main, call)
    command = click.command()(readable_errors(lambda: call()))
    return CliRunner().invoke(command, [])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_input_ends_in_one_line_and_writes_nothing(template, tmp_path, monkeypatch, case):
    folder = tmp_path / "work"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))
    case.make(folder)
    before = contents(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = invoke((lambda: case.call(folder)) if callable(case.call) else case.call)
    line = done.stderr.replace(f"{folder}/", "").removesuffix("\n")
    assert done.exit_code == case.code, done.output
    assert "\n" not in line and "Traceback" not in line and len(line) < 700, line
    words = ".*".join(map(re.escape, case.line.split("…")))
    assert re.fullmatch(f"kcomp: {words}", line), line
    assert contents(folder) == before


def test_there_are_enough_cases():
    assert len(CASES) >= 60 and len({case.name for case in CASES}) == len(CASES)
