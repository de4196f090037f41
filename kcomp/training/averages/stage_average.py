"""The base class of snapshots and averages of weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class StageAverage:
    """The default of a stage: no average. Subclasses average weights, or save snapshots.

    Attributes:
        variables: Keras variables that are saved with the state, and loaded when a run continues.
        compiled: The subset of `variables` that `in_step` sets.
    """

    variables: Sequence[Any] = ()
    compiled: Sequence[Any] = ()

    def in_step(self) -> None:
        """Update the average at the start of each training step, inside the compiled function."""

    def epoch_ended(self, stage_epochs: int) -> None:
        """Use the weights at the end of an epoch, before the state is saved.

        stage_epochs: number of finished epochs of the stage, from 1.
        """

    def outcome(self) -> tuple[np.ndarray | None, dict[str, Any]]:
        """Return the run's predictions of the held-out rows, and the entry `average` of result.json.

        The predictions have shape (rows, columns). None means that the weights of the best epoch predict the rows. The
        network has its last weights when this is called.
        """
        return None, {}
