"""Read and write CSV files of predictions or labels: the column `image_id`, and one for each class or number."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.system.files import write_csv


def write_probabilities(path: Path, ids: Sequence[str], classes: Sequence[str], values: np.ndarray) -> None:
    """Write a CSV file of predictions or labels. float32 values are written without loss.

    Args:
        path: The file.
        ids: The image ids, one for each row.
        classes: The names of the columns.
        values: Shape (rows, columns).
    """
    frame = pd.DataFrame(np.asarray(values), columns=list(classes))
    frame.insert(0, "image_id", list(ids))
    write_csv(path, frame)


def read_probabilities(path: Path, *, missing: bool = False) -> pd.DataFrame:
    """Read a CSV file of predictions or labels, as float64.

    Args:
        path: The file.
        missing: Whether empty cells are allowed. They become NaN.

    Returns:
        One row for each image id (the index), one column for each class or predicted number.

    Raises:
        ValueError: If the file is not such a CSV, has no rows, repeats an id, or contains infinity or an empty cell
            that is not allowed.
    """
    try:
        frame = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False, na_values=[""], low_memory=False)
    except ValueError as error:  # the file is empty, is not text, or has rows of different lengths
        raise ValueError(f"{path} cannot be read as a CSV: {error}") from error
    if "image_id" not in frame or len(frame.columns) < 2:
        raise ValueError(f"{path} must have the column image_id and one column a class; it has {list(frame.columns)}")
    double = frame["image_id"][frame["image_id"].duplicated()]
    if len(double):
        raise ValueError(f"{path}: image ids must be unique; {double.iloc[0]!r} is double")
    indexed = frame.set_index("image_id")
    if indexed.empty:
        raise ValueError(f"{path} has no rows")
    for name in indexed:
        if not pd.api.types.is_numeric_dtype(indexed[name]):
            invalid = indexed[name][pd.to_numeric(indexed[name], errors="coerce").isna()]
            raise ValueError(
                f"{path}: the column {name!r} must hold numbers; row {invalid.index[0]!r} has {invalid.iloc[0]!r}"
            )
    values = np.ascontiguousarray(indexed.to_numpy(np.float64))  # in memory, the values of a row are adjacent
    empty = indexed.index[~(np.isfinite(values) | (missing & np.isnan(values))).all(1)]
    if len(empty):
        raise ValueError(f"{path}: {len(empty)} rows hold NaN or infinity, first {empty[0]!r}")
    return pd.DataFrame(values, indexed.index, indexed.columns, copy=False)  # one block, which to_numpy need not copy
