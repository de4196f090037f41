"""The target of regression: one or several numbers for each image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from kcomp.targets import arrays
from kcomp.targets.base import Target

if TYPE_CHECKING:
    import keras

MOST_BINS = 10  # bins of rows with similar numbers; they are the strata of stratified folds
ROWS_PER_BIN = 10
LinkName = Literal["identity", "log"]


@dataclass(frozen=True)
class Numbers(Target):
    """Predict one or several numbers for each image.

    The labels have one column for each number. NaN is a missing label. Predictions have the units of
    the labels. The loss is averaged over the known labels of a batch.

    Args:
        names: Names of the numbers, at least one.
        mean: Mean of each number on the training rows. `fitted` measures it.
        scale: Standard deviation of each number on the training rows. `fitted` measures it.
        link: What the logits mean.
            "identity": a logit is (number - mean) / scale. The default loss is the Huber loss of this number.
            "log": a logit is log(number / mean), so predictions are above 0. Use it for numbers that are at least 0,
            such as counts and amounts. The default loss is `kcomp.losses.Tweedie` with the power 1.5.

    Raises:
        ValueError: If there is no name, a name is repeated, or `link` is unknown.

    References:
        Huber 1964, Robust estimation of a location parameter. Jørgensen 1987, Exponential dispersion models.

    Examples:
        >>> import numpy as np
        >>> from kcomp.targets import Numbers
        >>> target = Numbers(("grams",)).fitted(np.array([[10.0], [20.0], [30.0], [np.nan]]))
        >>> target.predict(np.array([[0.0]])).tolist()
        [[20.0]]
    """

    names: tuple[str, ...]
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    link: LinkName = "identity"

    name: ClassVar[str] = "numbers"
    default_metric: ClassVar[str] = "mae"
    shown_metrics: ClassVar[tuple[str, ...]] = ("mae", "rmse", "r2")
    metric_inputs: ClassVar[tuple[str, ...]] = ("predictions",)
    stacker: ClassVar[str] = "ridge"

    def __post_init__(self) -> None:
        arrays.check_names(self.names, 1, "one number")
        if self.link not in get_args(LinkName):
            allowed = ", ".join(map(repr, get_args(LinkName)))
            raise ValueError(f"link must be one of {allowed}; received {self.link!r}")
        if len(self.mean) != len(self.scale) or len(self.mean) not in (0, len(self.names)):
            raise ValueError(
                f"mean and scale have one value for each of {list(self.names)}; received {self.mean} and {self.scale}"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return self.names

    @property
    def unit(self) -> np.ndarray:
        self._check_fitted()
        return np.array(self.scale)

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        valid = ~np.isinf(labels).any(1)
        if not valid.all():
            rule = "each label must be a finite number, or NaN if it is missing"
            raise ValueError(arrays.broken_rule_text(rule, valid, labels, ids))
        if self.link == "log" and not (valid := ~(labels < 0).any(1)).all():
            rule = "with link='log', each label must be at least 0"
            raise ValueError(arrays.broken_rule_text(rule, valid, labels, ids))

    def head_order(self, other: Target) -> list[int] | None:
        return super().head_order(other) if isinstance(other, Numbers) and other.link == self.link else None

    def fitted(self, labels: np.ndarray) -> "Numbers":
        """Return a copy with the mean and the standard deviation of the known labels. A standard deviation of 0 becomes
        1.

        Raises:
            ValueError: If a number has no known label, or with link="log" no label above 0.
        """
        labels = np.sort(np.asarray(labels, np.float64), 0)  # so that rounding does not depend on the row order
        empty = [name for name, known in zip(self.names, ~np.isnan(labels).all(0), strict=True) if not known]
        if empty:
            raise ValueError(f"each number needs a label in the training rows; {empty[0]!r} has none")
        mean, scale = np.nanmean(labels, 0), np.nanstd(labels, 0)
        if self.link == "log" and not (mean > 0).all():
            raise ValueError(f"with link='log', each number needs a label above 0; the means are {mean.tolist()}")
        return replace(self, mean=tuple(mean.tolist()), scale=tuple(np.where(scale > 0, scale, 1.0).tolist()))

    def predict(self, logits: np.ndarray) -> np.ndarray:
        self._check_fitted()
        if self.link == "log":
            return np.exp(logits.astype(np.float64)) * np.array(self.mean)
        return logits.astype(np.float64) * np.array(self.scale) + np.array(self.mean)

    def predict_tensor(self, logits: Any) -> Any:
        self._check_fitted()
        from keras import ops

        mean, scale = (ops.convert_to_tensor(values, dtype=logits.dtype) for values in (self.mean, self.scale))
        return ops.exp(logits) * mean if self.link == "log" else logits * scale + mean

    def standardized(self, labels: Any) -> Any:
        """Return the tensor (label - mean) / scale, the values that logits predict with link="identity"."""
        self._check_fitted()
        from keras import ops

        mean, scale = (ops.convert_to_tensor(values, dtype=labels.dtype) for values in (self.mean, self.scale))
        return (labels - mean) / scale

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        if label_smoothing:
            raise ValueError(f"label smoothing needs classes, not numbers; received label_smoothing={label_smoothing}")
        self._check_fitted()
        from kcomp.targets.losses import NumbersLoss, TweedieLoss

        return TweedieLoss(self.mean) if self.link == "log" else NumbersLoss(self.mean, self.scale)

    def prediction_problems(self, values: np.ndarray, ids: Sequence[str]) -> list[str]:
        return arrays.problems([("each number must be finite", np.isfinite(values).all(1))], values, ids)

    def strata(self, labels: np.ndarray) -> np.ndarray:
        """Divide the rows into bins by their labels. Return the number of each row's bin, from 0.

        There are at most 10 bins with equally many rows. If there are several numbers for each image, rows are sorted
        by the mean of their ranks.
        """
        from scipy import stats

        ranks = stats.rankdata(labels, axis=0, nan_policy="omit") - 0.5
        shares = ranks / np.maximum((~np.isnan(labels)).sum(0), 1)
        known = ~np.isnan(shares)
        row_means = np.where(known, shares, 0).sum(1) / np.maximum(known.sum(1), 1)
        row_means[~known.any(1)] = 0.5
        bins = int(np.clip(len(labels) // ROWS_PER_BIN, 1, MOST_BINS))
        places = (stats.rankdata(row_means) - 0.5) / max(len(labels), 1)
        return np.minimum((places * bins).astype(int), bins - 1)

    def describe(self, labels: np.ndarray) -> str:
        parts = []
        for name, values in zip(self.names, np.asarray(labels, np.float64).T, strict=True):
            known = values[~np.isnan(values)]
            numbers = f"from {known.min():.4g} to {known.max():.4g}, mean {known.mean():.4g}" if len(known) else "empty"
            missing = f", {len(values) - len(known)} missing" if len(known) < len(values) else ""
            parts.append(f"{arrays.shorten(name)} ({numbers}{missing})")
        some = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
        return f"{len(parts)} number{'s' if len(parts) > 1 else ''}: {', '.join(parts[:3])}{some}"

    def _check_fitted(self) -> None:
        if not self.mean:
            raise ValueError("mean and scale of the numbers are not measured yet; call target.fitted(training_labels)")
