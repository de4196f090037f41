"""Find the columns of a table that contain labels, groups, boxes and times."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kcomp.data.label_cells import SEPARATORS, several_in_cells
from kcomp.system.errors import UsageError

GRADE = re.compile(r"(^|_)(diagnosis|grade|level|severity|score|stage|rating|isup)(_|$)", re.IGNORECASE)
COUNT = re.compile(r"(^|_)(count|number|num|age|weight|height|size|price|counts)(_|$)", re.IGNORECASE)
LABEL = re.compile(
    r"^(label|class|target|category|species|breed|y|label_?name|class_?name|diagnosis|labels|tags)$", re.I
)
GROUP = re.compile(
    r"^(patient|subject|person|user|owner|group|session|site|scene|video|location|animal|individual|study|case|plant|"
    r"camera|slide|center)(_?(id|name))?$",
    re.IGNORECASE,
)
TIME = re.compile(r"(^|_)(date|time|timestamp|datetime|year|taken|captured)(_|$)", re.IGNORECASE)
BOXES = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
INTEGER = r"[+-]?\d+"
MOST_CLASSES_OF_NUMBERS = 50


@dataclass(frozen=True)
class Labels:
    """The label columns, as an argument of `data.read_csv`.

    Attributes:
        argument: The argument of `data.read_csv`: label, labels, one_hot, multi_hot, numbers or grades.
        columns: The columns.
        reason: Why `argument` fits the columns.
        others: Other values of `--target` that fit the columns.
        names: The column of names of a table with a row for each id and name; None for other tables.
    """

    argument: str
    columns: tuple[str, ...]
    reason: str
    others: tuple[str, ...] = ()
    names: str | None = None

    @property
    def value(self) -> object:
        """The value of the argument of `data.read_csv`."""
        if self.names is not None:
            return {self.names: self.columns[0]}
        return self.columns[0] if len(self.columns) == 1 else list(self.columns)


def numbers_of(frame: pd.DataFrame) -> pd.DataFrame | None:
    """Return the cells as numbers, NaN for empty cells. Return None if a cell is not a number."""
    numbers = frame.apply(lambda column: pd.to_numeric(column.str.strip(), errors="coerce"))
    return None if (numbers.isna() & frame.notna()).any(axis=None) else numbers


def find_boxes(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns of the left, top, right and bottom edge of a box. Empty if the table has no box."""
    plain = {re.sub(r"[^a-z0-9]", "", str(name).lower()): str(name) for name in frame}
    for names in BOXES:
        if all(name in plain for name in names):
            return tuple(plain[name] for name in names)
    return ()


def find_group(frame: pd.DataFrame, used: Sequence[str]) -> str | None:
    """Return the first column that has the name of a group, such as patient_id, and repeated values. None for none."""
    for name in frame:
        values = frame[name]
        if name not in used and GROUP.match(str(name)) and values.notna().all() and 5 <= values.nunique() < len(frame):
            return str(name)
    return None


def find_time(frame: pd.DataFrame, used: Sequence[str]) -> str | None:
    return next((str(name) for name in frame if name not in used and TIME.search(str(name))), None)


def choose_columns(frame: pd.DataFrame, used: Sequence[str], hints: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the label columns and the reason for the choice.

    Args:
        frame: The cells of the table of labelled rows.
        used: Columns that are ids, groups, boxes or times.
        hints: The columns of the sample submission, without its first. Empty if there is no sample.

    Raises:
        UsageError: If several columns may be the label.
    """
    free = [str(name) for name in frame if name not in used]
    same = tuple(name for name in hints if name in free)
    if same and len(same) == len(hints):
        return same, "the sample submission has " + ("this column" if len(same) == 1 else "these columns")
    for name in free:
        if len(hints) > 1 and set(hints) <= words_of(frame[name]):
            return (name,), "its values are the columns of the sample submission"
    hot = tuple(name for name in free if frame[name].dropna().str.fullmatch(r"[01](\.0*)?").all())
    named = [name for name in free if LABEL.match(name) or GRADE.search(name)]
    if len(hot) > 1 and not named:
        return hot, f"{len(hot)} columns hold 0 and 1"
    if len(named) == 1 or len(free) == 1:
        name = (named or free)[0]
        return (name,), "its name says so" if named else "it is the only other column"
    names = ", ".join(named or free)
    if not names:
        raise UsageError(f"no column can be the label; the table has {list(map(str, frame))}; choose with --label NAME")
    raise UsageError(f"which column is the label: {names}? Choose with --label NAME, or several: --label NAME,NAME")


def words_of(cells: pd.Series) -> set[str]:
    """Return the different labels in the cells. Cells with several labels are split."""
    several = several_in_cells(cells)
    texts = set(cells.dropna().str.strip().unique())
    return texts if several is None else {piece.strip() for text in texts for piece in text.split(several[0])}


def classify(frame: pd.DataFrame, columns: tuple[str, ...], ids: pd.Series, kind: str | None) -> Labels:
    """Decide which kind of labels the columns contain.

    Args:
        frame: The cells of the table.
        columns: The label columns.
        ids: The ids of its rows.
        kind: classes, labels, numbers or grades, as set by `--target`. None detects it from the values.

    Raises:
        UsageError: If the columns do not contain what `kind` needs, or a single column has only one value.
    """
    numbers = numbers_of(frame[list(columns)])
    if len(columns) > 1:
        return classify_several(columns, numbers, kind)
    cells = frame[columns[0]].dropna().str.strip()
    check_cells(columns[0], cells, kind, are_numbers=numbers is not None)
    several = several_in_cells(cells)
    if kind == "labels" or (kind is None and numbers is None and (several or repeats(ids, cells))):
        if several:
            return Labels(
                "labels", columns, f"cells hold several of {several[1]} labels, {SEPARATORS[several[0]]} between"
            )
        repeated = "an id occurs in several rows, once for each label"
        return Labels("labels", columns, repeated if repeats(ids, cells) else "--target labels")
    if kind is None:
        kind, reason = kind_of(columns[0], cells, numbers)
    else:
        reason = f"--target {kind}"
    arguments = {"classes": "label", "numbers": "numbers", "grades": "grades"}
    others = tuple(other for other in arguments if other != kind) if numbers is not None else ()
    return Labels(arguments[kind], columns, reason, others)


def check_cells(name: str, cells: pd.Series, kind: str | None, *, are_numbers: bool) -> None:
    """Raise UsageError if the label column has fewer than two values, or texts where numbers are needed."""
    if cells.nunique() < 2:
        values = f"holds only {cells.iloc[0]!r}" if len(cells) else "is empty"
        raise UsageError(f"a label column needs at least two different values; {name!r} {values}")
    if kind in ("numbers", "grades") and not are_numbers:
        text = cells[pd.to_numeric(cells, errors="coerce").isna()].iloc[0]
        order = (
            f"; for named grades, write grades={{{name!r}: [lowest, ...]}} into the recipe" if kind == "grades" else ""
        )
        raise UsageError(f"--target {kind} needs numbers; {name!r} holds {text!r}{order}")


def classify_several(columns: tuple[str, ...], numbers: pd.DataFrame | None, kind: str | None) -> Labels:
    """Decide whether several label columns are one class (one-hot), several labels, or numbers."""
    if numbers is None:
        raise UsageError(f"several label columns must hold numbers; choose one of {', '.join(columns)} with --label")
    values = numbers.to_numpy(np.float64)
    in_range = bool(np.all(np.isnan(values) | ((values >= 0) & (values <= 1))))
    sums = not np.isnan(values).any() and bool(np.all(np.abs(values.sum(1) - 1) <= 1e-3))
    if kind == "numbers" or (kind is None and not in_range):
        return Labels("numbers", columns, "several columns of numbers", ())
    if kind in (None, "classes") and in_range and sums:
        return Labels("one_hot", columns, "each row sums to 1", ("labels",))
    if kind in (None, "labels") and in_range:
        return Labels("multi_hot", columns, "values are 0 to 1, and rows do not sum to 1", ("numbers",))
    raise UsageError(f"--target {kind} does not fit the columns {', '.join(columns)}; leave it out")


def kind_of(name: str, cells: pd.Series, numbers: pd.DataFrame | None) -> tuple[str, str]:
    """Return the kind of one label column and the reason."""
    different = cells.nunique()
    if numbers is None:
        return "classes", f"{different} different texts"
    if not cells.str.fullmatch(INTEGER).all():
        return "numbers", "it holds numbers with decimals"
    values = np.sort(cells.astype(float).astype(int).unique())
    ordered = bool(len(values) <= 11 and values[0] in (0, 1) and (np.diff(values) == 1).all() and len(values) > 2)
    if ordered and GRADE.search(name):
        return "grades", f"small whole numbers from {values[0]} to {values[-1]}, and its name says so"
    if COUNT.search(name) or different > min(MOST_CLASSES_OF_NUMBERS, len(cells) / 2):
        return "numbers", f"{different} different whole numbers"
    return "classes", f"only {different} different whole numbers"


def repeats(ids: pd.Series, cells: pd.Series) -> bool:
    """Return whether an id occurs in several rows with different labels."""
    return bool(ids.duplicated().any() and cells.groupby(ids.loc[cells.index]).nunique().max() > 1)
