"""The base class of targets whose predictions are probabilities of named classes."""

from dataclasses import dataclass
from typing import ClassVar

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

    @property
    def columns(self) -> tuple[str, ...]:
        return self.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes
