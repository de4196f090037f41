"""The base class of targets whose predictions are probabilities of named classes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kcomp.targets.base import Target


@dataclass(frozen=True)
class ClassTarget(Target):
    """The base class of `OneOf` and `AnyOf`. Labels and predictions have one column for each class.

    Args:
        classes: Names of the classes.
    """

    classes: tuple[str, ...]

    metric_inputs: ClassVar[tuple[str, ...]] = ("decisions", "columns", "probabilities")
    methods: ClassVar[tuple[str, ...]] = ("mean", "median", "vote", "gmean", "rank")
    calibrations: ClassVar[tuple[str, ...]] = ("temperature", "isotonic", "vector")

    @property
    def columns(self) -> tuple[str, ...]:
        return self.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    def smoothed(self, predictions: np.ndarray, share: float, above: float) -> np.ndarray:
        count = 2 if self.stacker == "binary" else len(self.classes)
        return np.where(self.confidence(predictions) > above, (1 - share) * predictions + share / count, predictions)
