"""Tables of labelled or unlabelled images."""

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from kcomp.targets import OneOf, Target

OTHER = "csv:"  # starts the names of columns in `Table.frame` that no argument of `read_csv` names
Image = str | Path | bytes | np.ndarray | Callable[[], bytes | np.ndarray]


@dataclass(frozen=True)
class Table:
    """A table of images, with or without labels.

    Args:
        frame: One row per image, with the columns `image_id` (unique strings) and `image` (a path, encoded bytes, a
            uint8 array, or a function that returns bytes or an array). Labelled rows have the label columns of the
            target. Rows with folds have a column `fold`: whole numbers, and -1 for rows that are never held out. With
            `repeats` of `folds`, there are further columns `fold_1`, `fold_2` and so on. Rows with the same value in a
            column `group` or `item` must share a fold.
        target: What a network predicts, such as `targets.OneOf(classes)`. None for unlabelled rows.
        pattern: The argument `images` with which `read_csv` reads the competition's other CSV files, such as the test
            rows. Empty if it was None.
        id_column: The name of the id column in the competition's CSV files.
        pseudo: Pseudo-labelled rows with the same columns, or None. A row is trained on only while the fold in its
            column `fold` is held out. Training rows with soft labels have "training" in the column `row_kind`, and
            other rows "test"; see `with_pseudo`.
        value_range: The two pixel values (low, high) that become 0 and 255, for images with more than eight bits a
            channel. None if there are no such images.
        item_column: The name of the item column in the competition's CSV files; see `item` of `read_csv`. Empty without
            items.
        item_average: How to combine the predictions of all images of an item: "mean", or "max" for the maximum.
        folds_in_order: Whether only rows of folds before the held-out fold are trained on; see `time_folds`.
        allow_outside: Whether paths in the competition's other CSV files may lead out of the folder of images; see
            `read_csv`.

    Raises:
        ValueError: If an id is missing or repeated, a label column is named like another column, or a row's labels are
            not valid for the target.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from kcomp import data, targets
        >>> frame = pd.DataFrame({"image_id": ["a", "b"], "image": [np.zeros((8, 8), np.uint8)] * 2})
        >>> target = targets.OneOf(("cat", "dog"))
        >>> table = data.Table(frame.assign(cat=[1.0, 0.0], dog=[0.0, 1.0]), target)
        >>> len(table), table.ids
        (2, ['a', 'b'])
        >>> table.labels.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    frame: pd.DataFrame
    target: Target | None = None
    pattern: str = ""
    id_column: str = "image_id"
    pseudo: pd.DataFrame | None = None
    value_range: tuple[float, float] | None = None
    item_column: str = ""
    item_average: Literal["mean", "max"] = "mean"
    folds_in_order: bool = False
    allow_outside: bool = False

    def __post_init__(self) -> None:
        check_ids(self.frame["image_id"])
        reserved = {"image_id", "image", "fold"} & set(self.columns)
        if reserved:
            raise ValueError(f"a label may not be called image_id, image or fold; received {sorted(reserved)}")
        if self.item_average not in ("mean", "max"):
            raise ValueError(f"item_average must be 'mean' or 'max'; received {self.item_average!r}")
        if self.target is not None:
            check_labels(self.frame, self.target)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def ids(self) -> list[str]:
        """The image ids, in row order."""
        return self.frame["image_id"].tolist()

    @property
    def columns(self) -> tuple[str, ...]:
        """The label columns, in order. Empty for unlabelled rows."""
        return () if self.target is None else self.target.columns

    @property
    def images(self) -> list[Image]:
        """The images, in row order: paths, encoded bytes, arrays or functions."""
        return self.frame["image"].tolist()

    @property
    def labels(self) -> np.ndarray:
        """The labels, float32 of shape (rows, columns). Raises ValueError for unlabelled rows."""
        return self.frame[list(self.required_target.columns)].to_numpy(np.float32)

    @property
    def required_target(self) -> Target:
        """The target, which is never None. Raises ValueError for unlabelled rows."""
        if self.target is None:
            raise ValueError("these rows have no labels; read them with `label=` or another argument of read_csv")
        return self.target

    def rows(self, keep: np.ndarray) -> "Table":
        """Return a table of the selected rows.

        Args:
            keep: A boolean mask of shape (rows,), or positions of rows. The new table has the rows in the order of the
                positions.
        """
        return replace(self, frame=self.frame.iloc[np.flatnonzero(keep) if keep.dtype == bool else keep])

    def fingerprint(self) -> str:
        """Return a SHA-256 hash of the ids, the labels, the folds, the kind of target and the class names.

        It does not depend on the order of the rows, the content of the images, and pseudo-labels.
        """
        rows = digest(self.frame[["image_id", *self.columns, *fold_columns(self.frame)]])
        if self.target is None:
            return rows
        meaning = json.dumps([self.target.name, self.target.class_names])  # other settings do not change labels
        return hashlib.sha256(f"{meaning}\n{rows}".encode()).hexdigest()

    def pseudo_of(self, fold: int) -> pd.DataFrame | None:
        """Return the pseudo-labelled rows to train on while `fold` is held out. None without pseudo-labels.

        Raises:
            ValueError: If the pseudo-labels belong to other folds only.
        """
        if self.pseudo is None:
            return None
        rows = self.pseudo[self.pseudo["fold"] == fold]
        if rows.empty:
            available = sorted(set(self.pseudo["fold"]))
            raise ValueError(
                f"the pseudo-labels are for the folds {available}, none for fold {fold}; train and predict a run that "
                "holds it out, then make the pseudo-labels again"
            )
        return rows

    def pseudo_record(self, fold: int) -> dict[str, Any] | None:
        """Return the number of pseudo-labelled rows of `fold` (`rows`), and a hash of their ids and labels (`sha256`).

        Return None if the table has no pseudo-labels.

        Raises:
            ValueError: If the labelled rows were changed after `with_pseudo`.
        """
        rows = self.pseudo_of(fold)
        own = self.fingerprint()
        if rows is not None and not all(own.startswith(start) for start in rows["teachers_table"].unique()):
            raise ValueError("rows, labels or folds were changed after data.with_pseudo(...), which must come last")
        return None if rows is None else {"rows": len(rows), "sha256": digest(rows[["image_id", *self.columns]])}


def fold_columns(frame: pd.DataFrame) -> list[str]:
    """Return the names of the fold columns: `fold`, and `fold_1`, `fold_2` and so on for repeated folds."""
    names = itertools.chain(["fold"], (f"fold_{repeat}" for repeat in itertools.count(1)))
    return list(itertools.takewhile(frame.columns.__contains__, names))


def digest(rows: pd.DataFrame) -> str:
    """Return the SHA-256 hash of the cells of a table. The order of the rows does not change the hash."""
    text = rows.sort_values("image_id").to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def with_class_names(frame: pd.DataFrame, names: Sequence[str]) -> Table:
    """Return `frame` as a labelled table: with a one-hot column for each class. `names` has the class of each row."""
    numbers, classes = pd.factorize(np.array(names, dtype=object), sort=True)
    labels = np.eye(len(classes), dtype=np.float32)[numbers]
    return Table(pd.concat([frame, pd.DataFrame(labels, frame.index, classes)], axis=1), OneOf(tuple(classes)))


def check_ids(ids: pd.Series) -> None:
    if ids.isna().any():
        raise ValueError(f"every row needs an image id; {int(ids.isna().sum())} of {len(ids)} have none")
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise ValueError(f"image ids must be unique; {len(repeated)} are repeated, first {repeated.iloc[0]!r}")


def check_labels(frame: pd.DataFrame, target: Target) -> None:
    """Raise ValueError unless the label columns of the frame are valid for the target."""
    target.check_labels(frame[list(target.columns)].to_numpy(np.float64), frame["image_id"].tolist())
