"""The predictions of changed images."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stressed:
    """The predictions of changed images.

    Attributes:
        rows: Positions of the rows that were changed, a stratified sample.
        first: Whether a row was predicted at every strength, bool (rows,).
        place: Position of the member whose runs predicted them.
        untouched: Predictions of the unchanged images, (rows, prediction columns).
        changed: Predictions by the name of the change, (strengths, rows, prediction columns). NaN where a row was not
            predicted.
        seconds: How many seconds the predictions took.
    """

    rows: np.ndarray
    first: np.ndarray
    place: int
    untouched: np.ndarray
    changed: dict[str, np.ndarray]
    seconds: float

    def known(self, name: str) -> np.ndarray:
        """Return whether each row was predicted at each strength of a kind, bool (strengths, rows)."""
        known: np.ndarray = ~np.isnan(self.changed[name]).any(2)
        return known
