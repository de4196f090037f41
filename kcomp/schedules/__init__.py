"""Learning rate schedules whose arguments are in epochs. A step is the update of the weights by one batch.

In a recipe, kcomp sets the number of steps in an epoch. In a notebook, pass `steps_per_epoch`.
"""

from kcomp.schedules.base import EpochSchedule
from kcomp.schedules.cosine import CosineRestarts, WarmupCosine
from kcomp.schedules.cyclic import Cyclic, OneCycle
from kcomp.schedules.decay import Constant, Exponential, Polynomial, Step
from kcomp.schedules.plateau import Plateau
from kcomp.schedules.tail import Tail

__all__ = [
    "Constant",
    "CosineRestarts",
    "Cyclic",
    "EpochSchedule",
    "Exponential",
    "OneCycle",
    "Plateau",
    "Polynomial",
    "Step",
    "Tail",
    "WarmupCosine",
]
