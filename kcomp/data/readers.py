"""Read tables from CSV files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.data.csv_file import read_texts, texts_of
from kcomp.data.folders import read_images
from kcomp.data.lookup import find_images
from kcomp.data.spelling import join_spellings
from kcomp.data.tables import Table, check_ids, with_class_names
from kcomp.targets import OneOf

ID_HINT = "; name the column of ids with `id=`"


def read_csv(
    csv: str | Path | pd.DataFrame,
    images: str | Path | None = None,
    *,
    id: str = "image_id",
    label: str | None = None,
    one_hot: Sequence[str] | None = None,
    encoding: str | None = None,
) -> Table:
    """Read a CSV file with one row per image.

    Every cell is read as text, so that ids such as 007 and class names such as None keep their spelling. Class names
    that differ only in case, spaces around them or Unicode form are one class. A notice says what was detected and
    joined.

    Args:
        csv: The CSV file, or a DataFrame. Commas, semicolons, tabs or vertical bars stand between the cells.
        images: The folder of the images, in the folder of the CSV or else in the working directory. An id is the name
            or the path of a file in it, with or without ending; case and Unicode form do not matter. Or a pattern such
            as "images/{image_id}.jpg", in which `{column}` is replaced by the row's value of that column, and
            `{image_id}` by its id. None looks beside the CSV: in a folder of its name, images, train, train_images,
            test, test_images, and in all folders below.
        id: The column of image ids.
        label: A column of class names; the classes are its sorted values. None for one-hot or unlabelled rows.
        one_hot: One column per class. Each row holds numbers from 0 to 1 that sum to 1; soft labels are allowed. None
            for class names or unlabelled rows.
        encoding: The encoding of the file, such as "cp1252". None detects UTF-8, UTF-16, CP949 and Latin-1.

    Returns:
        The rows in the order of the file.

    Raises:
        FileNotFoundError: If the CSV or an image is missing.
        ValueError: If the file cannot be decoded, a column is missing, an id is repeated or matches several images, a
            label is empty or invalid, or both `label` and `one_hot` are set.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import cv2
        >>> import numpy as np
        >>> from kcomp import data
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "images").mkdir()
        >>> for name in ("leaf1", "leaf2"):
        ...     written = cv2.imwrite(str(folder / "images" / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
        >>> written = (folder / "train.csv").write_text("image_id,label\\nleaf1,rust\\nleaf2,scab\\n")
        >>> table = data.read_csv(folder / "train.csv", images="images", label="label")
        >>> table.columns
        ('rust', 'scab')
    """
    if label is not None and one_hot is not None:
        raise ValueError(f"set `label` or `one_hot`, not both; received label={label!r} and one_hot={one_hot!r}")
    columns = [id, *([label] if label else []), *(one_hot or [])]
    if isinstance(csv, pd.DataFrame):
        path, source = Path("DataFrame"), texts_of(csv, columns, hint=ID_HINT)
    else:
        path, source = Path(csv), read_texts(Path(csv), columns, encoding=encoding, hint=ID_HINT)
    frame = pd.DataFrame({"image_id": source[id].astype(object)})
    check_ids(frame["image_id"])
    paths = find_images(source, frame["image_id"], path, images)
    frame["image"] = pd.Series(paths, index=frame.index, dtype=object)
    table = Table(frame, pattern="" if images is None else str(images), id_column=id)
    if one_hot is not None:
        frame[list(one_hot)] = source[list(one_hot)].apply(pd.to_numeric, errors="coerce").astype(np.float32)
        return replace(table, frame=frame, target=OneOf(tuple(one_hot)))
    if label is None:
        return table
    names = join_spellings(source[label], f"{path}, {label}")
    if names.isna().any():
        first = frame["image_id"][names.isna()].iloc[0]
        raise ValueError(f"{path}: {names.isna().sum()} rows have no {label!r}, first {first!r}")
    labelled = with_class_names(frame, names.tolist())
    return replace(table, frame=labelled.frame, target=labelled.target)


def read_test(path: str | Path, images: str | Path | None = None, *, id: str = "image_id") -> Table:
    """Read unlabelled rows from a folder of images or from a CSV file.

    Args:
        path: A folder, read by `read_images`, or a CSV file, read by `read_csv`.
        images: The folder of the images, or a pattern; see `read_csv`. Not used for a folder.
        id: The CSV's column of image ids. Not used for a folder.

    Returns:
        The unlabelled rows.

    Raises:
        FileNotFoundError: If the CSV or an image is missing.
        ValueError: If the CSV is invalid.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import cv2
        >>> import numpy as np
        >>> from kcomp import data
        >>> folder = Path(tempfile.mkdtemp())
        >>> written = cv2.imwrite(str(folder / "leaf.png"), np.zeros((8, 8, 3), np.uint8))
        >>> test = data.read_test(folder)
        >>> test.ids, test.target
        (['leaf'], None)
    """
    return read_images(path) if Path(path).is_dir() else read_csv(path, images, id=id)
