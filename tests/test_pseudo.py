"""Pseudo-labels: who may label for which fold, which rows are taken, and students on both backends."""

import json
import random
from dataclasses import replace

import conftest
import cv2
import numpy as np
import pandas as pd
import pytest

from kcomp import data
from kcomp.data.pseudo import write_pseudo
from kcomp.ensembles.pseudo_labels import count_by_class, group_teachers, join_rows, label_fold, summarize_fold
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities
from kcomp.targets import OneOf

CLASSES = ["x", "y", "z"]
IDS = [f"r{number}" for number in range(6)]  # of class number % 3; the even ones are fold 0


def labelled(ids=IDS, folds=(0, 1)):
    frame = pd.DataFrame({"image_id": ids, "image": [b""] * len(ids)})
    for number, name in enumerate(CLASSES):
        frame[name] = np.float32([int(one[1:]) % 3 == number for one in ids])
    return data.Table(frame.assign(fold=[folds[int(one[1:]) % len(folds)] for one in ids]), OneOf(tuple(CLASSES)))


def unlabelled(ids):
    return data.Table(pd.DataFrame({"image_id": ids, "image": pd.Series([f"/{one}.png" for one in ids], dtype=object)}))


def frame(rows):
    """Probabilities from a dict of ids."""
    return pd.DataFrame.from_dict(rows, orient="index", columns=CLASSES)


def make_run(folder, test, *, fold=0, backend="jax", seed=0, table=None, **changes):
    folder.mkdir(parents=True)
    table = table or labelled()
    manifest = {
        "recipe": "r",
        "fingerprint": "f",
        "backend": backend,
        "seed": seed,
        "fold": fold,
        "classes": CLASSES,
        "target": {"target": "one class", "classes": changes.get("classes", CLASSES)},
        "metric": "log_loss",
        "scores": ["log_loss"],
    }
    manifest |= {"table": table.fingerprint(), "folds": [0, 1]} | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "result.json").write_text(json.dumps({"scores": {}, "seconds": 1.0}))
    held_out = data.split(table, fold)[1]
    oof = np.float64([[0.92, 0.04, 0.04]] * len(held_out))
    for name, values in (("oof", oof), ("labels", held_out.labels)):
        write_probabilities(folder / f"{name}.csv", held_out.ids, CLASSES, values)
    if test is not None:
        write_probabilities(folder / "test.csv", list(test.index), list(test.columns), test.to_numpy())
    return Run(folder)


SURE = {"a": [0.9, 0.05, 0.05], "b": [0.02, 0.96, 0.02], "c": [0.5, 0.3, 0.2], "d": [0.95, 0.03, 0.02]}
LESS = {"a": [0.98, 0.01, 0.01], "b": [0.06, 0.88, 0.06], "c": [0.1, 0.3, 0.6], "d": [0.93, 0.03, 0.04]}
MEANS = {"a": 0.94, "b": 0.92, "c": 0.4, "d": 0.94}  # top probabilities; a and d tie, both of class x


def both(tmp_path):
    return [make_run(tmp_path / "one", frame(SURE)), make_run(tmp_path / "two", frame(LESS), backend="torch")]


# ------------------------------------------------------------------------------------------------- who labels what


def test_the_teachers_of_a_fold_are_the_runs_that_held_it_out(tmp_path):
    runs = [*both(tmp_path), make_run(tmp_path / "three", frame(SURE), fold=1)]
    for order in (runs, runs[::-1]):
        found = group_teachers(order)
        assert {fold: [run.folder.name for run in group] for fold, group in found.items()} == {
            0: ["one", "two"],
            1: ["three"],
        }
    assert list(group_teachers(runs, [1])) == [1]


def test_teachers_that_cannot_be(tmp_path):
    runs = both(tmp_path)
    with pytest.raises(ValueError, match=r"no run held out the folds \[1\]; train and predict such runs, .*--fold 0$"):
        group_teachers(runs)
    assert list(group_teachers(runs, [0])) == [0]
    with pytest.raises(ValueError, match=r"--fold takes folds of the runs' table, 0 to 1; received \[3\]"):
        group_teachers(runs, [0, 3])
    with pytest.raises(ValueError, match="again are copies of one run; name one of them"):
        group_teachers([*runs, make_run(tmp_path / "again", frame(SURE))])
    other = make_run(tmp_path / "other", frame(SURE), fold=1, table=labelled(folds=(1, 0)))
    with pytest.raises(ValueError, match="must share rows, labels and folds"):
        group_teachers([*runs, other])
    with pytest.raises(ValueError, match=r"lacks \['z'\]"):
        group_teachers([*runs, make_run(tmp_path / "w", None, seed=1, classes=["x", "y", "w"])])
    with pytest.raises(FileNotFoundError, match=r"empty has no test\.csv; run: kcomp predict"):
        label_fold(0, [make_run(tmp_path / "empty", None)], threshold=0.5)
    fewer = make_run(tmp_path / "fewer", frame(SURE).iloc[:3], seed=4)
    with pytest.raises(ValueError, match=r"predict the same rows; \S+fewer/test.csv lacks 1 ids .*\['d'\]"):
        label_fold(0, [*runs, fewer], threshold=0.5)


def test_no_label_of_a_fold_comes_from_a_model_that_trained_on_its_held_out_rows(tmp_path):
    """Test row t<i> is a copy of labelled row r<i>. A teacher knows the labels of the rows it trained on by heart, and
    gives those that it held out a wrong one; so a label of r<i> in the fold of r<i> can only be leaked."""
    table, truth = labelled([f"r{number}" for number in range(24)]), [number % 3 for number in range(24)]
    copies = [f"t{number}" for number in range(24)]
    runs = []
    for fold in (0, 1):
        said = [(label + (number % 2 == fold)) % 3 for number, label in enumerate(truth)]
        test = pd.DataFrame(0.9 * np.eye(3)[said] + 0.1 / 3, copies, CLASSES)
        runs += [make_run(tmp_path / f"{fold}{s}", test, fold=fold, seed=s, table=table) for s in (0, 1)]
    random.Random(0).shuffle(runs)
    found = [label_fold(fold, group, threshold=0.9) for fold, group in group_teachers(runs).items()]
    for hard in (True, False):
        rows = join_rows(found, unlabelled(copies), hard=hard)
        write_pseudo(tmp_path / "pseudo.csv", rows, CLASSES, table.fingerprint())
        whole = data.with_pseudo(table, tmp_path / "pseudo.csv", test=unlabelled(copies))
        for fold in (0, 1):
            training, held_out = data.split(whole, fold)
            assert training.ids == [f"r{n}" for n in range(24) if n % 2 != fold] + sorted(f"pseudo/{t}" for t in copies)
            assert held_out.ids == [f"r{n}" for n in range(24) if n % 2 == fold]
            given = dict(zip(training.ids, training.labels.argmax(1), strict=True))
            for number, label in enumerate(truth):
                assert (given[f"pseudo/t{number}"] == label) == (number % 2 != fold)


# --------------------------------------------------------------------------------------------- which rows are taken


@pytest.mark.parametrize(
    ("threshold", "per_class", "taken"),
    [
        (0.93, None, ["a", "d"]),
        (0.9, None, ["a", "d", "b"]),
        (0.9, 1, ["a", "b"]),
        (0.0, 1, ["a", "b", "c"]),  # c: 0.3, 0.3, 0.4, so of class z
        (0.0, 2, ["a", "d", "b", "c"]),
    ],
)
def test_thresholds_and_quotas_by_hand(tmp_path, threshold, per_class, taken):
    found = label_fold(0, both(tmp_path), threshold=threshold, per_class=per_class)
    assert list(found.chosen_ids) == taken
    assert found.test.max(axis=1).to_dict() == pytest.approx(MEANS)


def test_where_nothing_is_sure_enough_the_highest_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no test row of fold 0 reaches the threshold 0\.99; .*0\.9400, of 'a'"):
        label_fold(0, both(tmp_path), threshold=0.99)


def test_order_of_runs_rows_and_classes_does_not_matter(tmp_path):
    others = []
    for name, rows, backend in (("two", LESS, "torch"), ("one", SURE, "jax")):
        turned = frame(rows).iloc[::-1][["z", "x", "y"]]
        others.append(make_run(tmp_path / "b" / name, turned, backend=backend, classes=["z", "x", "y"]))
    written = []
    for number, runs in enumerate((both(tmp_path), others)):
        [group] = group_teachers(runs, [0]).values()
        rows = join_rows([label_fold(0, group, threshold=0.9)], unlabelled(list("dcba")), hard=False)
        write_pseudo(tmp_path / f"{number}.csv", rows, CLASSES, "t" * 64)
        written.append((tmp_path / f"{number}.csv").read_text())
    assert written[0] == written[1]
    assert written[0].splitlines()[0] == "image_id,image,fold,teachers_table,x,y,z"
    assert [line.split(",")[0] for line in written[0].splitlines()[1:]] == ["a", "b", "d"]
    assert written[0].splitlines()[1].endswith(",0," + "t" * 16 + ",0.94,0.03,0.03")


def test_what_is_printed_by_hand(tmp_path):
    found = label_fold(0, both(tmp_path), threshold=0.9)
    assert [(line["of"], line["taken"], line["mean confidence"]) for line in count_by_class(found)] == [
        (2, 2, "0.9400"),
        (1, 1, "0.9200"),
        (1, 0, "-"),
    ]
    line = summarize_fold(found)  # of the held-out r0, r2, r4 only r0 is x, which the teachers say of all, with 0.92
    assert (line["runs"], line["taken"], line["held-out rows as confident"]) == (2, 3, "3 of 3")
    assert line["of them right"] == "0.3333" and line["mean confidence"] == pytest.approx((0.94 + 0.94 + 0.92) / 3)
    assert summarize_fold(label_fold(0, found.runs, threshold=0.93))["of them right"] == "-"


# ------------------------------------------------------------------------------------------------- tables with them


def written(tmp_path, rows, table=None, name="pseudo.csv"):
    """A file of pseudo-labels with rows of (image_id, fold, class), whose images exist."""
    for one, *_ in rows:
        cv2.imwrite(str(tmp_path / f"{one}.png"), np.zeros((4, 4, 3), np.uint8))
    made = pd.DataFrame([row[:2] for row in rows], columns=["image_id", "fold"])
    made["image"] = [str(tmp_path / f"{row[0]}.png") for row in rows]
    made[CLASSES] = np.eye(3)[[CLASSES.index(row[2]) for row in rows]]
    write_pseudo(tmp_path / name, made, CLASSES, (table or labelled()).fingerprint())
    return tmp_path / name


ROWS = [("a", 0, "x"), ("r1", 0, "y"), ("a", 1, "z")]


def test_rows_are_trained_on_in_their_fold_alone(tmp_path):
    table = labelled()
    whole = data.with_pseudo(table, written(tmp_path, ROWS))
    assert len(whole) == 6 and whole.fingerprint() == table.fingerprint() and whole.ids == table.ids
    training, held_out = data.split(whole, 0)
    assert held_out.ids == data.split(table, 0)[1].ids == ["r0", "r2", "r4"] and held_out.pseudo is None
    assert training.ids == ["r1", "r3", "r5", "pseudo/a", "pseudo/r1"]
    np.testing.assert_array_equal(training.labels[3:], [[1, 0, 0], [0, 1, 0]])
    assert training.labels.dtype == np.float32 and training.images[3] == str(tmp_path / "a.png")
    assert list(training.frame) == list(table.frame) and training.frame.fold.tolist()[3:] == [-1, -1]
    training, held_out = data.split(whole, 1)
    assert training.ids == ["r0", "r2", "r4", "pseudo/a"] and held_out.ids == ["r1", "r3", "r5"]
    np.testing.assert_array_equal(training.labels[3], [0, 0, 1])
    records = [whole.pseudo_record(fold) for fold in (0, 1)]
    assert [one["rows"] for one in records] == [2, 1] and table.pseudo_record(0) is None
    other = data.with_pseudo(table, written(tmp_path, [*ROWS[:2], ("a", 1, "y")], name="b.csv"))
    assert other.pseudo_record(0) == records[0] and other.pseudo_record(1) != records[1]


def test_images_lie_as_the_file_says_or_come_from_the_test_rows(tmp_path):
    path = written(tmp_path, ROWS)
    (tmp_path / "linked").symlink_to(tmp_path)
    assert "a,a.png,0," in path.read_text()
    found = data.with_pseudo(labelled(), tmp_path / "linked" / "pseudo.csv")
    assert {str(one) for one in found.pseudo["image"]} == {str(tmp_path / "a.png"), str(tmp_path / "r1.png")}
    (tmp_path / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 images are missing, first .*a\.png"):
        data.with_pseudo(labelled(), path)
    arrays = data.Table(pd.DataFrame({"image_id": ["a", "r1"], "image": [b"1", b"2"]}))
    rows = pd.DataFrame({"image_id": ["r1"], "fold": [0], "image": [b"2"], "x": [1.0], "y": [0.0], "z": [0.0]})
    write_pseudo(path, rows, CLASSES, labelled().fingerprint())
    assert data.with_pseudo(labelled(), path, test=arrays).pseudo["image"].tolist() == [b"2"]
    with pytest.raises(ValueError, match=r"names no image for 1 rows.*test=test\(config\)"):
        data.with_pseudo(labelled(), path)
    with pytest.raises(ValueError, match=r"1 pseudo-labelled ids are not among the test rows, first \['r1'\]"):
        data.with_pseudo(labelled(), path, test=arrays.rows(np.array([0])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("a,a.png,1", "a,a.png,0"), "'a' stands twice for fold 0"),
        (lambda text: text.replace("a,a.png,1", "a,a.png,2"), "the folds of this table are 0, 1; received 2"),
        (lambda text: text.replace(",x,y,z", ",x,y,w"), r"lacks the columns \['z'\]"),
        (lambda text: text.replace(",0.0,0.0,1.0", ",0.5,0.0,1.0"), "sum to 1; 1 row is not"),
    ],
)
def test_files_that_do_not_fit(tmp_path, change, message):
    path = written(tmp_path, ROWS)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        data.with_pseudo(labelled(), path)


def test_labels_made_for_other_folds_are_refused(tmp_path):
    path = written(tmp_path, ROWS)
    with pytest.raises(ValueError, match="models that never saw the rows a fold holds out: the teachers of"):
        data.with_pseudo(labelled(folds=(1, 0)), path)
    whole = data.with_pseudo(labelled(), path)
    with pytest.raises(ValueError, match="cut the folds first, then add them"):
        data.stratified_folds(whole, 2)
    turned = replace(whole, frame=whole.frame.assign(fold=labelled(folds=(1, 0)).frame["fold"]))
    with pytest.raises(ValueError, match="which must come last"):
        turned.pseudo_record(0)
    with pytest.raises(ValueError, match="cut them first"):
        data.with_pseudo(data.Table(labelled().frame.drop(columns="fold"), OneOf(tuple(CLASSES))), path)
    one_fold = data.with_pseudo(labelled(), written(tmp_path, ROWS[:2], name="b.csv"))
    with pytest.raises(ValueError, match=r"for the folds \[0\], none for fold 1; train and predict"):
        data.split(one_fold, 1)
    taken = pd.DataFrame(columns=["image_id", "image", "fold", "a"])
    with pytest.raises(ValueError, match=r"no class may be called \['fold'\]"):
        write_pseudo(path, taken, ["a", "fold"], "t")


def test_an_image_is_not_labelled_twice(tmp_path):
    path = written(tmp_path, ROWS)
    table = labelled()
    frame = table.frame.assign(image=pd.Series([str(tmp_path / "a.png"), *table.images[1:]], dtype=object))
    with pytest.raises(ValueError, match=r"of its images are labelled rows of the table, first 'a'"):
        data.with_pseudo(data.Table(frame, table.target), path)
    pixels = [np.full((4, 4, 3), number, np.uint8) for number in range(len(frame))]
    arrays = data.Table(frame.assign(image=pd.Series(pixels, dtype=object)), table.target)
    images = pd.Series([pixels[0].copy(), np.full((4, 4, 3), 99, np.uint8)], dtype=object)
    test = data.Table(pd.DataFrame({"image_id": ["a", "r1"], "image": images}))
    with pytest.raises(ValueError, match=r"2 of its images are labelled rows of the table, first 'a'"):
        data.with_pseudo(arrays, path, test=test)


# ------------------------------------------------------------------------------------------------- the command line

RECIPE = """
from dataclasses import dataclass
import keras
from keras import layers
from kcomp import data, models
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    epochs: int = 4
    pseudo: str = ""

def table(config):
    rows = data.read_csv("train.csv", images="images", label="label")
    rows = data.stratified_folds(rows, 2, seed=0)
    return data.with_pseudo(rows, config.pseudo) if config.pseudo else rows

def batches(config, rows, training, seed):
    return data.Batches(rows, 8, batch_size=16, training=training, seed=seed)

def model(config, target):
    x = inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(16, 3, 2, activation="relu", name="block0_conv")(layers.Rescaling(1 / 128, -1.0)(x))
    return models.classifier(keras.Model(inputs, x, name="tiny"), target, dropout=0.0)

def stages(config):
    return [Stage("all", config.epochs, "all", keras.optimizers.Adam(2e-2))]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="last")
"""


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    """A folder in which teachers and students of both backends were trained, on zeros and ones."""
    folder = tmp_path_factory.mktemp("students")
    (folder / "tiny.py").write_text(RECIPE)
    digits = data.sklearn_digits()
    chosen = np.flatnonzero(digits.labels[:, :2].sum(1))[:160]
    for name, rows in (("train", chosen[:80]), ("test", chosen[80:])):
        (folder / "images").mkdir(exist_ok=True)
        lines = [f"{digits.ids[row]},{'one' if digits.labels[row, 1] else 'zero'}" for row in rows]
        (folder / f"{name}.csv").write_text("\n".join(["image_id,label", *lines]) + "\n")
        for row in rows:
            cv2.imwrite(str(folder / "images" / f"{digits.ids[row]}.png"), digits.images[row])
    for backend in ("jax", "torch"):
        conftest.kcomp("train", "tiny.py", "--fold", "all", backend=backend, cwd=folder)
        runs = folder.glob(f"runs/tiny/*/{backend}-*")
        conftest.kcomp("predict", *runs, "--test", "test.csv", "--views", "none", backend=backend, cwd=folder)
    options = ("--test", "test.csv", "--threshold", "0.6", "-o", "pseudo.csv")
    printed = conftest.kcomp("pseudo", "runs", *options, cwd=folder).stdout
    for backend in ("jax", "torch"):
        conftest.kcomp(
            "train", "tiny.py", "--fold", "all", "--set", "pseudo=pseudo.csv", backend=backend, cwd=folder
        )  # fmt: skip
    return folder, printed


def runs_of(folder):
    """(student or not, backend, fold) -> run."""
    found = [Run(path.parent) for path in folder.glob("runs/tiny/*/*/manifest.json")]
    return {(bool(run.manifest["pseudo"]), run.manifest["backend"], run.manifest["fold"]): run for run in found}


def test_students_of_both_backends_are_judged_on_their_teachers_rows(students):
    folder, printed = students
    runs, made = runs_of(folder), pd.read_csv(folder / "pseudo.csv")
    assert len(runs) == 8 and len({run.manifest["table"] for run in runs.values()}) == 1
    for fold in (0, 1):
        records = [runs[True, backend, fold].manifest["pseudo"] for backend in ("jax", "torch")]
        assert records[0] == records[1] and records[0]["rows"] == (made.fold == fold).sum() > 20
        ids = [pd.read_csv(runs[student, "jax", fold] / "oof.csv").image_id.tolist() for student in (False, True)]
        assert ids[0] == ids[1] and not set(ids[1]) & set(made.image_id)
        mean = sum(runs[False, backend, fold].probabilities("test") for backend in ("jax", "torch")) / 2
        own = made[made.fold == fold].set_index("image_id")
        top = mean.loc[own.index, ["one", "zero"]]
        assert set(own.index) == set(mean.index[mean.max(axis=1) >= 0.6])
        np.testing.assert_array_equal(own[["one", "zero"]], np.eye(2)[top.to_numpy().argmax(1)])
    assert f"pseudo.csv: {len(made)} rows with hard labels" in printed and "held-out rows as confident" in printed
    done = conftest.kcomp("ensemble", "runs", cwd=folder)
    assert "Scores on 80 held-out rows" in done.stdout and "mean of 4" in done.stdout
    done = conftest.kcomp("ensemble", "runs", "--group-by", "value,backend", cwd=folder)
    # members are sorted by fingerprint, which differs from one version of the code to the next
    pairs = done.stdout.count("pseudo=; pseudo=pseudo.csv") + done.stdout.count("pseudo=pseudo.csv; pseudo=")
    assert pairs == 2 and done.stdout.count(" jax,torch ") == 2


def test_other_labels_are_another_experiment_and_other_folds_a_leak(students, tmp_path):
    folder, _ = students
    student, teacher = runs_of(folder)[True, "torch", 0], runs_of(folder)[False, "torch", 1]
    kept = (folder / "pseudo.csv").read_text()
    (folder / "pseudo.csv").write_text("\n".join([*kept.splitlines()[:1], *kept.splitlines()[3:]]) + "\n")
    train = ("train", "tiny.py", "--set", "pseudo=pseudo.csv", "--fold", "0", "--backend", "torch")
    done = conftest.kcomp(*train, cwd=folder, check=False)
    (folder / "pseudo.csv").write_text(kept)
    assert done.returncode == 1 and "holds a run with pseudo {'rows': " in done.stderr, done.stderr
    assert "is complete" in conftest.kcomp(*train, cwd=folder).stdout and student.complete
    done = conftest.kcomp(*train, "--from", teacher.folder, cwd=folder, check=False)
    assert done.returncode == 1 and "was trained on rows that fold 0 holds out" in done.stderr
    done = conftest.kcomp("pseudo", teacher.folder, "--test", "test.csv", "-o", "b.csv", cwd=folder, check=False)
    assert done.returncode == 1 and "no run held out the folds [0]" in done.stderr and not (folder / "b.csv").exists()
