"""The predictions of changed images."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stressed:
    """The predictions of changed images.

    Attributes:
        rows: Positions of the rows whose images were changed, a stratified sample.
        first: Whether each row was predicted at every strength, bool (rows,).
        place: Position of the member whose runs predicted the rows. A member is all runs that differ only in their
            fold.
        untouched: Predictions of the unchanged images, (rows, prediction columns).
        changed: Predictions by the name of the change, (strengths, rows, prediction columns). NaN where a row was not
            predicted.
        seconds: The time of the predictions in seconds.
    """

    rows: np.ndarray
    first: np.ndarray
    place: int
    untouched: np.ndarray
    changed: dict[str, np.ndarray]
    seconds: float

    def known(self, name: str) -> np.ndarray:
        """Return whether each row was predicted at each strength of this change, bool (strengths, rows)."""
        known: np.ndarray = ~np.isnan(self.changed[name]).any(2)
        return known
