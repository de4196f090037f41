"""Averages without fitted numbers: from the probabilities (rows, classes) of all members to one table."""

from collections.abc import Sequence

import numpy as np

from kcomp.ensembles.methods.objectives import SMALLEST

Values = np.ndarray | Sequence[np.ndarray]


def mean(values: Values) -> np.ndarray:
    """Return the arithmetic mean ("soft vote")."""
    total = np.zeros(values[0].shape, np.float64)
    for member in values:
        total += member
    return total / len(values)


def vote(values: Values) -> np.ndarray:
    """Return the share of votes of each class ("hard vote"); the mean probability counts as one more member.

    A member votes for its likeliest class. The mean adds less than one vote, so it only breaks ties, and keeps a class
    without votes above 0.
    """
    votes = mean(values)
    rows = np.arange(votes.shape[0])
    for member in values:
        votes[rows, member.argmax(1)] += 1
    return votes / (len(values) + 1)


def gmean(values: Values) -> np.ndarray:
    """Return the geometric mean, each row divided by its sum; a probability below 2e-16 counts as 2e-16."""
    return softmax(mean_log(values))


def rank(values: Values) -> np.ndarray:
    """Return the mean of ranks: each probability becomes its rank among all rows of its class.

    Useful for ROC AUC, which only depends on order: members on different scales count equally. Rows are then divided by
    their sum, which can change the order again with more than two classes. Results depend on which rows are ranked
    together; test rows are ranked among test rows.
    """
    from scipy import stats

    ranks = np.zeros(values[0].shape, np.float64)
    for member in values:
        ranks += stats.rankdata(member, axis=0)
    return ranks / ranks.sum(1, keepdims=True)


def weighted(values: Values, weights: np.ndarray) -> np.ndarray:
    """Return the mean with `weights` (members,), which sum to 1."""
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
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)
