"""Is an ensemble of two frameworks better than one of the same size of one framework? Over all choices of seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from kcomp.ensemble.blending import Member, common_ids, rows_of
from kcomp.ensemble.objectives import Objective, objective
from kcomp.metrics import scores
from kcomp.system.backends import BACKENDS

HALVES = 20  # of a set of seeds: all of them up to 6 seeds
CHUNK = 2**24  # numbers mixed at once


@dataclass(frozen=True)
class FrameworkGain:
    """Ensembles of `k` members: half of each of two frameworks against k of one, the mean of probabilities in all.

    Paired by seeds: for each set of k seeds that both frameworks have, the single ensembles take all k, and the mixed
    ones give half of the seeds to one framework and half to the other, in every way (of an odd number, one more to the
    one or to the other); so both are made of the same
    seeds, starting weights and batches. `differences[backend]` has for each set the mean of the mixed scores minus the
    score of that backend alone, above 0 where mixing is better. The sets overlap: their spread is no standard error.
    `same_seeds` is the mean score of another kind of mixed ensemble, k/2 seeds trained on both frameworks each, None
    for odd k. `choices_*` count ensembles; `sampled` says that there are more, of which these were drawn at random.
    """

    recipe: str
    fingerprint: str
    metric: str
    k: int
    rows: int
    seeds: tuple[int, ...]
    mixed: float
    single: dict[str, float]
    same_seeds: float | None
    choices_mixed: int
    choices_single: dict[str, int]
    choices_same_seeds: int
    differences: dict[str, tuple[float, ...]]
    sampled: bool

    @property
    def difference(self) -> np.ndarray:
        """For each set of seeds the difference to the mean of both frameworks alone."""
        return np.mean(list(self.differences.values()), axis=0)

    @property
    def spread(self) -> float:
        """Standard deviation of `difference` over the sets of seeds; NaN for one set."""
        return float(self.difference.std(ddof=1)) if len(self.difference) > 1 else math.nan


def framework_gain(
    members: Sequence[Member], labels: pd.DataFrame, metric: str, *, limit: int = 100
) -> list[FrameworkGain]:
    """A record for each recipe and fingerprint, pair of backends, and k from 2 to the number of shared seeds.

    `labels` has a row an image id and a column a class, as `blending.labels_of` gives it; rows that all members of a
    pair held out are used. Above `limit` sets of seeds, that many are drawn; of a set's halves as many, and at
    most 20.
    """
    groups: dict[tuple[str, str], dict[str, dict[int, Member]]] = {}
    for member in members:
        if member.backend not in BACKENDS:  # begun on one and continued on the other, or from another run's weights
            continue
        group = groups.setdefault((member.recipe, member.fingerprint), {})
        group.setdefault(member.backend, {})[member.seed] = member
    found = []
    for key in sorted(groups):
        for pair in combinations(sorted(groups[key]), 2):
            first, second = (groups[key][backend] for backend in pair)
            seeds = tuple(sorted(first.keys() & second.keys()))
            if len(seeds) < 2:
                continue
            chosen = [side[seed] for side in (first, second) for seed in seeds]
            named = [("", labels.index.sort_values()), *(("", member.probabilities.index) for member in chosen)]
            ids = common_ids(named, "", partial=True)
            if len(ids):
                trial = Trial(joined(chosen, labels, metric, ids), metric, len(seeds))
                counts = range(2, len(seeds) + 1)
                found += [record(trial, key, pair, seeds, k=k, rows=len(ids), limit=limit) for k in counts]
    return found


def joined(members: Sequence[Member], labels: pd.DataFrame, metric: str, ids: pd.Index) -> Objective:
    """What the metric needs of these rows of the members, joined by class name."""
    classes = members[0].probabilities.columns
    values = [rows_of(member.probabilities[classes], ids) for member in members]
    return objective(metric, values, rows_of(labels[classes], ids))


@dataclass(frozen=True)
class Trial:
    """Scores ensembles of the members of two frameworks: `count` seeds of the first, then the same of the second."""

    aim: Objective
    metric: str
    count: int

    def scores(self, ensembles: Sequence[tuple[Sequence[int], Sequence[int]]]) -> np.ndarray:
        """The score of each ensemble, given as the places of its seeds on the first and on the second framework."""
        weights = np.zeros((len(ensembles), 2 * self.count))
        for row, (first, second) in zip(weights, ensembles, strict=True):
            row[list(first)] = 1
            row[[self.count + place for place in second]] = 1
        weights /= weights.sum(1, keepdims=True)
        size = max(1, CHUNK // max(1, self.aim.features.shape[1]))
        parts = (weights[start : start + size] @ self.aim.features for start in range(0, len(weights), size))
        losses = np.array([self.aim.loss(mixed)[0] for part in parts for mixed in part])
        return losses if self.metric in scores.LOWER_IS_BETTER else -losses


def record(
    trial: Trial, key: tuple[str, str], pair: tuple[str, str], seeds: tuple[int, ...], *, k: int, rows: int, limit: int
) -> FrameworkGain:
    draws = np.random.default_rng(0)
    sets = choices(range(len(seeds)), k, limit, draws)
    single = [trial.scores([(group, ()) for group in sets]), trial.scores([((), group) for group in sets])]
    mixed, counts = [], 0
    for group in sets:
        halves = [half for size in {k // 2, k - k // 2} for half in choices(group, size, min(HALVES, limit), draws)]
        found = trial.scores([(half, tuple(set(group) - set(half))) for half in halves])
        mixed.append(found.mean())
        counts += len(found)
    twice = [] if k % 2 else choices(range(len(seeds)), k // 2, limit, draws)
    sign = -1 if trial.metric in scores.LOWER_IS_BETTER else 1
    return FrameworkGain(
        *key,
        metric=trial.metric,
        k=k,
        rows=rows,
        seeds=seeds,
        mixed=float(np.mean(mixed)),
        single={backend: float(values.mean()) for backend, values in zip(pair, single, strict=True)},
        same_seeds=float(trial.scores([(half, half) for half in twice]).mean()) if twice else None,
        choices_mixed=counts,
        choices_single=dict.fromkeys(pair, len(sets)),
        choices_same_seeds=len(twice),
        differences={
            backend: tuple((sign * (np.array(mixed) - values)).tolist())
            for backend, values in zip(pair, single, strict=True)
        },
        sampled=len(sets) < math.comb(len(seeds), k) or math.comb(k, k // 2) > min(HALVES, limit),
    )


def choices(places: Sequence[int] | range, size: int, limit: int, draws: np.random.Generator) -> list[tuple[int, ...]]:
    """All subsets of that size, or `limit` different ones drawn at random."""
    if math.comb(len(places), size) <= limit:
        return list(combinations(places, size))
    found: set[tuple[int, ...]] = set()
    while len(found) < limit:
        found.add(tuple(sorted(draws.choice(np.array(places), size, replace=False).tolist())))
    return sorted(found)
