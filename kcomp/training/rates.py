"""The learning rates of an optimizer."""

from typing import Any

import keras
from keras import ops

from kcomp.schedules import EpochSchedule


def schedules_of(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Return the schedule or rate variable of an optimizer, or of each optimizer that it combines."""
    optimizers = getattr(optimizer, "optimizers", None)
    if optimizers:
        return [schedule for inner in optimizers for schedule in schedules_of(inner)]
    return [optimizer._learning_rate]  # the public property is the rate of the next update


def bind(optimizer: keras.optimizers.Optimizer, steps_per_epoch: int) -> None:
    """Set the number of steps in an epoch in every schedule of an optimizer that counts epochs.

    Args:
        optimizer: An optimizer, or one that combines several.
        steps_per_epoch: Steps (batches) in an epoch, from 1.

    Examples:
        >>> import keras
        >>> from kcomp import schedules
        >>> from kcomp.training import rates
        >>> optimizer = keras.optimizers.SGD(schedules.Step(0.1, every=2))
        >>> rates.bind(optimizer, 30)
        >>> round(rates.rate_of(optimizer), 4)
        0.1
    """
    for schedule in schedules_of(optimizer):
        if isinstance(schedule, EpochSchedule):
            schedule.bind(steps_per_epoch)


def rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    """Return an optimizer's learning rate at its next update.

    If it combines several optimizers, return the largest of their learning rates.
    """
    optimizers = getattr(optimizer, "optimizers", None)
    if optimizers:
        return max(rate_of(inner) for inner in optimizers)
    return float(ops.convert_to_numpy(ops.convert_to_tensor(optimizer.learning_rate)))
