"""What a stage may keep beside its weights while it is trained."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class StageAverage:
    """Keeps nothing but the kept epoch's weights; Snapshots and averages of weights are kept by classes of this shape.

    variables: Keras variables that are saved with the state, and set again where a run continues.
    compiled:  those of them that `in_step` sets.
    """

    variables: Sequence[Any] = ()
    compiled: Sequence[Any] = ()

    def in_step(self) -> None:
        """Called in each training step, inside what is compiled, with the weights as they are before it."""

    def epoch_ended(self, stage_epochs: int) -> None:
        """Take the weights at the end of an epoch, the stage's `stage_epochs`-th, before the state is saved."""

    def outcome(self) -> tuple[np.ndarray | None, dict[str, Any]]:
        """The held-out rows' probabilities (rows, classes) as the run is to predict, None where those are what the kept
        epoch's weights give; and what result.json says of it under `average`. The network holds the last weights."""
        return None, {}
