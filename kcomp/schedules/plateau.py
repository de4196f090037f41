"""A learning rate that falls when the score of the held-out rows stops improving."""

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops
from keras.optimizers import Optimizer

from kcomp.schedules.base import EpochSchedule, check_rates


class Plateau(EpochSchedule):
    """A rate that is multiplied by `factor` after `patience` epochs without a better score.

    In a recipe, kcomp calls `update` after each epoch. In a notebook, use `keras.callbacks.ReduceLROnPlateau` and a
    constant rate.

    Args:
        rate: First rate, above 0.
        patience: Epochs without a better score before the rate falls, from 1.
        factor: The rate is multiplied by this number, above 0 and below 1.
        cooldown: Epochs after a fall that do not count as epochs without a better score, from 0.
        final: Lowest rate, from 0.
        warmup: Epochs of a linear rise at the start. 0 for no rise.
        steps_per_epoch: Steps in an epoch. None in a recipe, where the stage sets the number.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
        >>> import keras
        >>> from kcomp import schedules
        >>> rate = schedules.Plateau(0.1, patience=2, factor=0.5, steps_per_epoch=10)
        >>> rate.attach(keras.optimizers.SGD(rate))
        >>> rate.update([0.7, 0.8, 0.75, 0.8], lambda score, best: score > best)
        >>> round(float(rate(40)), 4)
        0.05
    """

    def __init__(
        self,
        rate: float,
        patience: int,
        factor: float = 0.1,
        cooldown: int = 0,
        final: float = 0.0,
        warmup: float = 0.0,
        *,
        steps_per_epoch: int | None = None,
    ) -> None:
        check_rates(rate, final)
        if final > rate:
            raise ValueError(f"final must be at most the first rate {rate}; received {final}")
        if patience < 1 or cooldown < 0 or warmup < 0:
            raise ValueError(
                "patience must be at least 1 epoch, cooldown and warmup at least 0; "
                f"received {patience}, {cooldown} and {warmup}"
            )
        if not 0 < factor < 1:
            raise ValueError(f"factor must be above 0 and below 1; received {factor}")
        super().__init__(steps_per_epoch)
        self.rate, self.patience, self.factor = rate, patience, factor
        self.cooldown, self.final, self.warmup = cooldown, final, warmup
        self.scale: Any = None

    def attach(self, optimizer: Optimizer) -> None:
        """Create a variable in the optimizer: the factor that lowers the rate."""
        if self.scale is None:
            self.scale = optimizer.add_variable((), "ones", name="plateau_scale")

    def update(self, scores: Sequence[float], is_better: Callable[[float, float], bool]) -> None:
        """Set the rate for the next epoch. `scores` are the scores of all epochs of the stage so far.

        `is_better` returns whether the first of two scores is better.
        """
        self.scale.assign(max(self.factor ** self.count_falls(scores, is_better), self.final / self.rate))

    def count_falls(self, scores: Sequence[float], is_better: Callable[[float, float], bool]) -> int:
        """Return how often the rate falls in epochs with these scores."""
        best, wait, cooldown, falls = None, 0, 0, 0
        for score in scores:
            if best is None or is_better(score, best):
                best, wait = score, 0
            elif cooldown == 0:
                wait += 1
            cooldown = max(cooldown - 1, 0)
            if wait >= self.patience:
                wait, cooldown, falls = 0, self.cooldown, falls + 1
        return falls

    def __call__(self, step: Any) -> Any:
        rate = self.rate * self.share_of_warmup(step, self.warmup)
        return rate if self.scale is None else rate * ops.convert_to_tensor(self.scale)
