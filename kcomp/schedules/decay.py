"""Learning rates that stay constant, or fall in steps, exponentially or as a polynomial."""

import math
from typing import Any

from keras import ops

from kcomp.schedules.base import EpochSchedule, check_rates


class Constant(EpochSchedule):
    """A constant rate after a linear warm-up.

    Args:
        rate: The rate, above 0.
        warmup: Epochs of the linear rise. 0 for no rise.
        steps_per_epoch: Steps in an epoch. None in a recipe, where the stage sets the number.

    Raises:
        ValueError: If `rate` is not above 0, or `warmup` is negative.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.Constant(0.01, warmup=0.5, steps_per_epoch=2)
        >>> [round(float(rate(step)), 4) for step in (0, 1, 2)]
        [0.005, 0.01, 0.01]
    """

    def __init__(self, rate: float, warmup: float = 0.0, *, steps_per_epoch: int | None = None) -> None:
        check_rates(rate, 0.0)
        if warmup < 0:
            raise ValueError(f"warmup must be at least 0 epochs; received {warmup}")
        super().__init__(steps_per_epoch)
        self.rate, self.warmup = rate, warmup

    def __call__(self, step: Any) -> Any:
        return self.rate * self.share_of_warmup(step, self.warmup)


class Step(EpochSchedule):
    """A rate that is multiplied by a factor at regular intervals.

    Args:
        rate: First rate, above 0.
        every: How many epochs lie between two changes, above 0.
        factor: The rate is multiplied by this number at each change.
        steps_per_epoch: Steps in an epoch. None in a recipe, where the stage sets the number.

    Raises:
        ValueError: If `rate` or `every` is out of range.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.Step(0.1, every=1, steps_per_epoch=10)
        >>> [round(float(rate(step)), 4) for step in (0, 9, 10, 20)]
        [0.1, 0.1, 0.01, 0.001]
    """

    def __init__(self, rate: float, every: float, factor: float = 0.1, *, steps_per_epoch: int | None = None) -> None:
        check_rates(rate, 0.0)
        if every <= 0:
            raise ValueError(f"every must be above 0 epochs; received {every}")
        super().__init__(steps_per_epoch)
        self.rate, self.every, self.factor = rate, every, factor

    def __call__(self, step: Any) -> Any:
        changes = ops.floor(ops.cast(step, "float32") / max(self.steps(self.every), 1))
        return self.rate * ops.power(self.factor, changes)


class Exponential(EpochSchedule):
    """A rate that changes by the same factor in each step, from `rate` to `final`.

    With n = `epochs` in steps, the rate of step t = 0, 1, 2, ... is

        rate * (final / rate) ** min(t / n, 1)

    Args:
        rate: First rate, above 0.
        epochs: Epochs until the rate reaches `final`, above 0. The rate is then constant.
        final: Last rate, above 0. It may be above `rate`, as in a learning rate range test.
        steps_per_epoch: Steps in an epoch. None in a recipe, where the stage sets the number.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.Exponential(0.1, epochs=2, final=0.001, steps_per_epoch=10)
        >>> [round(float(rate(step)), 5) for step in (0, 10, 20, 30)]
        [0.1, 0.01, 0.001, 0.001]
    """

    def __init__(self, rate: float, epochs: float, final: float, *, steps_per_epoch: int | None = None) -> None:
        check_rates(rate, final)
        if not (epochs > 0 and final > 0):
            raise ValueError(f"epochs and the final rate must be above 0; received {epochs} and {final}")
        super().__init__(steps_per_epoch)
        self.rate, self.epochs, self.final = rate, epochs, final

    def __call__(self, step: Any) -> Any:
        share = ops.minimum(ops.cast(step, "float32") / max(self.steps(self.epochs), 1), 1.0)
        return self.rate * ops.exp(math.log(self.final / self.rate) * share)


class Polynomial(EpochSchedule):
    """A rate that falls from `rate` to `final` along a polynomial. With `power=1`, it is a line.

    With n = `epochs` in steps, the rate of step t = 0, 1, 2, ... is

        final + (rate - final) * (1 - min(t / n, 1)) ** power

    Args:
        rate: First rate, above 0.
        epochs: Epochs until the rate reaches `final`, above 0. The rate is then constant.
        power: The exponent, above 0. 0.9 is usual for segmentation.
        final: Last rate, from 0.
        steps_per_epoch: Steps in an epoch. None in a recipe, where the stage sets the number.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Chen et al. 2018, DeepLab: semantic image segmentation, section 4.1.2, the "poly" policy.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.Polynomial(0.1, epochs=2, power=2, steps_per_epoch=10)
        >>> [round(float(rate(step)), 4) for step in (0, 10, 20)]
        [0.1, 0.025, 0.0]
    """

    def __init__(
        self,
        rate: float,
        epochs: float,
        power: float = 1.0,
        final: float = 0.0,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        check_rates(rate, final)
        if not (epochs > 0 and power > 0):
            raise ValueError(f"epochs and power must be above 0; received {epochs} and {power}")
        super().__init__(steps_per_epoch)
        self.rate, self.epochs, self.power, self.final = rate, epochs, power, final

    def __call__(self, step: Any) -> Any:
        share = ops.minimum(ops.cast(step, "float32") / max(self.steps(self.epochs), 1), 1.0)
        return self.final + (self.rate - self.final) * ops.power(1.0 - share, self.power)
