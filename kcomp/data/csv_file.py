"""Read all cells of a CSV file as texts. Detect the encoding and the delimiter of the file."""

import codecs
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from kcomp.data.encodings import detect_encoding
from kcomp.system.notices import notice

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read_texts(path: Path, columns: Sequence[str], *, encoding: str | None = None, hint: str = "") -> pd.DataFrame:
    """Read the cells of a CSV file as texts. Only an empty cell is a missing value.

    Cells such as 007, NA and None stay texts. Spaces after delimiters and around column names are removed. A notice
    names the detected encoding and delimiter, unless these are UTF-8 and a comma.

    Args:
        path: The CSV file.
        columns: Columns that the file must have.
        encoding: A Python encoding. None detects UTF-8, UTF-16, CP949 and Latin-1.
        hint: A text to add to the error message if the first of `columns`, the column of ids, is missing.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be decoded or is not a CSV, has no rows, or lacks one of `columns`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no table at {path}; name a CSV file that exists")
    text, decoded_as = decode_text(path, encoding)
    delimiter = detect_delimiter(text, columns)
    source = parse(path, text, delimiter)
    check_columns(source, columns, str(path), hint)
    details = [f"as {decoded_as}"] if encoding is None and decoded_as != "utf-8" else []
    details += [f"with {DELIMITERS[delimiter]} between cells"] if delimiter != "," else []
    if details:
        notice(f"{path} is read {' '.join(details)}")
    return source


def decode_text(path: Path, encoding: str | None) -> tuple[str, str]:
    """Return the text of a file without its byte order mark, and the name of its encoding.

    If `encoding` is None, it is detected.
    """
    content = path.read_bytes()
    if encoding is None:
        encoding = detect_encoding(content, path)
    try:
        return content.decode(encoding).removeprefix("\ufeff"), codecs.lookup(encoding).name
    except LookupError:
        raise ValueError(f"`encoding` must be one of Python's encodings; received {encoding!r}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not {encoding}: {error.reason} at byte {error.start}") from error


def detect_delimiter(text: str, columns: Sequence[str]) -> str:
    """Return the delimiter that splits the first line of a CSV into names that include all or most of `columns`."""
    headers = {mark: first_names(text.lstrip("\r\n").splitlines()[:1], mark) for mark in DELIMITERS}
    matching = [mark for mark, names in headers.items() if columns and set(columns) <= set(names)]
    return matching[0] if matching else max(headers, key=lambda mark: len(headers[mark]))


def parse(path: Path, text: str, delimiter: str) -> pd.DataFrame:
    """Convert the text of a CSV file to a DataFrame of texts.

    Raises:
        ValueError: If the text is not a CSV, a row has more cells than the first line, or a column name is repeated.
    """
    options = {"dtype": str, "keep_default_na": False, "na_values": [""]}
    try:
        source = pd.read_csv(io.StringIO(text), sep=delimiter, skipinitialspace=True, **options)  # type: ignore[call-overload]
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} is not a readable CSV: {' '.join(str(error).split())}") from error
    if not isinstance(source.index, pd.RangeIndex):
        raise ValueError(
            f"{path}: rows have more cells than the {len(source.columns)} names of the first line; quote cells that "
            f"contain {DELIMITERS[delimiter]}"
        )
    source.columns = source.columns.str.strip()
    header = first_names(io.StringIO(text, newline=""), delimiter)  # pandas renames the second of two equal names
    repeated = sorted({name for name in header if header.count(name) > 1 and name})
    if repeated:
        raise ValueError(f"{path}: column names must be unique; {repeated} are repeated")
    return source


def first_names(lines: Iterable[str], delimiter: str) -> list[str]:
    """Return the column names in the first row of a CSV that is not empty, without spaces around them.

    Return no names if the row is not a CSV, for example because a name is very long.
    """
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        return [name.strip() for name in next((row for row in rows if row), [])]
    except csv.Error:
        return []


def check_columns(frame: pd.DataFrame, columns: Sequence[str], source: str, hint: str) -> None:
    """Raise ValueError if a table has no rows or lacks one of `columns`.

    Args:
        frame: The table.
        columns: Columns that the table must have. The first has the ids.
        source: The name of the table in the message.
        hint: A text to add to the message if the column of ids is missing.
    """
    absent = [name for name in columns if name not in frame]
    if absent:
        advice = hint if columns[0] in absent else ""
        raise ValueError(f"{source} lacks the columns {absent}; it has {list(frame.columns)}{advice}")
    if not len(frame):
        raise ValueError(f"{source} has no rows")


def texts_of(frame: pd.DataFrame, columns: Sequence[str], *, hint: str = "") -> pd.DataFrame:
    """Convert the cells of a DataFrame to texts, as if `read_texts` had read them from a file.

    Whole numbers get no decimal point, even if the column has the type float. For `hint`, see `read_texts`.

    Raises:
        ValueError: If the frame has no rows or lacks one of `columns`.
    """
    frame = frame.reset_index(drop=True).rename(columns=str)
    check_columns(frame, columns, "the DataFrame", hint)
    return frame.apply(texts_of_column)


def texts_of_column(column: pd.Series) -> pd.Series:
    values = column
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_float_dtype(column):
        present = column.dropna()
        if (present == present.round()).all():  # if a value is missing, pandas stores whole numbers as floats
            values = column.astype("Int64")
    texts = values.astype(object).where(column.notna(), None)
    texts = texts.map(lambda value: None if value is None else str(value))
    return texts.where(texts != "", None).astype(object)
