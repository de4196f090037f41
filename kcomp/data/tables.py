"""Tables of labelled or unlabelled images, from a CSV, a folder per class, or scikit-learn's digits."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
DEFAULT_PATTERN = "images/{image_id}.jpg"

Image = str | Path | bytes | np.ndarray | Callable[[], bytes | np.ndarray]


@dataclass(frozen=True)
class Table:
    """Rows of images with their labels.

    `frame` has the columns `image_id` (unique strings), `image` (a path, encoded bytes, a uint8 array, or a
    function that returns one of the last two), one float32 column a class unless the rows are unlabelled, and
    `fold` (whole numbers, -1 for rows that are never held out) once a split was made. `classes` names the class
    columns; `pattern` and `id_column` say how another CSV of the competition names its images and ids. `pseudo` has
    rows with those columns that are trained on where their fold is held out; see data.with_pseudo.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...] = ()
    pattern: str = DEFAULT_PATTERN
    id_column: str = "image_id"
    pseudo: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        check_ids(self.frame["image_id"])
        taken = {"image_id", "image", "fold"} & set(self.classes)
        if taken:
            raise ValueError(f"a class may not be called image_id, image or fold; received {sorted(taken)}")
        if self.classes:
            check_labels(self.frame, self.classes)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def ids(self) -> list[str]:
        return self.frame["image_id"].tolist()

    @property
    def images(self) -> list[Image]:
        return self.frame["image"].tolist()

    @property
    def labels(self) -> np.ndarray:
        """Labels as float32 of shape (rows, classes); each row sums to 1."""
        if not self.classes:
            raise ValueError("these rows have no labels; read them with `label` or `one_hot`")
        return self.frame[list(self.classes)].to_numpy(np.float32)

    def rows(self, keep: np.ndarray) -> "Table":
        """The rows that `keep` (a mask or positions) selects, in that order."""
        return replace(self, frame=self.frame.iloc[np.flatnonzero(keep) if keep.dtype == bool else keep])

    def fingerprint(self) -> str:
        """SHA-256 of ids, labels and folds, whatever the order of the rows; the image files are not read.

        Pseudo-labels do not count: which rows are held out does not hang on them.
        """
        columns = ["image_id", *self.classes, *(["fold"] if "fold" in self.frame else [])]
        return digest(self.frame[columns])

    def pseudo_of(self, fold: int) -> pd.DataFrame | None:
        """The pseudo-labelled rows to train on while `fold` is held out; ValueError where there are for other folds
        alone."""
        if self.pseudo is None:
            return None
        rows = self.pseudo[self.pseudo["fold"] == fold]
        if rows.empty:
            made = sorted(set(self.pseudo["fold"]))
            raise ValueError(
                f"the pseudo-labels are for the folds {made}, none for fold {fold}: its teachers are runs that held it "
                "out; train and predict one, then make the pseudo-labels anew"
            )
        return rows

    def pseudo_record(self, fold: int) -> dict[str, Any] | None:
        """How many pseudo-labelled rows fold `fold` is trained with, and the SHA-256 of their ids and labels.

        ValueError where the labelled rows are no longer those that the teachers had.
        """
        rows = self.pseudo_of(fold)
        own = self.fingerprint()
        if rows is not None and not all(own.startswith(made) for made in rows["teachers_table"].unique()):
            raise ValueError("rows, labels or folds were changed after data.with_pseudo(...), which must come last")
        return None if rows is None else {"rows": len(rows), "sha256": digest(rows[["image_id", *self.classes]])}


def digest(rows: pd.DataFrame) -> str:
    """SHA-256 of a table, whatever the order of its rows."""
    text = rows.sort_values("image_id").to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def read_csv(
    path: str | Path,
    image: str = DEFAULT_PATTERN,
    *,
    label: str | None = None,
    one_hot: Sequence[str] | None = None,
    image_id: str = "image_id",
) -> Table:
    """Read a table of image ids.

    `image` is a path relative to the CSV in which `{column}` stands for that column's value. Labels come from one
    column of class names (`label`; the classes are its sorted values), or from a column a class (`one_hot`, each
    row summing to 1, soft labels welcome), or from neither: then the rows are unlabelled.
    Errors name the first rows whose image is missing, whose label is empty, or whose id is double.
    """
    if label is not None and one_hot is not None:
        raise ValueError(f"give `label` or `one_hot`, not both; received label={label!r} and one_hot={one_hot!r}")
    path = Path(path)
    source = read_texts(path, [image_id, *([label] if label else []), *(one_hot or [])])
    frame = pd.DataFrame({"image_id": source[image_id].astype(object)})
    check_ids(frame["image_id"])
    frame["image"] = pd.Series(locate(source, path.parent, image, image_id), index=frame.index, dtype=object)
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


def read_texts(path: Path, wanted: Sequence[str]) -> pd.DataFrame:
    """A CSV's cells as they stand, for 007 and None are names too; only an empty cell is missing."""
    if not path.is_file():
        raise FileNotFoundError(f"no table at {path}; name a CSV file that exists")
    try:
        source = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable CSV: {error}") from error
    absent = [name for name in wanted if name not in source]
    if absent:
        raise ValueError(f"{path} lacks the columns {absent}; it has {list(source.columns)}")
    if not len(source):
        raise ValueError(f"{path} has no rows")
    return source


def locate(source: pd.DataFrame, folder: Path, pattern: str, image_id: str) -> list[str]:
    """Paths of the rows' images; raises FileNotFoundError that names the first missing ones."""
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
    """Read a folder per class: `path/<class>/<anything>.jpg`. An image's id is its path from `path`, without ending."""
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"no folder at {path}; expected one folder for each class in it")
    files = sorted(file for file in path.glob("*/**/*") if file.suffix.lower() in IMAGE_ENDINGS and file.is_file())
    if not files:
        raise FileNotFoundError(f"no image in the folders of {path}; expected {path}/<class>/<image>.jpg")
    return with_class_names(frame_of(files, path), [file.relative_to(path).parts[0] for file in files])


def read_images(path: str | Path) -> Table:
    """Read every image at or below a folder as unlabelled rows; ids are made as `read_folders` makes them."""
    path = Path(path)
    files = sorted(file for file in path.glob("**/*") if file.suffix.lower() in IMAGE_ENDINGS and file.is_file())
    if not files:
        raise FileNotFoundError(f"no image at or below {path}")
    return Table(frame_of(files, path))


def read_test(path: str | Path, image: str = DEFAULT_PATTERN, *, image_id: str = "image_id") -> Table:
    """Read unlabelled rows from a folder of images, or from a CSV as `read_csv` does."""
    return read_images(path) if Path(path).is_dir() else read_csv(path, image, image_id=image_id)


def frame_of(files: list[Path], folder: Path) -> pd.DataFrame:
    ids = [file.relative_to(folder).with_suffix("").as_posix() for file in files]
    frame = pd.DataFrame({"image_id": ids}, dtype=object)
    return frame.assign(image=pd.Series([str(file) for file in files], dtype=object))


def sklearn_digits() -> Table:
    """The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships (UCI optical recognition), as uint8."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    frame = pd.DataFrame({"image_id": [f"digit-{row:04d}" for row in range(len(digits.target))]}, dtype=object)
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    frame["image"] = pd.Series(list(pixels), dtype=object)
    return with_class_names(frame, [str(target) for target in digits.target])


def with_class_names(frame: pd.DataFrame, names: list[str]) -> Table:
    """A table whose labels are given by name; the classes are the sorted names."""
    classes = tuple(sorted(set(names)))
    one_hot = np.array(names, dtype=object)[:, None] == np.array(classes, dtype=object)[None]
    labels = pd.DataFrame(one_hot.astype(np.float32), columns=list(classes), index=frame.index)
    return Table(pd.concat([frame, labels], axis=1), classes)


def check_ids(ids: pd.Series) -> None:
    if ids.isna().any():
        raise ValueError(f"every row needs an image id; {int(ids.isna().sum())} of {len(ids)} have none")
    double = ids[ids.duplicated()]
    if len(double):
        raise ValueError(f"image ids must be unique; {len(double)} are double, first {double.iloc[0]!r}")


def check_labels(frame: pd.DataFrame, classes: Sequence[str]) -> None:
    labels = frame[list(classes)].to_numpy(np.float64)
    if len(classes) < 2:
        raise ValueError(f"a competition has at least two classes; received {list(classes)}")
    bad = ~np.isfinite(labels).all(1) | (labels < 0).any(1) | (np.abs(labels.sum(1) - 1) > 1e-3)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"each row's labels must be numbers from 0 to 1 that sum to 1; {int(bad.sum())} rows are not, "
            f"first {frame['image_id'].iloc[first]!r} with {labels[first].tolist()}"
        )
