"""Pseudo-labels: predictions of trained models (teachers), used as labels of test rows.

For each fold, the teachers are models that held out this fold, so its labels cannot leak.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.data.csv_file import read_texts
from kcomp.data.splits import fold_numbers
from kcomp.data.tables import Image, Table, check_labels
from kcomp.system.files import write_csv

KIND = "row_kind"  # a column that is "test" or "training"; in a file without it, all rows are test rows
COLUMNS = ("image_id", "image", "fold", "teachers_table")
DIGITS = 16  # the file stores the first digits of the fingerprint of the teachers' table
BEFORE_ID = "pseudo/"  # ids stay unique even if a test row has the id of a labelled row


def write_pseudo(path: Path, rows: pd.DataFrame, classes: Sequence[str], table: str) -> None:
    """Write a file of pseudo-labels: test rows whose labels are predictions of trained models.

    Args:
        path: The CSV file to write.
        rows: The rows to write, with the columns image_id, image, fold, and one column for each class. A row is used
            only in trainings that hold out the fold in its column `fold`.
        classes: The names of the class columns.
        table: The fingerprint (`Table.fingerprint`) of the table that the models were trained on.

    Raises:
        ValueError: If a class is named like another column.
    """
    reserved = sorted({*COLUMNS, KIND} & set(classes))
    if reserved:
        raise ValueError(
            f"a file of pseudo-labels has the columns {[*COLUMNS, KIND]}; no class may be called {reserved}"
        )
    folder = os.path.realpath(path.parent)
    paths = [os.path.relpath(os.path.realpath(image), folder) if is_file(image) else "" for image in rows["image"]]
    frame = rows.assign(image=paths, teachers_table=table[:DIGITS])
    frame[list(classes)] = frame[list(classes)].astype(np.float32)
    write_csv(path, frame[[*COLUMNS, *([KIND] if KIND in frame else []), *classes]])


def is_file(image: Image) -> bool:
    return isinstance(image, str | Path)


def with_pseudo(
    table: Table, path: str | Path, *, test: Table | None = None, weight: float = 1.0, temperature: float = 1.0
) -> Table:
    """Add test rows with pseudo-labels, which are predictions of trained models, to the rows to train on.

    Each pseudo-labelled row belongs to a fold, and is trained on only while that fold is held out. The row itself is
    never held out.

    A file of `kcomp pseudo --rows training` or `both` also has soft labels of training rows. With a prediction p of a
    row and its label y, the row is trained on with the label (1 - weight) * y + weight * p. Held-out rows keep their
    labels. The scores are then too good, because the models that predict p were trained on the held-out rows.

    Args:
        table: Labelled rows with folds.
        path: A CSV file that `kcomp pseudo` wrote.
        test: Test rows to take the images from, matched by id. None reads the image files that the CSV names.
        weight: Weight of the predictions of training rows, above 0, at most 1. A missing label becomes the prediction.
        temperature: Above 0. The logits of the predictions are divided by it, so that a temperature above 1 makes the
            classes more equal. Train with `losses.Distillation(temperature)` of the same temperature.

    Returns:
        The table with pseudo-labels.

    Raises:
        FileNotFoundError: If the CSV or an image is missing.
        ValueError: If the pseudo-labels were made for other rows, folds or classes, an image is also the image of a
            labelled row, or an argument is out of range.

    References:
        Lee 2013, Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks.
        Hinton et al. 2015, Distilling the knowledge in a neural network, for weight and temperature.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from kcomp import data
        >>> from kcomp.data.pseudo import write_pseudo
        >>> digits = data.holdout(data.sklearn_digits(), 0.2, seed=0)
        >>> labelled, test = data.split(digits, fold=0)
        >>> table = data.stratified_folds(labelled, 5, seed=0)
        >>> labels = test.frame.assign(fold=0)  # kcomp pseudo takes them from the predictions of fold 0
        >>> path = Path(tempfile.mkdtemp()) / "pseudo.csv"
        >>> write_pseudo(path, labels, table.columns, table.fingerprint())
        >>> table = data.with_pseudo(table, path, test=test)
        >>> training, held_out = data.split(table, fold=0)
        >>> len(training) + len(held_out) == len(digits)
        True
    """
    path = Path(path)
    if not (0 < weight <= 1 and temperature > 0):
        raise ValueError(
            f"weight must be above 0 and at most 1, and temperature above 0; received {weight} and {temperature}"
        )
    if "fold" not in table.frame:
        raise ValueError("pseudo-labels belong to folds; cut them first: data.with_pseudo(data.stratified_folds(...))")
    source = read_source(path, table)
    if temperature != 1:
        source[list(table.columns)] = tempered(path, source, table, temperature)
    is_training = source[KIND].to_numpy() == "training"
    parts = []
    if not is_training.all():
        rows = source[~is_training].reset_index(drop=True)
        images = image_files(path, rows) if test is None else images_of(test, rows["image_id"].tolist())
        parts.append(rows.assign(image=pd.Series(images, dtype=object), image_id=BEFORE_ID + rows["image_id"]))
    if is_training.any():
        parts.append(blended(path, source[is_training], table, weight))
    frame = pd.concat(parts, ignore_index=True)
    frame[list(table.columns)] = frame[list(table.columns)].astype(np.float32)
    check_labels(frame, table.required_target)
    check_rows(path, frame, table)
    return replace(table, pseudo=frame[["image_id", "image", *table.columns, "fold", "teachers_table", KIND]])


def read_source(path: Path, table: Table) -> pd.DataFrame:
    """Return the rows of a file of pseudo-labels for a table, with labels as float64 and folds as integers.

    Raises:
        ValueError: If the file has other classes, or its labels were made for other rows or folds.
    """
    source = read_texts(path, [*COLUMNS[:1], *COLUMNS[2:], *table.columns])
    unknown = [name for name in source if name not in (*COLUMNS, KIND, *table.columns)]
    if unknown:
        raise ValueError(f"{path} has the classes {unknown}, which the table lacks; it has {list(table.columns)}")
    check_made_for(path, source, table)
    source[KIND] = source[KIND].fillna("test") if KIND in source else "test"
    wrong = sorted(set(source[KIND]) - {"test", "training"})
    if wrong:
        raise ValueError(f"{path}: {KIND} must be 'test' or 'training'; received {wrong[0]!r}")
    names = list(table.columns)
    source[names] = source[names].apply(pd.to_numeric, errors="coerce").astype(np.float32)
    return source.assign(fold=source["fold"].astype(int))


def tempered(path: Path, source: pd.DataFrame, table: Table, temperature: float) -> np.ndarray:
    """Return the labels of `source`, (rows, classes), with the temperature. Raise ValueError if they are all 0 or 1."""
    values = source[list(table.columns)].to_numpy(np.float64)
    if np.isin(values[~np.isnan(values)], [0, 1]).all():
        raise ValueError(f"{path}: a temperature needs probabilities; make the file with `kcomp pseudo --soft`")
    return table.required_target.tempered(values, temperature)


def blended(path: Path, source: pd.DataFrame, table: Table, weight: float) -> pd.DataFrame:
    """Return training rows with the labels (1 - weight) * label + weight * prediction.

    Args:
        path: The file, for error messages.
        source: The predictions of training rows. With items, each is for all images of the item `image_id`.
        table: The labelled rows.
        weight: Weight of the predictions. Where a label is missing, it is 1.

    Raises:
        ValueError: If `table` lacks a row.
    """
    names = list(table.columns)
    own = table.frame[["image_id", "image", *names]].assign(
        key=table.frame["item" if "item" in table.frame else "image_id"].astype(str)
    )
    missing = sorted(set(source["image_id"]) - set(own["key"]))
    if missing:
        raise ValueError(f"{path} has {len(missing)} training rows that the table lacks, first {missing[:3]}")
    joined = source.drop(columns=["image"], errors="ignore").rename(columns={"image_id": "key"})
    joined = joined.merge(own, on="key", suffixes=("", "/label"), how="left")
    predictions = joined[names].to_numpy(np.float64)
    labels = joined[[f"{name}/label" for name in names]].to_numpy(np.float64)
    mixed = np.where(np.isnan(labels), predictions, (1 - weight) * labels + weight * predictions)
    joined[names] = np.where(np.isnan(predictions), labels, mixed)
    return joined[["image_id", "image", *names, "fold", "teachers_table", KIND]]


def check_made_for(path: Path, source: pd.DataFrame, table: Table) -> None:
    """Raise ValueError unless the pseudo-labels in `source` come from models that were trained on this table."""
    own, tables = table.fingerprint()[:DIGITS], sorted(set(source["teachers_table"].fillna("")))
    if tables != [own]:
        raise ValueError(
            "pseudo-labels may come only from models that never saw the rows a fold holds out: the teachers of "
            f"{path} had the table {', '.join(tables)}, this one is {own}, of other rows, labels or folds. Make them "
            "anew with `kcomp pseudo`, from runs of this table"
        )
    allowed = [str(number) for number in fold_numbers(table)]
    unknown = sorted(set(source["fold"].fillna("")) - set(allowed))
    if unknown:
        raise ValueError(f"{path}: the folds of this table are {', '.join(allowed)}; received {', '.join(unknown)}")


def check_rows(path: Path, frame: pd.DataFrame, table: Table) -> None:
    """Raise ValueError if a pseudo-labelled row is invalid.

    Each row needs an id, occurs at most once for each fold, and must not have the image of a labelled row of `table`.
    """
    if frame["image_id"].isna().any():
        raise ValueError(f"{path}: every row needs an image id")
    repeated = frame[frame.duplicated(["image_id", "fold"])]
    if len(repeated):
        first = repeated.iloc[0]
        name = first["image_id"].removeprefix(BEFORE_ID)
        raise ValueError(f"{path}: a row has one label for a fold; {name!r} stands twice for fold {first['fold']}")
    labelled = {content_key(image) for image in table.images} - {None}
    test = frame[frame[KIND] == "test"]
    shared = test["image_id"][[content_key(image) in labelled for image in test["image"]]]
    if len(shared):
        first = shared.iloc[0].removeprefix(BEFORE_ID)
        raise ValueError(f"{path}: {len(shared)} of its images are labelled rows of the table, first {first!r}")


def content_key(image: Image) -> str | None:
    """Return a text that is equal for equal images: a path, or a hash of bytes or an array. None for a function."""
    if isinstance(image, str | Path):
        return str(Path(image).resolve())
    if callable(image):
        return None
    array = np.frombuffer(image, np.uint8) if isinstance(image, bytes) else np.ascontiguousarray(image)
    return f"{array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"


def image_files(path: Path, source: pd.DataFrame) -> list[str]:
    """Return the absolute path of each image that a file of pseudo-labels names.

    Args:
        path: The file. Its image paths are relative to its folder.
        source: The cells of the file.

    Raises:
        FileNotFoundError: If an image is missing.
        ValueError: If a cell has no path.
    """
    names = source["image"] if "image" in source else pd.Series([None] * len(source))
    if names.isna().any():
        raise ValueError(
            f"{path} names no image for {int(names.isna().sum())} rows, whose images are not files; pass the test rows,"
            " as in data.with_pseudo(rows, path, test=test(config))"
        )
    paths = [os.path.normpath(path.parent.resolve() / name) for name in names]
    missing = [image for image in dict.fromkeys(paths) if not Path(image).is_file()]
    if missing:
        raise FileNotFoundError(f"{path}: {len(missing)} images are missing, first {missing[:3]}")
    return paths


def images_of(test: Table, ids: Sequence[str]) -> list[Image]:
    """Return the images of the test rows with these ids. Raise ValueError for an unknown id."""
    images = dict(zip(test.ids, test.images, strict=True))
    unknown = [image_id for image_id in dict.fromkeys(ids) if image_id not in images]
    if unknown:
        raise ValueError(f"{len(unknown)} pseudo-labelled ids are not among the test rows, first {unknown[:3]}")
    return [images[image_id] for image_id in ids]
