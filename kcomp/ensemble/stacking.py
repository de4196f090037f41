"""Stacking: a multinomial logistic regression on what the members say."""

from dataclasses import dataclass

import numpy as np

from kcomp.ensemble.averages import Values, mean_log, softmax
from kcomp.ensemble.parts import stratified
from kcomp.metrics import scores

PENALTIES = (1.0, 0.1, 0.01, 0.001, 0.0001)
INNER_PARTS = 3
SMALLEST = 1e-7  # what float32 tells from 0 beside 1; a smaller probability would be an outlier as a logarithm


@dataclass(frozen=True)
class Stacker:
    """Logits: the members' mean log probability, plus their log probabilities times `weights`, plus a bias.

    `weights` has shape (members * classes, classes), the bias (classes,); `penalty` is the one they were fitted with.
    """

    weights: np.ndarray
    bias: np.ndarray
    penalty: float

    def __call__(self, values: Values) -> np.ndarray:
        return softmax(mean_log(values) + features_of(values) @ self.weights + self.bias)


def fit(values: np.ndarray, labels: np.ndarray) -> Stacker:
    """Fit on `values` (members, rows, classes) and `labels` (rows, classes).

    There are members * classes * classes weights: seconds for 10 classes, hours for 30 members of 100 classes.
    With a penalty without end it is the geometric mean. The penalty is the one with the smallest log loss in a
    cross-validation of its own on these rows (3 stratified parts), whatever score the ensemble is judged by.
    """
    features, offset = features_of(values), mean_log(values)
    parts = stratified(labels, INNER_PARTS)
    losses = np.zeros(len(PENALTIES))
    for part in np.unique(parts):
        train, held_out = parts != part, parts == part
        path = regressions(features[train], offset[train], labels[train])
        for number, (weights, bias) in enumerate(path):
            guess = softmax(offset[held_out] + features[held_out] @ weights + bias)
            losses[number] += scores.cross_entropy(labels[held_out], guess) * held_out.sum()
    chosen = int(losses.argmin())
    weights, bias = regressions(features, offset, labels, PENALTIES[: chosen + 1])[-1]
    return Stacker(weights, bias, PENALTIES[chosen])


def features_of(values: Values) -> np.ndarray:
    """Log probabilities (rows, members * classes), each member's with a mean of 0 in every row."""
    logs = [np.log(np.maximum(member, SMALLEST)) for member in values]
    return np.concatenate([member - member.mean(1, keepdims=True) for member in logs], axis=1)


def regressions(
    features: np.ndarray, offset: np.ndarray, labels: np.ndarray, penalties: tuple[float, ...] = PENALTIES
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and bias for each penalty, falling, each fit beginning where the last one ended."""
    found = []
    weights, bias = np.zeros((features.shape[1], labels.shape[1])), np.zeros(labels.shape[1])
    for penalty in penalties:
        weights, bias = regression(features, offset, labels, penalty, start=(weights, bias))
        found.append((weights, bias))
    return found


def regression(
    features: np.ndarray,
    offset: np.ndarray,
    labels: np.ndarray,
    penalty: float,
    *,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the mean cross entropy of softmax(offset + features @ weights + bias) + penalty / 2 * |weights|^2.

    Labels may be soft, and a class may have no row, which scikit-learn's regression does not take.
    """
    from scipy import optimize

    classes = labels.shape[1]
    weights, bias = start or (np.zeros((features.shape[1], classes)), np.zeros(classes))

    def loss(packed: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = packed[:-classes].reshape(-1, classes), packed[-classes:]
        logits = offset + features @ weights + bias
        logits -= logits.max(1, keepdims=True)
        raised = np.exp(logits)
        sums = raised.sum(1, keepdims=True)
        value = float((np.log(sums[:, 0]) - (labels * logits).sum(1)).mean()) + penalty / 2 * float((weights**2).sum())
        slope = (raised / sums - labels) / len(labels)
        gradient = features.T @ slope + penalty * weights
        return value, np.concatenate([gradient.ravel(), slope.sum(0)])

    packed = np.concatenate([weights.ravel(), bias])
    options = {"maxiter": 200, "ftol": 1e-10, "gtol": 1e-6}
    found = optimize.minimize(loss, packed, jac=True, method="L-BFGS-B", options=options).x
    return found[:-classes].reshape(-1, classes), found[-classes:]
