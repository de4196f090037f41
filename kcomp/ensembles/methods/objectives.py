"""Fast versions of metrics as functions of the weights of an ensemble's members, for a search of the best weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.metrics import log_loss
from kcomp.metrics.scores import Scorer
from kcomp.targets.arrays import SMALLEST


@dataclass(frozen=True)
class Objective:
    """A function of the members' weights (members,) to minimize: loss(weights @ features).

    Attributes:
        features: The flattened predictions of each member, (members, numbers).
        loss: Takes weights @ features, (numbers,). Returns two numbers: the metric (negated if higher is better), and
            the log loss, which breaks ties.
    """

    features: np.ndarray
    loss: Callable[[np.ndarray], tuple[float, float]]


def objective(scorer: Scorer, values: Sequence[np.ndarray], labels: np.ndarray) -> Objective:
    """Return the function to minimize by a search of the members' weights.

    Args:
        scorer: The metric and the target.
        values: Predictions of each member, (rows, columns).
        labels: Labels, (rows, columns).
    """
    flat = np.stack([member.ravel() for member in values])
    sign = -1.0 if scorer.metric.higher_is_better else 1.0

    def loss(mixed: np.ndarray) -> float:
        return sign * scorer(labels, mixed.reshape(labels.shape))

    if not has_probabilities(scorer):
        return Objective(flat, lambda mixed: (loss(mixed), 0.0))
    entries, shares = labelled_entries(values, labels, scorer)

    def cross_entropy(mixed: np.ndarray) -> float:
        return float(-shares @ np.log(np.maximum(mixed[: len(shares)], SMALLEST)))

    if scorer.metric == log_loss:
        return Objective(entries, lambda mixed: (cross_entropy(mixed), 0.0))
    features = np.concatenate([entries, flat], axis=1)
    return Objective(features, lambda mixed: (loss(mixed[len(shares) :]), cross_entropy(mixed)))


def has_probabilities(scorer: Scorer) -> bool:
    return log_loss.name in scorer.target.shown_metrics


def labelled_entries(values: Sequence[np.ndarray], labels: np.ndarray, scorer: Scorer) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays from which the log loss is computed as -sum(weights * log(probabilities)).

    The first has the predicted probabilities of true classes, (members, entries). The second has their weights in the
    log loss, (entries,). A row with several true labels has several entries.
    """
    inputs = [log_loss.inputs(labels, member, scorer.target) for member in values]
    true = np.nan_to_num(inputs[0][0])
    totals = true.reshape(len(true), -1).sum(1)  # 1 if each row has one class, else how many labels are known
    places = np.nonzero(true)
    shares = true[places] / totals[places[0]] / np.count_nonzero(totals)
    return np.stack([probabilities[places] for _, probabilities in inputs]), shares


def improves(new: tuple[float, float], old: tuple[float, float]) -> bool:
    """Return whether the pair of losses `new` is lower than `old` by more than rounding.

    The first losses are compared, and the second ones only if the first are equal.
    """
    if abs(new[0] - old[0]) > 1e-12:
        return new[0] < old[0]
    return new[1] < old[1] - 1e-12
