"""A learning rate for stochastic weight averaging: another schedule, then a constant or cyclic rate."""

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from kcomp.schedules.base import EpochSchedule, check_rates
from kcomp.schedules.plateau import Plateau


class Tail(EpochSchedule):
    """Another schedule, then a constant or cyclic rate (the tail) for stochastic weight averaging (`averaging.SWA`).

    A cyclic rate falls linearly from `rate` to `low` in each cycle. SWA averages the weights at the ends of cycles.
    With c = `every` in steps, step i = 0, 1, 2, ... of the tail and s = (mod(i, c) + 1) / c, the cyclic rate is

        (1 - s) * rate + s * low

    Args:
        first: The schedule before the tail.
        start: How many epochs come before the tail, from 0.
        rate: The constant rate of the tail, or the rate at the start of a cycle, above 0.
        low: The rate at the end of a cycle, from 0. None for a constant rate.
        every: How many epochs a cycle has, above 0. None for a constant rate.
        steps_per_epoch: Steps in an epoch. None in a recipe, where the stage sets the number.

    Raises:
        ValueError: If an argument is out of range, only one of `low` and `every` is set, or `first` is a `Plateau`.

    References:
        Izmailov et al. 2018, Averaging weights leads to wider optima and better generalization, section 3.2.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.Tail(schedules.WarmupCosine(0.1, epochs=10), start=5, rate=0.02, steps_per_epoch=10)
        >>> [round(float(rate(step)), 4) for step in (0, 50, 99)]
        [0.1, 0.02, 0.02]
    """

    def __init__(
        self,
        first: LearningRateSchedule,
        start: float,
        rate: float,
        low: float | None = None,
        every: float | None = None,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        check_rates(rate, rate if low is None else low)
        if (low is None) != (every is None) or start < 0 or (every is not None and every <= 0):
            raise ValueError(
                "start must be at least 0; set both low and every (above 0) for cycles, or neither; "
                f"received start={start}, low={low}, every={every}"
            )
        if isinstance(first, Plateau):
            raise ValueError("a Tail cannot follow a Plateau, which must be the optimizer's own rate")
        self.first, self.start, self.rate, self.low, self.every = first, start, rate, low, every
        super().__init__(steps_per_epoch)

    def bind(self, steps_per_epoch: int) -> None:
        """Set how many steps an epoch has, also for `first`. Raise ValueError if the number is below 1."""
        super().bind(steps_per_epoch)
        if isinstance(self.first, EpochSchedule):
            self.first.bind(steps_per_epoch)

    def __call__(self, step: Any) -> Any:
        start, share = self.steps(self.start), 0.0
        if self.every is not None:
            every = max(self.steps(self.every), 1)
            share = (ops.cast(ops.mod(step - start, every), "float32") + 1.0) / every
        tail = (1.0 - share) * self.rate + share * (self.low or 0.0)
        return ops.where(step < start, self.first(step), tail)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "first": keras.optimizers.schedules.serialize(self.first)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Tail":
        kinds = {kind.__name__: kind for kind in EpochSchedule.__subclasses__()}
        first = keras.optimizers.schedules.deserialize(config["first"], custom_objects=kinds)
        return cls(**{**config, "first": first})
