"""Pseudo-labels: test rows with labels that models gave them, each for the fold whose held-out rows these never saw."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.data.splits import fold_numbers
from kcomp.data.tables import Image, Table, check_labels, read_texts
from kcomp.system.files import write_csv

COLUMNS = ("image_id", "image", "fold", "teachers_table")
DIGITS = 16  # of the hash of the teachers' table, which the file keeps
BEFORE_ID = "pseudo/"  # so that a test row may have the id of a labelled one


def write_pseudo(path: Path, rows: pd.DataFrame, classes: Sequence[str], table: str) -> None:
    """Write `rows`: image_id, image, fold and one column a class; `table` is the fingerprint of the teachers' table.

    Images that are files are named from the folder of `path`; others are left empty. ValueError where a class has the
    name of another column.
    """
    taken = sorted(set(COLUMNS) & set(classes))
    if taken:
        raise ValueError(f"a file of pseudo-labels has the columns {list(COLUMNS)}; no class may be called {taken}")
    folder = os.path.realpath(path.parent)
    named = [os.path.relpath(os.path.realpath(one), folder) if is_file(one) else "" for one in rows["image"]]
    frame = rows.assign(image=named, teachers_table=table[:DIGITS])
    frame[list(classes)] = frame[list(classes)].astype(np.float32)
    write_csv(path, frame[[*COLUMNS, *classes]])


def is_file(image: Image) -> bool:
    return isinstance(image, str | Path)


def with_pseudo(table: Table, path: str | Path, *, test: Table | None = None) -> Table:
    """Add what `kcomp pseudo` wrote: rows to train on while their fold is held out, and at no other time.

    They are never held out and change neither folds nor fingerprint. `test` has the images, by id, where these are no
    files. Raises ValueError where the labels were made for another table or other folds, whose held-out rows their
    teachers may have seen, or for other classes; FileNotFoundError for missing images.
    """
    path = Path(path)
    if "fold" not in table.frame:
        raise ValueError("pseudo-labels belong to folds; cut them first: data.with_pseudo(data.stratified_folds(...))")
    source = read_texts(path, [*COLUMNS[:1], *COLUMNS[2:], *table.classes])
    others = [name for name in source if name not in (*COLUMNS, *table.classes)]
    if others:
        raise ValueError(f"{path} has the classes {others}, which the table lacks; it has {list(table.classes)}")
    check_made_for(path, source, table)
    frame = pd.DataFrame({"image_id": (BEFORE_ID + source["image_id"]).astype(object)})
    images = files_of(path, source) if test is None else images_of(test, source["image_id"].tolist())
    frame["image"] = pd.Series(images, dtype=object)
    names = list(table.classes)
    frame[names] = source[names].apply(pd.to_numeric, errors="coerce").astype(np.float32)
    check_labels(frame, names)
    frame["fold"], frame["teachers_table"] = source["fold"].astype(int), source["teachers_table"]
    check_rows(path, frame, table)
    return replace(table, pseudo=frame)


def check_made_for(path: Path, source: pd.DataFrame, table: Table) -> None:
    """Raise ValueError unless every row was made by teachers of this table's folds."""
    own, made = table.fingerprint()[:DIGITS], sorted(set(source["teachers_table"].fillna("")))
    if made != [own]:
        raise ValueError(
            "pseudo-labels may come only from models that never saw the rows a fold holds out: the teachers of "
            f"{path} had the table {', '.join(made)}, this one is {own}, of other rows, labels or folds. Make them "
            "anew with `kcomp pseudo`, from runs of this table"
        )
    allowed = [str(number) for number in fold_numbers(table)]
    odd = sorted(set(source["fold"].fillna("")) - set(allowed))
    if odd:
        raise ValueError(f"{path}: the folds of this table are {', '.join(allowed)}; received {', '.join(odd)}")


def check_rows(path: Path, frame: pd.DataFrame, table: Table) -> None:
    """Raise ValueError for a row that stands twice in a fold, or that is a labelled row's image."""
    if frame["image_id"].isna().any():
        raise ValueError(f"{path}: every row needs an image id")
    double = frame[frame.duplicated(["image_id", "fold"])]
    if len(double):
        first = double.iloc[0]
        name = first["image_id"].removeprefix(BEFORE_ID)
        raise ValueError(f"{path}: a row has one label for a fold; {name!r} stands twice for fold {first['fold']}")
    labelled = {content_of(image) for image in table.images} - {None}
    same = frame["image_id"][[content_of(image) in labelled for image in frame["image"]]]
    if len(same):
        first = same.iloc[0].removeprefix(BEFORE_ID)
        raise ValueError(f"{path}: {len(same)} of its images are labelled rows of the table, first {first!r}")


def content_of(image: Image) -> str | None:
    """What two equal images share: the file's place, or a hash; None where a function makes the image."""
    if isinstance(image, str | Path):
        return str(Path(image).resolve())
    if callable(image):
        return None
    array = np.frombuffer(image, np.uint8) if isinstance(image, bytes) else np.ascontiguousarray(image)
    return f"{array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"


def files_of(path: Path, source: pd.DataFrame) -> list[str]:
    """The paths of the images; FileNotFoundError for missing ones, ValueError where the file names none."""
    named = source["image"] if "image" in source else pd.Series([None] * len(source))
    if named.isna().any():
        raise ValueError(
            f"{path} names no image for {int(named.isna().sum())} rows, for these are no files; give the rows that have"
            " them, as in data.with_pseudo(rows, path, test=test(config))"
        )
    paths = [os.path.normpath(path.parent.resolve() / name) for name in named]
    missing = [one for one in dict.fromkeys(paths) if not Path(one).is_file()]
    if missing:
        raise FileNotFoundError(f"{path}: {len(missing)} images are missing, first {missing[:3]}")
    return paths


def images_of(test: Table, ids: Sequence[str]) -> list[Image]:
    """The images of these test rows; ValueError where there is no row of an id."""
    known = dict(zip(test.ids, test.images, strict=True))
    unknown = [one for one in dict.fromkeys(ids) if one not in known]
    if unknown:
        raise ValueError(f"{len(unknown)} pseudo-labelled ids are not among the test rows, first {unknown[:3]}")
    return [known[one] for one in ids]
