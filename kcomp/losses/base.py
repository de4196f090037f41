"""The base class of losses that depend on the target, the kind of labels."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from kcomp.targets import Target, target_from_json
from kcomp.targets.losses import MaskedLoss


class TargetLoss(MaskedLoss):
    """A loss of labels and logits that depends on the target, the kind of labels.

    A subclass lists the classes of its targets in `fits`, stores each of its arguments as an attribute of the same
    name, and defines `elements`, the loss of each single label. The base class leaves out missing labels (NaN) and
    averages over the known labels of a batch. A loss for `OneOf`, where labels are never missing, may define `call`
    instead, which returns the loss of each row.

    Args:
        target: The target of the labels. None in a recipe, where the stage sets it.

    Raises:
        ValueError: If the loss does not fit the target.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> from kcomp import losses, targets
        >>> class SquaredProbability(losses.TargetLoss):
        ...     fits = (targets.AnyOf,)
        ...     def elements(self, labels, logits):
        ...         return keras.ops.square(keras.ops.sigmoid(logits) - labels)
        >>> loss = SquaredProbability(targets.AnyOf(("rust", "scab")))
        >>> float(loss(np.array([[1.0, np.nan]]), np.zeros((1, 2))))
        0.25
    """

    fits: ClassVar[tuple[type[Target], ...]]

    def __init__(self, target: Target | None = None) -> None:
        super().__init__()
        self.target: Target | None = None
        if target is not None:
            self.bind(target)

    def bind(self, target: Target) -> None:
        """Set the target of the labels. Raise ValueError if the loss does not fit the target."""
        if not isinstance(target, self.fits):
            names = " or ".join(kind.name for kind in self.fits)
            raise ValueError(
                f"the loss {type(self).__name__} is for a target of {names}; this target is {target.name}, "
                f"{list(target.columns)}"
            )
        self.target = target

    @property
    def bound_target(self) -> Target:
        """The target. Raises ValueError if `bind` was not called."""
        if self.target is None:
            raise ValueError(f"outside of a recipe, {type(self).__name__} needs the target: pass target=table.target")
        return self.target

    def elements(self, labels: Any, logits: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define `elements` or `call`")

    def get_config(self) -> dict[str, Any]:
        names = [name for name in inspect.signature(type(self)).parameters if name != "target"]
        stored = None if self.target is None else self.target.to_json()
        return {**{name: getattr(self, name) for name in names}, "target": stored}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "TargetLoss":
        stored = config["target"]
        return cls(**{**config, "target": None if stored is None else target_from_json(stored)})


def check_share(name: str, value: float, below: float = 1.0) -> float:
    """Return `value`. Raise ValueError unless it is from 0 to less than `below`. The message contains `name`."""
    if not 0 <= value < below:
        raise ValueError(f"{name} must be from 0 to below {below:g}; received {value}")
    return value
