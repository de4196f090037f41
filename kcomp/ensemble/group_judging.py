"""Groups of members judged on the same rows, with what they cost. Imports no Keras."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kcomp.ensemble import methods
from kcomp.ensemble.blending import HeldOut, Member
from kcomp.ensemble.framework_gain import choices
from kcomp.ensemble.grouping import Group
from kcomp.ensemble.judging import Judgement, judge
from kcomp.ensemble.objectives import score
from kcomp.metrics import scores
from kcomp.runs.folder import Run

LIMIT = 50  # choices of so many members of a group; from there on, that many at random


@dataclass(frozen=True)
class Judged:
    """A group, its judgement, and its cost: how many models predict a test row, and the seconds of their training."""

    group: Group
    judgement: Judgement
    models: int
    seconds: float

    @property
    def score(self) -> float:
        return self.judgement.ensemble[self.judgement.metric]


def judge_groups(
    groups: Sequence[Group], found: Sequence[Member], rows: HeldOut, *, method: str, metric: str, calibrate: bool
) -> list[Judged]:
    """Judge each group as `kcomp ensemble` judges one, all on the same rows; the best score first, then by name."""
    judged = []
    for group in groups:
        own = replace(rows, values=rows.values[list(group.members)])
        runs = [run for place in group.members for run in found[place].runs]
        made = judge(own, method=method, metric=metric, calibrate=calibrate)
        judged.append(Judged(group, made, *cost_of(runs)))
    sign = 1 if metric in scores.LOWER_IS_BETTER else -1
    return sorted(judged, key=lambda one: (bool(np.isnan(one.score)), sign * one.score, one.group.kind, one.group.name))


def cost_of(runs: Sequence[Run]) -> tuple[int, float]:
    """How many models predict a row, several for a run of snapshots, and the seconds of training."""
    return sum(len(run.weights) for run in runs), sum(run.result["seconds"] for run in runs)


@dataclass(frozen=True)
class OfSize:
    """Ensembles of `members` members of one kind: the mean of their scores, the standard deviation (NaN for one), and
    the means of what they cost. `sampled` says that there are more, of which these were drawn at random."""

    kind: str
    members: int
    ensembles: int
    sampled: bool
    score: float
    spread: float
    models: float
    seconds: float


def by_size(groups: Sequence[Group], found: Sequence[Member], rows: HeldOut, method: str, metric: str) -> list[OfSize]:
    """For each kind and number of members, over all choices of so many from a group, so that kinds can be compared at
    equal numbers. `method` must fit nothing. Choices overlap: their spread is no standard error."""
    chosen: dict[tuple[str, int], list[tuple[int, ...]]] = {}
    sampled, draws = set(), np.random.default_rng(0)
    for group in groups:
        for size in range(1, len(group.members) + 1):
            some = choices(range(len(group.members)), size, LIMIT, draws)
            if math.comb(len(group.members), size) > LIMIT:
                sampled.add((group.kind, size))
            places = [tuple(group.members[place] for place in one) for one in some]
            chosen.setdefault((group.kind, size), []).extend(places)
    cost = [cost_of(one.runs) for one in found]
    blend = methods.AVERAGES[method]
    known: dict[tuple[int, ...], float] = {}
    lines = []
    for (kind, size), ensembles in chosen.items():
        ensembles = list(dict.fromkeys(ensembles))
        for one in ensembles:
            if one not in known:
                known[one] = score(metric, rows.labels, blend([rows.values[place] for place in one]))
        values = np.array([known[one] for one in ensembles])
        spent = np.mean([np.sum([cost[place] for place in one], axis=0) for one in ensembles], axis=0)
        spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        drawn = (kind, size) in sampled
        lines.append(OfSize(kind, size, len(values), drawn, float(values.mean()), spread, *map(float, spent)))
    return lines
