"""Find changes that repair held-out images: with them, the score of the images is better."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes, true_classes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.stress.costs import chance_of, metric_of_stress, row_harm
from kcomp.explain.stress.kinds import KINDS, Stress
from kcomp.explain.stress.stressed import Stressed
from kcomp.metrics.metric import Metric

REPAIRED = 0.6  # least share of the wrong rows that another strength for each image repairs, beyond chance
MOST_CONFIDENT = "the most confident of each image"
OWN = "another strength for each image"


@dataclass(frozen=True)
class Repair:
    """How much better the score would be if a change were applied to the held-out images.

    Attributes:
        how: Which change, as a text.
        strengths: The strengths that it uses.
        score: The score with it.
        gain: How much better the score is; above 0 is better, whatever the metric's direction.
        p: The probability of so many better rows by chance. `rank_stress` corrects it for all tested repairs (Holm
            1979).
    """

    how: str
    strengths: tuple[float, ...]
    score: float
    gain: float
    p: float


def repairs_of(rows: HeldOutRows, outcomes: Outcomes, stressed: Stressed, kind: Stress) -> list[Repair]:
    """Return the tested repairs by a kind of change: each strength for all images, and another one for each image.

    Each repair is tested on the rows that were predicted at its strengths. A kind that cannot be reversed has none.
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
    """Compare the predictions `values` of the rows in `present` with those of the unchanged images."""
    labels, untouched = rows.labels[stressed.rows][present], stressed.untouched[present]
    score, before = metric(labels, values), metric(labels, untouched)
    p = chance_of(row_harm(rows, outcomes, labels, values), row_harm(rows, outcomes, labels, untouched))
    return Repair(how, strengths, score, (score - before) * (1 if metric.higher_is_better else -1), p)


def rows_confidence(rows: HeldOutRows, predictions: np.ndarray) -> np.ndarray:
    """Return the mean confidence of each row over its labels, (rows,). NaN for a target without probabilities."""
    try:
        return rows.target.confidence(predictions).mean(1)
    except ValueError:
        return np.full(len(predictions), np.nan)


def own_strengths(
    rows: HeldOutRows, outcomes: Outcomes, metric: Metric, stressed: Stressed, kind: Stress
) -> Repair | None:
    """Test whether each wrong row becomes right at some strength, more often than by chance and by other changes.

    With several strengths, any class may become the prediction by chance. The chance of a row is the share of other
    classes, weighted by their number of rows, that some strength predicts. Neither its label nor the class that is
    predicted without a change counts. A row near the border of two classes becomes right by any change. The realistic
    strengths of all other kinds must therefore repair fewer rows, beyond chance.

    Returns:
        The repair. Its score is corrected for chance: if chance repairs a share c of the wrong rows, and the change
        repairs a share h, the gain counts (h - c) / (1 - c) times. None for targets other than one of at least three
        classes, without wrong rows, or if this share is below `REPAIRED`.
    """
    present = np.asarray(stressed.known(kind.name).all(0))
    labels, untouched = rows.labels[stressed.rows][present], stressed.untouched[present]
    if not outcomes.is_one_class or len(rows.target.class_names) < 3:
        return None
    true, predicted = true_classes(labels, rows.target).astype(int), rows.target.decide(untouched)
    wrong = true != predicted
    weights = class_weights(true, predicted[wrong], len(rows.target.class_names))
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
    p = max(tail_of_sum(chance, int(repaired.sum())), chance_of(hits - expected, repaired - chance))
    text = f"{OWN} ({repaired.mean():.0%} of the wrong rows become right, {chance.mean():.0%} by chance)"
    return Repair(text, kind.strengths, score, (score - before) * (1 if metric.higher_is_better else -1), p)


def hits_and_chance(
    rows: HeldOutRows, changed: np.ndarray, true: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each row's class is predicted at some strength, and the chance of it; both (rows,).

    Args:
        rows: All rows.
        changed: Predictions (strengths, rows, prediction columns).
        true: The class of each row.
        weights: The share of each class by which its chance counts, (rows, classes).
    """
    decided = np.stack([rows.target.decide(values) for values in changed])
    hits = (decided[:, :, None] == np.arange(weights.shape[1])).any(0)
    return hits[np.arange(len(true)), true].astype(np.float64), (weights * hits).sum(1)


def realistic_of_others(stressed: Stressed, kind: Stress) -> np.ndarray:
    """Return the predictions at the realistic strengths of all other kinds, (strengths, rows, prediction columns)."""
    places = [
        stressed.changed[other.name][other.strengths.index(strength)]
        for other in KINDS
        if other.name != kind.name
        for strength in other.realistic
    ]
    return np.stack(places)


def class_weights(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return the share of each class among `true`, without the predicted class of each row, (rows, classes)."""
    weights = np.tile(np.bincount(true, minlength=classes).astype(np.float64), (len(predicted), 1))
    weights[np.arange(len(predicted)), predicted] = 0
    shares: np.ndarray = weights / weights.sum(1, keepdims=True)
    return shares


def first_right(rows: HeldOutRows, changed: np.ndarray, true: np.ndarray, untouched: np.ndarray) -> np.ndarray:
    """Return each row's prediction at the first strength that predicts its class, or the unchanged prediction."""
    values = untouched.copy()
    for each in changed[::-1]:
        right = rows.target.decide(each) == true
        values[right] = each[right]
    return values


def tail_of_sum(chances: np.ndarray, count: int) -> float:
    """Return the probability that at least `count` of independent events happen, which have these probabilities."""
    distribution = np.ones(1)
    for chance in chances:
        distribution = np.convolve(distribution, [1 - chance, chance])
    return float(distribution[count:].sum())


def best_repair(repairs: Sequence[Repair], false_alarms: float) -> Repair | None:
    """Return the repair with the greatest gain, of those with p of at most `false_alarms` if there are any.

    One strength for all images is preferred to one for each image, if its gain is nearly as great.
    """
    significant = [repair for repair in repairs if repair.p <= false_alarms and repair.gain > 0]
    best = max(significant or repairs, key=gain_of, default=None)
    same = [repair for repair in significant if best and len(repair.strengths) == 1 and repair.gain >= 0.9 * best.gain]
    return max(same, key=gain_of, default=best)


def gain_of(repair: Repair) -> float:
    return repair.gain
