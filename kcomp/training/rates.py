"""Read the learning rate of an optimizer, and set up its learning rate schedules."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kcomp.schedules import EpochSchedule, Plateau


def parts_of(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Return the optimizers that an optimizer combines, or a list with the optimizer itself."""
    optimizers = getattr(optimizer, "optimizers", None)
    if optimizers:
        return [part for inner in optimizers for part in parts_of(inner)]
    return [optimizer]


def schedules_of(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Return the learning rate schedules of an optimizer: one, or one for each optimizer that it combines.

    A constant learning rate is returned as a Keras variable.
    """
    return [part._learning_rate for part in parts_of(optimizer)]  # the public `learning_rate` is a number


def bind(optimizer: keras.optimizers.Optimizer, steps_per_epoch: int) -> None:
    """Tell an optimizer's schedules of kcomp.schedules, which count epochs, how many steps an epoch has.

    Args:
        optimizer: An optimizer that is not built, or one that combines several (keras.optimizers.MultiOptimizer).
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
    for part, schedule in zip(parts_of(optimizer), schedules_of(optimizer), strict=True):
        if isinstance(schedule, EpochSchedule):
            schedule.bind(steps_per_epoch)
        if isinstance(schedule, Plateau):
            schedule.attach(part)


def update_plateaus(
    optimizer: keras.optimizers.Optimizer, scores: Sequence[float], is_better: Callable[[float, float], bool]
) -> None:
    """Lower the rate of each `Plateau` schedule of an optimizer, if the scores require it."""
    for schedule in schedules_of(optimizer):
        if isinstance(schedule, Plateau):
            schedule.update(scores, is_better)


def rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    """Return the learning rate of an optimizer's next update. If it combines several optimizers, the largest rate."""
    optimizers = getattr(optimizer, "optimizers", None)
    if optimizers:
        return max(rate_of(inner) for inner in optimizers)
    return float(ops.convert_to_numpy(ops.convert_to_tensor(optimizer.learning_rate)))
