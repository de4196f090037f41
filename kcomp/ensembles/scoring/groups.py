"""Scores and costs of groups of models, all on the same rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kcomp.ensembles.grouping import Group
from kcomp.ensembles.joins import HeldOut
from kcomp.ensembles.members import Member
from kcomp.ensembles.methods.averages import average_of
from kcomp.ensembles.scoring.ensemble import EnsembleScores, score_ensemble
from kcomp.ensembles.scoring.framework_gain import choose_subsets
from kcomp.metrics.scores import Scorer
from kcomp.runs.folder import Run

LIMIT = 50  # how many subsets of each size are scored in a group; of more, a random sample is scored


@dataclass(frozen=True)
class GroupScores:
    """A group of members with its scores and its costs.

    Attributes:
        group: The group.
        scores: The scores of the group as an ensemble.
        models: How many models predict each test row.
        seconds: Training time of all runs.
    """

    group: Group
    scores: EnsembleScores
    models: int
    seconds: float

    @property
    def score(self) -> float:
        return self.scores.ensemble[self.scores.metric]


def score_groups(
    groups: Sequence[Group],
    members: Sequence[Member],
    rows: HeldOut,
    scorer: Scorer,
    *,
    method: str,
    calibrate: str | None,
) -> list[GroupScores]:
    """Score each group of members as an ensemble. Return the scores, best first.

    Groups with equal scores are sorted by kind and name.
    """
    results = []
    for group in groups:
        own = replace(rows, values=rows.values[list(group.members)])
        runs = [run for place in group.members for run in members[place].runs]
        if group.kind == "single":
            group_scores = score_ensemble(own, scorer)
        else:
            group_scores = score_ensemble(own, scorer, method=method, calibrate=calibrate)
        results.append(GroupScores(group, group_scores, *cost_of(runs)))
    sign = -1 if scorer.metric.higher_is_better else 1

    def order(result: GroupScores) -> tuple[bool, float, str, str]:
        return bool(np.isnan(result.score)), sign * result.score, result.group.kind, result.group.name

    return sorted(results, key=order)


def cost_of(runs: Sequence[Run]) -> tuple[int, float]:
    """Return two things: how many models predict each row, and the training time of all runs in seconds.

    Each snapshot of a run counts as a model.
    """
    return sum(len(run.weights) for run in runs), sum(run.result["seconds"] for run in runs)


@dataclass(frozen=True)
class SizeScores:
    """Mean score and cost of all ensembles of one size, formed within groups of one kind.

    Attributes:
        kind: The kind of the groups; see `Group`.
        members: How many members each ensemble has.
        ensembles: How many ensembles were scored.
        sampled: Whether they are a random sample of all possible ensembles.
        score: Mean score.
        spread: Standard deviation of the score. NaN for one ensemble.
        models: Mean number of models that predict each test row.
        seconds: Mean training time.
    """

    kind: str
    members: int
    ensembles: int
    sampled: bool
    score: float
    spread: float
    models: float
    seconds: float


def score_by_size(
    groups: Sequence[Group], members: Sequence[Member], rows: HeldOut, scorer: Scorer, method: str
) -> list[SizeScores]:
    """Return the mean score of ensembles for each kind of group and each ensemble size.

    The members of an ensemble belong to one group. `method` must be an average that needs no fit.
    """
    subsets, sampled = subsets_by_size(groups)
    costs = [cost_of(member.runs) for member in members]
    blend = average_of(method, scorer.target)
    score_of: dict[tuple[int, ...], float] = {}
    results = []
    for (kind, size), places in subsets.items():
        places = list(dict.fromkeys(places))
        for subset in places:
            if subset not in score_of:
                score_of[subset] = scorer(rows.labels, blend([rows.values[place] for place in subset]))
        values = np.array([score_of[subset] for subset in places])
        cost = np.mean([np.sum([costs[place] for place in subset], axis=0) for subset in places], axis=0)
        spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        drawn = (kind, size) in sampled
        results.append(SizeScores(kind, size, len(values), drawn, float(values.mean()), spread, *map(float, cost)))
    return results


def subsets_by_size(
    groups: Sequence[Group],
) -> tuple[dict[tuple[str, int], list[tuple[int, ...]]], set[tuple[str, int]]]:
    """Form ensembles of every size within each group. An ensemble is a tuple of positions of members.

    Returns:
        Two things: {(kind of group, size): ensembles}, and the set of keys that have only a random sample of ensembles.
    """
    subsets: dict[tuple[str, int], list[tuple[int, ...]]] = {}
    sampled, draws = set(), np.random.default_rng(0)
    for group in groups:
        count = len(group.members)
        for size in range(1, count + 1):
            if math.comb(count, size) > LIMIT:
                sampled.add((group.kind, size))
            for chosen in choose_subsets(range(count), size, LIMIT, draws):
                places = tuple(group.members[number] for number in chosen)
                subsets.setdefault((group.kind, size), []).append(places)
    return subsets, sampled
