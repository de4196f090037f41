"""Joining predictions by id and class name, and submissions against the sample."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcomp.ensemble import blending
from kcomp.ensemble.submission import like_sample, read_predictions
from kcomp.runs import Run, find, write_probabilities

CLASSES = ["x", "y", "z"]


def probabilities(rows, seed):
    return np.random.default_rng(seed).dirichlet(np.ones(3), rows)


def make_run(folder, *, backend="jax", seed=0, fold=0, classes=CLASSES, table="t", oof=None, test=None):
    folder.mkdir(parents=True)
    manifest = {
        "recipe": "r",
        "fingerprint": "f",
        "backend": backend,
        "seed": seed,
        "fold": fold,
        "classes": classes,
        "table": table,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "result.json").write_text(json.dumps({"scores": {"accuracy": 0.5}, "seconds": 1.0}))
    for name, frame in (("oof", oof), ("test", test)):
        if frame is not None:
            write_probabilities(folder / f"{name}.csv", list(frame.index), list(frame.columns), frame.to_numpy())
    if oof is not None:
        labels = np.eye(3)[[int(i[1:]) % 3 for i in oof.index]]
        write_probabilities(folder / "labels.csv", list(oof.index), CLASSES, labels)
    return Run(folder)


def frame(ids, seed, columns=CLASSES):
    return pd.DataFrame(probabilities(len(ids), seed), index=pd.Index(ids, name="image_id"), columns=CLASSES)[columns]


IDS = [f"r{number}" for number in range(12)]


def two_backends(tmp_path):
    runs = []
    for number, backend in enumerate(("jax", "torch")):
        for fold in (0, 1):
            oof = frame(IDS[fold * 6 : fold * 6 + 6], 10 * number + fold)
            test = frame(["t1", "t2"], 5 + number + fold)
            runs.append(make_run(tmp_path / f"{backend}-{fold}", backend=backend, fold=fold, oof=oof, test=test))
    return runs


def test_mean_of_probabilities_by_hand(tmp_path):
    runs = two_backends(tmp_path)
    expected = sum(run.probabilities("test").to_numpy() for run in runs) / 4
    np.testing.assert_allclose(blending.test_mean(blending.members(runs)).to_numpy(), expected)
    members = blending.members(runs)
    assert [member.name for member in members] == ["r f jax seed 0", "r f torch seed 0"]
    judged = blending.judge(members, blending.labels_of(runs))
    both = (members[0].probabilities + members[1].probabilities) / 2
    guess = both.to_numpy().argmax(1)
    assert judged.rows == 12
    assert judged.ensemble["accuracy"] == np.mean(guess == [int(i[1:]) % 3 for i in both.index])


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_runs_rows_and_classes_does_not_matter(tmp_path_factory, random):
    tmp_path = tmp_path_factory.mktemp("runs")
    plain, shuffled = two_backends(tmp_path / "a"), []
    for run in plain:
        columns = random.sample(CLASSES, 3)
        frames = {}
        for name in ("oof", "test"):
            found = run.probabilities(name)
            frames[name] = found.loc[random.sample(list(found.index), len(found)), columns]
        kept = run.manifest
        shuffled.append(
            make_run(
                tmp_path / "b" / run.folder.name, backend=kept["backend"], fold=kept["fold"], classes=columns, **frames
            )
        )
    random.shuffle(shuffled)
    first, second = (blending.test_mean(blending.members(runs)) for runs in (plain, shuffled))
    np.testing.assert_allclose(second.loc[first.index, first.columns], first, rtol=1e-12)
    scores = [blending.judge(blending.members(runs), blending.labels_of(runs)).ensemble for runs in (plain, shuffled)]
    assert scores[0] == pytest.approx(scores[1])


def test_probabilities_survive_the_file(tmp_path):
    values = probabilities(50, 1).astype(np.float32)
    write_probabilities(tmp_path / "test.csv", [str(i) for i in range(50)], CLASSES, values)
    assert (read_predictions(tmp_path / "test.csv").to_numpy().astype(np.float32) == values).all()


def test_disagreements_name_the_run_and_what_differs(tmp_path):
    one = make_run(tmp_path / "one", oof=frame(IDS, 0), test=frame(["t1"], 0))
    other = make_run(tmp_path / "other", classes=["x", "y", "w"], oof=frame(IDS, 1), test=frame(["t2"], 0))
    with pytest.raises(ValueError, match=r"other lacks \['z'\] and has \['w'\]"):
        blending.classes_of([one, other])
    ids = make_run(tmp_path / "ids", seed=1, oof=frame(IDS, 1), test=frame(["t2"], 0))
    with pytest.raises(ValueError, match=r"differ in 2 ids, first \['t1', 't2'\]"):
        blending.test_mean(blending.members([one, ids]))
    with pytest.raises(ValueError, match="hold out the same rows, first 'r0'"):
        blending.members([one, make_run(tmp_path / "again", oof=frame(IDS, 1))])
    with pytest.raises(ValueError, match="share table and folds"):
        blending.check_tables([one, make_run(tmp_path / "table", table="u")])
    with pytest.raises(FileNotFoundError, match=r"no test.csv; run: kcomp predict"):
        blending.test_frames([one, make_run(tmp_path / "empty")])
    (tmp_path / "one" / "test.csv").write_text("image_id,x,y,z\nt1,0.5,,0.5\n")
    with pytest.raises(ValueError, match="1 rows hold NaN or infinity, first 't1'"):
        blending.test_frames([one])


def test_members_that_share_no_row_are_not_judged(tmp_path):
    runs = [
        make_run(tmp_path / "a", oof=frame(IDS[:6], 0)),
        make_run(tmp_path / "b", backend="torch", fold=1, oof=frame(IDS[6:], 0)),
    ]
    assert blending.judge(blending.members(runs), blending.labels_of(runs)) is None


def test_find(tmp_path):
    two_backends(tmp_path / "deep" / "er")
    assert [run.folder.name for run in find(tmp_path)] == ["jax-0", "jax-1", "torch-0", "torch-1"]
    assert len(find(tmp_path / "deep" / "er" / "jax-0")) == 1 and find(tmp_path / "none") == []


# ------------------------------------------------------------------------------------------------------- submissions


def sample(tmp_path, text):
    (tmp_path / "sample.csv").write_text(text)
    return tmp_path / "sample.csv"


def test_a_submission_takes_the_samples_ids_order_and_columns(tmp_path):
    found = like_sample(frame(["b", "a"], 0), sample(tmp_path, "id,z,x,y\na,0,0,1\nb,0,0,1\n"))
    assert list(found.columns) == ["id", "z", "x", "y"] and found["id"].tolist() == ["a", "b"]
    np.testing.assert_allclose(found[CLASSES].to_numpy(), probabilities(2, 0)[::-1])


def test_a_sample_with_a_label_column_gets_names(tmp_path):
    found = like_sample(frame(["a", "b", "c"], 0), sample(tmp_path, "image_id,label\na,x\nb,x\nc,x\n"))
    assert found["label"].tolist() == [CLASSES[c] for c in probabilities(3, 0).argmax(1)]


def test_the_ensemble_that_is_written_is_the_one_that_is_judged(tmp_path):
    """Members count alike, however many folds each has."""
    runs = [
        make_run(
            tmp_path / f"{fold}", fold=fold, oof=frame(IDS[fold * 4 : fold * 4 + 4], fold), test=frame(["t"], fold)
        )
        for fold in (0, 1)
    ]
    runs.append(make_run(tmp_path / "torch", backend="torch", oof=frame(IDS, 7), test=frame(["t"], 7)))
    parts = [run.probabilities("test").to_numpy() for run in runs]
    expected = ((parts[0] + parts[1]) / 2 + parts[2]) / 2
    np.testing.assert_allclose(blending.test_mean(blending.members(runs)).to_numpy(), expected)


@pytest.mark.parametrize(
    ("text", "change", "message"),
    [
        ("id,label\na,0.5\nb,0.5\n", lambda p: p, r"column 'label' holds \['0.5'\], which are not of the classes"),
        ("id,x,y,z\na,0,0,1\nq,0,0,1\n", lambda p: p, r"1 missing ids, first \['q'\]; 1 surplus ids, first \['b'\]"),
        (
            "id,x,y,w\na,0,0,1\nb,0,0,1\n",
            lambda p: p,
            r"columns are \['x', 'y', 'w'\], the predictions' classes \['x', 'y', 'z'\]",
        ),
        ("id,x,y,z\na,0,0,1\nb,0,0,1\n", lambda p: p * 2, "do not sum to 1, first"),
        ("id,x,y,z\na,0,0,1\nb,0,0,1\n", lambda p: p - 1, "outside 0..1"),
        ("id,x,y,z\na,0,0,1\na,0,0,1\n", lambda p: p, "'a' twice"),
    ],
)
def test_a_submission_that_does_not_fit(tmp_path, text, change, message):
    with pytest.raises(ValueError, match=message):
        like_sample(change(frame(["a", "b"], 0)), sample(tmp_path, text))
