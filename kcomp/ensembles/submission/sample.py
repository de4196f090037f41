"""Read a competition's sample submission."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kcomp.data.csv_file import decode_text, detect_delimiter, parse

JOINTS = ("__", "_", "-", ":", "/", "|", ".", " ")  # separators between an id and a class, as in im1_cat


@dataclass(frozen=True)
class Sample:
    """A sample submission.

    It has one row for each id or, in the long form, one row for each pair of id and class.

    Attributes:
        path: The file.
        frame: All cells as text. An empty cell is a missing value.
        delimiter: The delimiter between cells.
        row_ids: The image id of each row.
        columns: The columns to fill.
        row_names: In the long form, the class of each row. Otherwise None.
    """

    path: Path
    frame: pd.DataFrame
    delimiter: str
    row_ids: pd.Series
    columns: tuple[str, ...]
    row_names: pd.Series | None = None

    @property
    def ids(self) -> list[str]:
        """The image ids without repetitions, in the order of the rows."""
        return list(dict.fromkeys(self.row_ids))

    @property
    def values(self) -> list[str]:
        """The distinct texts in the first column to fill, except empty ones."""
        return list(dict.fromkeys(self.frame[self.columns[0]].dropna()))

    @property
    def has_whole_numbers(self) -> bool:
        cells = self.frame[list(self.columns)]
        return bool(cells.apply(lambda column: column.str.fullmatch(r"[+-]?\d+").eq(True)).to_numpy().all())


def read_sample(path: Path, names: Sequence[str]) -> Sample:
    """Read a sample submission.

    In the long form, it has a row for each pair of id and class. The class is in a separate column or at the end of the
    id, such as im1_cat.

    Args:
        path: The CSV file. Its first column has the ids.
        names: The names of the prediction columns.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a CSV with an id column and a column to fill, or an id is empty or repeated.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no sample submission at {path}")
    text, _ = decode_text(path, None)
    delimiter = detect_delimiter(text, ())
    frame = parse(path, text, delimiter)
    if not len(frame) or len(frame.columns) < 2:
        raise ValueError(
            f"{path} must have rows, a column of ids and a column to fill; it has {len(frame)} rows and the columns "
            f"{list(frame.columns)}"
        )
    key, *columns = frame.columns
    if frame[key].isna().any():
        raise ValueError(f"{path} has {int(frame[key].isna().sum())} rows without {key!r}")
    sample = Sample(path, frame, delimiter, frame[key], tuple(columns))
    long = read_long(sample, list(names)) if len(names) > 1 else None
    if long is None and frame[key].duplicated().any():
        repeated = frame[key][frame[key].duplicated()]
        raise ValueError(f"{path} has the id {repeated.iloc[0]!r} twice; {len(repeated)} ids are repeated")
    return long or sample


def read_long(sample: Sample, names: list[str]) -> Sample | None:
    """Return the sample in the long form, or None unless it has a row for each pair of id and class."""
    if len(sample.columns) == 2:
        for column, other in (sample.columns, sample.columns[::-1]):
            if set(sample.frame[column]) == set(names) and sample.row_ids.duplicated().any():
                return complete(sample, sample.row_ids, sample.frame[column], other, names)
    if len(sample.columns) > 1:
        return None
    for joint in JOINTS:
        row_names = pd.Series(None, sample.row_ids.index, dtype=object)
        for name in sorted(names, key=len, reverse=True):
            row_names[row_names.isna() & sample.row_ids.str.endswith(joint + name)] = name
        if not row_names.isna().any():
            pairs = zip(sample.row_ids, row_names, strict=True)
            ids = pd.Series([text[: -len(joint + name)] for text, name in pairs], dtype=object)
            return complete(sample, ids, row_names, sample.columns[0], names)
    return None


def complete(sample: Sample, ids: pd.Series, row_names: pd.Series, column: str, names: list[str]) -> Sample | None:
    """Return `sample` in the long form, or None unless each id has a row for each class.

    Args:
        sample: The sample submission.
        ids: The id of each row.
        row_names: The class of each row.
        column: The column to fill.
        names: All classes.
    """
    pairs = pd.DataFrame({"id": ids, "name": row_names})
    if pairs.duplicated().any() or len(pairs) != ids.nunique() * len(names):
        return None
    return Sample(sample.path, sample.frame, sample.delimiter, ids, (column,), row_names)
