"""`kcomp ensemble --group-by`: which members belong together, and what each kind of ensemble gains and costs."""

import json
import math
import random

import conftest
import h5py
import numpy as np
import pandas as pd
import pytest

from kcomp import metrics
from kcomp.ensembles.grouping import find_groups, single_groups
from kcomp.ensembles.joins import join_held_out
from kcomp.ensembles.members import build_members
from kcomp.ensembles.scoring.ensemble import score_ensemble
from kcomp.ensembles.scoring.groups import cost_of, score_by_size, score_groups
from kcomp.metrics.scores import Scorer
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities
from kcomp.targets import OneOf

LOG_LOSS, ACCURACY = (Scorer(metrics.get(name), OneOf(("x", "y"))) for name in ("log_loss", "accuracy"))
IDS = ["r0", "r1", "r2", "r3"]  # of classes x, y, x, y; r0 and r1 are fold 0
EVEN, ODD, ALIKE = (0.9, 0.4, 0.9, 0.4), (0.4, 0.9, 0.4, 0.9), (0.8, 0.45, 0.8, 0.45)  # what the right class gets
LOSS_EVEN = -(math.log(0.9) + math.log(0.4)) / 2
LOSS_ALIKE = -(math.log(0.8) + math.log(0.45)) / 2
LOSS_BOTH = -math.log(0.65)  # of the mean of EVEN and ODD


def columns(right, rows):
    right = np.array(right)
    return np.stack([np.where(rows % 2 == 0, right, 1 - right), np.where(rows % 2 == 0, 1 - right, right)], 1)


def make_member(folder, right, *, recipe="r", backend="jax", seed=0, network=(3, 4), seconds=10.0, **values):
    """Two runs, of folds 0 and 1; the fingerprint is the recipe's name and its values."""
    values = {"rate": 0.1, "sizes": [8, 16]} | values
    fingerprint = f"{recipe}-{values['rate']}-{values['sizes'][0]}"
    for fold in (0, 1):
        run = folder / f"{fingerprint}-{backend}-{seed}-{network[1]}-fold{fold}"
        (run / "recipe").mkdir(parents=True)
        (run / "recipe" / f"{recipe}.py").write_text(f"# {recipe}")
        (run / "config.json").write_text(json.dumps(values))
        (run / "result.json").write_text(json.dumps({"scores": {}, "seconds": seconds}))
        kept = {"recipe": recipe, "fingerprint": fingerprint, "backend": backend, "seed": seed, "fold": fold}
        (run / "manifest.json").write_text(
            json.dumps(
                kept
                | {
                    "classes": ["x", "y"],
                    "table": "t",
                    "target": {"target": "one class", "classes": ["x", "y"]},
                    "metric": "log_loss",
                    "scores": ["log_loss"],
                }
            )
        )
        with h5py.File(run / "best.weights.h5", "w") as file:
            file["layers/dense/vars/0"] = np.zeros(network)
        rows = np.arange(2 * fold, 2 * fold + 2)
        write_probabilities(run / "oof.csv", [IDS[row] for row in rows], ["x", "y"], columns(right, np.arange(4))[rows])
        write_probabilities(run / "labels.csv", [IDS[row] for row in rows], ["x", "y"], np.eye(2)[rows % 2])
        write_probabilities(run / "test.csv", ["t"], ["x", "y"], [[right[0], 1 - right[0]]])


@pytest.fixture
def found(tmp_path):
    """Seven members: four of seeds and backends, two of other values, one of another recipe and network."""
    make_member(tmp_path, EVEN)
    make_member(tmp_path, ODD, seed=1, seconds=20.0)
    make_member(tmp_path, ALIKE, backend="torch")
    make_member(tmp_path, EVEN, backend="torch", seed=1)
    make_member(tmp_path, ALIKE, rate=0.2)
    make_member(tmp_path, ODD, rate=0.3, sizes=[32])
    make_member(tmp_path, ODD, recipe="q", network=(3, 1000))
    return members(tmp_path)


def members(folder, shuffle=None):
    runs = [Run(path.parent) for path in sorted(folder.glob("*/manifest.json"))]
    if shuffle is not None:
        random.Random(shuffle).shuffle(runs)
    return build_members(runs)


def told(found, kind):
    return [(one.name, one.levels, [found[place].name for place in one.members]) for one in find_groups(found, kind)]


def test_members_that_differ_only_in_their_seed_or_backend(found, tmp_path):
    jax, torch = ([f"r r-0.1-8 {backend} seed {seed}" for seed in (0, 1)] for backend in ("jax", "torch"))
    for shown in (found, members(tmp_path, shuffle=3)):
        assert told(shown, "seed") == [("r r-0.1-8 jax", "0,1", jax), ("r r-0.1-8 torch", "0,1", torch)]
        assert told(shown, "backend") == [
            (f"r r-0.1-8 seed {seed}", "jax,torch", [jax[seed], torch[seed]]) for seed in (0, 1)
        ]


def test_a_soup_is_no_framework_and_snapshots_are_several_models(found, tmp_path):
    make_member(tmp_path, EVEN, backend="jax-torch")
    [first, *others] = find_groups(members(tmp_path), "backend")
    assert [one.levels for one in (first, *others)] == ["jax,torch", "jax,torch"]
    for path in tmp_path.glob("q-*/result.json"):
        names = ["snapshots/1.weights.h5", "snapshots/2.weights.h5", "snapshots/3.weights.h5"]
        path.write_text(json.dumps({"scores": {}, "seconds": 5.0, "average": {"weights": names}}))
    [snapshots] = [one for one in members(tmp_path) if one.recipe == "q"]
    assert cost_of(snapshots.runs) == (6, 10.0)


def test_members_that_differ_in_values_of_one_recipe(found, tmp_path):
    names = ["r r-0.1-8 jax seed 0", "r r-0.2-8 jax seed 0", "r r-0.3-32 jax seed 0"]
    levels = "rate=0.1 sizes=8,16; rate=0.2 sizes=8,16; rate=0.3 sizes=32"
    assert told(found, "value") == [("r jax seed 0", levels, names)]
    fewer = [one for one in found if "0.3" not in one.fingerprint]
    assert told(fewer, "value") == [("r jax seed 0", "rate=0.1; rate=0.2", names[:2])]
    [edited] = [one for one in found if "0.2" in one.fingerprint]
    (edited.runs[0] / "recipe" / "r.py").write_text("# edited")  # another source is another recipe
    assert told(fewer, "value") == []


def test_members_of_other_recipes_and_networks(found, tmp_path):
    [group] = find_groups(found, "model")  # on PyTorch all have one recipe and one network
    assert (group.name, group.levels) == ("jax seed 0", "q, r x3")
    make_member(tmp_path / "wide", EVEN, backend="torch", rate=0.9, network=(3, 500))
    more = [*found, *members(tmp_path / "wide")]
    assert told(more, "model")[1][:2] == ("torch seed 0", "r of 12 weights, r of 1,500 weights")
    (found[0].runs[0] / "best.weights.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no best\.weights\.h5, which --group-by model compares"):
        find_groups(found, "model")


def test_scores_gains_and_costs_by_hand(found):
    rows = join_held_out(found)
    options = {"method": "mean", "calibrate": None}
    judged = score_groups([*find_groups(found, "seed"), *single_groups(found)], found, rows, LOG_LOSS, **options)
    assert [one.group.kind for one in judged] == ["seed", "seed"] + ["single"] * 7
    best, second = judged[:2]
    assert (best.group.name, best.models, best.seconds) == ("r r-0.1-8 jax", 4, 60.0)
    assert best.score == pytest.approx(LOSS_BOTH) and best.scores.ensemble["accuracy"] == 1.0
    assert best.scores.gain.intervals["log_loss"].mean == pytest.approx(LOSS_EVEN - LOSS_BOTH)
    mixed = -(math.log(0.85) + math.log(0.425)) / 2
    assert (second.group.name, second.models, second.seconds) == ("r r-0.1-8 torch", 4, 40.0)
    assert second.score == pytest.approx(mixed)
    assert second.scores.gain.intervals["log_loss"].mean == pytest.approx(min(LOSS_EVEN, LOSS_ALIKE) - mixed)
    accuracy = score_groups(find_groups(found, "seed"), found, rows, ACCURACY, **options)
    assert [one.score for one in accuracy] == [1.0, 0.5] and best.scores.parts == 0


def test_ensembles_of_one_size_over_all_choices_by_hand(found):
    """Of the values 0.1 (EVEN), 0.2 (ALIKE), 0.3 (ODD): three pairs, two of them with ODD."""
    rows = join_held_out(found)
    lines = score_by_size(find_groups(found, "value"), found, rows, ACCURACY, "mean")
    assert [(one.members, one.ensembles, one.models, one.seconds) for one in lines] == [
        (1, 3, 2.0, 20.0),
        (2, 3, 4.0, 40.0),
        (3, 1, 6.0, 60.0),
    ]
    scores = [0.5, 1.0, 1.0]  # EVEN and ALIKE stay wrong on odd rows; ALIKE and ODD give 0.6 and 0.675
    assert lines[0].score == 0.5 and lines[0].spread == 0
    assert lines[1].score == pytest.approx(np.mean(scores)) and lines[1].spread == pytest.approx(np.std(scores, ddof=1))
    assert lines[2].score == 1.0 and math.isnan(lines[2].spread)  # 2.1/3 and 1.75/3


def test_what_is_fitted_is_judged_as_the_plain_command_does(found):
    rows = join_held_out(found)
    group = find_groups(found, "seed")[0]
    options = {"method": "search", "calibrate": "temperature"}
    [judged] = score_groups([group], found, rows, LOG_LOSS, **options)
    alone = [found[place] for place in group.members]
    expected = score_ensemble(join_held_out(alone), LOG_LOSS, **options)
    assert judged.scores.parts == 2 and judged.scores.ensemble == expected.ensemble
    assert judged.scores.gain == expected.gain
    singles = score_groups(single_groups(alone), alone, join_held_out(alone), LOG_LOSS, **options)
    assert {single.score for single in singles} == {member["log_loss"] for member in expected.members}


def test_the_command(found, tmp_path):
    done = conftest.kcomp("ensemble", tmp_path, "--group-by", "fold,seed", "-o", "groups", cwd=tmp_path)
    text = done.stdout
    assert "mean of each group, scored on 4 held-out rows" in text and "improves test predictions only" in text
    line = next(line for line in text.splitlines() if "r r-0.1-8 jax " in line and " seed " in line)
    assert line.split()[:8] == ["seed", "r", "r-0.1-8", "jax", "0,1", "2", "4", "60"]
    assert f"{LOSS_BOTH:.4f}" in line and f"{LOSS_EVEN - LOSS_BOTH:+.4f} [" in line
    assert (
        " single " not in text.split("models: predict")[0] and "At equal numbers of members: mean log_loss" in text
    )  # each has two folds
    written = sorted(path.name for path in (tmp_path / "groups").iterdir())
    assert len(written) == 9 and written[-2:] == ["seed-r-r-0.1-8-jax.csv", "seed-r-r-0.1-8-torch.csv"]
    found_test = pd.read_csv(tmp_path / "groups" / "seed-r-r-0.1-8-jax.csv")
    np.testing.assert_allclose(found_test[["x", "y"]], [[0.65, 0.35]], rtol=1e-6)


def test_what_cannot_be_grouped(found, tmp_path):
    for kinds in ("sead", "seed,", ""):
        done = conftest.kcomp("ensemble", tmp_path, "--group-by", kinds, cwd=tmp_path, check=False)
        assert done.returncode == 2 and "--group-by takes seed, fold, value, model, backend" in done.stderr
    one = found[0].runs[0].folder
    done = conftest.kcomp("ensemble", one, "--group-by", "seed,fold", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "nothing to group by seed, fold among 1 member (1 run)" in done.stderr
    assert "no group by seed: no two members have the same recipe" in done.stderr
