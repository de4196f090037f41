"""Find repairs: changes of the held-out images that raise the score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes, true_classes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.stress.costs import metric_of_stress, p_value_of_increase, row_harm
from kcomp.explain.stress.kinds import KINDS, Stress
from kcomp.explain.stress.stressed import Stressed
from kcomp.metrics.metric import Metric

REPAIRED = 0.6  # least share of the wrong rows that another strength for each image repairs, beyond chance
MOST_CONFIDENT = "the most confident of each image"
OWN = "another strength for each image"


@dataclass(frozen=True)
class Repair:
    """A change of the held-out images that may raise the score.

    Attributes:
        how: The change as text, such as a strength with its unit.
        strengths: The strengths that are used.
        score: The score with the change.
        gain: How much better the score is. Above 0 is better.
        p: The probability that so many rows are better by chance. `rank_stress` corrects it for all tested repairs
            (Holm 1979).
    """

    how: str
    strengths: tuple[float, ...]
    score: float
    gain: float
    p: float


def repairs_of(rows: HeldOutRows, outcomes: Outcomes, stressed: Stressed, kind: Stress) -> list[Repair]:
    """Return the tested repairs by a kind of change. There are none for a kind that cannot be reversed.

    A repair uses one strength for all images, for each image the strength with the highest confidence, or
    `own_strengths`.
    """
    if not kind.is_reversible:
        return []
    metric, changed, known = metric_of_stress(rows, outcomes), stressed.changed[kind.name], stressed.known(kind.name)
    repairs = []
    for strength, values, present in zip(kind.strengths, changed, known, strict=True):
        repairs.append(
            repair_by(kind.describe(strength), (strength,), rows, outcomes, metric, stressed, present, values[present])
        )
    present = np.asarray(known.all(0))
    every = np.concatenate([stressed.untouched[None], changed])[:, present]
    confidence = np.stack([rows_confidence(rows, values) for values in every])
    if not np.isnan(confidence).all():
        best = every[confidence.argmax(0), np.arange(every.shape[1])]
        repairs.append(repair_by(MOST_CONFIDENT, kind.strengths, rows, outcomes, metric, stressed, present, best))
    own = own_strengths(rows, outcomes, metric, stressed, kind)
    return [*repairs, own] if own else repairs


def repair_by(
    how: str,
    strengths: tuple[float, ...],
    rows: HeldOutRows,
    outcomes: Outcomes,
    metric: Metric,
    stressed: Stressed,
    present: np.ndarray,
    values: np.ndarray,
) -> Repair:
    """Compare the predictions of changed images with those of the unchanged images, and return the repair.

    Args:
        how: The change as text.
        strengths: The strengths that are used.
        rows: All held-out rows.
        outcomes: The outcome of each row.
        metric: The metric.
        stressed: The predictions of the unchanged images.
        present: Which of the sampled rows are used, bool (sampled rows,).
        values: The predictions of the used rows after the change, (used rows, prediction columns).
    """
    labels, untouched = rows.labels[stressed.rows][present], stressed.untouched[present]
    score, before = metric(labels, values), metric(labels, untouched)
    p = p_value_of_increase(row_harm(rows, outcomes, labels, values), row_harm(rows, outcomes, labels, untouched))
    return Repair(how, strengths, score, (score - before) * (1 if metric.higher_is_better else -1), p)


def rows_confidence(rows: HeldOutRows, predictions: np.ndarray) -> np.ndarray:
    """Return the confidence of each row, (rows,). For several labels, it is their mean. NaN without probabilities."""
    try:
        return rows.target.confidence(predictions).mean(1)
    except ValueError:
        return np.full(len(predictions), np.nan)


def own_strengths(
    rows: HeldOutRows, outcomes: Outcomes, metric: Metric, stressed: Stressed, kind: Stress
) -> Repair | None:
    """Return the repair that uses for each image the first strength at which a wrong row becomes right.

    Chance alone makes some wrong rows right. If c is the share of wrong rows that chance makes right, and h the share
    that the change makes right, the gain is multiplied by s = (h - c) / (1 - c). docs/internals/explain.md describes
    the test.

    Returns:
        The repair. None if s is below `REPAIRED`, or unless each row has one of at least three classes.
    """
    present = np.asarray(stressed.known(kind.name).all(0))
    labels, untouched = rows.labels[stressed.rows][present], stressed.untouched[present]
    if not outcomes.is_one_class or len(rows.target.class_names) < 3:
        return None
    true, predicted = true_classes(labels, rows.target).astype(int), rows.target.decide(untouched)
    wrong = true != predicted
    weights = class_shares(true, predicted[wrong], len(rows.target.class_names))
    changed = stressed.changed[kind.name][:, present][:, wrong]
    repaired, chance = hits_and_chance(rows, changed, true[wrong], weights)
    share = float((repaired - chance).sum() / max((1 - chance).sum(), 1e-9))
    if share < REPAIRED:
        return None
    others = realistic_of_others(stressed, kind)[:, present][:, wrong]
    hits, expected = hits_and_chance(rows, others, true[wrong], weights)
    best = untouched.copy()
    best[wrong] = first_right(rows, changed, true[wrong], untouched[wrong])
    before = metric(labels, untouched)
    score = before + share * (metric(labels, best) - before)
    p = max(chance_of_at_least(chance, int(repaired.sum())), p_value_of_increase(hits - expected, repaired - chance))
    text = f"{OWN} ({repaired.mean():.0%} of the wrong rows become right, {chance.mean():.0%} by chance)"
    return Repair(text, kind.strengths, score, (score - before) * (1 if metric.higher_is_better else -1), p)


def hits_and_chance(
    rows: HeldOutRows, changed: np.ndarray, true: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays (rows,): whether some strength predicts the true class, and the probability of this by chance.

    Args:
        rows: All rows, which have the target.
        changed: Predictions (strengths, rows, prediction columns).
        true: The true class of each row, int (rows,).
        weights: The probability of each class by chance, (rows, classes). Each row sums to 1.
    """
    decided = np.stack([rows.target.decide(values) for values in changed])
    hits = (decided[:, :, None] == np.arange(weights.shape[1])).any(0)
    return hits[np.arange(len(true)), true].astype(np.float64), (weights * hits).sum(1)


def realistic_of_others(stressed: Stressed, kind: Stress) -> np.ndarray:
    """Return the predictions at the realistic strengths of all other changes, (strengths, rows, prediction columns)."""
    places = [
        stressed.changed[other.name][other.strengths.index(strength)]
        for other in KINDS
        if other.name != kind.name
        for strength in other.realistic
    ]
    return np.stack(places)


def class_shares(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return for each row the share of each class in `true`, after its own predicted class is removed, (rows, classes).

    Each row sums to 1.
    """
    weights = np.tile(np.bincount(true, minlength=classes).astype(np.float64), (len(predicted), 1))
    weights[np.arange(len(predicted)), predicted] = 0
    shares: np.ndarray = weights / weights.sum(1, keepdims=True)
    return shares


def first_right(rows: HeldOutRows, changed: np.ndarray, true: np.ndarray, untouched: np.ndarray) -> np.ndarray:
    """Return each row's prediction at the first strength that predicts the true class, else the unchanged one."""
    values = untouched.copy()
    for each in changed[::-1]:
        right = rows.target.decide(each) == true
        values[right] = each[right]
    return values


def chance_of_at_least(chances: np.ndarray, count: int) -> float:
    """Return the probability that at least `count` of several independent events happen.

    `chances` has their probabilities.
    """
    distribution = np.ones(1)
    for chance in chances:
        distribution = np.convolve(distribution, [1 - chance, chance])
    return float(distribution[count:].sum())


def best_repair(repairs: Sequence[Repair], false_alarms: float) -> Repair | None:
    """Return the repair with the greatest gain, or None if there are no repairs.

    If some repairs are significant (p is at most `false_alarms`), only these are compared. A significant repair with a
    single strength is preferred if it has at least 90 % of the greatest gain.
    """
    significant = [repair for repair in repairs if repair.p <= false_alarms and repair.gain > 0]
    best = max(significant or repairs, key=gain_of, default=None)
    same = [repair for repair in significant if best and len(repair.strengths) == 1 and repair.gain >= 0.9 * best.gain]
    return max(same, key=gain_of, default=best)


def gain_of(repair: Repair) -> float:
    return repair.gain
