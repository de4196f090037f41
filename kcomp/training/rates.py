"""Read the learning rate of an optimizer, and set up its learning rate schedules."""

from typing import Any

import keras
from keras import ops

from kcomp.schedules import EpochSchedule


def schedules_of(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Return the learning rate schedules of an optimizer: one, or one for each optimizer that it combines.

    A constant learning rate counts as a schedule, and is returned as a Keras variable.
    """
    optimizers = getattr(optimizer, "optimizers", None)
    if optimizers:
        return [schedule for inner in optimizers for schedule in schedules_of(inner)]
    return [optimizer._learning_rate]  # the public `learning_rate` is a number, not the schedule


def bind(optimizer: keras.optimizers.Optimizer, steps_per_epoch: int) -> None:
    """Set how many steps an epoch has in an optimizer's schedules of kcomp.schedules, which count epochs.

    Args:
        optimizer: An optimizer, or one that combines several (keras.optimizers.MultiOptimizer).
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
    """Return the learning rate of an optimizer's next update.

    For an optimizer that combines several, return the largest learning rate.
    """
    optimizers = getattr(optimizer, "optimizers", None)
    if optimizers:
        return max(rate_of(inner) for inner in optimizers)
    return float(ops.convert_to_numpy(ops.convert_to_tensor(optimizer.learning_rate)))
