"""Rank changes of images by how much score they cost, or by how much score they would give back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes, row_losses, true_classes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.stress.kinds import KINDS, Stress
from kcomp.explain.stress.predict import Stressed
from kcomp.metrics.classification import correct_rows
from kcomp.metrics.metric import Metric
from kcomp.metrics.significance import Interval, holm, paired_metric

FALSE_ALARMS = 0.01  # probability that at least one change is called harmful, or helpful, by chance


@dataclass(frozen=True)
class Repair:
    """How much better the score would be if a change were applied to the held-out images.

    Attributes:
        how: Which change, as a text.
        score: The score with it.
        gain: How much better the score is; above 0 is better, whatever the metric's direction.
        p: The probability of so many better rows by chance, corrected for all tested repairs (Holm 1979).
    """

    how: str
    score: float
    gain: float
    p: float


@dataclass(frozen=True)
class StressResult:
    """What one kind of change does to the score.

    Attributes:
        kind: The change.
        scores: The score at each strength.
        untouched: The score of the unchanged images.
        loss: How much the score falls at the realistic strengths, on average, with its 95 % interval. Above 0 is worse,
            whatever the metric's direction.
        p: The probability of so many worse rows by chance, corrected for the number of kinds (Holm 1979).
        repair: The best repair by this kind of change. None for a kind that cannot be reversed.
    """

    kind: Stress
    scores: tuple[float, ...]
    untouched: float
    loss: Interval
    p: float
    repair: Repair | None

    @property
    def is_repair(self) -> bool:
        """Whether the held-out images already suffer from this change, beyond chance."""
        return self.repair is not None and self.repair.gain > 0 and self.repair.p <= FALSE_ALARMS

    @property
    def is_harmful(self) -> bool:
        """Whether the realistic strengths cost score beyond chance."""
        return self.loss.mean > 0 and self.p <= FALSE_ALARMS

    @property
    def order(self) -> tuple[bool, bool, float]:
        """The sort key. Changes from which the images already suffer come first, then the greatest loss.

        A loss by a change that may also change the label comes last.
        """
        if self.is_repair and self.repair:
            return False, False, -self.repair.gain
        return True, self.kind.may_change_label, -float(np.nan_to_num(self.loss.mean, nan=-np.inf))


def rank_stress(rows: HeldOutRows, outcomes: Outcomes, stressed: Stressed) -> list[StressResult]:
    """Return the kinds of change, the one that costs most score first.

    A change costs score in one of two ways. The held-out images may already have it: then another strength of it, or
    for each image the strength with the highest confidence, gives a better score. Such changes come first. Or the
    score falls when it is applied.
    """
    labels = rows.labels[stressed.rows]
    metric = metric_of_stress(rows, outcomes)
    before = row_costs(metric, rows, outcomes, labels, stressed.untouched)
    untouched = metric(labels, stressed.untouched)
    results = []
    for kind in KINDS:
        changed = stressed.changed[kind.name]
        realistic = np.stack([changed[kind.strengths.index(strength)] for strength in kind.realistic])
        loss = paired_metric(metric, labels, stressed.untouched, realistic, target=None)
        after = np.mean([row_costs(metric, rows, outcomes, labels, values) for values in realistic], 0)
        results.append(
            StressResult(
                kind=kind,
                scores=tuple(metric(labels, values) for values in changed),
                untouched=untouched,
                loss=loss if metric.higher_is_better else loss.negative(),
                p=chance_of(before, after),
                repair=None,
            )
        )
    results = [replace(each, p=p) for each, p in zip(results, holm([each.p for each in results]).tolist(), strict=True)]
    return sorted(with_repairs(rows, outcomes, stressed, metric, results), key=lambda each: each.order)


def with_repairs(
    rows: HeldOutRows, outcomes: Outcomes, stressed: Stressed, metric: Metric, results: Sequence[StressResult]
) -> list[StressResult]:
    """Add the best repair of each kind that can be reversed."""
    labels = rows.labels[stressed.rows]
    before = row_harm(rows, outcomes, labels, stressed.untouched)
    sign = 1 if metric.higher_is_better else -1
    repairs = []
    for place, result in enumerate(results):
        for how, values in repairs_of(rows, stressed, result.kind):
            score = metric(labels, values)
            p = chance_of(row_harm(rows, outcomes, labels, values), before)
            repairs.append((place, Repair(how, score, sign * (score - result.untouched), p)))
    repairs = [
        (place, replace(repair, p=p))
        for (place, repair), p in zip(repairs, holm([repair.p for _, repair in repairs]).tolist(), strict=True)
    ]
    repaired = list(results)
    for place, repair in repairs:
        best = repaired[place].repair
        if best is None or (repair.p <= FALSE_ALARMS, repair.gain) > (best.p <= FALSE_ALARMS, best.gain):
            repaired[place] = replace(repaired[place], repair=repair)
    return repaired


def repairs_of(rows: HeldOutRows, stressed: Stressed, kind: Stress) -> list[tuple[str, np.ndarray]]:
    """Return texts and predictions: each strength for all images, and the most confident strength of each image.

    Confidence does not depend on the labels. Only targets with probabilities have it.
    """
    if not kind.is_reversible:
        return []
    changed = stressed.changed[kind.name]
    repairs = [(kind.describe(strength), values) for strength, values in zip(kind.strengths, changed, strict=True)]
    if np.isnan(rows_confidence(rows, stressed.untouched)).all():
        return repairs
    every = np.concatenate([stressed.untouched[None], changed])
    confidence = np.stack([rows_confidence(rows, values) for values in every])
    best = every[confidence.argmax(0), np.arange(every.shape[1])]
    return [*repairs, ("the most confident of each image", best)]


def rows_confidence(rows: HeldOutRows, predictions: np.ndarray) -> np.ndarray:
    """Return the mean confidence of each row over its labels, (rows,). NaN for a target without probabilities."""
    try:
        return rows.target.confidence(predictions).mean(1)
    except ValueError:
        return np.full(len(predictions), np.nan)


def metric_of_stress(rows: HeldOutRows, outcomes: Outcomes) -> Metric:
    """Return the recipe's metric as a function of labels and predictions, with the thresholds fitted to all rows."""
    metric, target = rows.scorer.metric, rows.target
    decisions = outcomes.fitted.decisions if outcomes.fitted else None

    def function(labels: np.ndarray, predictions: np.ndarray) -> float:
        return metric(labels, predictions, target, decisions)

    def row_values(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        assert metric.rows is not None
        return np.asarray(metric.rows(*metric.inputs(labels, predictions, target, decisions)), np.float64)

    return Metric(metric.name, function, metric.higher_is_better, rows=row_values if metric.rows else None)


def row_harm(rows: HeldOutRows, outcomes: Outcomes, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return how bad each row is, as `Outcomes.harm` for other predictions, (rows,)."""
    if outcomes.is_one_class:
        return 1 - correct_rows(true_classes(labels, rows.target), rows.target.decide(predictions).astype(np.float64))
    return row_losses(labels, predictions, rows.target)


def row_costs(
    metric: Metric, rows: HeldOutRows, outcomes: Outcomes, labels: np.ndarray, predictions: np.ndarray
) -> np.ndarray:
    """Return what each row costs in the metric, (rows,): its value if the metric is a mean over rows, else its harm."""
    if metric.rows is None:
        return row_harm(rows, outcomes, labels, predictions)
    values = metric.row_values(labels, predictions)
    return -values if metric.higher_is_better else values


def chance_of(low: np.ndarray, high: np.ndarray) -> float:
    """Return the probability that `high` exceeds `low` by so much on average, if their signs were random.

    Differences of -1, 0 and 1 are tested with McNemar's exact test, others with a paired t-test. Both are one-sided.
    """
    from scipy import stats

    known = ~np.isnan(low) & ~np.isnan(high)
    differences = (high - low)[known]
    if not differences.any():
        return 1.0
    if set(np.unique(differences)) <= {-1.0, 0.0, 1.0}:
        worse, changed = int((differences > 0).sum()), int((differences != 0).sum())
        return float(stats.binom.sf(worse - 1, changed, 0.5))
    if np.ptp(differences) == 0:
        return 0.0 if differences[0] > 0 else 1.0
    return float(stats.ttest_1samp(differences, 0.0, alternative="greater").pvalue)
