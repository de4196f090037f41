"""Learning rate schedules whose arguments are in epochs. A step is the update of the weights by one batch.

In a recipe, the stage sets the number of steps in an epoch. In a notebook, pass `steps_per_epoch`. Keras's own
schedules, whose arguments are in steps, work in a recipe too.
"""

import math
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

__all__ = ["Constant", "CosineRestarts", "Step", "Tail", "WarmupCosine"]


class EpochSchedule(LearningRateSchedule):
    """A learning rate schedule whose arguments are in epochs. `bind` sets how many steps an epoch has."""

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


class WarmupCosine(EpochSchedule):
    """A rate that rises linearly to `peak`, then falls to `final` along half a cosine.

    With w = `warmup` in steps, n = `epochs` in steps and step t = 0, 1, 2, ..., the rate is

        t < w:       peak * (t + 1) / (w + 1)
        w <= t < n:  final + (peak - final) / 2 * (1 + cos(pi * (t - w) / (n - w)))
        n <= t:      final

    Args:
        peak: Highest rate, above 0.
        epochs: Epochs until the rate reaches `final`, including the warm-up.
        warmup: Epochs of the linear rise, such as 0.5, from 0 to below `epochs`. 0 starts at `peak`.
        final: Last rate, from 0.
        steps_per_epoch: Steps in an epoch. None in a recipe, where the stage sets the number.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Loshchilov and Hutter 2017, SGDR, equation 5; Goyal et al. 2017 for the warm-up.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.WarmupCosine(0.01, epochs=10, warmup=0.9, steps_per_epoch=10)
        >>> [round(float(rate(step)), 4) for step in (0, 9, 100)]
        [0.001, 0.01, 0.0]
    """

    def __init__(
        self,
        peak: float,
        epochs: float,
        warmup: float = 0.0,
        final: float = 0.0,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        if not 0 <= warmup < epochs:
            raise ValueError(f"warm-up must be shorter than the {epochs} epochs of the schedule; received {warmup}")
        check_rates(peak, final)
        super().__init__(steps_per_epoch)
        self.peak, self.epochs, self.warmup, self.final = peak, epochs, warmup, final

    def __call__(self, step: Any) -> Any:
        warmup, last = self.steps(self.warmup), self.steps(self.epochs)
        step = ops.cast(step, "float32")
        rising = self.peak * (step + 1.0) / (warmup + 1.0)
        share = ops.clip((step - warmup) / max(last - warmup, 1), 0.0, 1.0)
        falling = self.final + (self.peak - self.final) * 0.5 * (1.0 + ops.cos(math.pi * share))
        return ops.where(step < warmup, rising, falling)

    def get_config(self) -> dict[str, Any]:
        config = {"peak": self.peak, "epochs": self.epochs, "warmup": self.warmup, "final": self.final}
        return {**config, "steps_per_epoch": self.steps_per_epoch}


class CosineRestarts(EpochSchedule):
    """A rate that falls from `peak` to `final` along half a cosine, several times.

    With n = `epochs` in steps and c = ceil(n / cycles), the rate of step t = 0, 1, 2, ... is

        final + (peak - final) / 2 * (1 + cos(pi * mod(t, c) / c))

    A stage with `averaging.Snapshots` saves the weights at the end of each cycle.

    Args:
        peak: Highest rate, above 0.
        epochs: Epochs of all cycles together.
        cycles: Number of cycles, from 1.
        final: Lowest rate, from 0.
        warmup: Epochs of a linear rise, fewer than in a cycle. With w = `warmup` in steps, the rate of step t < w is
            multiplied by (t + 1) / (w + 1). 0 for no rise.
        steps_per_epoch: Steps in an epoch. None in a recipe, where the stage sets the number.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Huang et al. 2017, Snapshot ensembles: train 1, get M for free, equation 2.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.CosineRestarts(0.1, epochs=4, cycles=2, steps_per_epoch=25)
        >>> [round(float(rate(step)), 4) for step in (0, 25, 50, 75)]
        [0.1, 0.05, 0.1, 0.05]
    """

    def __init__(
        self,
        peak: float,
        epochs: float,
        cycles: int,
        final: float = 0.0,
        warmup: float = 0.0,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        if not (cycles >= 1 and epochs > 0):
            raise ValueError(f"need at least 1 cycle and epochs above 0; received {cycles} cycles, {epochs} epochs")
        if not 0 <= warmup < epochs / cycles:
            raise ValueError(f"warm-up must be shorter than a cycle of {epochs / cycles:g} epochs; received {warmup}")
        check_rates(peak, final)
        super().__init__(steps_per_epoch)
        self.peak, self.epochs, self.cycles, self.final, self.warmup = peak, epochs, cycles, final, warmup

    def __call__(self, step: Any) -> Any:
        length = max(math.ceil(self.steps(self.epochs) / self.cycles), 1)
        share = ops.cast(ops.mod(step, length), "float32") / length
        rising = ops.minimum((ops.cast(step, "float32") + 1.0) / (self.steps(self.warmup) + 1.0), 1.0)
        return rising * (self.final + (self.peak - self.final) * 0.5 * (1.0 + ops.cos(math.pi * share)))

    def get_config(self) -> dict[str, Any]:
        config = {"peak": self.peak, "epochs": self.epochs, "cycles": self.cycles, "final": self.final}
        return {**config, "warmup": self.warmup, "steps_per_epoch": self.steps_per_epoch}


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
        ValueError: If an argument is out of range, or only one of `low` and `every` is set.

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
        first = keras.optimizers.schedules.serialize(self.first)
        config = {"first": first, "start": self.start, "rate": self.rate, "low": self.low, "every": self.every}
        return {**config, "steps_per_epoch": self.steps_per_epoch}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Tail":
        kinds = {kind.__name__: kind for kind in (WarmupCosine, CosineRestarts, Tail, Constant, Step)}
        first = keras.optimizers.schedules.deserialize(config["first"], custom_objects=kinds)
        return cls(**{**config, "first": first})


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
        return self.rate * ops.minimum((ops.cast(step, "float32") + 1.0) / (self.steps(self.warmup) + 1.0), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "warmup": self.warmup, "steps_per_epoch": self.steps_per_epoch}


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

    def get_config(self) -> dict[str, Any]:
        config = {"rate": self.rate, "every": self.every, "factor": self.factor}
        return {**config, "steps_per_epoch": self.steps_per_epoch}


def check_rates(peak: float, final: float) -> None:
    if not (peak > 0 and final >= 0):
        raise ValueError(f"rates must be above 0, the final one at least 0; received {peak} and {final}")
