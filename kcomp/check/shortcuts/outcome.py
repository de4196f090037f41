"""Arrange the labels of a table as columns for tests, and draw a sample of rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kcomp.data.splits.rows import one_hot
from kcomp.data.tables import Table
from kcomp.probe.folds import group_numbers

MOST_COLUMNS = 100


@dataclass(frozen=True)
class Outcome:
    """The labels that a property may predict: classes or numbers.

    Attributes:
        values: Shape (rows, columns). For classes: 1 for rows of the class, else 0. NaN is a missing label.
        names: The name of each column.
        is_class: Whether the columns are classes.
    """

    values: np.ndarray
    names: tuple[str, ...]
    is_class: bool

    @property
    def score_name(self) -> str:
        return "ROC AUC" if self.is_class else "rank correlation"

    @property
    def no_skill(self) -> float:
        """The expected score of random predictions."""
        return 0.5 if self.is_class else 0.0


def outcome_of(table: Table) -> Outcome:
    """Return the labels of a table as an `Outcome`.

    A soft label counts as its most likely class, and a grade as a number. Only the 100 most frequent classes are used.
    """
    target, labels = table.required_target, table.labels.astype(np.float64)
    if target.class_names != target.columns:
        return Outcome(labels, target.columns, is_class=False)
    strata = one_hot(target.strata(labels))
    values = np.zeros(labels.shape)
    values[:, : strata.shape[1]] = strata
    values[np.isnan(labels)] = np.nan
    counts = np.nansum(values, 0)
    order = np.sort(np.argsort(-counts, kind="stable")[:MOST_COLUMNS])
    order = order[counts[order] > 0]
    return Outcome(values[:, order], tuple(target.columns[column] for column in order), is_class=True)


def sample_rows(table: Table, usable: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return the sorted positions of at most `most` random rows among the usable ones.

    Of the rows with the same label in one `group` or `item`, at most one is chosen.
    """
    random = np.random.default_rng([seed, 5])
    order = random.permutation(np.flatnonzero(usable))
    groups = group_numbers(table)
    if groups is not None:
        strata = table.required_target.strata(table.labels.astype(np.float64))[order]
        keys = pd.DataFrame(strata.reshape(len(order), -1)).assign(group=groups[order])
        order = order[~keys.duplicated().to_numpy()]
    return np.sort(order[:most])
