"""Score frozen features by a cross-validated linear probe, in comparison with a constant prediction."""

from dataclasses import dataclass

import numpy as np

from kcomp import metrics
from kcomp.data.tables import Table
from kcomp.probe.folds import probe_folds
from kcomp.probe.linear import out_of_fold
from kcomp.targets import Target

DIMENSIONS = 256  # principal components of the features
PENALTIES = 10.0 ** np.arange(-1, 6)  # of the ridge regression


@dataclass(frozen=True)
class ProbeScore:
    """How well a probe predicts labels from the features of one group of blocks.

    Attributes:
        skill: 1 - the loss of the probe divided by the loss of a constant prediction. 0 is chance, and 1 perfect.
        losses: The loss of the probe for each row, divided by the mean loss of the constant, (rows,).
    """

    skill: float
    losses: np.ndarray


def score_features(features: np.ndarray, table: Table) -> ProbeScore:
    """Score features by the loss of a linear probe, which predicts each row from the other folds.

    The loss of classes and labels is the log loss, and the probe a logistic regression. The loss of numbers and grades
    is the squared error, and the probe a ridge regression.

    Args:
        features: Shape (rows, dimensions), without NaN. They are projected to at most 256 principal components.
        table: The labelled rows.
    """
    from threadpoolctl import threadpool_limits

    labels, target = table.labels.astype(np.float64), table.required_target
    constants = np.nanmean(labels, 0)
    with threadpool_limits(1, "blas"):  # threads wait for each other longer than such small products take
        projected = principal_components(features)
        if target.stacker == "ridge":
            predictions = ridge_out_of_fold(projected, labels, table)
        else:
            predictions = out_of_fold(projected, table)
    losses = row_losses(predictions, labels, target)
    chance = float(np.nanmean(row_losses(np.broadcast_to(constants, labels.shape), labels, target)))
    relative = losses / (chance or 1.0)
    return ProbeScore(1 - float(np.nanmean(relative)), relative)


def row_losses(predictions: np.ndarray, labels: np.ndarray, target: Target) -> np.ndarray:
    """Return the log loss of each row, or for numbers and grades its squared error in units of the variance, (rows,).

    A row without a known label has NaN.
    """
    if target.stacker != "ridge":
        return metrics.log_loss.row_values(labels, predictions, target)
    variances = np.nanvar(labels, 0)
    return mean_of_columns(np.square(labels - predictions) / np.where(variances > 0, variances, 1))


def principal_components(features: np.ndarray) -> np.ndarray:
    """Return standardised features in at most 256 principal components, float64 (rows, components)."""
    values = features.astype(np.float64)
    scale = values.std(0)
    values = (values - values.mean(0)) / np.where(scale > 0, scale, 1)
    _, vectors = np.linalg.eigh(values.T @ values)  # in ascending order of the eigenvalues
    return values @ vectors[:, ::-1][:, :DIMENSIONS]


def ridge_out_of_fold(features: np.ndarray, labels: np.ndarray, table: Table) -> np.ndarray:
    """Predict each number of each row by a ridge regression on the other folds, float64 (rows, columns).

    The penalty is chosen by leave-one-out errors within the training folds. Missing labels are left out.
    """
    from sklearn.linear_model import RidgeCV

    folds = probe_folds(table, 0)
    predictions = np.empty(labels.shape)
    for fold in np.unique(folds):
        for column in range(labels.shape[1]):
            train = (folds != fold) & np.isfinite(labels[:, column])
            if train.sum() > 1:
                model = RidgeCV(PENALTIES).fit(features[train], labels[train, column])
                predictions[folds == fold, column] = model.predict(features[folds == fold])
            else:
                predictions[folds == fold, column] = np.nanmean(labels[:, column])
    return predictions


def mean_of_columns(values: np.ndarray) -> np.ndarray:
    """Return the mean of each row without NaN, (rows,). A row of NaN alone has NaN."""
    known = np.isfinite(values)
    return np.where(known.any(1), np.where(known, values, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def advantage(earlier: ProbeScore, last: ProbeScore) -> tuple[float, float]:
    """Return by how much the skill of `earlier` is higher than that of `last`, and the standard error over rows."""
    differences = last.losses - earlier.losses
    known = differences[np.isfinite(differences)]
    error = known.std(ddof=1) / np.sqrt(len(known)) if len(known) > 1 else np.inf
    return float(known.mean()), float(error)
