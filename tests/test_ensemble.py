"""Joining predictions by id and class name."""

import dataclasses
import json

import conftest
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcomp import metrics
from kcomp.ensembles import CALIBRATIONS, METHODS, TREES
from kcomp.ensembles.joins import join_held_out, join_test_predictions
from kcomp.ensembles.members import build_members, check_same_table, read_labels, shared_target
from kcomp.ensembles.methods.calibration import Temperature
from kcomp.ensembles.printing import describe_gain, print_diversity, print_framework_gain
from kcomp.ensembles.scoring.ensemble import score_ensemble
from kcomp.metrics import significance
from kcomp.metrics.scores import Scorer
from kcomp.metrics.significance import Interval
from kcomp.runs.folder import Run, find
from kcomp.runs.probabilities import read_probabilities, write_probabilities
from kcomp.targets import OneOf

CLASSES = ["x", "y", "z"]
QUICK = [method for method in METHODS if method not in TREES]  # test_trees.py has the others
NAMES = ("accuracy", "log_loss", "macro_f1", "roc_auc")
SCORERS = {name: Scorer(metrics.get(name), OneOf(("x", "y", "z"))) for name in NAMES}


def probabilities(rows, seed):
    return np.random.default_rng(seed).dirichlet(np.ones(3), rows)


def make_run(folder, *, backend="jax", seed=0, fold=0, repeat=0, classes=CLASSES, table="t", oof=None, test=None):
    folder.mkdir(parents=True)
    manifest = {
        "recipe": "r",
        "fingerprint": "f",
        "backend": backend,
        "seed": seed,
        "fold": fold,
        "repeat": repeat,
        "classes": classes,
        "table": table,
        "target": {"target": "one class", "classes": classes},
        "metric": "log_loss",
        "scores": ["log_loss", "accuracy"],
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


def mean_of_tests(members):
    frames = join_test_predictions(members)
    return np.mean([frame.to_numpy() for frame in frames], 0)


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
    members = build_members(runs)
    np.testing.assert_allclose(mean_of_tests(members), expected)
    for order in (runs, runs[::-1]):
        assert [one.name for one in build_members(order)] == ["r f jax seed 0", "r f torch seed 0"]
    rows = join_held_out(members)
    judged = score_ensemble(rows, SCORERS["log_loss"])
    both = (members[0].predictions + members[1].predictions) / 2
    guess = both.to_numpy().argmax(1)
    assert list(rows.ids) == sorted(IDS) and rows.own_folds and judged.parts == 0
    assert rows.parts.tolist() == [0 if int(i[1:]) < 6 else 1 for i in rows.ids]
    assert judged.ensemble["accuracy"] == np.mean(guess == [int(i[1:]) % 3 for i in both.index])


def test_each_repeat_of_repeated_folds_is_a_member(tmp_path):
    """Two folds, twice: folds 0 and 1, then 2 and 3, which hold out the same rows in other halves."""
    halves = {0: IDS[:6], 1: IDS[6:], 2: IDS[::2], 3: IDS[1::2]}
    runs = [
        make_run(tmp_path / str(fold), fold=fold, repeat=fold // 2, oof=frame(ids, fold), test=frame(["t1"], fold))
        for fold, ids in halves.items()
    ]
    members = build_members(runs[::-1])
    assert [(member.name, len(member.runs)) for member in members] == [
        ("r f jax seed 0", 2),
        ("r f jax seed 0 repeat 1", 2),
    ]
    rows = join_held_out(members)
    assert rows.values.shape == (2, 12, 3) and not rows.own_folds
    for number, member in enumerate(members):
        expected = pd.concat([run.probabilities("oof") for run in member.runs]).loc[rows.ids, CLASSES]
        np.testing.assert_allclose(rows.values[number], expected)
    expected = sum(run.probabilities("test").to_numpy() for run in runs) / 4
    np.testing.assert_allclose(mean_of_tests(members), expected)


def shuffled(run, folder, random):
    """The same run with other orders of rows and columns in its files."""
    columns, frames = random.sample(CLASSES, 3), {}
    for name in ("oof", "test"):
        found = run.probabilities(name)
        frames[name] = found.loc[random.sample(list(found.index), len(found)), columns]
    kept = run.manifest
    return make_run(
        folder, backend=kept["backend"], fold=kept["fold"], seed=kept["seed"], classes=kept["classes"], **frames
    )


@settings(max_examples=15, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from(QUICK),
    st.sampled_from(NAMES),
    st.sampled_from([None, *CALIBRATIONS]),
)
def test_order_of_runs_rows_and_classes_does_not_matter(tmp_path_factory, random, method, metric, calibrate):
    tmp_path = tmp_path_factory.mktemp("runs")
    plain = two_backends(tmp_path / "a")
    others = [shuffled(run, tmp_path / "b" / run.folder.name, random) for run in plain]
    random.shuffle(others)
    judged, written = [], []
    for runs in (plain, others):
        members = build_members(runs)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(significance, "METRIC_RESAMPLES", 20)
            judged.append(score_ensemble(join_held_out(members), SCORERS[metric], method=method, calibrate=calibrate))
        frames = join_test_predictions(members, calibrators=judged[-1].fitted.calibrators)
        blended = judged[-1].fitted.combine([frame.to_numpy() for frame in frames])
        written.append(pd.DataFrame(blended, frames[0].index, frames[0].columns))
    np.testing.assert_allclose(written[1].loc[written[0].index, written[0].columns], written[0], rtol=1e-12)
    assert judged[0].ensemble == pytest.approx(judged[1].ensemble, rel=1e-12, nan_ok=True)
    for name, interval in judged[0].gain.intervals.items():
        other = judged[1].gain.intervals[name]
        assert dataclasses.astuple(interval) == pytest.approx(dataclasses.astuple(other), abs=1e-12, nan_ok=True)


def test_probabilities_survive_the_file(tmp_path):
    values = probabilities(50, 1).astype(np.float32)
    write_probabilities(tmp_path / "test.csv", [str(i) for i in range(50)], CLASSES, values)
    assert (read_probabilities(tmp_path / "test.csv").to_numpy().astype(np.float32) == values).all()


def test_disagreements_name_the_run_and_what_differs(tmp_path):
    one = make_run(tmp_path / "one", oof=frame(IDS, 0), test=frame(["t1"], 0))
    other = make_run(tmp_path / "other", classes=["x", "y", "w"], oof=frame(IDS, 1), test=frame(["t2"], 0))
    with pytest.raises(ValueError, match=r"other lacks \['z'\] and has \['w'\]"):
        shared_target([one, other])
    ids = make_run(tmp_path / "ids", seed=1, oof=frame(IDS, 1), test=frame(["t2"], 0))
    with pytest.raises(
        ValueError,
        match=r"same rows; \S+ids/test.csv lacks 1 ids that \S+one/test.csv has, first \['t1'\] \(--allow-partial",
    ):
        join_test_predictions(build_members([one, ids]))
    with pytest.raises(ValueError, match="hold out different rows; 'r0' is held out by"):
        build_members([one, make_run(tmp_path / "again", oof=frame(IDS, 1))])
    with pytest.raises(ValueError, match="share rows, labels and folds"):
        check_same_table([one, make_run(tmp_path / "table", table="u")])
    with pytest.raises(FileNotFoundError, match=r"no test.csv; run: kcomp predict"):
        join_test_predictions(build_members([make_run(tmp_path / "empty", seed=2, oof=frame(IDS, 1))]))
    (tmp_path / "one" / "test.csv").write_text("image_id,x,y,z\nt1,0.5,,0.5\n")
    with pytest.raises(ValueError, match="1 rows hold NaN or infinity, first 't1'"):
        join_test_predictions(build_members([one]))
    (tmp_path / "ids" / "oof.csv").write_text("image_id,x,y,z\nr0,0.5,0.5,0.5\n")
    with pytest.raises(ValueError, match=r"ids/oof.csv has invalid predictions: .*sum to 1; 1 row is not, first 'r0'"):
        build_members([one, ids])


def test_missing_labels_of_several_labels_are_read(tmp_path):
    run = make_run(tmp_path / "several", oof=frame(["r0", "r1"], 0))
    run = with_target(run, {"target": "several labels", "classes": CLASSES})
    (run / "oof.csv").write_text("image_id,x,y,z\nr0,0.5,0.9,0.5\nr1,0.1,0.2,0.3\n")
    (run / "labels.csv").write_text("image_id,x,y,z\nr0,1.0,,0.0\nr1,0.0,1.0,1.0\n")
    assert build_members([run])[0].predictions.loc["r0"].tolist() == [0.5, 0.9, 0.5]
    assert read_labels([run]).loc["r0"].isna().tolist() == [False, True, False]
    (run / "oof.csv").write_text("image_id,x,y,z\nr0,0.5,1.5,0.5\nr1,0.1,0.2,0.3\n")
    with pytest.raises(ValueError, match=r"oof.csv has invalid predictions: each probability .* first 'r0'"):
        build_members([run])


def with_target(run, target):
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"target": target}))
    return run


def test_a_row_has_one_label(tmp_path):
    members = build_members(two_backends(tmp_path))
    assert join_held_out(members).labels.sum() == len(IDS)
    text = (tmp_path / "torch-1" / "labels.csv").read_text()
    (tmp_path / "torch-1" / "labels.csv").write_text(text.replace("r7,0.0,1.0,0.0", "r7,1.0,0.0,0.0"))
    with pytest.raises(ValueError, match=r"torch-1/labels.csv differs from the runs before it in 1 rows.*'r7'"):
        join_held_out(members)
    (tmp_path / "torch-1" / "labels.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"torch-1 has no labels\.csv"):
        join_held_out(members)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,x,y,z\nt1,nan,0.5,0.5\n", "the column 'x' must hold numbers; row 't1' has 'nan'"),
        ("image_id,x,y,z\n", "has no rows"),
    ],
)
def test_tables_that_are_no_predictions(tmp_path, text, message):
    (tmp_path / "test.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_probabilities(tmp_path / "test.csv")


def test_one_damaged_run_is_listed_as_such_and_named_by_an_ensemble(tmp_path):
    two_backends(tmp_path)
    (tmp_path / "jax-1" / "manifest.json").write_text('{"recipe": "r"}')
    done = conftest.kcomp("runs", ".", cwd=tmp_path)
    assert done.stdout.count("damaged") == 1 and done.stdout.count("torch") >= 2
    done = conftest.kcomp("ensemble", tmp_path, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "jax-1/manifest.json is damaged: it lacks fingerprint, backend" in done.stderr


def partial_runs(tmp_path):
    """A JAX member with both folds, and a PyTorch member with the second alone and one test row fewer."""
    runs = [
        make_run(
            tmp_path / f"jax{fold}",
            fold=fold,
            oof=frame(IDS[6 * fold : 6 * fold + 6], fold),
            test=frame(["t", "u", "v"], 1),
        )
        for fold in (0, 1)
    ]
    return [
        *runs,
        make_run(tmp_path / "torch1", backend="torch", fold=1, oof=frame(IDS[6:], 2), test=frame(["v", "t"], 2)),
    ]


def test_members_that_miss_rows_are_refused_or_judged_on_the_common_rows(tmp_path):
    members = build_members(partial_runs(tmp_path))
    with pytest.raises(
        ValueError, match=r"r f torch seed 0 \(\S+torch1\) lacks 6 ids that .*first \['r0', 'r1', 'r2'\]"
    ):
        join_held_out(members)
    with pytest.raises(ValueError, match=r"torch1/test.csv lacks 1 ids that \S+jax0/test.csv has, first \['u'\]"):
        join_test_predictions(members)
    rows = join_held_out(members, partial=True)
    assert list(rows.ids) == ["r10", "r11", "r6", "r7", "r8", "r9"] and not rows.own_folds
    np.testing.assert_array_equal(rows.values[1], members[1].predictions)
    np.testing.assert_array_equal(rows.values[0], members[0].predictions.loc[rows.ids])
    found = join_test_predictions(members, partial=True)
    assert [list(one.index) for one in found] == [["t", "v"]] * 2
    np.testing.assert_allclose(found[0], members[0].runs[0].probabilities("test").loc[["t", "v"]])
    assert join_held_out(build_members([members[0].runs[0], members[1].runs[0]]), partial=True) is None


def test_runs_that_start_from_a_run_of_their_own_fold_are_one_member(tmp_path):
    donors = {"fingerprint": "0123456789ab", "seed": 0}
    for run, sha in zip(two_backends(tmp_path)[:2], ("aa" * 32, "bb" * 32), strict=True):
        kept = run.manifest | {"from": donors | {"sha256": sha}}
        (run / "manifest.json").write_text(json.dumps(kept))
    runs = [Run(tmp_path / "jax-0"), Run(tmp_path / "jax-1")]
    assert runs[0].name != runs[1].name and [len(one.runs) for one in build_members(runs)] == [2]
    assert build_members(runs)[0].backend == "jax-from-01234567"


def test_places_that_cannot_be_written_are_refused_first(tmp_path):
    two_backends(tmp_path)
    (tmp_path / "note").write_text("a file")
    for command, output, message in (
        ("ensemble", "jax-0", "is a folder; name a file"),
        ("ensemble", "note/x.csv", "note is a file; name another"),
        ("predict", "note", "note is a file; name another"),
        ("export", "note/x.onnx", "note is a file; name another"),
    ):
        done = conftest.kcomp(
            command, "jax-0", *["torch-0"] * (command != "export"), "-o", output, cwd=tmp_path, check=False
        )
        assert done.returncode == 2 and message in done.stderr and not done.stdout, done.stderr


def test_test_rows_that_are_left_out_are_told(tmp_path):
    runs = two_backends(tmp_path)
    kept = (runs[0] / "test.csv").read_text().splitlines()
    (runs[0] / "test.csv").write_text("\n".join(kept[:-1]) + "\n")
    names = [run.folder.name for run in runs]
    done = conftest.kcomp("ensemble", *names, "--allow-partial", "-o", "mean.csv", cwd=tmp_path)
    assert "1 test rows are left out" in done.stderr and "mean.csv: 1 rows" in done.stdout


def test_temperatures_are_applied_to_each_run_before_its_mean(tmp_path):
    member = build_members(partial_runs(tmp_path))[0]
    expected = []
    for run in member.runs:
        powers = run.probabilities("test").to_numpy() ** 2
        expected.append(powers / powers.sum(1, keepdims=True))
    [found] = join_test_predictions([member], calibrators=[Temperature(0.5, member.runs[0].target)])
    np.testing.assert_allclose(found, sum(expected) / 2)


def test_the_command(tmp_path):
    runs = partial_runs(tmp_path / "runs")
    refused = conftest.kcomp("ensemble", tmp_path / "runs", cwd=tmp_path, check=False)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1 and "torch1" in refused.stderr
    options = [
        "--allow-partial",
        "--method",
        "greedy",
        "--metric",
        "accuracy",
        "--calibrate",
        "temperature",
        "-o",
        "out.csv",
    ]
    done = conftest.kcomp("ensemble", tmp_path / "runs", *options, cwd=tmp_path)
    for text in (
        "Scores on 6 held-out rows",
        "greedy of 2",
        "5 parts (stratified)",
        "The members decide differently in",
        "greedy of 2 against the best member (",
        "greedy of 2 against the plain mean, with the 95 % interval over rows:",
        "that the plain mean has wrong",
        "temperature",
        "weight",
    ):
        assert text in done.stdout
    assert set(pd.read_csv(tmp_path / "out.csv").image_id) == {"t", "v"}
    (runs[2].folder / "result.json").unlink()
    assert "not complete" in conftest.kcomp("ensemble", tmp_path / "runs", cwd=tmp_path, check=False).stderr


def test_gains_read_well():
    texts = {
        (0.0104, 0.003, 0.0243): "better by 0.0104 [+0.0030, +0.0243]",
        (-0.0104, -0.02, 0.01): "worse by 0.0104 [-0.0200, +0.0100], may be chance",
        (-0.00001, -0.00002, 0.0): "equal to four digits [0.0000, 0.0000], may be chance",
        (float("nan"),) * 3: "not defined",
    }
    for numbers, text in texts.items():
        assert describe_gain(Interval(*numbers, 10)) == text


def test_members_that_are_equal_or_cannot_be_compared_are_named(tmp_path, capsys):
    values = np.stack([probabilities(4, seed) for seed in (0, 1, 0)])
    print_diversity(values, OneOf(("x", "y", "z")))
    printed = capsys.readouterr().out
    assert "How much the members differ. Below the diagonal" in printed and "Members 1 and 3 predict exactly" in printed
    print_framework_gain([])
    assert not capsys.readouterr().out


def test_find(tmp_path):
    two_backends(tmp_path / "deep" / "er")
    assert [run.folder.name for run in find(tmp_path)] == ["jax-0", "jax-1", "torch-0", "torch-1"]
    assert len(find(tmp_path / "deep" / "er" / "jax-0")) == 1 and find(tmp_path / "none") == []


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
    np.testing.assert_allclose(mean_of_tests(build_members(runs)), expected)
