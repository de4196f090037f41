"""Read tables from a CSV file, from folders of images, or from scikit-learn's digits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.data.tables import DEFAULT_PATTERN, Table, check_ids, with_class_names

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})


def read_csv(
    path: str | Path,
    image: str = DEFAULT_PATTERN,
    *,
    label: str | None = None,
    one_hot: Sequence[str] | None = None,
    image_id: str = "image_id",
) -> Table:
    """Read a CSV file with one row per image.

    Every cell is read as text, so that ids such as 007 and class names such as None keep their spelling.

    Args:
        path: The CSV file.
        image: Path of an image, relative to the folder of the CSV. `{column}` is replaced by the row's value of that
            column, and `{image_id}` by its id.
        label: A column of class names; the classes are its sorted values. None for one-hot or unlabelled rows.
        one_hot: One column per class. Each row holds numbers from 0 to 1 that sum to 1; soft labels are allowed. None
            for class names or unlabelled rows.
        image_id: The column of image ids.

    Returns:
        The rows in the order of the file.

    Raises:
        FileNotFoundError: If the CSV or an image is missing.
        ValueError: If a column is missing, an id is repeated, a label is empty or invalid, or both `label` and
            `one_hot` are set.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import cv2
        >>> import numpy as np
        >>> from kcomp import data
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("leaf1", "leaf2"):
        ...     written = cv2.imwrite(str(folder / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
        >>> written = (folder / "train.csv").write_text("image_id,label\\nleaf1,rust\\nleaf2,scab\\n")
        >>> table = data.read_csv(folder / "train.csv", "{image_id}.png", label="label")
        >>> table.classes
        ('rust', 'scab')
    """
    if label is not None and one_hot is not None:
        raise ValueError(f"set `label` or `one_hot`, not both; received label={label!r} and one_hot={one_hot!r}")
    path = Path(path)
    source = read_texts(path, [image_id, *([label] if label else []), *(one_hot or [])])
    frame = pd.DataFrame({"image_id": source[image_id].astype(object)})
    check_ids(frame["image_id"])
    frame["image"] = pd.Series(image_paths(source, path.parent, image, image_id), index=frame.index, dtype=object)
    classes: tuple[str, ...] = ()
    if one_hot is not None:
        classes = tuple(one_hot)
        frame[list(classes)] = source[list(one_hot)].apply(pd.to_numeric, errors="coerce").astype(np.float32)
    if label is not None:
        names = source[label]
        if names.isna().any():
            first = frame["image_id"][names.isna()].iloc[0]
            raise ValueError(f"{path}: {names.isna().sum()} rows have no {label!r}, first {first!r}")
        return replace(with_class_names(frame, names.tolist()), pattern=image, id_column=image_id)
    return Table(frame, classes, pattern=image, id_column=image_id)


def read_texts(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV's cells as texts; only an empty cell is missing, so that 007, NA and None stay names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a CSV, has no rows, or lacks one of `columns`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no table at {path}; name a CSV file that exists")
    try:
        source = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable CSV: {error}") from error
    absent = [name for name in columns if name not in source]
    if absent:
        raise ValueError(f"{path} lacks the columns {absent}; it has {list(source.columns)}")
    if not len(source):
        raise ValueError(f"{path} has no rows")
    return source


def image_paths(source: pd.DataFrame, folder: Path, pattern: str, image_id: str) -> list[str]:
    """Return the path of each row's image; FileNotFoundError names the first missing ones."""
    try:
        rows = source.assign(image_id=source[image_id]).to_dict("records")
        paths = [str(folder / pattern.format_map({str(name): value for name, value in row.items()})) for row in rows]
    except KeyError as error:
        raise ValueError(
            f"the image pattern {pattern!r} names the column {error}; there are {list(source.columns)}"
        ) from error
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} images are missing, first {missing[:3]}; the pattern was {pattern!r}"
        )
    return paths


def read_folders(path: str | Path) -> Table:
    """Read one folder per class: `path/<class>/<anything>.jpg`.

    Args:
        path: The folder that holds the class folders.

    Returns:
        The rows, sorted by path. An image's id is its path relative to `path`, without the file ending. The classes
        are the sorted folder names.

    Raises:
        FileNotFoundError: If the folder is missing or holds no class folder with an image.

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
    if not path.is_dir():
        raise FileNotFoundError(f"no folder at {path}; expected a folder that holds one folder per class")
    files = image_files(path, "*/**/*")
    if not files:
        raise FileNotFoundError(f"no image in the folders of {path}; expected {path}/<class>/<image>.jpg")
    return with_class_names(unlabelled_frame(files, path), [file.relative_to(path).parts[0] for file in files])


def read_images(path: str | Path) -> Table:
    """Read every image in a folder and its subfolders as unlabelled rows.

    Args:
        path: The folder.

    Returns:
        The rows, sorted by path. An image's id is its path relative to `path`, without the file ending.

    Raises:
        FileNotFoundError: If there is no image.

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
    files = image_files(path, "**/*")
    if not files:
        raise FileNotFoundError(f"no image in {path} or its subfolders")
    return Table(unlabelled_frame(files, path))


def read_test(path: str | Path, image: str = DEFAULT_PATTERN, *, image_id: str = "image_id") -> Table:
    """Read unlabelled rows from a folder of images or from a CSV file.

    Args:
        path: A folder, read by `read_images`, or a CSV file, read by `read_csv`.
        image: Path of an image, relative to the folder of the CSV; see `read_csv`. Not used for a folder.
        image_id: The CSV's column of image ids. Not used for a folder.

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
        >>> test.ids, test.classes
        (['leaf'], ())
    """
    return read_images(path) if Path(path).is_dir() else read_csv(path, image, image_id=image_id)


def image_files(folder: Path, pattern: str) -> list[Path]:
    """Return the image files that match a glob pattern, sorted."""
    return sorted(file for file in folder.glob(pattern) if file.suffix.lower() in IMAGE_ENDINGS and file.is_file())


def unlabelled_frame(files: list[Path], folder: Path) -> pd.DataFrame:
    """Return the columns `image_id` and `image` of image files below `folder`."""
    ids = [file.relative_to(folder).with_suffix("").as_posix() for file in files]
    frame = pd.DataFrame({"image_id": ids}, dtype=object)
    return frame.assign(image=pd.Series([str(file) for file in files], dtype=object))


def sklearn_digits() -> Table:
    """Load the 1,797 handwritten digits that scikit-learn ships (UCI optical recognition of handwritten digits).

    Returns:
        Labelled rows. Images are uint8 arrays of 8 x 8 pixels; the classes are "0" to "9".

    Examples:
        >>> from kcomp import data
        >>> digits = data.sklearn_digits()
        >>> len(digits), digits.images[0].shape
        (1797, (8, 8))
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    frame = pd.DataFrame({"image_id": [f"digit-{row:04d}" for row in range(len(digits.target))]}, dtype=object)
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    frame["image"] = pd.Series(list(pixels), dtype=object)
    return with_class_names(frame, [str(target) for target in digits.target])
