"""k members of two frameworks against k of one, on cases small enough to count by hand."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from kcomp import metrics
from kcomp.ensembles.members import Member
from kcomp.ensembles.scoring.framework_gain import framework_gain
from kcomp.metrics.scores import Scorer
from kcomp.targets import OneOf

DRAWS = np.random.default_rng(0)
NAMES = ("accuracy", "log_loss", "macro_f1", "roc_auc")
SCORERS = {name: Scorer(metrics.get(name), OneOf(("c0", "c1"))) for name in NAMES}


def member(backend, seed, values, *, ids=None, fingerprint="f"):
    ids = pd.Index(ids or [f"r{number}" for number in range(len(values))])
    frame = pd.DataFrame(values, ids, [f"c{number}" for number in range(np.shape(values)[1])])
    return Member("r", fingerprint, backend, seed, 0, (), frame, pd.Series(0, ids))


def labels_for(values):
    truth = np.eye(values.shape[1])[np.arange(len(values)) % values.shape[1]]
    return pd.DataFrame(truth, [f"r{n}" for n in range(len(values))], [f"c{n}" for n in range(values.shape[1])])


def test_two_seeds_by_hand():
    """One row; the true class gets .9 and .7 on JAX, .5 and .3 on PyTorch."""
    made = [member(backend, seed, [[p, 1 - p]]) for backend, seed, p in
            [("jax", 0, 0.9), ("torch", 1, 0.3), ("jax", 1, 0.7), ("torch", 0, 0.5)]]  # fmt: skip
    labels = pd.DataFrame([[0.0, 1.0]], ["r0"], ["c1", "c0"])
    [found] = framework_gain(made, labels, SCORERS["log_loss"])
    mixed = (-np.log(0.6) - np.log(0.6)) / 2  # .9 with .3, and .7 with .5
    single = {"jax": -np.log(0.8), "torch": -np.log(0.4)}
    assert (found.k, found.rows, found.seeds, found.sampled) == (2, 1, (0, 1), False)
    assert (found.choices_mixed, found.choices_single, found.choices_same_seeds) == (2, {"jax": 1, "torch": 1}, 2)
    assert found.mixed == pytest.approx(mixed) and found.single == pytest.approx(single)
    assert found.same_seeds == pytest.approx((-np.log(0.7) - np.log(0.5)) / 2)
    for backend in single:
        assert found.differences[backend] == pytest.approx((single[backend] - mixed,))
    assert found.difference.tolist() == pytest.approx([(single["jax"] + single["torch"]) / 2 - mixed])
    assert np.isnan(found.spread)


@pytest.mark.parametrize("metric", NAMES)
def test_all_choices_of_three_and_four_seeds(metric):
    """Every ensemble written out, and scored by kcomp.metrics."""
    scorer = Scorer(metrics.get(metric), OneOf(("c0", "c1", "c2")))
    made = {(b, s): member(b, s, DRAWS.dirichlet(np.ones(3), 40)) for b in ("jax", "torch") for s in range(4)}
    labels = labels_for(np.empty((40, 3)))
    sign = -1 if metric == "log_loss" else 1

    def value(keys):
        mean = sum(made[key].predictions.to_numpy() for key in keys) / len(keys)
        return scorer(labels.to_numpy(), mean)

    for found, k in zip(framework_gain(list(made.values()), labels, scorer), (2, 3, 4), strict=True):
        differences, all_mixed = [], []
        for group in combinations(range(4), k):
            mixed = [
                value([("jax", s) for s in half] + [("torch", s) for s in group if s not in half])
                for size in {k // 2, k - k // 2}
                for half in combinations(group, size)
            ]
            single = [value([(backend, s) for s in group]) for backend in ("jax", "torch")]
            differences.append(sign * (np.mean(mixed) - np.mean(single)))
            all_mixed += mixed
        assert found.k == k and found.choices_mixed == len(all_mixed) == {2: 12, 3: 24, 4: 6}[k]
        assert (found.same_seeds is None) == (k == 3)
        assert found.mixed == pytest.approx(np.mean(all_mixed))
        np.testing.assert_allclose(found.difference, differences, atol=1e-12)
    assert framework_gain(list(made.values()), labels, scorer)[0].spread > 0


def test_members_without_a_partner_are_left_out():
    values = DRAWS.dirichlet(np.ones(2), (6, 10))
    labels = labels_for(values[0])
    made = [member("jax", seed, values[seed]) for seed in range(3)] + [member("torch", 0, values[3])]
    assert framework_gain(made, labels, SCORERS["accuracy"]) == []
    made += [member("torch", 1, values[4], fingerprint="other"), member("torch", 2, values[5])]
    [found] = framework_gain(made, labels, SCORERS["accuracy"])
    assert found.seeds == (0, 2) and found.k == 2
    mixtures = [member(made_by, seed, values[5]) for made_by in ("jax-torch", "jax-from-0a1b2c3d") for seed in range(3)]
    assert framework_gain([*made, *mixtures], labels, SCORERS["accuracy"]) == [
        found
    ]  # neither is a framework of its own


def test_only_common_rows_count_and_none_is_no_record():
    values = DRAWS.dirichlet(np.ones(2), (4, 10))
    labels = labels_for(values[0])
    made = [member(b, s, values[2 * s + (b == "jax")]) for b in ("jax", "torch") for s in (0, 1)]
    made[0] = member("jax", 0, values[0][:4], ids=["r3", "r2", "r1", "r0"])
    assert [found.rows for found in framework_gain(made, labels, SCORERS["log_loss"])] == [4]
    made[0] = member("jax", 0, values[0][:1], ids=["elsewhere"])
    assert framework_gain(made, labels, SCORERS["log_loss"]) == []


def test_many_choices_are_drawn_and_said_to_be():
    values = DRAWS.dirichlet(np.ones(2), (2, 12, 20))
    made = [member(b, s, values[i, s]) for i, b in enumerate(("jax", "torch")) for s in range(12)]
    records = framework_gain(made, labels_for(values[0, 0]), SCORERS["log_loss"], limit=15)
    assert [found.k for found in records] == list(range(2, 13)) and all(found.sampled for found in records)
    assert [len(found.difference) for found in records] == [15] * 9 + [12, 1]
    assert records[6].choices_mixed == 15 * 15 and records[-1].choices_single == {"jax": 1, "torch": 1}
