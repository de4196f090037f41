"""Read the label columns of a table, and choose the target: the kind of labels that the network predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kcomp.data.label_cells import hint_at_several, split_cells
from kcomp.data.spelling import join_spellings
from kcomp.data.tables import Table
from kcomp.targets import AnyOf, Grades, Numbers, OneOf, Target

DECIMAL_COMMA = r"[+-]?\d+,\d+"
WORDS = {"true": "1", "false": "0"}
KINDS = ("label", "labels", "one_hot", "multi_hot", "numbers", "grades")


@dataclass(frozen=True)
class LabelColumns:
    """The columns of a table that contain labels, and the form of the labels.

    Attributes:
        kind: The label argument of `read_csv` that names these columns, such as "one_hot"; see `KINDS`. Empty for
            unlabelled rows.
        names: The names of the label columns.
        levels: For grades, the levels in order. Empty for grades that are numbers, which are sorted.
        separator: The text between two labels in a cell. None detects the separator.
        name_column: If each row of the table is (image id, name of a number, number), the column of these names.
            Otherwise empty.
    """

    kind: str = ""
    names: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    separator: str | None = None
    name_column: str = ""

    @property
    def has_single_rows(self) -> bool:
        """Whether the table has one labelled row for each image, unless it has items or boxes."""
        return bool(self.kind) and self.kind != "labels" and not self.name_column

    @property
    def hint(self) -> str:
        """What to do about rows whose image is missing. Empty for unlabelled rows, which are never left out."""
        return '; on_bad="drop" leaves their rows out, and kcomp check lists them' if self.kind else ""

    @classmethod
    def of(
        cls, separator: str | None, **arguments: str | Sequence[str] | Mapping[str, Sequence[str]] | None
    ) -> "LabelColumns":
        """Make `LabelColumns` from the label arguments of `read_csv`, such as label="breed".

        Raises:
            ValueError: If several label arguments are set, or `separator` is set without `labels`.
        """
        chosen = {kind: value for kind, value in arguments.items() if value is not None}
        if len(chosen) > 1:
            raise ValueError(
                f"set one of {', '.join(KINDS)}; received {', '.join(f'{k}={v!r}' for k, v in chosen.items())}"
            )
        if separator is not None and "labels" not in chosen:
            raise ValueError(
                f"`separator` stands between the labels of a cell, so it needs `labels`; received {separator!r}"
            )
        for kind, value in chosen.items():
            if isinstance(value, Mapping):
                return cls.of_mapping(kind, value)
            return cls(kind, (value,) if isinstance(value, str) else tuple(value), separator=separator)
        return cls()

    @classmethod
    def of_mapping(cls, kind: str, columns: Mapping[str, Sequence[str]]) -> "LabelColumns":
        """Make `LabelColumns` from a label argument of `read_csv` that is a dict.

        Args:
            kind: The name of the argument, "grades" or "numbers".
            columns: The levels by column for grades, or the column of values by column of names for numbers.

        Raises:
            ValueError: If the dict has another form.
        """
        [(name, value)] = columns.items() if len(columns) == 1 else [("", "")]
        if name and kind == "grades":
            return cls(kind, (name,), tuple(map(str, value)))
        if name and kind == "numbers" and isinstance(value, str):
            return cls(kind, (value,), name_column=name)
        raise ValueError(
            "a mapping is grades={column: levels}, or numbers={column of names: column of values}; received "
            f"{kind}={dict(columns)!r}"
        )

    def add_labels(self, table: Table, source: pd.DataFrame, path: str) -> Table:
        """Return the table with its label columns and its target.

        `source` has the cells of the table's file `path`.

        Raises:
            ValueError: If a label is missing and the target needs it, or a label is invalid for the target.
        """
        if not self.kind:
            return table
        readers = {
            "label": read_names,
            "labels": read_several,
            "one_hot": read_one_hot,
            "multi_hot": read_multi_hot,
            "numbers": read_numbers,
            "grades": read_grades,
        }
        labels, target = readers[self.kind](self, source, table.frame["image_id"], path)
        reserved = sorted(set(map(str, table.frame)) & set(target.columns))
        if reserved:
            raise ValueError(f"a label may not be called like another column of a table; received {reserved}")
        return replace(table, frame=pd.concat([table.frame, labels], axis=1), target=target)


Labels = tuple[pd.DataFrame, Target]


def read_names(columns: LabelColumns, source: pd.DataFrame, ids: pd.Series, path: str) -> Labels:
    """Read one class name from each row. Return one-hot labels, and the target `OneOf`."""
    [column] = columns.names
    names = join_spellings(source[column], f"{path}, {column}")
    refuse_missing(names, ids, f"{path}: {{}} rows have no {column!r}")
    hint_at_several(names, f"{path}, {column}")
    numbers, classes = pd.factorize(names.to_numpy(object), sort=True)
    return hot(numbers[:, None] == np.arange(len(classes)), classes, source.index), OneOf(tuple(classes))


def read_several(columns: LabelColumns, source: pd.DataFrame, ids: pd.Series, path: str) -> Labels:
    """Read any number of class names from each row. Return labels of 0 and 1 by class, and the target `AnyOf`."""
    [column] = columns.names
    rows, names = split_cells(source[column], columns.separator, f"{path}, {column}")
    joined = join_spellings(pd.Series(names, dtype=object), f"{path}, {column}").to_numpy(object)
    present = np.array([name is not None for name in joined], dtype=bool)
    numbers, classes = pd.factorize(joined[present], sort=True)
    labels = np.zeros((len(source), len(classes)), bool)
    labels[rows[present], numbers] = True
    return hot(labels, classes, source.index), AnyOf(tuple(classes))


def read_one_hot(columns: LabelColumns, source: pd.DataFrame, ids: pd.Series, path: str) -> Labels:
    """Read one column for each class, whose numbers sum to 1 in each row. Return the labels, and the target `OneOf`."""
    labels = to_numbers(source[list(columns.names)], ids, path)
    several = (labels.isin([0, 1]).all(axis=1) & (labels.sum(axis=1) > 1)).to_numpy()
    if several.any():
        raise ValueError(
            f"{path}: `one_hot` allows one class a row; {int(several.sum())} rows have several, first "
            f"{ids[several].iloc[0]!r} with {labels[several].iloc[0].tolist()}; `multi_hot` allows several"
        )
    return labels, OneOf(columns.names)


def read_multi_hot(columns: LabelColumns, source: pd.DataFrame, ids: pd.Series, path: str) -> Labels:
    """Read one column for each label, with values from 0 to 1. Return the labels, and the target `AnyOf`.

    An empty cell is a missing label (NaN).
    """
    return to_numbers(source[list(columns.names)], ids, path), AnyOf(columns.names)


def read_numbers(columns: LabelColumns, source: pd.DataFrame, ids: pd.Series, path: str) -> Labels:
    """Read one or several numbers from each row. Return them, with NaN for an empty cell, and the target `Numbers`."""
    return to_numbers(source[list(columns.names)], ids, path), Numbers(columns.names)


def read_grades(columns: LabelColumns, source: pd.DataFrame, ids: pd.Series, path: str) -> Labels:
    """Read one of several ordered levels, such as mild or severe, from each row.

    Return two things: the positions of the levels in a column `grade`, and the target `Grades`.
    """
    [column] = columns.names
    names = join_spellings(source[column], f"{path}, {column}")
    refuse_missing(names, ids, f"{path}: {{}} rows have no {column!r}")
    levels = columns.levels or ordered_numbers(names, path, column)
    positions = names.map({level: position for position, level in enumerate(levels)})
    if positions.isna().any() and not columns.levels:  # numbers in other spellings, such as 1.0
        positions = pd.to_numeric(names).map({float(level): position for position, level in enumerate(levels)})
    unknown = names[positions.isna()]
    if len(unknown):
        raise ValueError(
            f"{path}: {column!r} must be one of {list(levels)}; {len(unknown)} rows are not, first "
            f"{ids[unknown.index[0]]!r} with {unknown.iloc[0]!r}"
        )
    return pd.DataFrame({"grade": positions.astype(np.float64)}, index=source.index), Grades(levels)


def ordered_numbers(cells: pd.Series, path: str, column: str) -> tuple[str, ...]:
    """Return the levels of a column whose grades are numbers: all whole numbers from the lowest to the highest.

    For more than 1000 levels, or grades with decimals, return only the grades that occur, lowest first.
    """
    values = pd.to_numeric(cells, errors="coerce")
    if values.isna().any():
        example = cells[values.isna()].iloc[0]
        raise ValueError(
            f"{path}: {column!r} holds {example!r}, which is not a number; give the order of the grades, lowest first: "
            f"grades={{{column!r}: [...]}}"
        )
    if (values == values.round()).all() and values.max() - values.min() < 1000:
        return tuple(str(level) for level in range(int(values.min()), int(values.max()) + 1))
    return tuple(f"{level:g}" for level in sorted(set(values)))


def to_numbers(cells: pd.DataFrame, ids: pd.Series, path: str) -> pd.DataFrame:
    """Convert texts to float64 numbers. An empty cell is NaN, true is 1 and false is 0.

    Decimal commas are allowed. Error messages name `path` and the image id.
    """
    return cells.apply(lambda column: to_number(column, ids, path))


def to_number(cells: pd.Series, ids: pd.Series, path: str) -> pd.Series:
    values = pd.to_numeric(cells, errors="coerce")
    texts = cells[values.isna() & cells.notna()].str.strip()
    if len(texts):
        with_comma = texts.str.fullmatch(DECIMAL_COMMA)
        plain = texts.where(~with_comma, texts.str.replace(",", "."))
        values[texts.index] = pd.to_numeric(plain.str.lower().replace(WORDS), errors="coerce")
        wrong = texts[values[texts.index].isna() & ~texts.str.lower().isin(["", "nan"])]
        if len(wrong):
            raise ValueError(
                f"{path}: {cells.name!r} must hold numbers; {len(wrong)} rows do not, first {ids[wrong.index[0]]!r} "
                f"with {wrong.iloc[0]!r}"
            )
    return values.astype(np.float64)


def hot(labels: np.ndarray, classes: Sequence[str] | np.ndarray, index: pd.Index) -> pd.DataFrame:
    return pd.DataFrame(labels.astype(np.float32), index, list(classes))


def refuse_missing(names: pd.Series, ids: pd.Series, message: str) -> None:
    missing = ids[names.isna()]
    if len(missing):
        raise ValueError(f"{message.format(len(missing))}, first {missing.iloc[0]!r}")
