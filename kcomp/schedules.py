"""Learning rate schedules: functions of the optimizer's update number, counted from 0."""

import math
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

__all__ = ["Constant", "CosineRestarts", "Step", "Tail", "WarmupCosine"]


class WarmupCosine(LearningRateSchedule):
    """Rise linearly to `peak`, then fall to `final` along half a cosine.

    The rate of update t is peak * (t + 1) / (warmup + 1) for t < warmup, so the first update has a rate above 0. After
    that it is final + (peak - final) / 2 * (1 + cos(pi * (t - warmup) / (steps - warmup))), and `final` from update
    `steps` on.

    Args:
        peak: Highest rate, above 0.
        steps: Updates until the rate reaches `final`, warm-up included.
        warmup: Updates of the linear rise, from 0 to below `steps`. 0 starts at `peak`.
        final: Last rate, from 0.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Loshchilov and Hutter 2017, SGDR, equation 5; Goyal et al. 2017 for the warm-up.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.WarmupCosine(0.01, steps=100, warmup=9)
        >>> [round(float(rate(step)), 4) for step in (0, 9, 100)]
        [0.001, 0.01, 0.0]
    """

    def __init__(self, peak: float, steps: int, warmup: int = 0, final: float = 0.0) -> None:
        if not 0 <= warmup < steps:
            raise ValueError(f"warm-up must be shorter than the {steps} updates of the schedule; received {warmup}")
        check_rates(peak, final)
        self.peak, self.steps, self.warmup, self.final = peak, steps, warmup, final

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rising = self.peak * (step + 1.0) / (self.warmup + 1.0)
        share = ops.clip((step - self.warmup) / (self.steps - self.warmup), 0.0, 1.0)
        falling = self.final + (self.peak - self.final) * 0.5 * (1.0 + ops.cos(math.pi * share))
        return ops.where(step < self.warmup, rising, falling)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup, "final": self.final}


class CosineRestarts(LearningRateSchedule):
    """Fall from `peak` to `final` along half a cosine, several times.

    The rate of update t, counted from 1, is final + (peak - final) / 2 * (1 + cos(pi * mod(t - 1, c) / c)) with a
    cycle of c = ceil(steps / cycles) updates. A stage with `averaging.Snapshots` keeps the weights at the end of each
    cycle.

    Args:
        peak: Highest rate, above 0.
        steps: Updates of all cycles together.
        cycles: Number of cycles, from 1 to `steps`.
        final: Lowest rate, from 0.
        warmup: Updates, shorter than a cycle, whose rate is multiplied by t / (warmup + 1). Protects pretrained
            weights from a high first rate. 0 for none.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Huang et al. 2017, Snapshot ensembles: train 1, get M for free, equation 2.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.CosineRestarts(0.1, steps=100, cycles=2)
        >>> [round(float(rate(step)), 4) for step in (0, 25, 50, 75)]
        [0.1, 0.05, 0.1, 0.05]
    """

    def __init__(self, peak: float, steps: int, cycles: int, final: float = 0.0, warmup: int = 0) -> None:
        if not 1 <= cycles <= steps:
            raise ValueError(f"cycles must lie between 1 and the {steps} updates of the schedule; received {cycles}")
        if not 0 <= warmup < math.ceil(steps / cycles):
            raise ValueError(f"warm-up must be shorter than a cycle; received {warmup} of {math.ceil(steps / cycles)}")
        check_rates(peak, final)
        self.peak, self.steps, self.cycles, self.final, self.warmup = peak, steps, cycles, final, warmup

    def __call__(self, step: Any) -> Any:
        length = math.ceil(self.steps / self.cycles)
        share = ops.cast(ops.mod(step, length), "float32") / length
        rising = ops.minimum((ops.cast(step, "float32") + 1.0) / (self.warmup + 1.0), 1.0)
        return rising * (self.final + (self.peak - self.final) * 0.5 * (1.0 + ops.cos(math.pi * share)))

    def get_config(self) -> dict[str, Any]:
        config = {"peak": self.peak, "steps": self.steps, "cycles": self.cycles}
        return {**config, "final": self.final, "warmup": self.warmup}


class Tail(LearningRateSchedule):
    """Follow another schedule, then a constant or cyclic rate for stochastic weight averaging (`averaging.SWA`).

    With cycles, the rate of the tail's update i, counted from 1, is (1 - s) * rate + s * low with s = (mod(i - 1,
    every) + 1) / every. The weights to average are those at the end of a cycle.

    Args:
        first: The schedule until update `start`.
        start: First update of the tail, from 0.
        rate: Rate of the tail, or the highest rate of a cycle, above 0.
        low: Lowest rate of a cycle, from 0; None for a constant rate.
        every: Updates per cycle, from 1; None for a constant rate.

    Raises:
        ValueError: If an argument is out of range, or only one of `low` and `every` is set.

    References:
        Izmailov et al. 2018, Averaging weights leads to wider optima and better generalization, section 3.2.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.Tail(schedules.WarmupCosine(0.1, steps=100), start=50, rate=0.02)
        >>> [round(float(rate(step)), 4) for step in (0, 50, 99)]
        [0.1, 0.02, 0.02]
    """

    def __init__(
        self, first: LearningRateSchedule, start: int, rate: float, low: float | None = None, every: int | None = None
    ) -> None:
        check_rates(rate, rate if low is None else low)
        if (low is None) != (every is None) or start < 0 or (every is not None and every < 1):
            raise ValueError(
                "start must be at least 0; set both low and every (at least 1) for cycles, or neither; "
                f"received start={start}, low={low}, every={every}"
            )
        self.first, self.start, self.rate, self.low, self.every = first, start, rate, low, every

    def __call__(self, step: Any) -> Any:
        share = 0.0
        if self.every is not None:
            share = (ops.cast(ops.mod(step - self.start, self.every), "float32") + 1.0) / self.every
        tail = (1.0 - share) * self.rate + share * (self.low or 0.0)
        return ops.where(step < self.start, self.first(step), tail)

    def get_config(self) -> dict[str, Any]:
        first = keras.optimizers.schedules.serialize(self.first)
        return {"first": first, "start": self.start, "rate": self.rate, "low": self.low, "every": self.every}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Tail":
        kinds = {kind.__name__: kind for kind in (WarmupCosine, CosineRestarts, Tail, Constant, Step)}
        first = keras.optimizers.schedules.deserialize(config["first"], custom_objects=kinds)
        return cls(**{**config, "first": first})


class Constant(LearningRateSchedule):
    """Keep the same rate after a linear warm-up.

    Args:
        rate: The rate, above 0.
        warmup: Updates of the linear rise. 0 for none.

    Raises:
        ValueError: If `rate` is not above 0.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.Constant(0.01, warmup=1)
        >>> [round(float(rate(step)), 4) for step in (0, 1, 2)]
        [0.005, 0.01, 0.01]
    """

    def __init__(self, rate: float, warmup: int = 0) -> None:
        check_rates(rate, 0.0)
        self.rate, self.warmup = rate, warmup

    def __call__(self, step: Any) -> Any:
        return self.rate * ops.minimum((ops.cast(step, "float32") + 1.0) / (self.warmup + 1.0), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "warmup": self.warmup}


class Step(LearningRateSchedule):
    """Multiply the rate by a factor at regular intervals.

    Args:
        rate: First rate, above 0.
        every: Updates between two changes, from 1.
        factor: What the rate is multiplied by.

    Raises:
        ValueError: If `rate` or `every` is out of range.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.Step(0.1, every=10)
        >>> [round(float(rate(step)), 4) for step in (0, 9, 10, 20)]
        [0.1, 0.1, 0.01, 0.001]
    """

    def __init__(self, rate: float, every: int, factor: float = 0.1) -> None:
        check_rates(rate, 0.0)
        if every < 1:
            raise ValueError(f"every must be at least 1 update; received {every}")
        self.rate, self.every, self.factor = rate, every, factor

    def __call__(self, step: Any) -> Any:
        return self.rate * ops.power(self.factor, ops.floor(ops.cast(step, "float32") / self.every))

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "every": self.every, "factor": self.factor}


def check_rates(peak: float, final: float) -> None:
    if not (peak > 0 and final >= 0):
        raise ValueError(f"rates must be above 0, the final one at least 0; received {peak} and {final}")


def schedules_of(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Return the schedule or rate variable of an optimizer, or of each optimizer that it combines."""
    optimizers = getattr(optimizer, "optimizers", None)
    if optimizers:
        return [schedule for inner in optimizers for schedule in schedules_of(inner)]
    return [optimizer._learning_rate]  # the public property is the rate of the next update


def rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    """Return an optimizer's learning rate at its next update; the largest if it combines several optimizers."""
    optimizers = getattr(optimizer, "optimizers", None)
    if optimizers:
        return max(rate_of(inner) for inner in optimizers)
    return float(ops.convert_to_numpy(ops.convert_to_tensor(optimizer.learning_rate)))
