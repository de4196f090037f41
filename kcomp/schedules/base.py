"""The base class of the schedules, which converts epochs to steps."""

import inspect
import math
from typing import Any

from keras import ops
from keras.optimizers.schedules import LearningRateSchedule


class EpochSchedule(LearningRateSchedule):
    """A learning rate schedule whose arguments are in epochs. `bind` sets how many steps an epoch has.

    A subclass stores each of its arguments as an attribute of the same name, and computes the rate of a step in
    `__call__`.

    Args:
        steps_per_epoch: Steps in an epoch. None if `bind` sets it later.

    Examples:
        >>> from kcomp import schedules
        >>> class Halved(schedules.EpochSchedule):
        ...     def __init__(self, rate, start, *, steps_per_epoch=None):
        ...         super().__init__(steps_per_epoch)
        ...         self.rate, self.start = rate, start
        ...     def __call__(self, step):
        ...         return self.rate * (0.5 if step >= self.steps(self.start) else 1.0)
        >>> rate = Halved(0.1, start=2)
        >>> rate.bind(10)
        >>> rate(19), rate(20)
        (0.1, 0.05)
    """

    def __init__(self, steps_per_epoch: int | None) -> None:
        self.steps_per_epoch: int | None = None
        if steps_per_epoch is not None:
            self.bind(steps_per_epoch)

    def bind(self, steps_per_epoch: int) -> None:
        """Set how many steps an epoch has. Raise ValueError if the number is below 1."""
        if steps_per_epoch < 1:
            raise ValueError(f"an epoch has at least 1 step; received {steps_per_epoch}")
        self.steps_per_epoch = steps_per_epoch

    def steps(self, epochs: float) -> int:
        """Return a number of epochs as whole steps, rounded down. Raise ValueError if `bind` was not called."""
        if self.steps_per_epoch is None:
            raise ValueError(
                f"{type(self).__name__} counts epochs; outside of a recipe, give it steps_per_epoch, the batches of one"
            )
        return math.floor(epochs * self.steps_per_epoch + 1e-6)  # 0.29 * 100 is just below 29

    def share_of_warmup(self, step: Any, warmup: float) -> Any:
        """Return the factor by which a linear warm-up multiplies the rate of a step. It rises from above 0 to 1."""
        return ops.minimum((ops.cast(step, "float32") + 1.0) / (self.steps(warmup) + 1.0), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}


def check_rates(peak: float, final: float) -> None:
    if not (peak > 0 and final >= 0):
        raise ValueError(
            f"the highest rate must be above 0, and the lowest or last at least 0; received {peak} and {final}"
        )
