"""Submissions: the shape that a sample shows, and what does not fit it."""

import json
from dataclasses import replace

import conftest
import numpy as np
import pandas as pd
import pytest
from test_ensemble import make_run

from kcomp.ensembles.corrections.apply import Corrections
from kcomp.ensembles.decisions import ScoredDecisions
from kcomp.ensembles.submission.build import average_runs, like_sample, with_decisions
from kcomp.ensembles.submission.cells import Choices
from kcomp.ensembles.submission.sample import read_sample
from kcomp.ensembles.submission.variants import variants_of
from kcomp.metrics.decisions import CutPoints, Thresholds
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities
from kcomp.targets import AnyOf, Grades, Numbers, OneOf
from kcomp.targets.guess import guess_target

ONE = OneOf(("cat", "dog", "owl"))
TWO = OneOf(("ants", "bees"))
SEVERAL = AnyOf(("rust", "scab"))
PREDICTED = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
LABELS = np.array([[0.4, 0.9], [0.2, 0.1]])


def submission(tmp_path, target, values, text, ids=("a", "b"), **choices):
    """Write the sample `text`, and return the rows of the submission as texts, and the line about it."""
    (tmp_path / "sample.csv").write_text(text)
    predictions = pd.DataFrame(values, index=list(ids), columns=list(target.prediction_columns))
    sample = read_sample(tmp_path / "sample.csv", target.prediction_columns)
    made = like_sample(predictions, target, sample, Choices(**choices))
    return made.frame.to_csv(index=False, sep=sample.delimiter, lineterminator="|").strip("|"), made.note


@pytest.mark.parametrize(
    ("target", "values", "text", "choices", "expected", "note"),
    [
        (ONE, PREDICTED, "id,owl,cat,dog\nb,0,0,1\na,0,0,1\n", {},
         "id,owl,cat,dog|b,0.6,0.1,0.3|a,0.1,0.7,0.2", "a column for each class"),
        (ONE, PREDICTED, "id,Owl,CAT,dog \na.jpg,0,0,1\nb.jpg,0,0,1\n", {},
         "id,Owl,CAT,dog|a.jpg,0.1,0.7,0.2|b.jpg,0.6,0.1,0.3", "column"),
        (ONE, PREDICTED, "id;label\na;dog\nb;dog\n", {}, "id;label|a;cat|b;owl", "name of the most likely"),
        (ONE, PREDICTED, "id,label\na,0\nb,0\n", {}, "id,label|a,0|b,2", "0 cat, 1 dog, 2 owl"),
        (ONE, PREDICTED, "id,label\na,cat dog\nb,cat dog\n", {}, "id,label|a,cat dog|b,owl dog", "2 most likely"),
        (TWO, [[0.7, 0.3], [0.2, 0.8]], "id,label\na,0.5\nb,0.5\n", {}, "id,label|a,0.3|b,0.8", "of 'bees' (--pos"),
        (TWO, [[0.7, 0.3], [0.2, 0.8]], "id,label\na,0.5\nb,0.5\n", {"positive": "ants"},
         "id,label|a,0.7|b,0.2", "'ants'"),
        (TWO, [[0.7, 0.3], [0.2, 0.8]], "id,ants\na,0\nb,0\n", {}, "id,ants|a,0.7|b,0.2", "of 'ants'"),
        (TWO, [[0.7, 0.3], [0.2, 0.8]], "id,label\na,0\nb,0\n", {"metric_on": "columns"},
         "id,label|a,0.3|b,0.8", "'bees'"),
        (OneOf(("0", "1")), [[0.7, 0.3], [0.2, 0.8]], "id,label\na,0\nb,0\n", {}, "id,label|a,0|b,1", "name"),
        (SEVERAL, LABELS, "id,scab,rust\na,0.5,0.5\nb,0.5,0.5\n", {}, "id,scab,rust|a,0.9,0.4|b,0.1,0.2", "prob"),
        (SEVERAL, LABELS, "id,scab,rust\na,0,0\nb,0,1\n",
         {"metric_on": "decisions", "decisions": Thresholds((0.3, 0.95))}, "id,scab,rust|a,0,1|b,0,0", "0 or 1"),
        (SEVERAL, LABELS, "id,labels\na,scab|rust\nb,scab\n", {}, "id,labels|a,scab|b,", "by 0.5; 1 rows have no"),
        (SEVERAL, LABELS, "id,labels\na,scab rust\nb,scab\n", {"decisions": Thresholds((0.3, 0.05))},
         "id,labels|a,rust scab|b,scab", "fitted out of fold"),
        (Numbers(("cards",)), [[1.5], [2.25]], "id,cards\na,1\nb,1\n", {}, "id,cards|a,1.5|b,2.25", "number"),
        (Numbers(("cards",)), [[1.5], [2.25]], "id,target\na,0\nb,0\n", {}, "id,target|a,1.5|b,2.25", "'cards'"),
        (Grades(("0", "1", "2")), [[0.6], [1.7]], "id,diagnosis\na,0\nb,0\n", {},
         "id,diagnosis|a,1|b,2", "a grade, rounded"),
        (Grades(("0", "1", "2")), [[0.6], [1.7]], "id,grade\na,0\nb,0\n", {"decisions": CutPoints((0.7, 1.8))},
         "id,grade|a,0|b,1", "cut points"),
        (Grades(("none", "mild", "bad")), [[0.6], [1.7]], "id,grade\na,0\nb,0\n", {}, "id,grade|a,1|b,2", "position"),
        (Grades(("none", "mild", "bad")), [[0.6], [1.7]], "id,grade\na,bad\nb,bad\n", {},
         "id,grade|a,mild|b,bad", "a grade"),
        (Grades(("0", "1", "2")), [[0.6], [1.7]], "id,grade\na,0.5\nb,0.5\n", {}, "id,grade|a,0.6|b,1.7", "expected"),
        (SEVERAL, LABELS, "id_label,p\nb_rust,0\na_scab,0\na_rust,0\nb_scab,0\n", {},
         "id_label,p|b_rust,0.2|a_scab,0.9|a_rust,0.4|b_scab,0.1", "each id and class"),
        (SEVERAL, LABELS, "id,label,p\na,rust,0\na,scab,0\nb,rust,0\nb,scab,0\n", {},
         "id,label,p|a,rust,0.4|a,scab,0.9|b,rust,0.2|b,scab,0.1", "each id and class"),
    ],
)  # fmt: skip
def test_shapes(target, values, text, choices, expected, note, tmp_path):
    written, line = submission(tmp_path, target, values, text, **choices)
    assert written == expected and note in line


@pytest.mark.parametrize(
    ("target", "values", "text", "message"),
    [
        (ONE, PREDICTED, "id,label\na,0.5\nb,0.5\n", r"column 'label' holds \['0.5'\], which are neither among the"),
        (ONE, PREDICTED, "id,label\na,7\nb,0\n", r"holds \['7', '0'\]"),
        (ONE, PREDICTED, "id,cat,dog,owl\na,0,0,1\nq,0,0,1\nr,0,0,1\n",
         r"2 ids not predicted, first \['q', 'r'\]; 1 id predicted but not in the sample, first \['b'\]"),
        (ONE, PREDICTED, "id,cat,dog,cow\na,0,0,1\nb,0,0,1\n",
         r"columns that are not predicted: 1, first \['cow'\]; it lacks the predicted columns: 1, first \['owl'\]"),
        (ONE, PREDICTED * 2, "id,cat,dog,owl\na,0,0,1\nb,0,0,1\n", "sum to 1"),
        (ONE, PREDICTED - 1, "id,cat,dog,owl\na,0,0,1\nb,0,0,1\n", "between 0 and 1; 2 rows are not"),
        (ONE, PREDICTED, "id,cat,dog,owl\na,0,0,1\na,0,0,1\n", "'a' twice"),
        (ONE, PREDICTED, "id\na\nb\n", "a column to fill"),
        (SEVERAL, LABELS, "id,labels\na,mould rust\nb,rust\n", r"holds \['mould'\], which are not among the labels"),
    ],
)  # fmt: skip
def test_what_does_not_fit(target, values, text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        submission(tmp_path, target, values, text)


def test_target_of_a_csv():
    assert guess_target(["a", "b"], np.array([[0.5, 0.5]])) == OneOf(("a", "b"))
    assert guess_target(["a", "b"], np.array([[0.5, 0.9]])) == AnyOf(("a", "b"))
    assert guess_target(["a", "b"], np.array([[0.5, 1.9]])) == Numbers(("a", "b"))
    assert guess_target(["a"], np.array([[0.5]])) == Numbers(("a",))


def frame(ids, values, columns=("x", "y", "z")):
    return pd.DataFrame(values, pd.Index(ids, name="image_id"), list(columns))


def test_the_mean_of_runs(tmp_path):
    """Two folds of one member count as much as the one run of the other."""
    one, two, three = [0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.1, 0.1, 0.8]
    for name, backend, fold, values in (("a", "jax", 0, one), ("b", "jax", 1, two), ("c", "torch", 0, three)):
        oof = frame([f"r{fold}"], [values])
        make_run(tmp_path / "runs" / name, backend=backend, fold=fold, oof=oof, test=frame(["t"], [values]))
    (tmp_path / "sample.csv").write_text("id,x,y,z\nt.png,0,0,1\n")
    done = conftest.kcomp("submit", "runs", "--sample", "sample.csv", "-o", "s.csv", cwd=tmp_path)
    assert "1 row of the mean of 3 runs; columns id, x, y, z" in done.stdout
    written = pd.read_csv(tmp_path / "s.csv")
    assert written["id"].tolist() == ["t.png"]
    np.testing.assert_allclose(written[["x", "y", "z"]].to_numpy(), [[0.35, 0.15, 0.5]], atol=1e-9)


def test_thresholds_are_fitted_on_held_out_rows(tmp_path):
    """The held-out rows are separable at 0.25 in `x` and at 0.65 in `y`."""
    columns, rows = ("x", "y"), [[0.2, 0.5], [0.3, 0.6], [0.4, 0.7], [0.1, 0.8]]
    values, labels = np.array(rows), np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    for fold in (0, 1):
        ids = [f"r{fold}{number}" for number in range(4)]
        run = make_run(tmp_path / "runs" / str(fold), fold=fold, classes=list(columns))
        write_probabilities(run / "oof.csv", ids, columns, values)
        write_probabilities(run / "labels.csv", ids, columns, labels)
        write_probabilities(run / "test.csv", ["a", "b"], columns, np.array([[0.26, 0.64], [0.24, 0.66]]))
        manifest = json.loads((run / "manifest.json").read_text())
        changed = {**manifest, "metric": "macro_f1", "target": AnyOf(columns).to_json()}
        (run / "manifest.json").write_text(json.dumps(changed))
    (tmp_path / "sample.csv").write_text("id,labels\na,x y\nb,x\n")
    done = conftest.kcomp("submit", "runs", "--sample", "sample.csv", "-o", "s.csv", cwd=tmp_path)
    assert "thresholds: 0.25, 0.65. By nested cross-validation macro_f1 is 1.0000, without them 0.4000" in done.stdout
    assert (tmp_path / "s.csv").read_text() == "id,labels\na,x\nb,y\n"


def test_the_stored_thresholds_of_one_run_are_applied(tmp_path):
    """A fit to the held-out rows would give 0.25 and 0.65; the run stored other thresholds."""
    columns, rows = ("x", "y"), [[0.2, 0.5], [0.3, 0.6], [0.4, 0.7], [0.1, 0.8]]
    ids = [f"r{number}" for number in range(4)]
    run = make_run(tmp_path / "run", classes=list(columns))
    write_probabilities(run / "oof.csv", ids, columns, np.array(rows))
    write_probabilities(run / "labels.csv", ids, columns, np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]))
    write_probabilities(run / "test.csv", ["a", "b"], columns, np.array([[0.11, 0.9], [0.1, 0.89]]))
    manifest = run.manifest | {"metric": "macro_f1", "target": AnyOf(columns).to_json()}
    (run / "manifest.json").write_text(json.dumps(manifest))
    scored = ScoredDecisions("macro_f1", Thresholds((0.11, 0.9)), plain=0.4, nested=0.5, optimistic=0.75, unseen=("y",))
    assert ScoredDecisions.from_json(json.loads(json.dumps(scored.to_json()))) == scored
    without = {name: value for name, value in scored.to_json().items() if name != "unseen"}
    assert ScoredDecisions.from_json(without) == replace(scored, unseen=())
    stored = {"scores": {}, "seconds": 1.0, "decisions": scored.to_json()}
    (run / "result.json").write_text(json.dumps(stored))
    choices, line = with_decisions(Choices(), [run])
    assert (choices.decisions, choices.metric_on) == (scored.decisions, "decisions")
    assert "thresholds: 0.11, 0.9. By nested cross-validation macro_f1 is 0.5000, without them 0.4000" in line
    (tmp_path / "sample.csv").write_text("id,labels\na,x y\nb,x\n")
    sample = read_sample(tmp_path / "sample.csv", columns)
    made = like_sample(average_runs([run]), run.target, sample, choices)
    assert made.frame["labels"].tolist() == ["x y", ""]


def test_nothing_is_written_on_an_error(tmp_path):
    make_run(tmp_path / "run", oof=frame(["r0"], [[0.5, 0.5, 0]]), test=frame(["a", "b"], [[0.5, 0.5, 0]] * 2))
    (tmp_path / "sample.csv").write_text("id,x,y,z\na,0,0,1\n")
    done = conftest.kcomp("submit", "run", "--sample", "sample.csv", "-o", "s.csv", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "1 id predicted but not in the sample, first ['b']" in done.stderr
    (tmp_path / "sample.csv").write_text("id,x,y,z\na,0,0,1\nc,0,0,1\n")
    done = conftest.kcomp(
        "submit", "run", "run2.csv", "--sample", "sample.csv", "-o", "s.csv", cwd=tmp_path, check=False
    )
    assert done.returncode == 2 and not (tmp_path / "s.csv").exists()


def test_images_of_predictions_that_exist(tmp_path):
    """A CSV cannot predict images, and a run that has predicted the sample's rows needs none."""
    make_run(tmp_path / "run", oof=frame(["r0"], [[0.5, 0.5, 0]]), test=frame(["a"], [[0.5, 0.5, 0]]))
    frame(["a"], [[0.5, 0.5, 0]]).to_csv(tmp_path / "mean.csv")
    (tmp_path / "sample.csv").write_text("id,x,y,z\na,0,0,1\n")
    (tmp_path / "unseen").mkdir()
    options = ["--images", "unseen", "--sample", "sample.csv", "-o", "s.csv"]
    done = conftest.kcomp("submit", "mean.csv", *options, cwd=tmp_path, check=False)
    assert done.returncode == 2 and not (tmp_path / "s.csv").exists()
    assert "--images needs runs" in done.stderr and done.stderr.count("\n") == 1
    done = conftest.kcomp("submit", "run", *options, cwd=tmp_path)
    assert done.stderr == "the existing predictions of the runs are used, and --images is not\n"
    assert (tmp_path / "s.csv").read_text() == "id,x,y,z\na,0.5,0.5,0.0\n"


RECIPE = """
from dataclasses import dataclass
import keras
import pandas as pd
from kcomp import data
from kcomp.recipe import Recipe

@dataclass(frozen=True)
class Config:
    ids: str = ""

def no_function(*arguments): raise RuntimeError("this function is not needed")

def test(config):
    ids = config.ids.split()
    return data.Table(pd.DataFrame({"image_id": ids, "image": ids}))

recipe = Recipe(
    Config(), table=no_function, batches=no_function, model=no_function, stages=no_function,
    test=TEST,
)
"""


def unpredicted(folder, backend, ids):
    """Make a run that has not predicted test rows; those of its recipe have these ids, or None for no test rows."""
    run = make_run(folder, backend=backend, oof=frame(["r0"], [[0.5, 0.5, 0]]))
    (run / "recipe").mkdir()
    (run / "recipe" / "r.py").write_text(RECIPE.replace("TEST", "None" if ids is None else "test"))
    (run / "config.json").write_text(json.dumps({"ids": " ".join(ids or [])}))
    return run


def submit_error(tmp_path, sample):
    """Return the error lines of a submission of `runs`, which starts no process."""
    (tmp_path / "sample.csv").write_text(sample)
    done = conftest.kcomp("submit", "runs", "--sample", "sample.csv", "-o", "s.csv", cwd=tmp_path, check=False)
    assert done.returncode == 1 and not (tmp_path / "s.csv").exists()
    return done.stderr


def test_ids_and_columns_are_checked_before_test_rows_are_predicted(tmp_path):
    unpredicted(tmp_path / "runs" / "a", "jax", ["t1", "t2", "t4"])
    unpredicted(tmp_path / "runs" / "b", "torch", ["t1", "t2", "t4"])
    error = submit_error(tmp_path, "id,x,y,w\nt1.png,0,0,1\nt3.png,0,0,1\n")
    assert error.startswith("kcomp: the predictions do not fit sample.csv: 1 id not predicted, first ['t3.png']; ")
    assert "2 ids predicted but not in the sample, first ['t2', 't4']" in error
    assert "columns that are not predicted: 1, first ['w']" in error and error.count("\n") == 1
    error = submit_error(tmp_path, "id,label\nt1,5\nt2,0\nt4,0\n")
    assert error == (
        "kcomp: the predictions do not fit sample.csv: the sample's column 'label' holds ['5', '0'], which are neither "
        "among the classes ['x', 'y', 'z'] nor numbers of classes\n"
    )


def test_a_recipe_without_test_rows_is_named_before_rows_are_predicted(tmp_path):
    unpredicted(tmp_path / "runs" / "a", "jax", None)
    error = submit_error(tmp_path, "id,x,y,z\nt1,0,0,1\n")
    assert "runs/a has not predicted the sample's rows, and its recipe has no test rows; name the folder" in error


def test_runs_may_spell_ids_differently(tmp_path):
    """One run predicted the ids of the sample, the other the names of the files."""
    for name, ids, values in (
        ("a", ["t1", "t2"], [[1.0, 0, 0], [0, 1, 0]]),
        ("b", ["t2.png", "t1.png"], [[0, 0, 1]] * 2),
    ):
        backend = {"a": "jax", "b": "torch"}[name]
        make_run(tmp_path / name, backend=backend, oof=frame(["r0"], [[0.5, 0.5, 0]]), test=frame(ids, values))
    mean = average_runs([Run(tmp_path / "a"), Run(tmp_path / "b")])
    assert mean.index.tolist() == ["t1", "t2"]
    assert mean.to_numpy().tolist() == [[0.5, 0, 0.5], [0, 0.5, 0.5]]


def test_variants_are_named_by_views_and_smoothing(tmp_path):
    plain, views = frame(["a"], [[0.95, 0.03, 0.02]]), frame(["a"], [[0.5, 0.3, 0.2]])
    smooth = Corrections(smooth=(0.1, 0.9))
    made = {
        path.name: (values, chosen.smooth)
        for path, values, chosen in variants_of({"plain": plain, "views": views}, smooth, tmp_path)
    }
    assert made == {
        "plain.csv": (plain, None),
        "plain-smoothed.csv": (plain, (0.1, 0.9)),
        "views.csv": (views, None),
        "views-smoothed.csv": (views, (0.1, 0.9)),
    }
    unsmoothed = variants_of({"plain": plain, "views": views}, Corrections(), tmp_path)
    assert [path.name for path, _, _ in unsmoothed] == ["plain.csv", "views.csv"]
    assert variants_of(plain, smooth, tmp_path / "s.csv") == [(tmp_path / "s.csv", plain, smooth)]


def test_variants_need_runs_and_a_folder(tmp_path):
    (tmp_path / "mean.csv").write_text("image_id,x,y,z\na,1,0,0\n")
    (tmp_path / "sample.csv").write_text("id,x,y,z\na,0,0,1\n")
    options = ["--sample", "sample.csv", "--variants"]
    done = conftest.kcomp("submit", "mean.csv", *options, "-o", "out", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "--variants needs runs" in done.stderr
    make_run(tmp_path / "run", oof=frame(["r0"], [[1, 0, 0]]), test=frame(["a"], [[1, 0, 0]]))
    done = conftest.kcomp("submit", "run", *options, "-o", "mean.csv", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "-o names a folder" in done.stderr
