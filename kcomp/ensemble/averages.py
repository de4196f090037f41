"""Averages that fit nothing: the members' probabilities (rows, classes), in a sequence or an array, become one."""

from collections.abc import Sequence

import numpy as np

from kcomp.ensemble.objectives import SMALLEST

Values = np.ndarray | Sequence[np.ndarray]


def mean(values: Values) -> np.ndarray:
    """The arithmetic mean ("soft vote")."""
    total = np.zeros(values[0].shape, np.float64)
    for member in values:
        total += member
    return total / len(values)


def vote(values: Values) -> np.ndarray:
    """The share of members whose top class it is ("hard vote"), the mean probability counting as one more member.

    A class with fewer votes never overtakes one with more, for the mean adds less than one vote; it breaks ties, and
    keeps a class that nobody votes for above 0.
    """
    votes = mean(values)
    rows = np.arange(votes.shape[0])
    for member in values:
        votes[rows, member.argmax(1)] += 1
    return votes / (len(values) + 1)


def gmean(values: Values) -> np.ndarray:
    """The geometric mean, each row divided by its sum; probabilities below 2e-16 count as that, so none is a veto."""
    return softmax(mean_log(values))


def rank(values: Values) -> np.ndarray:
    """The mean of ranks: a probability becomes its row's place among all rows of that class, in (0, 1].

    For ROC AUC, which asks for nothing but order: members on different scales count alike. Rows are then divided by
    their sum, which with more than two classes may change the order again. What is written depends on which rows are
    ranked together: test rows among test rows.
    """
    from scipy import stats

    ranks = np.zeros(values[0].shape, np.float64)
    for member in values:
        ranks += stats.rankdata(member, axis=0)
    return ranks / ranks.sum(1, keepdims=True)


def weighted(values: Values, weights: np.ndarray) -> np.ndarray:
    """The mean with `weights` (members,) of sum 1."""
    total = np.zeros(values[0].shape, np.float64)
    for weight, member in zip(weights, values, strict=True):
        total += weight * member
    return total


def mean_log(values: Values) -> np.ndarray:
    total = np.zeros(values[0].shape, np.float64)
    for member in values:
        total += np.log(np.maximum(member, SMALLEST))
    return total / len(values)


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)
