"""Base class of the objects that average weights or predictions in a stage (part of a training)."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class StageAverage:
    """A stage's weight averaging. This base class averages nothing.

    Attributes:
        variables: Keras variables that are saved with a run's state, and loaded when the run continues.
        compiled: Those of `variables` that change inside the compiled training step.
    """

    variables: Sequence[Any] = ()
    compiled: Sequence[Any] = ()

    def in_step(self) -> None:
        """Update the average at the start of each training step, inside the compiled function."""

    def epoch_ended(self, stage_epochs: int) -> None:
        """Update the average at the end of an epoch, or save a snapshot.

        Args:
            stage_epochs: How many epochs of the stage are finished, from 1.
        """

    def outcome(self) -> tuple[np.ndarray | None, dict[str, Any]]:
        """Return two things: predictions (rows, columns) for the held-out rows, and the entry `average` of result.json.

        It is called at the end of the stage. If the predictions are None, best.weights.h5 predicts.
        """
        return None, {}
