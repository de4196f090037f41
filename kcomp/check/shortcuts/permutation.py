"""Test which properties of images predict the labels beyond chance and with a large effect."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.check.shortcuts.association import Association, associate
from kcomp.check.shortcuts.outcome import Outcome
from kcomp.check.shortcuts.properties import Property
from kcomp.metrics.significance import holm

LEVEL = 0.001  # probability of a false alarm in all tests together
# A large effect (Cohen 1988), as a ROC AUC and as a correlation (Rice and Harris 2005, table 1).
LARGE_AUC = 0.714
LARGE_CORRELATION = 0.371


@dataclass(frozen=True)
class Tested:
    """A property of images, and how well it predicts each column of the labels.

    Attributes:
        measured: The property.
        association: The scores of the property.
        p_values: The p-value of each column, corrected for all columns and properties, (columns,).
        large: Whether the property predicts each column beyond chance and with a large effect, bool (columns,).
    """

    measured: Property
    association: Association
    p_values: np.ndarray
    large: np.ndarray

    @property
    def is_large(self) -> bool:
        return bool(self.large.any())

    @property
    def best_score(self) -> float:
        """The score of the column `strongest`; NaN if all scores are undefined."""
        return float(self.association.scores[self.strongest])

    @property
    def strongest(self) -> int:
        """The number of the column with the highest score, among the columns in `large` if there are any."""
        scores = np.nan_to_num(self.association.scores, nan=-1.0)
        return int(np.argmax(np.where(self.large, scores + 2, scores)))


def run_tests(properties: Sequence[Property], outcome: Outcome, folds: np.ndarray, seed: int) -> list[Tested]:
    """Test how well each property predicts the outcome.

    The p-values are corrected for all properties and columns (Holm 1979).
    """
    if not properties:
        return []
    values = [each.values for each in properties]
    associations = associate(values, outcome.values, folds, is_class=outcome.is_class, seed=seed)
    p_values = np.stack([each.p_values for each in associations])
    defined = ~np.isnan(p_values)
    p_values[defined] = holm(p_values[defined])
    least = least_score(outcome)
    return [
        Tested(
            each, association, row, (np.nan_to_num(association.scores) >= least) & (np.nan_to_num(row, nan=1) < LEVEL)
        )
        for each, association, row in zip(properties, associations, p_values, strict=True)
    ]


def least_score(outcome: Outcome) -> float:
    return LARGE_AUC if outcome.is_class else LARGE_CORRELATION
