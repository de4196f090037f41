"""Learning rates that rise and fall linearly: one cycle, or one cycle after another."""

from typing import Any

from keras import ops

from kcomp.schedules.base import EpochSchedule, check_rates


class OneCycle(EpochSchedule):
    """A rate that rises linearly from `low` to `peak`, falls back to `low`, and then to `final`.

    With c = `cycle` in steps, r = floor(c / 2), n = `epochs` in steps and step t = 0, 1, 2, ..., the rate is

        t < r:        low + (peak - low) * t / r
        r <= t < 2r:  peak - (peak - low) * (t - r) / r
        2r <= t < n:  low - (low - final) * (t - 2r) / (n - 2r)
        n <= t:       final

    Args:
        peak: Highest rate, above 0. `kcomp find-rate` suggests one.
        epochs: Epochs until the rate reaches `final`.
        cycle: Epochs of the rise and the first fall together, above 0 and at most `epochs`. None for nine tenths of
            `epochs`.
        low: Rate at the start and at the end of the cycle, above 0. None for a tenth of `peak`.
        final: Last rate, from 0. None for a hundredth of `low`.
        steps_per_epoch: Steps in an epoch. None in a recipe, where the stage sets the number.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Smith and Topin 2018, Super-convergence: very fast training of neural networks using large learning rates,
        section 3; Smith 2018, A disciplined approach to neural network hyper-parameters, for the tenth of the peak.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.OneCycle(0.1, epochs=10, cycle=8, steps_per_epoch=10)
        >>> [round(float(rate(step)), 4) for step in (0, 20, 40, 80, 90, 100)]
        [0.01, 0.055, 0.1, 0.01, 0.005, 0.0001]
    """

    def __init__(
        self,
        peak: float,
        epochs: float,
        cycle: float | None = None,
        low: float | None = None,
        final: float | None = None,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        self.peak, self.epochs = peak, epochs
        self.cycle = 0.9 * epochs if cycle is None else cycle
        self.low = peak / 10 if low is None else low
        self.final = self.low / 100 if final is None else final
        if epochs <= 0:
            raise ValueError(f"epochs must be above 0; received {epochs}")
        if not 0 < self.cycle <= epochs:
            raise ValueError(f"cycle must be above 0 and at most the {epochs} epochs; received {self.cycle}")
        check_rates(peak, self.final)
        if not 0 < self.low <= peak:
            raise ValueError(f"low must be above 0 and at most the peak {peak}; received {self.low}")
        super().__init__(steps_per_epoch)

    def __call__(self, step: Any) -> Any:
        rise, last = max(self.steps(self.cycle) // 2, 1), self.steps(self.epochs)
        step = ops.cast(step, "float32")
        height = ops.maximum(1.0 - ops.abs(step / rise - 1.0), 0.0)
        share = ops.clip((step - 2 * rise) / max(last - 2 * rise, 1), 0.0, 1.0)
        return self.low + (self.peak - self.low) * height - (self.low - self.final) * share


class Cyclic(EpochSchedule):
    """A rate that rises linearly from `low` to `peak` and falls back, cycle after cycle (a triangle wave).

    With r = `rise` in steps, e the steps in an epoch, step t = 0, 1, 2, ... and k = floor(t / (2r)), the rate is

        low + (peak - low) * (1 - abs(t / r - 2k - 1)) * per_cycle ** k * per_epoch ** (t / e)

    Smith's policies are `triangular` (both factors 1), `triangular2` (`per_cycle=0.5`) and `exp_range` (`per_epoch`
    below 1; his gamma is the factor of a step).

    Args:
        low: Lowest rate, from 0.
        peak: Highest rate, above `low`. `kcomp find-rate` shows the range of both.
        rise: Epochs of a rise, half a cycle, above 0. Smith uses 2 to 10.
        per_cycle: The height of the triangle is multiplied by this number after each cycle, above 0 and at most 1.
        per_epoch: The height is multiplied by this number in an epoch, a little in each step, above 0 and at most 1.
        steps_per_epoch: Steps in an epoch. None in a recipe, where the stage sets the number.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Smith 2017, Cyclical learning rates for training neural networks, section 3.

    Examples:
        >>> from kcomp import schedules
        >>> rate = schedules.Cyclic(0.01, 0.09, rise=1, per_cycle=0.5, steps_per_epoch=10)
        >>> [round(float(rate(step)), 4) for step in (0, 5, 10, 20, 30)]
        [0.01, 0.05, 0.09, 0.01, 0.05]
    """

    def __init__(
        self,
        low: float,
        peak: float,
        rise: float,
        per_cycle: float = 1.0,
        per_epoch: float = 1.0,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        check_rates(peak, low)
        if low >= peak or rise <= 0:
            raise ValueError(f"need low below peak, and rise above 0 epochs; received {low}, {peak} and {rise}")
        if not (0 < per_cycle <= 1 and 0 < per_epoch <= 1):
            raise ValueError(
                f"per_cycle and per_epoch must be above 0 and at most 1; received {per_cycle} and {per_epoch}"
            )
        super().__init__(steps_per_epoch)
        self.low, self.peak, self.rise, self.per_cycle, self.per_epoch = low, peak, rise, per_cycle, per_epoch

    def __call__(self, step: Any) -> Any:
        rise = max(self.steps(self.rise), 1)
        epochs = ops.cast(step, "float32") / self.steps(1)
        cycles = ops.cast(ops.floor_divide(step, 2 * rise), "float32")
        height = 1.0 - ops.abs(ops.cast(ops.mod(step, 2 * rise), "float32") / rise - 1.0)
        height = height * ops.power(self.per_cycle, cycles) * ops.power(self.per_epoch, epochs)
        return self.low + (self.peak - self.low) * height
