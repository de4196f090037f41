"""Learning rates as functions of the optimizer's update number (0 is the first)."""

import math
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule


class WarmupCosine(LearningRateSchedule):
    """Rise linearly to `peak` over `warmup` updates, then fall to `final` along half a cosine at update `steps`.

    Update t < warmup has the rate peak * (t + 1) / (warmup + 1), so the first is not wasted; after that it is
    final + (peak - final) / 2 * (1 + cos(pi * (t - warmup) / (steps - warmup))) (Loshchilov and Hutter 2017,
    equation 5; Goyal et al. 2017 for the warm-up), and `final` beyond `steps`.
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
    """Fall from `peak` to `final` along half a cosine, `cycles` times, each in ceil(steps / cycles) updates.

    Update t, counted from 1, has the rate final + (peak - final) / 2 * (1 + cos(pi * mod(t - 1, c) / c)) with c =
    ceil(steps / cycles) (Huang et al. 2017, equation 2). A stage with Snapshots keeps the weights at each cycle's end.
    The first `warmup` updates take t / (warmup + 1) of that: pretrained weights may not survive a full rate at once.
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
        kept = {"peak": self.peak, "steps": self.steps, "cycles": self.cycles}
        return {**kept, "final": self.final, "warmup": self.warmup}


class Tail(LearningRateSchedule):
    """`first` until update `start` (counted from 0), then the constant `rate`, or with `low` and `every` cycles of
    `every` updates that fall in equal steps from `rate` to `low`: for SWA.

    Update i of the tail, counted from 1, has the rate (1 - s) * rate + s * low with s = (mod(i - 1, every) + 1) / every
    (Izmailov et al. 2018, section 3.2); the weights to average are those at a cycle's end.
    """

    def __init__(
        self, first: LearningRateSchedule, start: int, rate: float, low: float | None = None, every: int | None = None
    ) -> None:
        check_rates(rate, rate if low is None else low)
        if (low is None) != (every is None) or start < 0 or (every is not None and every < 1):
            raise ValueError(
                "a tail starts at an update from 0 up; give both low and every (from 1 up) for cycles, or neither; "
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
        known = {kind.__name__: kind for kind in (WarmupCosine, CosineRestarts, Tail, Constant, Step)}
        first = keras.optimizers.schedules.deserialize(config["first"], custom_objects=known)
        return cls(**{**config, "first": first})


class Constant(LearningRateSchedule):
    """The same rate at every update, after a linear rise over `warmup` updates."""

    def __init__(self, rate: float, warmup: int = 0) -> None:
        check_rates(rate, 0.0)
        self.rate, self.warmup = rate, warmup

    def __call__(self, step: Any) -> Any:
        return self.rate * ops.minimum((ops.cast(step, "float32") + 1.0) / (self.warmup + 1.0), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "warmup": self.warmup}


class Step(LearningRateSchedule):
    """`rate`, multiplied by `factor` after every `every` updates."""

    def __init__(self, rate: float, every: int, factor: float = 0.1) -> None:
        check_rates(rate, 0.0)
        if every < 1:
            raise ValueError(f"a step lasts at least 1 update; received every={every}")
        self.rate, self.every, self.factor = rate, every, factor

    def __call__(self, step: Any) -> Any:
        return self.rate * ops.power(self.factor, ops.floor(ops.cast(step, "float32") / self.every))

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "every": self.every, "factor": self.factor}


def check_rates(peak: float, final: float) -> None:
    if not (peak > 0 and final >= 0):
        raise ValueError(f"rates must be above 0, the final one at least 0; received {peak} and {final}")


def schedules_of(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """What each of the optimizers that it joins, or it alone, takes its rate from: a schedule, or a variable."""
    parts = getattr(optimizer, "optimizers", None)
    if parts:
        return [schedule for part in parts for schedule in schedules_of(part)]
    return [optimizer._learning_rate]  # its public property is the rate of the next update


def rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    """The optimizer's learning rate at its next update; the largest where it joins several optimizers."""
    parts = getattr(optimizer, "optimizers", None)
    if parts:
        return max(rate_of(part) for part in parts)
    return float(ops.convert_to_numpy(ops.convert_to_tensor(optimizer.learning_rate)))
