"""Stacking by multinomial logistic regression on the members' log probabilities."""

from dataclasses import dataclass

import numpy as np

from kcomp.ensembles.cross_validation import stratified_parts
from kcomp.ensembles.methods.averages import Values
from kcomp.metrics.classification import row_entropies
from kcomp.targets import arrays
from kcomp.targets.arrays import softmax

PENALTIES = (1.0, 0.1, 0.01, 0.001, 0.0001)
INNER_PARTS = 3
SMALLEST = 1e-7  # smaller float32 probabilities are mostly rounding, and their logarithms would be outliers


@dataclass(frozen=True)
class MultinomialStacker:
    """A multinomial logistic regression that combines the members' probabilities.

    The logits are `mean_log(p) + features_of(p) @ weights + bias`, where p are the probabilities (members, rows,
    classes).

    Attributes:
        weights: Shape (members * classes, classes).
        bias: Shape (classes,).
        penalty: The L2 penalty of the fit.
    """

    weights: np.ndarray
    bias: np.ndarray
    penalty: float

    @property
    def penalties(self) -> tuple[float, ...]:
        return (self.penalty,)

    def __call__(self, values: Values) -> np.ndarray:
        return softmax(mean_log(values) + features_of(values) @ self.weights + self.bias)


def fit(values: np.ndarray, labels: np.ndarray) -> MultinomialStacker:
    """Fit a regression to probabilities `values` (members, rows, classes) and `labels` (rows, classes).

    The L2 penalty is the one with the lowest log loss in a 3-fold stratified cross-validation on these rows.
    """
    features, offset = features_of(list(values)), mean_log(list(values))
    parts = stratified_parts(labels.argmax(1), INNER_PARTS)
    losses = np.zeros(len(PENALTIES))
    for part in np.unique(parts):
        train, held_out = parts != part, parts == part
        path = regressions(features[train], offset[train], labels[train])
        for number, (weights, bias) in enumerate(path):
            guess = softmax(offset[held_out] + features[held_out] @ weights + bias)
            losses[number] += row_entropies(labels[held_out], guess).sum()
    chosen = int(losses.argmin())
    weights, bias = regressions(features, offset, labels, PENALTIES[: chosen + 1])[-1]
    return MultinomialStacker(weights, bias, PENALTIES[chosen])


def mean_log(values: Values) -> np.ndarray:
    return arrays.mean([np.log(np.maximum(member, arrays.SMALLEST)) for member in values])


def features_of(values: Values) -> np.ndarray:
    """Return each member's log probabilities minus their mean over classes, side by side, (rows, members * classes)."""
    logs = [np.log(np.maximum(member, SMALLEST)) for member in values]
    return np.concatenate([member - member.mean(1, keepdims=True) for member in logs], axis=1)


def regressions(
    features: np.ndarray, offset: np.ndarray, labels: np.ndarray, penalties: tuple[float, ...] = PENALTIES
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the weights and the bias of a regression for each penalty. `penalties` must descend.

    `regression` describes the other arguments.
    """
    fits = []
    weights, bias = np.zeros((features.shape[1], labels.shape[1])), np.zeros(labels.shape[1])
    for penalty in penalties:
        weights, bias = regression(features, offset, labels, penalty, start=(weights, bias))
        fits.append((weights, bias))
    return fits


def regression(
    features: np.ndarray,
    offset: np.ndarray,
    labels: np.ndarray,
    penalty: float,
    *,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights (features, classes) and the bias (classes,) that minimize the loss.

    The loss is the mean cross-entropy of softmax(offset + features @ weights + bias), plus penalty / 2 * |weights|^2.

    Args:
        features: Shape (rows, features).
        offset: Fixed part of the logits, (rows, classes).
        labels: Shape (rows, classes).
        penalty: The L2 penalty.
        start: Weights and bias to start from. None for zeros.
    """
    from scipy import optimize

    classes = labels.shape[1]
    weights, bias = start or (np.zeros((features.shape[1], classes)), np.zeros(classes))

    def loss(packed: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = packed[:-classes].reshape(-1, classes), packed[-classes:]
        logits = offset + features @ weights + bias
        logits -= logits.max(1, keepdims=True)
        exponentials = np.exp(logits)
        sums = exponentials.sum(1, keepdims=True)
        value = float((np.log(sums[:, 0]) - (labels * logits).sum(1)).mean()) + penalty / 2 * float((weights**2).sum())
        slope = (exponentials / sums - labels) / len(labels)
        gradient = features.T @ slope + penalty * weights
        return value, np.concatenate([gradient.ravel(), slope.sum(0)])

    packed = np.concatenate([weights.ravel(), bias])
    options = {"maxiter": 200, "ftol": 1e-10, "gtol": 1e-6}
    solution = optimize.minimize(loss, packed, jac=True, method="L-BFGS-B", options=options).x
    return solution[:-classes].reshape(-1, classes), solution[-classes:]
