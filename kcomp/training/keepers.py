"""What a stage may keep beside its weights while it is trained."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class Keeper:
    """Keeps nothing but the kept epoch's weights; Snapshots and averages of weights are kept by classes of this shape.

    variables: Keras variables that are saved with the state, and set again where a run continues.
    in_step:   called in each training step with the weights before it, inside what is compiled; None for nothing.
    """

    variables: Sequence[Any] = ()
    in_step: Any = None

    def epoch_ended(self, stage_epochs: int) -> None:
        """Take the weights at the end of an epoch, the stage's `stage_epochs`-th, before the state is saved."""

    def outcome(self) -> tuple[np.ndarray, dict[str, Any]] | None:
        """The held-out rows' probabilities (rows, classes) as the run is to predict, and what result.json says of it
        under `average`; None where that is what the kept epoch's weights give."""
        return None
