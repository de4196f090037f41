"""Collect the columns that divide the held-out rows into slices: columns of the table and measurements of images."""

import numpy as np
import pandas as pd

from kcomp.data.tables import OTHER, Table, fold_columns
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.measurements import Facts

MEASURED = 10_000  # at most this many images are measured; of more rows, a random sample
NAMES = {  # columns of facts by the name that the page shows
    "size_bytes": "file size in bytes",
    "width": "width",
    "height": "height",
    "format": "file format",
    "mode": "colour mode",
    "orientation": "EXIF orientation",
    "quantization": "JPEG compression",
    "brightness": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "noise": "noise",
}
OWN = ("image_id", "image", "item")  # columns of a table that are no property of an image


def sample_rows(rows: HeldOutRows, *, seed: int = 0) -> np.ndarray:
    """Return the positions of the rows whose images are measured: all rows, or `MEASURED` random ones."""
    if len(rows) <= MEASURED:
        return np.arange(len(rows))
    return np.sort(np.random.default_rng(seed).choice(len(rows), MEASURED, replace=False))


def table_columns(table: Table) -> dict[str, np.ndarray]:
    """Return the columns of a table by name, without ids, images, labels and folds."""
    frame = table.frame
    own = {*OWN, *table.columns, *fold_columns(frame)}
    return {str(name).removeprefix(OTHER): as_values(frame[name]) for name in frame if name not in own}


def as_values(column: pd.Series) -> np.ndarray:
    """Return a column as float64 if all its values are numbers, else as objects. A missing object is None."""
    numbers = pd.to_numeric(column, errors="coerce")
    if (numbers.notna() == column.notna()).all() and not pd.api.types.is_bool_dtype(column):
        return numbers.to_numpy(np.float64)
    return column.astype(object).where(column.notna(), None).to_numpy()


def fact_columns(facts: Facts, places: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Return measurements of images by name, each an array (count,).

    `places` has the positions of the measured rows. Other rows have NaN, or None in a column of texts.
    """
    columns = {}
    values = {shown: getattr(facts, name) for name, shown in NAMES.items()}
    total = facts.red + facts.green + facts.blue
    shares = {f"share of {name}": getattr(facts, name) / np.maximum(total, 1) for name in ("red", "green", "blue")}
    values |= {"aspect ratio (width / height)": facts.width / np.maximum(facts.height, 1), **shares}
    for name, measured in values.items():
        if measured.dtype == object:
            column = np.full(count, None, dtype=object)
            column[places] = np.where(measured == "", None, measured)
        else:
            column = np.full(count, np.nan)
            column[places] = np.where(facts.readable, measured.astype(np.float64), np.nan)
        columns[name] = column
    return columns
