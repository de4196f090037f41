"""Stacking: a regression that predicts the labels from the predictions of several models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kcomp.ensembles.methods import multinomial
from kcomp.ensembles.methods.averages import Values
from kcomp.targets import Target

ALPHAS = tuple(10.0**power for power in range(4, -4, -1))  # L2 penalties to try in ridge regression


class Stacker(Protocol):
    """A fitted stacking regression: a function from predictions (members, rows, columns) to predictions (rows,
    columns).

    `penalties` are the L2 penalties of the fit.
    """

    @property
    def penalties(self) -> tuple[float, ...]: ...

    def __call__(self, values: Values) -> np.ndarray: ...


def fit(values: np.ndarray, labels: np.ndarray, target: Target) -> Stacker:
    """Fit the kind of regression that suits the target.

    Args:
        values: Predictions of the members, (members, rows, columns).
        labels: Labels, (rows, columns). NaN is a missing label.
        target: The target of the labels.
    """
    return STACKERS[target.stacker](values, labels, target)


@dataclass(frozen=True)
class BinaryStackers:
    """A logistic regression for each label, on the members' predictions of this label.

    Attributes:
        columns: The regression of each label. None for a label that is always 0 or always 1: its prediction is the
            geometric mean of the members.
        target: The target of the labels.
    """

    columns: tuple[multinomial.MultinomialStacker | None, ...]
    target: Target

    @property
    def penalties(self) -> tuple[float, ...]:
        return tuple(stacker.penalty for stacker in self.columns if stacker is not None)

    def __call__(self, values: Values) -> np.ndarray:
        predictions = self.target.gmean(values)
        for column, stacker in enumerate(self.columns):
            if stacker is not None:
                predictions[:, column] = stacker([two_classes(member[:, column]) for member in values])[:, 1]
        return predictions


def fit_binary(values: np.ndarray, labels: np.ndarray, target: Target) -> BinaryStackers:
    stackers: list[multinomial.MultinomialStacker | None] = []
    for column, true in enumerate(labels.T):
        known = ~np.isnan(true)
        has_both = len(np.unique(true[known] > 0.5)) == 2
        members = np.stack([two_classes(member[known, column]) for member in values])
        stackers.append(multinomial.fit(members, two_classes(true[known])) if has_both else None)
    return BinaryStackers(tuple(stackers), target)


def two_classes(probabilities: np.ndarray) -> np.ndarray:
    return np.stack([1 - probabilities, probabilities], axis=-1)


@dataclass(frozen=True)
class RidgeStackers:
    """A ridge regression for each column.

    prediction = mean(p) + sum(weights[:, column] * p) + bias[column], where p are the members' predictions for a row
    and column.

    Attributes:
        weights: Shape (members, columns).
        bias: Shape (columns,).
        penalties: The L2 penalty of each column, for standardized predictions.
        target: The target of the labels.
    """

    weights: np.ndarray
    bias: np.ndarray
    penalties: tuple[float, ...]
    target: Target

    def __call__(self, values: Values) -> np.ndarray:
        corrections = [member * weights for member, weights in zip(values, self.weights, strict=True)]
        return self.target.normalized(self.target.average(values) + np.sum(corrections, axis=0) + self.bias)


def fit_ridge(values: np.ndarray, labels: np.ndarray, target: Target) -> RidgeStackers:
    """Fit a ridge regression for each column to the difference between the labels and the members' mean.

    The L2 penalty of each column is chosen by leave-one-out cross-validation on these rows.
    """
    weights, bias = np.zeros((len(values), labels.shape[1])), np.zeros(labels.shape[1])
    penalties = []
    for column, true in enumerate(labels.T):
        known = ~np.isnan(true)
        if known.sum() > 1:
            weights[:, column], bias[column], penalty = ridge(values[:, known, column].T, true[known])
            penalties.append(penalty)
    return RidgeStackers(weights, bias, tuple(penalties), target)


def ridge(predictions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return the weights (members,), the bias and the L2 penalty of the ridge regression of one column."""
    from sklearn.linear_model import RidgeCV

    center, scale = predictions.mean(0), predictions.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    model = RidgeCV(alphas=ALPHAS).fit((predictions - center) / scale, labels - predictions.mean(1))
    weights = model.coef_ / scale
    return weights, float(model.intercept_ - center @ weights), float(model.alpha_)


def fit_multinomial(values: np.ndarray, labels: np.ndarray, target: Target) -> multinomial.MultinomialStacker:
    return multinomial.fit(values, labels)


STACKERS: dict[str, Callable[[np.ndarray, np.ndarray, Target], Stacker]] = {
    "multinomial": fit_multinomial,
    "binary": fit_binary,
    "ridge": fit_ridge,
}
