"""Learning rates that fall along half a cosine, once or several times."""

import math
from typing import Any

from keras import ops

from kcomp.schedules.base import EpochSchedule, check_rates


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
        rising = self.peak * self.share_of_warmup(step, self.warmup)
        share = ops.clip((step - warmup) / max(last - warmup, 1), 0.0, 1.0)
        falling = self.final + (self.peak - self.final) * 0.5 * (1.0 + ops.cos(math.pi * share))
        return ops.where(step < warmup, rising, falling)


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
        rising = self.share_of_warmup(step, self.warmup)
        return rising * (self.final + (self.peak - self.final) * 0.5 * (1.0 + ops.cos(math.pi * share)))
