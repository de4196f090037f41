"""Read tables from folders of images."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from kcomp.data.bad_images import OnBad, usable_rows
from kcomp.data.listing import list_images
from kcomp.data.lookup import without_ending
from kcomp.data.spelling import join_spellings
from kcomp.data.tables import Table, with_class_names


def read_folders(path: str | Path, *, on_bad: OnBad = "error") -> Table:
    """Read a folder that has one subfolder for each class: `path/<class>/<anything>.jpg`.

    Hidden files and files of the system, such as `Thumbs.db`, are skipped with a notice. Class names that differ only
    in case or spaces are one class.

    Args:
        path: The folder that contains the class folders.
        on_bad: What to do with damaged images; see `read_csv`.

    Returns:
        The rows, sorted by path. An image's id is its path relative to `path`, without the file ending. The classes
        are the sorted folder names.

    Raises:
        FileNotFoundError: If the folder is missing or contains no class folder with an image.
        ValueError: If two images of a class differ only in their ending, so that their ids are equal, or an image is
            damaged.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import cv2
        >>> import numpy as np
        >>> from kcomp import data
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("ants", "bees"):
        ...     (folder / name).mkdir()
        ...     written = cv2.imwrite(str(folder / name / "1.png"), np.zeros((8, 8, 3), np.uint8))
        >>> data.read_folders(folder).ids
        ['ants/1', 'bees/1']
    """
    path = Path(path)
    files = [file for file in list_images(path) if "/" in file]
    if not files:
        raise FileNotFoundError(f"no image in the folders of {path}; expected {path}/<class>/<image>.jpg")
    table = unlabelled_table(files, path, on_bad)
    folders = pd.Series([image_id.split("/", 1)[0] for image_id in table.ids], dtype=object)
    labelled = with_class_names(table.frame, join_spellings(folders, str(path)).tolist())
    return replace(labelled, value_range=table.value_range)


def read_images(path: str | Path, *, on_bad: OnBad = "error") -> Table:
    """Read every image in a folder and its subfolders as unlabelled rows.

    Args:
        path: The folder.
        on_bad: What to do with damaged images; see `read_csv`.

    Returns:
        The rows, sorted by path. An image's id is its path relative to `path`, without the file ending.

    Raises:
        FileNotFoundError: If there is no image.
        ValueError: If an image is damaged.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import cv2
        >>> import numpy as np
        >>> from kcomp import data
        >>> folder = Path(tempfile.mkdtemp())
        >>> written = cv2.imwrite(str(folder / "leaf.png"), np.zeros((8, 8, 3), np.uint8))
        >>> data.read_images(folder).ids
        ['leaf']
    """
    path = Path(path)
    files = list_images(path)
    if not files:
        raise FileNotFoundError(f"no image in {path} or its subfolders")
    return unlabelled_table(files, path, on_bad)


def unlabelled_table(files: list[str], folder: Path, on_bad: OnBad) -> Table:
    """Return a table of image files without labels.

    Args:
        files: Paths relative to `folder`.
        folder: The folder.
        on_bad: What to do with damaged images; see `read_csv`.
    """
    keep, value_range = usable_rows([f"{folder}/{file}" for file in files], on_bad)
    files = [file for file, is_usable in zip(files, keep, strict=True) if is_usable]
    frame = pd.DataFrame({"image_id": pd.Series([without_ending(file) for file in files], dtype=object)})
    frame["image"] = pd.Series([f"{folder}/{file}" for file in files], dtype=object)
    return Table(frame, value_range=value_range)
