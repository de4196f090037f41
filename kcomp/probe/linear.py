"""Predict classes from features of a frozen network by a probe: a logistic regression."""

from collections.abc import Callable, Sequence

import numpy as np

from kcomp.data.tables import Table
from kcomp.probe.folds import probe_folds, stratified
from kcomp.targets import Target, arrays

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
INNER_FOLDS = 4  # one of them is held out to choose the penalty
INNER_ROWS = 4000  # the penalty is chosen on at most this many rows
STEPS = 200  # of L-BFGS

Model = Callable[[np.ndarray], np.ndarray]  # from features (rows, dimensions) to predictions (rows, columns)


def out_of_fold(features: np.ndarray, table: Table, seed: int = 0, *, together: np.ndarray | None = None) -> np.ndarray:
    """Predict each row by a probe that is fitted on the other folds.

    The probe is a multinomial logistic regression if each row has one class. For several labels, it is a logistic
    regression for each label. The L2 penalty is chosen on held-out rows within the training folds.

    Args:
        features: Features of the images, (rows, dimensions). A row with a NaN is neither used nor predicted.
        table: The labelled rows, with classes and no grades.
        seed: Seed of the folds.
        together: A group number for each row, (rows,), or None. Rows of a group share a fold.

    Returns:
        Predictions, float64 (rows, prediction columns). Rows that could not be predicted are NaN.

    Examples:
        >>> import numpy as np
        >>> from kcomp import data
        >>> from kcomp.probe.linear import out_of_fold
        >>> table = data.sklearn_digits()
        >>> pixels = np.stack(table.images).reshape(len(table), -1)
        >>> predictions = out_of_fold(pixels, table)
        >>> float((predictions.argmax(1) == table.labels.argmax(1)).mean()) > 0.95
        True
    """
    target = table.required_target
    predictions = np.full((len(table), len(target.prediction_columns)), np.nan)
    usable = np.isfinite(features).all(1)
    if usable.sum() < 2:
        return predictions
    rows = table.rows(usable)
    folds = probe_folds(rows, seed, together=None if together is None else together[usable])
    known, labels = features[usable], rows.labels.astype(np.float64)
    result = predictions[usable]
    for fold in np.unique(folds[folds >= 0]):
        train, held_out = folds != fold, folds == fold
        if train.any():
            result[held_out] = fit_probe(known[train], labels[train], target, seed)(known[held_out])
    predictions[usable] = result
    return predictions


def fit_probe(features: np.ndarray, labels: np.ndarray, target: Target, seed: int = 0) -> Model:
    """Fit a probe on all rows, and return a function from features to predictions.

    Args:
        features: Shape (rows, dimensions), without NaN.
        labels: Shape (rows, columns). NaN is a missing label.
        target: The target of the labels, with one column for each class.
        seed: Seed of the rows on which the penalty is chosen.
    """
    mean = features.mean(0, dtype=np.float64).astype(np.float32)
    scale = float(np.sqrt(np.square(features - mean, dtype=np.float64).mean())) or 1.0

    def scaled(values: np.ndarray) -> np.ndarray:
        return ((values - mean) / scale).astype(np.float32)

    weights, bias = fit_logistic(scaled(features), labels, target, seed)
    return lambda values: target.predict(scaled(values) @ weights + bias)


def fit_logistic(features: np.ndarray, labels: np.ndarray, target: Target, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression. Return its weights (dimensions, columns) and bias (columns,).

    The L2 penalty is chosen on a quarter of at most `INNER_ROWS` rows, which are held out for this choice.
    """
    multinomial = target.stacker == "multinomial"
    chosen = np.random.default_rng(seed).permutation(len(labels))[:INNER_ROWS]
    count = min(INNER_FOLDS, len(chosen))
    parts = stratified(target.strata(labels[chosen]), None, count, seed) if count > 1 else np.zeros(len(chosen), int)
    train, held_out = chosen[parts != 0], chosen[parts == 0]
    penalty = PENALTIES[0]
    if len(train):
        path = logistic_path(features[train], labels[train], PENALTIES, multinomial)
        losses = [
            cross_entropy(features[held_out] @ weights + bias, labels[held_out], multinomial)[0]
            for weights, bias in path
        ]
        penalty = PENALTIES[int(np.argmin(losses))]
    larger = [value for value in PENALTIES if value >= penalty]
    return logistic_path(features, labels, larger, multinomial)[-1]


def logistic_path(
    features: np.ndarray, labels: np.ndarray, penalties: Sequence[float], multinomial: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fit a logistic regression with each L2 penalty, in descending order. Return pairs of weights and bias.

    The loss is mean cross-entropy + penalty / 2 * |weights|^2.
    """
    from scipy import optimize
    from threadpoolctl import threadpool_limits

    dimensions, columns = features.shape[1], labels.shape[1]
    packed = np.zeros((dimensions + 1) * columns)
    fits = []
    for penalty in penalties:

        def loss(packed: np.ndarray, penalty: float = penalty) -> tuple[float, np.ndarray]:
            weights, bias = unpacked(packed, columns)
            value, slope = cross_entropy(features @ weights + bias, labels, multinomial)
            gradient = features.T @ slope + np.float32(penalty) * weights
            size = float(np.square(weights, dtype=np.float64).sum())
            return value + penalty / 2 * size, np.concatenate([gradient.ravel(), slope.sum(0)]).astype(np.float64)

        options = {"maxiter": STEPS, "ftol": 1e-7, "gtol": 1e-5}
        with threadpool_limits(1, "blas"):  # threads wait for each other longer than such small products take
            packed = optimize.minimize(loss, packed, jac=True, method="L-BFGS-B", options=options).x
        fits.append(unpacked(packed, columns))
    return fits


def unpacked(packed: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    values = packed.astype(np.float32).reshape(-1, columns)
    return values[:-1], values[-1]


def cross_entropy(logits: np.ndarray, labels: np.ndarray, multinomial: bool) -> tuple[float, np.ndarray]:
    """Return the mean cross-entropy of soft labels, and its gradient by the logits, float32 (rows, columns).

    Args:
        logits: Shape (rows, columns).
        labels: Shape (rows, columns). NaN is a missing label, which does not count.
        multinomial: Whether probabilities are the softmax over columns. If not, they are the sigmoid of each column.
    """
    if multinomial:
        shifted = logits - logits.max(1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(1, keepdims=True)
        value = float((np.log(sums[:, 0]) - (labels * shifted).sum(1)).mean())
        return value, ((exponentials / sums - labels) / len(labels)).astype(np.float32)
    known = ~np.isnan(labels)
    truth = np.where(known, labels, 0)
    value = float((np.where(known, np.logaddexp(0, logits) - truth * logits, 0)).sum() / len(labels))
    return value, (np.where(known, arrays.sigmoid(logits) - truth, 0) / len(labels)).astype(np.float32)
