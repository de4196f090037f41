"""Averages of weights, and snapshots. A recipe sets one of them as `average` of its last `Stage`."""

from dataclasses import dataclass

__all__ = ["EMA", "SWA", "Snapshots"]


@dataclass(frozen=True)
class Snapshots:
    """Save the weights at each minimum of `schedules.CosineRestarts`, and average the predictions of these snapshots.

    A snapshot is a copy of the weights. The recipe must have keep="last".

    Args:
        last: How many of the latest snapshots are averaged, from 1. None averages all snapshots.

    Raises:
        ValueError: If `last` is below 1.

    References:
        Huang et al. 2017, Snapshot ensembles: train 1, get M for free.

    Examples:
        >>> from kcomp.averaging import Snapshots
        >>> Snapshots(last=3)
        Snapshots(last=3)
    """

    last: int | None = None

    def __post_init__(self) -> None:
        if self.last is not None and self.last < 1:
            raise ValueError(f"Snapshots(last=...) must be at least 1 snapshot, or None for all; received {self.last}")


@dataclass(frozen=True)
class EMA:
    """Use an exponential moving average of the weights if it scores better than the weights themselves.

    The average starts as a copy of the weights. Update t, counted from 1, sets average = d * average + (1 - d) *
    weights with d = min(decay, (1 + t) / (10 + t)).

    Args:
        decay: Largest value of d, between 0 and 1, both excluded.

    Raises:
        ValueError: If `decay` is out of range.

    References:
        Polyak and Juditsky 1992; the schedule of d is TensorFlow's ExponentialMovingAverage(num_updates=t).

    Examples:
        >>> from kcomp.averaging import EMA
        >>> EMA(0.99)
        EMA(decay=0.99)
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise ValueError(f"EMA(decay) must lie between 0 and 1; received {self.decay}")


@dataclass(frozen=True)
class SWA:
    """Use the mean of the weights at the ends of several epochs if it scores better than the last weights.

    `schedules.Tail` provides suitable learning rates. The statistics of batch normalisation are recomputed on training
    rows.

    Args:
        from_epoch: First epoch whose weights are averaged, counted from 1 in the stage.
        every: Average every `every`-th epoch, from 1. 1 averages the weights of each epoch.

    Raises:
        ValueError: If an argument is below 1.

    References:
        Izmailov et al. 2018, Averaging weights leads to wider optima and better generalization.

    Examples:
        >>> from kcomp.averaging import SWA
        >>> average = SWA(from_epoch=5, every=2)
        >>> [epoch for epoch in range(1, 10) if average.takes(epoch)]
        [5, 7, 9]
    """

    from_epoch: int
    every: int = 1

    def __post_init__(self) -> None:
        if self.from_epoch < 1 or self.every < 1:
            raise ValueError(f"SWA(from_epoch, every) are at least 1; received {self.from_epoch} and {self.every}")

    def takes(self, epoch: int) -> bool:
        """Return whether the average uses the weights at the end of this epoch, counted from 1 in the stage."""
        return epoch >= self.from_epoch and (epoch - self.from_epoch) % self.every == 0
