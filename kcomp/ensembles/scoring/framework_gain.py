"""Test whether an ensemble of two frameworks beats an ensemble of the same size of one framework."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from kcomp.ensembles.joins import common_ids, select_rows
from kcomp.ensembles.members import Member
from kcomp.ensembles.methods.objectives import Objective, objective
from kcomp.metrics import Metric
from kcomp.metrics.scores import Scorer
from kcomp.system.backends import BACKENDS

HALVES = 20  # at most this many ways to divide a set of seeds into halves; 6 seeds have 20 ways
CHUNK = 2**24  # how many numbers are averaged at once; more need more memory


@dataclass(frozen=True)
class FrameworkGain:
    """Scores of mixed ensembles (of two frameworks) and of single ensembles (of one framework), all with `k` members.

    Mixed and single ensembles are compared for the same set of k seeds. In a single ensemble, one framework trains all
    k seeds. In a mixed one, each framework trains half of the seeds. All ways to divide the seeds are scored.

    Attributes:
        recipe: Name of the recipe.
        fingerprint: Hash of the recipe and its values.
        metric: Name of the metric.
        k: How many members each ensemble has.
        rows: How many rows were scored.
        seeds: The seeds that both frameworks have trained.
        mixed: Mean score of the mixed ensembles.
        single: Mean score of the single ensembles, by backend.
        same_seeds: Mean score of ensembles in which both frameworks trained the same k/2 seeds. None for odd k.
        choices_mixed: How many mixed ensembles were scored.
        choices_single: How many single ensembles were scored, by backend.
        choices_same_seeds: How many ensembles `same_seeds` is the mean of.
        differences: For each backend, the gain of mixing for each set of seeds. It is the mean score of the mixed
            ensembles, minus the score of the backend's single ensemble.
        sampled: Whether the ensembles are a random sample of all possible ones.
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
        """The gain of mixing for each set of seeds, averaged over the two backends, (sets,)."""
        return np.mean(list(self.differences.values()), axis=0)

    @property
    def spread(self) -> float:
        """The standard deviation of `difference`. NaN for one set of seeds."""
        return float(self.difference.std(ddof=1)) if len(self.difference) > 1 else math.nan


def framework_gain(
    members: Sequence[Member], labels: pd.DataFrame, scorer: Scorer, *, limit: int = 100
) -> list[FrameworkGain]:
    """Compare ensembles of two frameworks (mixed) with ensembles of one framework (single).

    Return a FrameworkGain for each recipe with its values, each pair of backends and each ensemble size. The sizes are
    2 to the number of seeds that both backends have trained.

    Args:
        members: The models of all backends.
        labels: Labels, as `read_labels` returns them. Only rows that all members held out are used.
        scorer: The metric and the target.
        limit: How many sets of seeds are scored at most. If there are more, a random sample is scored.
    """
    records = []
    for key, by_backend in group_members(members).items():
        for pair in combinations(sorted(by_backend), 2):
            first, second = (by_backend[backend] for backend in pair)
            seeds = tuple(sorted(first.keys() & second.keys()))
            if len(seeds) < 2:
                continue
            chosen = [side[seed] for side in (first, second) for seed in seeds]
            named_ids = [("", labels.index.sort_values()), *(("", member.predictions.index) for member in chosen)]
            ids = common_ids(named_ids, "", partial=True)
            if len(ids):
                ensembles = SeedEnsembles(join_objective(chosen, labels, scorer, ids), scorer.metric, len(seeds))
                counts = range(2, len(seeds) + 1)
                records += [
                    compute_record(ensembles, key, pair, seeds, k=k, rows=len(ids), limit=limit) for k in counts
                ]
    return records


def group_members(members: Sequence[Member]) -> dict[tuple[str, str], dict[str, dict[int, Member]]]:
    """Return members as {(recipe, fingerprint): {backend: {seed: member}}}.

    Members that used weights of both frameworks are left out. Of repeated folds, only the first repeat is used.
    """
    groups: dict[tuple[str, str], dict[str, dict[int, Member]]] = {}
    for member in members:
        # A longer name of the backend means that a run used another run's weights. Other repeats have other folds.
        if member.backend in BACKENDS and member.repeat == 0:
            by_backend = groups.setdefault((member.recipe, member.fingerprint), {})
            by_backend.setdefault(member.backend, {})[member.seed] = member
    return dict(sorted(groups.items()))


def join_objective(members: Sequence[Member], labels: pd.DataFrame, scorer: Scorer, ids: pd.Index) -> Objective:
    """Return the metric on the rows `ids` as a fast function of the members' weights."""
    columns = list(scorer.target.prediction_columns)
    values = [select_rows(member.predictions[columns], ids) for member in members]
    return objective(scorer, values, select_rows(labels[list(scorer.target.columns)], ids))


@dataclass(frozen=True)
class SeedEnsembles:
    """Scores ensembles of members that two frameworks trained with the same `count` seeds.

    `objective` is a fast function of the weights of 2 * count members. The first `count` members are those of the first
    framework in the order of the seeds. The others are those of the second framework.
    """

    objective: Objective
    metric: Metric
    count: int

    def scores(self, ensembles: Sequence[tuple[Sequence[int], Sequence[int]]]) -> np.ndarray:
        """Return the score of each ensemble, (ensembles,).

        An ensemble is two lists of positions of seeds: one for the first framework and one for the second.
        """
        weights = np.zeros((len(ensembles), 2 * self.count))
        for row, (first, second) in zip(weights, ensembles, strict=True):
            row[list(first)] = 1
            row[[self.count + place for place in second]] = 1
        weights /= weights.sum(1, keepdims=True)
        size = max(1, CHUNK // max(1, self.objective.features.shape[1]))
        parts = (weights[start : start + size] @ self.objective.features for start in range(0, len(weights), size))
        losses = np.array([self.objective.loss(mixed)[0] for part in parts for mixed in part])
        return -losses if self.metric.higher_is_better else losses


def compute_record(
    ensembles: SeedEnsembles,
    key: tuple[str, str],
    pair: tuple[str, str],
    seeds: tuple[int, ...],
    *,
    k: int,
    rows: int,
    limit: int,
) -> FrameworkGain:
    draws, halves_limit = np.random.default_rng(0), min(HALVES, limit)
    sets = choose_subsets(range(len(seeds)), k, limit, draws)
    single = [ensembles.scores([(group, ()) for group in sets]), ensembles.scores([((), group) for group in sets])]
    mixed, count = [], 0
    for group in sets:
        halves = [half for size in {k // 2, k - k // 2} for half in choose_subsets(group, size, halves_limit, draws)]
        values = ensembles.scores([(half, tuple(set(group) - set(half))) for half in halves])
        mixed.append(values.mean())
        count += len(values)
    doubled = [] if k % 2 else choose_subsets(range(len(seeds)), k // 2, limit, draws)
    sign = 1 if ensembles.metric.higher_is_better else -1
    differences = [tuple((sign * (np.array(mixed) - values)).tolist()) for values in single]
    return FrameworkGain(
        *key,
        metric=ensembles.metric.name,
        k=k,
        rows=rows,
        seeds=seeds,
        mixed=float(np.mean(mixed)),
        single={backend: float(values.mean()) for backend, values in zip(pair, single, strict=True)},
        same_seeds=float(ensembles.scores([(half, half) for half in doubled]).mean()) if doubled else None,
        choices_mixed=count,
        choices_single=dict.fromkeys(pair, len(sets)),
        choices_same_seeds=len(doubled),
        differences=dict(zip(pair, differences, strict=True)),
        sampled=len(sets) < math.comb(len(seeds), k) or math.comb(k, k // 2) > halves_limit,
    )


def choose_subsets(
    places: Sequence[int] | range, size: int, limit: int, draws: np.random.Generator
) -> list[tuple[int, ...]]:
    """Return all subsets of `places` with `size` elements, or `limit` random ones if there are more."""
    if math.comb(len(places), size) <= limit:
        return list(combinations(places, size))
    subsets: set[tuple[int, ...]] = set()
    while len(subsets) < limit:
        subsets.add(tuple(sorted(draws.choice(np.array(places), size, replace=False).tolist())))
    return sorted(subsets)
