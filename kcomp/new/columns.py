"""Find the columns of a competition's table that contain labels, groups, boxes and times."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kcomp.data.label_cells import SEPARATORS, several_in_cells
from kcomp.data.repeated import are_mistakes
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
    """The label columns of a table, and how `data.read_csv` must read them.

    Attributes:
        argument: The argument of `data.read_csv` for the columns: label, labels, one_hot, multi_hot, numbers or grades.
        columns: The names of the columns.
        reason: Why `argument` fits the columns, as text for the user.
        others: Other values of the option `--target` that also fit the columns.
        name_column: If each row of the table is (id, name of a number, number), the column of these names. Otherwise
            None.
    """

    argument: str
    columns: tuple[str, ...]
    reason: str
    others: tuple[str, ...] = ()
    name_column: str | None = None

    @property
    def value(self) -> object:
        """The value to pass to `data.read_csv`: a column, several columns, or {column of names: column of numbers}."""
        if self.name_column is not None:
            return {self.name_column: self.columns[0]}
        return self.columns[0] if len(self.columns) == 1 else list(self.columns)


def numbers_of(frame: pd.DataFrame) -> pd.DataFrame | None:
    """Convert text cells to numbers. Empty cells become NaN. Return None if a cell is not a number."""
    numbers = frame.apply(lambda column: pd.to_numeric(column.str.strip(), errors="coerce"))
    return None if (numbers.isna() & frame.notna()).any(axis=None) else numbers


def find_boxes(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the names of the columns with the left, top, right and bottom edge of a box. Empty if there are none."""
    plain = {re.sub(r"[^a-z0-9]", "", str(name).lower()): str(name) for name in frame}
    for names in BOXES:
        if all(name in plain for name in names):
            return tuple(plain[name] for name in names)
    return ()


def find_group(frame: pd.DataFrame, used: Sequence[str]) -> str | None:
    """Return the first column that is named like a group, such as patient_id, and has repeated values.

    Columns in `used` are skipped. Return None if there is no such column.
    """
    for name in frame:
        values = frame[name]
        if name not in used and GROUP.match(str(name)) and values.notna().all() and 5 <= values.nunique() < len(frame):
            return str(name)
    return None


def find_time(frame: pd.DataFrame, used: Sequence[str]) -> str | None:
    return next((str(name) for name in frame if name not in used and TIME.search(str(name))), None)


def choose_columns(
    frame: pd.DataFrame, used: Sequence[str], sample_columns: Sequence[str]
) -> tuple[tuple[str, ...], str]:
    """Choose the label columns.

    Args:
        frame: The labelled rows.
        used: Columns that are known to be ids, groups, boxes or times.
        sample_columns: The columns of the sample submission, except its first column. Empty if there is no sample.

    Returns:
        Two things: the names of the label columns, and why they were chosen, as text for the user.

    Raises:
        UsageError: If it is unclear which column is the label.
    """
    free = [str(name) for name in frame if name not in used]
    same = tuple(name for name in sample_columns if name in free)
    if same and len(same) == len(sample_columns):
        return same, "the sample submission has " + ("this column" if len(same) == 1 else "these columns")
    for name in free:
        if len(sample_columns) > 1 and set(sample_columns) <= words_of(frame[name]):
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
    """Return the different labels in a column of texts. A cell with several labels is split first."""
    several = several_in_cells(cells)
    texts = set(cells.dropna().str.strip().unique())
    return texts if several is None else {piece.strip() for text in texts for piece in text.split(several[0])}


def classify(frame: pd.DataFrame, columns: tuple[str, ...], ids: pd.Series, kind: str | None) -> Labels:
    """Return the label columns together with the argument of `data.read_csv` that reads them, such as `numbers`.

    Args:
        frame: The labelled rows.
        columns: The names of the label columns.
        ids: The image id of each row.
        kind: The value of `--target`: classes, labels, numbers or grades. None decides from the cells.

    Raises:
        UsageError: If the cells do not fit `kind`, or a single label column has only one value.
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
    """Raise UsageError if a label column has fewer than two values, or no numbers although `kind` needs numbers."""
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
    """Return several label columns with the argument of `data.read_csv` that reads them: one_hot, multi_hot or numbers.

    Args:
        columns: The names of the columns.
        numbers: The cells as numbers. None if a cell is not a number.
        kind: The value of `--target` or None.
    """
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
    """Return the kind of a label column ("classes", "numbers" or "grades"), and a reason for the user.

    `cells` are texts. `numbers` has them as numbers, or is None if a cell is not a number.
    """
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
    """Return whether ids have several rows whose labels (`cells`) differ, and not only a few ids by mistake."""
    if are_mistakes(ids):
        return False
    return bool(ids.duplicated().any() and cells.groupby(ids.loc[cells.index]).nunique().max() > 1)
