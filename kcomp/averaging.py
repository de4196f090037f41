"""What a recipe's last stage may keep beside its last weights: snapshots or an average. Imports no Keras."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Snapshots:
    """Keep the weights at each minimum of `schedules.CosineRestarts`; the run predicts the mean of the probabilities
    of the `last` of them, None for all (Huang et al. 2017).

    How many there are is said once, by the schedule's `cycles`. The recipe's monitor must be None.
    """

    last: int | None = None

    def __post_init__(self) -> None:
        if self.last is not None and self.last < 1:
            raise ValueError(f"Snapshots(last=...) must be at least 1 snapshot, or None for all; received {self.last}")


@dataclass(frozen=True)
class EMA:
    """Keep a moving average of the weights, batch normalisation's statistics included, if it scores better.

    It begins as the weights of the stage's start, w_0; update number t (from 1) moves it to d * average + (1 - d) * w_t
    with d = min(decay, (1 + t) / (10 + t)), so that it forgets the start soon.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise ValueError(f"EMA(decay) must lie between 0 and 1; received {self.decay}")


@dataclass(frozen=True)
class SWA:
    """Keep the mean of the weights at the ends of the stage's epochs (counted from 1) `from_epoch`, `from_epoch +
    every`, ..., if it scores better (Izmailov et al. 2018). `schedules.Tail` gives the rates for it.

    Batch normalisation that the stage trains gets its statistics anew, from the training rows.
    """

    from_epoch: int
    every: int = 1

    def __post_init__(self) -> None:
        if self.from_epoch < 1 or self.every < 1:
            raise ValueError(f"SWA(from_epoch, every) are at least 1; received {self.from_epoch} and {self.every}")

    def takes(self, epoch: int) -> bool:
        """Whether the weights at the end of this epoch of the stage (from 1) count."""
        return epoch >= self.from_epoch and (epoch - self.from_epoch) % self.every == 0
