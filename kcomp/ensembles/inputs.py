"""Inputs for stacking by trees, besides the predictions: columns of the recipe's tables, or features of images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kcomp.data.tables import OTHER, Table
from kcomp.ensembles.joins import predicted_ids


@dataclass(frozen=True)
class Inputs:
    """Numbers for each image or item (such as a patient) that stacking uses besides the predictions. NaN is a missing
    value.

    Attributes:
        held_out: A row for each id of the labelled table.
        test: A row for each id of the test table, with the same columns.
    """

    held_out: pd.DataFrame
    test: pd.DataFrame

    def of_held_out(self, ids: pd.Index) -> np.ndarray:
        """Return the inputs of the held-out rows `ids`, an array (ids, inputs).

        Raise ValueError if an id is not in the labelled table.
        """
        return select(self.held_out, ids, "held-out")

    def of_test(self, ids: pd.Index) -> np.ndarray:
        """Return the inputs of the test rows `ids`, an array (ids, inputs).

        Raise ValueError if an id is not in the test table.
        """
        return select(self.test, ids, "test")


def select(frame: pd.DataFrame, ids: pd.Index, name: str) -> np.ndarray:
    missing = ids.difference(frame.index)
    if len(missing):
        raise ValueError(
            f"--with takes inputs from the recipe's {name} rows, which lack {len(missing)} predicted ids, first "
            f"{missing[0]!r}"
        )
    return frame.loc[ids].to_numpy(np.float64)


def join_inputs(parts: Sequence[Inputs]) -> Inputs:
    return Inputs(
        pd.concat([part.held_out for part in parts], axis=1), pd.concat([part.test for part in parts], axis=1)
    )


def by_id(table: Table, values: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of `values` over the images of each item, such as a patient. Without items, return all rows.

    `values` has a row for each image of the table. The index of the result has the ids of items or images.
    """
    return values.set_index(predicted_ids(table)).groupby(level=0).mean()


def column_inputs(table: Table, test: Table) -> Inputs:
    """Return the columns that the CSV files of the labelled and the test table have in common, as inputs.

    If a column has only numbers, these are the inputs. Otherwise each text is replaced by its position among the sorted
    texts of both tables.

    Raises:
        ValueError: If the tables have no such column in common.
    """
    own, others = other_columns(table), other_columns(test)
    names = [name for name in own if name in others]
    if not names:
        listed = [[name.removeprefix(OTHER) for name in columns] for columns in (own, others)]
        raise ValueError(
            "--with columns needs columns that the labelled and the test rows have in common, besides ids and labels; "
            f"the labelled rows have {listed[0]}, the test rows {listed[1]}"
        )
    joined = pd.concat([table.frame[names], test.frame[names]], ignore_index=True).apply(as_numbers)
    count = len(table)
    return Inputs(by_id(table, joined[:count]), by_id(test, joined[count:]))


def other_columns(table: Table) -> list[str]:
    """Return the names of the columns that no argument of `read_csv` names."""
    return [name for name in map(str, table.frame) if name.startswith(OTHER)]


def as_numbers(column: pd.Series) -> pd.Series:
    """Return a column of texts as floats. An empty or missing text becomes NaN."""
    texts = column.replace("", np.nan)
    numbers = pd.to_numeric(texts, errors="coerce")
    if numbers.notna().sum() == texts.notna().sum():
        return numbers.astype(np.float64)
    codes, _ = pd.factorize(texts, sort=True)
    return pd.Series(np.where(codes < 0, np.nan, codes), column.index)


def feature_inputs(table: Table, test: Table, features: Sequence[np.ndarray]) -> Inputs:
    """Return image features as inputs.

    `features` has two arrays (rows, features): those of the labelled table and those of the test table.
    """
    own, others = (pd.DataFrame(np.asarray(values, np.float64)).add_prefix("feature ") for values in features)
    return Inputs(by_id(table, own), by_id(test, others))
