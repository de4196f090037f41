"""Stacking by decision trees: bagging or boosting on the members' predictions and on further inputs."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.ensembles.methods.averages import Values
from kcomp.system.backends import require_packages
from kcomp.targets import Target

KINDS = ("bag", "boost", "lightgbm")
ROUNDS = 300  # trees of a bag, and the largest number of boosting rounds
RATE = 0.05  # learning rate of boosting
LEAVES = 8  # leaves of a boosted tree
LEAST = 5  # rows of a leaf
FEW = 20  # boosting stops early only if there are this many rows for each class


@dataclass(frozen=True)
class TreeStacker:
    """Fitted trees that combine the members' predictions.

    Attributes:
        models: One classifier for single-label data, otherwise a model for each column. None for a label that is always
            0 or always 1: its prediction is the mean of the members.
        classes: For single-label data, the class numbers that occur in the training labels.
        floor: Probabilities are raised to at least this number, so that no log loss is infinite.
        target: The target of the labels.
    """

    models: tuple[Any, ...]
    classes: tuple[int, ...]
    floor: float
    target: Target

    def __call__(self, values: Values, inputs: np.ndarray | None) -> np.ndarray:
        features, predictions = features_of(values, inputs), self.target.average(values)
        if self.target.stacker == "multinomial":
            [model] = self.models
            if model is None:
                return predictions
            predictions = np.zeros_like(predictions)
            predictions[:, list(self.classes)] = quietly(model.predict_proba, features)
            return self.target.normalized(np.maximum(predictions, self.floor))
        for column, model in enumerate(self.models):
            if model is None:
                continue
            if self.target.stacker == "binary":
                share = quietly(model.predict_proba, features)[:, 1]
                predictions[:, column] = np.clip(share, self.floor, 1 - self.floor)
            else:
                predictions[:, column] += quietly(model.predict, features)
        return self.target.normalized(predictions)


def quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a library with one thread, and hide LightGBM's warning that the inputs have no names.

    The trees are so small that several threads of boosting would mostly wait for each other.
    """
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        return function(*arguments)


def features_of(values: Values, inputs: np.ndarray | None) -> np.ndarray:
    """Return the inputs of the trees, (rows, features): the members' predictions, their mean, and further inputs."""
    mean = np.mean(values, axis=0)
    return np.concatenate([*values, mean, *([] if inputs is None else [inputs])], axis=1)


def fit(
    kind: str, values: np.ndarray, labels: np.ndarray, target: Target, inputs: np.ndarray | None = None
) -> TreeStacker:
    """Fit trees to the predictions of the members.

    For regression and grades, the trees predict the error of the members' mean. For single-label data, a row with soft
    labels counts as several weighted rows. For multi-label data, a soft label above 0.5 counts as 1.

    Args:
        kind: "bag" (random forest), "boost" (gradient-boosted trees of scikit-learn) or "lightgbm".
        values: Predictions of the members, (members, rows, columns).
        labels: Labels, (rows, columns). NaN is a missing label.
        target: The target of the labels.
        inputs: Further inputs of each row, (rows, inputs), such as columns of the table. NaN is a missing value.

    Raises:
        ModuleNotFoundError: If LightGBM is not installed and `kind` is "lightgbm".

    References:
        Breiman 2001, Random forests; Ke et al. 2017, LightGBM.
    """
    features, floor = features_of(list(values), inputs), 1 / (len(labels) + 2)
    if target.stacker == "multinomial":
        rows, classes = np.nonzero(labels)
        known = np.unique(classes)
        if len(known) < 2:
            return TreeStacker((None,), (), floor, target)
        model = build(kind, np.bincount(classes)[known].tolist())
        quietly(model.fit, features[rows], classes, labels[rows, classes])
        return TreeStacker((model,), tuple(known.tolist()), floor, target)
    models: list[Any] = []
    mean = target.average(list(values))
    for column, true in enumerate(labels.T):
        known_rows = ~np.isnan(true)
        if target.stacker == "binary":
            present = (true[known_rows] > 0.5).astype(int)
            counts = np.bincount(present, minlength=2).tolist()
            model = build(kind, counts) if min(counts) else None
            answers = present
        else:
            model = build(kind, [int(known_rows.sum())], numbers=True) if known_rows.sum() > 1 else None
            answers = true[known_rows] - mean[known_rows, column]
        models.append(None if model is None else quietly(model.fit, features[known_rows], answers))
    return TreeStacker(tuple(models), (), floor, target)


def build(kind: str, counts: list[int], *, numbers: bool = False) -> Any:
    """Return a new model of scikit-learn or LightGBM, not fitted yet.

    Args:
        kind: "bag", "boost" or "lightgbm".
        counts: How many rows each class has. For regression, one element: the number of rows.
        numbers: Whether the model is a regression instead of a classifier.
    """
    if kind == "bag":
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        forest = RandomForestRegressor if numbers else RandomForestClassifier
        return forest(ROUNDS, min_samples_leaf=LEAST, max_features="sqrt", random_state=0)
    if kind == "boost":
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        stops = min(counts) >= LEAST and sum(counts) >= FEW * len(counts)
        boosting = HistGradientBoostingRegressor if numbers else HistGradientBoostingClassifier
        return boosting(
            learning_rate=RATE,
            max_iter=ROUNDS if stops else ROUNDS // 6,
            max_leaf_nodes=LEAVES,
            min_samples_leaf=LEAST,
            l2_regularization=1.0,
            early_stopping=stops,
            validation_fraction=0.2,
            random_state=0,
        )
    require_packages(["lightgbm"], "lightgbm")
    import lightgbm

    model = lightgbm.LGBMRegressor if numbers else lightgbm.LGBMClassifier
    return model(
        n_estimators=ROUNDS // 3,
        learning_rate=RATE,
        num_leaves=LEAVES,
        min_child_samples=LEAST,
        reg_lambda=1.0,
        random_state=0,
        deterministic=True,
        n_jobs=1,
        verbose=-1,
    )
