"""Fast versions of metrics, for a search over the weights of members."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.metrics import log_loss
from kcomp.metrics.scores import Scorer
from kcomp.targets.arrays import SMALLEST


@dataclass(frozen=True)
class Objective:
    """A function to minimise over the weights of members.

    features:  numbers of each member that the loss needs (members, numbers), such as probabilities of true classes.
    loss:      function of the weighted mean of the rows of `features`. It returns the metric (times -1 if higher is
               better) and, to break ties, the log loss.
    """

    features: np.ndarray
    loss: Callable[[np.ndarray], tuple[float, float]]


def objective(scorer: Scorer, values: Sequence[np.ndarray], labels: np.ndarray) -> Objective:
    """Return the loss of a weighted mean of members' predictions. `labels` and each of `values` are (rows, columns).

    If two weighted means have the same metric, the one with the lower log loss is better.
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
    """Return whether predictions of the target are probabilities of classes."""
    return log_loss.name in scorer.target.shown_metrics


def labelled_entries(values: Sequence[np.ndarray], labels: np.ndarray, scorer: Scorer) -> tuple[np.ndarray, np.ndarray]:
    """Return the members' probabilities of the true classes (members, entries), and their weights in the log loss."""
    inputs = [log_loss.inputs(labels, member, scorer.target) for member in values]
    true = np.nan_to_num(inputs[0][0])
    totals = true.reshape(len(true), -1).sum(1)  # 1 for one class a row, else the number of known labels
    places = np.nonzero(true)
    shares = true[places] / totals[places[0]] / np.count_nonzero(totals)
    return np.stack([probabilities[places] for _, probabilities in inputs]), shares


def improves(new: tuple[float, float], old: tuple[float, float]) -> bool:
    """Return whether `new` is lower than `old` by more than rounding.

    A loss has two numbers. The second decides if the first is equal or NaN.
    """
    if abs(new[0] - old[0]) > 1e-12:
        return new[0] < old[0]
    return new[1] < old[1] - 1e-12
