"""Read tables from CSV files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from kcomp.data.bad_images import OnBad, may_be_missing, usable_rows
from kcomp.data.boxes import Box, cut_images
from kcomp.data.csv_file import read_texts, texts_of
from kcomp.data.folders import read_images
from kcomp.data.labels import LabelColumns
from kcomp.data.long_tables import join_ids
from kcomp.data.lookup import find_images
from kcomp.data.tables import OTHER, Table, check_ids

ID_HINT = "; name the column of ids with `id=`"
REPEATED_HINT = (
    "if each row of an id has another label, use `labels=`; if an id has several images, name it with `item=` too"
)


def read_csv(
    csv: str | Path | pd.DataFrame,
    images: str | Path | None = None,
    *,
    id: str = "image_id",
    label: str | None = None,
    labels: str | None = None,
    one_hot: Sequence[str] | None = None,
    multi_hot: Sequence[str] | None = None,
    numbers: str | Sequence[str] | Mapping[str, str] | None = None,
    grades: str | Mapping[str, Sequence[str]] | None = None,
    group: str | None = None,
    item: str | None = None,
    item_average: Literal["mean", "max"] = "mean",
    box: Sequence[str] | Box | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    on_bad: OnBad = "error",
    allow_outside: bool = False,
) -> Table:
    """Read a CSV file with a row for each image, or with a row for each label of an image.

    Ids such as 007 and class names such as None keep their spelling. Class names that differ only in case, surrounding
    spaces or Unicode form are one class. Set at most one of `label`, `labels`, `one_hot`, `multi_hot`, `numbers` and
    `grades`. Set none of them for unlabelled rows.

    Args:
        csv: The CSV file, or a DataFrame. Commas, semicolons, tabs or vertical bars stand between the cells.
        images: The folder of the images, relative to the folder of the CSV or to the working directory. An id is the
            name or the path of a file in this folder, with or without ending. Case and Unicode form do not matter. A
            pattern such as "images/{image_id}.jpg" also works: each column in braces is replaced by the cell of the
            row. None searches folders beside the CSV: a folder with the name of the CSV, images, train, train_images,
            test, test_images, and then the folder of the CSV with all its subfolders.
        id: The column of image ids.
        label: A column of class names, one in each row. The classes are sorted. The target is `OneOf`.
        labels: A column of class names, several in a cell or several rows with one id. The target is `AnyOf`.
        one_hot: One column for each class. The numbers of a row are from 0 to 1 and sum to 1. The target is `OneOf`.
        multi_hot: One column for each label, with numbers from 0 to 1. An empty cell is a missing label. The target is
            `AnyOf`.
        numbers: One or several columns of numbers. An empty cell is a missing number. If each row of the table is (id,
            name of a number, number), pass {column of names: column of numbers}. The target is `Numbers`.
        grades: A column of whole numbers, such as 0 to 4. Or {column: levels} with the names of all levels, lowest
            first. The target is `Grades`.
        group: A column, such as the patient. All rows with the same value get the same fold. The column is called
            `group` in the returned table.
        item: A column that says which item an image shows, such as a product. Predictions are averaged over the images
            of an item. The column is called `item` in the returned table. It may be the id column if an id has several
            rows. The image ids then get the endings #0, #1 and so on.
        item_average: How to combine the predictions of an item's images: "mean", or "max" for the maximum.
        box: Four columns of a box to which the image is cropped, or a `Box`, which also says what the columns mean.
        separator: The text between two labels in a cell of `labels`. None detects | ; , or a space.
        encoding: The encoding of the file, such as "cp1252". None detects UTF-8, UTF-16, CP949 and Latin-1.
        on_bad: What to do with damaged images. "error" raises ValueError. "drop" leaves out their rows, and the rows
            whose image is missing, with a notice. "warn" only warns. "ignore" does not check the images.
        allow_outside: Whether cells may lead out of the folder of images, by an absolute path or by `..`. Paths that
            stay in this folder, and links in it, are always allowed.

    Returns:
        The rows in the order of the file. Columns that no argument names are in `Table.frame` as texts, with "csv:"
        before their name.

    Raises:
        FileNotFoundError: If the CSV, its folder of images, or all images are missing, or if an image is missing and
            `on_bad` is not "drop".
        ValueError: If the file cannot be decoded, a column is missing, an id is repeated or matches several images, a
            label is empty or invalid, an image is damaged, several arguments name labels, or a path leads out of the
            folder of images without permission. An id may be repeated
            with the same label, in at most a tenth of the ids; a notice then says that each id is used once.

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
    label_columns = LabelColumns.of(
        separator, label=label, labels=labels, one_hot=one_hot, multi_hot=multi_hot, numbers=numbers, grades=grades
    )
    cut = Box(box) if box is not None and not isinstance(box, Box) else box
    others = [name for name in (label_columns.name_column, group, item) if name]
    names = [id, *label_columns.names, *others, *(cut.columns if cut else [])]
    path, source = read_source(csv, list(dict.fromkeys(names)), encoding)
    source, label_columns = join_ids(source, id, label_columns, group, str(path), has_items=bool(item or cut))
    ids = image_ids(source, id, item)
    options = {"allow_missing": may_be_missing(on_bad), "allow_outside": allow_outside, "hint": label_columns.hint}
    paths = find_images(source, source[id], path, images, **options)  # type: ignore[arg-type]
    keep, value_range = usable_rows(paths, on_bad)
    source, ids = source[keep].reset_index(drop=True), ids[keep].reset_index(drop=True)
    whole = np.array(paths, dtype=object)[keep].tolist()
    frame = pd.DataFrame({"image_id": ids, "image": pd.Series(cut_images(whole, source, cut, ids), dtype=object)})
    columns = {"group": group, "item": item} | {f"{OTHER}{name}": name for name in source if name not in names}
    frame = frame.assign(**{name: source[column] for name, column in columns.items() if column})
    table = Table(frame, None, str(images or ""), id, value_range=value_range, item_column=item or "")
    table = replace(table, item_average=item_average, allow_outside=allow_outside)
    return label_columns.add_labels(table, source, str(path))


def read_source(
    csv: str | Path | pd.DataFrame, columns: Sequence[str], encoding: str | None
) -> tuple[Path, pd.DataFrame]:
    """Return the path of a table for messages (or "DataFrame"), and its cells as texts."""
    if isinstance(csv, pd.DataFrame):
        return Path("DataFrame"), texts_of(csv, columns, hint=ID_HINT)
    return Path(csv), read_texts(Path(csv), columns, encoding=encoding, hint=ID_HINT)


def image_ids(source: pd.DataFrame, id_column: str, item: str | None) -> pd.Series:
    """Return a unique image id for each row. Raise ValueError if an id is missing or repeated.

    If the id column is also the column `item`, ids may be repeated. They then get the endings #0, #1 and so on.
    """
    ids = source[id_column].astype(object)
    if item == id_column and ids.duplicated().any():
        check_ids(ids.drop_duplicates())
        return ids + "#" + source.groupby(id_column).cumcount().astype(str)
    if ids.duplicated().any():
        repeated = ids[ids.duplicated()]
        raise ValueError(
            f"image ids must be unique; {len(repeated)} are repeated, first {repeated.iloc[0]!r}; {REPEATED_HINT}"
        )
    check_ids(ids)
    return ids


def read_test(
    path: str | Path,
    images: str | Path | None = None,
    *,
    id: str = "image_id",
    item: str | None = None,
    allow_outside: bool = False,
) -> Table:
    """Read unlabelled rows from a folder of images or from a CSV file.

    Rows with damaged images are not left out. A notice names these images. Missing images are an error.

    Args:
        path: A folder, read by `read_images`, or a CSV file, read by `read_csv`.
        images: The folder of the images, or a pattern; see `read_csv`. Not used for a folder.
        id: The CSV's column of image ids. Not used for a folder.
        item: The CSV's column that says which item an image shows; see `read_csv`. Not used for a folder, or for a CSV
            without this column.
        allow_outside: Whether cells of the CSV may lead out of the folder of images; see `read_csv`.

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
    if Path(path).is_dir():
        return read_images(path, on_bad="warn")
    has_items = item is not None and item in read_texts(Path(path), [id], hint=ID_HINT)
    return read_csv(path, images, id=id, item=item if has_items else None, on_bad="warn", allow_outside=allow_outside)
