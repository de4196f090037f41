"""Compare models on the rows that all of them held out: agreement, common mistakes, and averages of two models."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from kcomp.ensembles.joins import HeldOut, join_held_out
from kcomp.ensembles.scoring.diversity import correlations, disagreements
from kcomp.explain.held_out.outcomes import Outcomes, decide_member, true_classes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.metrics.classification import correct_rows
from kcomp.metrics.significance import Interval, paired_metric

TESTED = 5  # of the best pairs, this many get an interval, which takes the time of many scores


@dataclass(frozen=True)
class ModelPair:
    """Two models, and how much better the average of their predictions is.

    Attributes:
        first: Position of the first model.
        second: Position of the second model.
        correlation: Pearson's correlation of their predictions.
        disagreement: The share of rows or labels for which they predict different classes. NaN for numbers.
        score: The score of their average.
        better: The score of the better model.
        gain: How much better the average is than the better model, with its interval. Above 0, the average is better.
            None if this was not tested.
    """

    first: int
    second: int
    correlation: float
    disagreement: float
    score: float
    better: float
    gain: Interval | None = None


@dataclass(frozen=True)
class Agreement:
    """How much several models agree.

    Attributes:
        names: The names of the models.
        held_out: The rows that all models held out, and their predictions.
        correlation: Pearson's correlation of the predictions of each pair, (models, models).
        disagreement: The share of rows or labels with different classes, (models, models). None for numbers.
        pairs: All pairs of models, the best average first.
        wrong_by: For each row, the number of models that get it wrong, int (rows,). None for numbers.
    """

    names: tuple[str, ...]
    held_out: HeldOut
    correlation: np.ndarray
    disagreement: np.ndarray | None
    pairs: tuple[ModelPair, ...]
    wrong_by: np.ndarray | None

    @property
    def wrong_by_all(self) -> np.ndarray:
        """Positions in `held_out` of the rows that all models get wrong."""
        assert self.wrong_by is not None
        return np.flatnonzero(self.wrong_by == len(self.names))


def compare_members(rows: HeldOutRows, outcomes: Outcomes) -> Agreement | None:
    """Return how much the members agree on the rows that all of them held out.

    None for one member, or without such rows.
    """
    if len(rows.members) < 2:
        return None
    held_out = join_held_out(rows.members, partial=True)
    if held_out is None:
        return None
    target = rows.target
    has_classes = bool(target.class_names)
    correlation = correlations(held_out.values, target)
    disagreement = disagreements(held_out.values, target) if has_classes else None
    return Agreement(
        names=tuple(member.name for member in rows.members),
        held_out=held_out,
        correlation=correlation,
        disagreement=disagreement,
        pairs=rank_pairs(rows, held_out, correlation, disagreement),
        wrong_by=count_wrong(rows, outcomes, held_out) if has_classes else None,
    )


def rank_pairs(
    rows: HeldOutRows, held_out: HeldOut, correlation: np.ndarray, disagreement: np.ndarray | None
) -> tuple[ModelPair, ...]:
    """Return all pairs of models, sorted by the score of their average, the best first.

    Only the first `TESTED` pairs have a `gain`.
    """
    metric, target = rows.scorer.metric, rows.target
    sign = 1 if metric.higher_is_better else -1
    scores = [rows.scorer(held_out.labels, values) for values in held_out.values]
    pairs = []
    for first, second in combinations(range(len(scores)), 2):
        mean = target.average([held_out.values[first], held_out.values[second]])
        better = max(scores[first], scores[second], key=lambda score: sign * score)
        apart = np.nan if disagreement is None else float(disagreement[first, second])
        close = float(correlation[first, second])
        pairs.append(ModelPair(first, second, close, apart, rows.scorer(held_out.labels, mean), better))
    pairs.sort(key=lambda pair: (np.isnan(pair.score), -sign * pair.score))
    tested = [measure_gain(rows, held_out, pair, scores) for pair in pairs[:TESTED]]
    return (*tested, *pairs[TESTED:])


def measure_gain(rows: HeldOutRows, held_out: HeldOut, pair: ModelPair, scores: list[float]) -> ModelPair:
    """Return `pair` with the gain of its average over the better model. `scores` has the scores of all models."""
    metric, values = rows.scorer.metric, held_out.values
    mean = rows.target.average([values[pair.first], values[pair.second]])
    better = pair.first if scores[pair.first] == pair.better else pair.second
    interval = paired_metric(metric, held_out.labels, mean, values[better], target=rows.target)
    gain = interval if metric.higher_is_better else interval.negative()
    return replace(pair, gain=gain)


def count_wrong(rows: HeldOutRows, outcomes: Outcomes, held_out: HeldOut) -> np.ndarray:
    true = true_classes(held_out.labels, rows.target)
    decided = [decide_member(values, rows, outcomes).astype(np.float64) for values in held_out.values]
    return np.sum([correct_rows(true, values) == 0 for values in decided], 0)
