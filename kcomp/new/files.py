"""Find the files of a competition: tables, sample submission, folders of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from kcomp.data.csv_file import decode_text, detect_delimiter, parse
from kcomp.data.folders import without_ending
from kcomp.data.listing import list_images
from kcomp.system.errors import UsageError

TABLE_ENDINGS = (".csv", ".tsv")


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images.

    Attributes:
        path: The folder, relative to the competition's folder. "." is the competition's folder.
        files: The paths of its images, relative to the folder.
    """

    path: str
    files: tuple[str, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        """The ids that match an image, in lower case: its path or name, with and without the file ending."""
        names = set()
        for file in self.files:
            for text in (file, file.rsplit("/", 1)[-1]):
                names |= {text.casefold(), without_ending(text).casefold()}
        return frozenset(names)

    def share(self, ids: pd.Series) -> float:
        """Return the share of ids that match an image of this folder, from 0 to 1."""
        texts = ids.dropna().str.strip().str.casefold()
        named = texts.isin(self.names) | texts.map(without_ending).isin(self.names)
        return float(named.sum() / max(len(ids), 1))


@dataclass(frozen=True)
class Files:
    """The files of a competition.

    Attributes:
        folder: The folder of the competition.
        train: The table of labelled rows. None for a folder of class folders.
        test: The table of test rows. None if there is none.
        samples: The sample submissions.
        images: Folders of images in alphabetical order. The competition's folder is the last.
    """

    folder: Path
    train: Path | None
    test: Path | None
    samples: tuple[Path, ...]
    images: tuple[ImageFolder, ...]


def read_table(path: Path) -> pd.DataFrame:
    """Return the cells of a table as texts, without a notice about its encoding.

    Raises:
        UsageError: If its encoding is not detected, or it has no rows.
        ValueError: If it is not a CSV.
    """
    try:
        text, _ = decode_text(path, None)
    except ValueError as error:
        raise UsageError(f"{path} is not UTF-8, UTF-16, CP949 or Latin-1 text; save it as UTF-8") from error
    frame = parse(path, text, detect_delimiter(text, ()))
    if not len(frame):
        raise UsageError(f"{path} has no rows below its first line")
    return frame


def find_files(data: Path, images: str | None) -> Files:
    """Return the files of a competition.

    Args:
        data: A folder with tables, a CSV file, or a folder with one folder of images for each class.
        images: The folder of the training images, relative to the competition's folder. None searches for it.

    Raises:
        UsageError: If there is no such path, it is another file, or several tables may have the labels.
    """
    if not data.exists():
        raise UsageError(f"no file or folder at {data}; name a folder or a CSV")
    if data.is_file() and data.suffix.lower() not in TABLE_ENDINGS:
        raise UsageError(f"DATA is a folder, or a table that ends in {' or '.join(TABLE_ENDINGS)}; received {data}")
    folder = data if data.is_dir() else data.parent
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLE_ENDINGS and path.is_file())
    samples = [path for path in tables if "sample" in path.stem.lower() or "submission" in path.stem.lower()]
    others = [path for path in tables if path not in samples]
    test = next((path for path in others if path.stem.lower().startswith("test") and path != data), None)
    others = [path for path in others if path != test]
    train = data if data.is_file() else choose_train(others, data)
    return Files(folder, train, test, tuple(samples), find_image_folders(folder, images))


def choose_train(tables: Sequence[Path], folder: Path) -> Path | None:
    """Return the table of labelled rows. None if there is no table."""
    named = [path for path in tables if path.stem.lower() == "train"]
    named = named or [path for path in tables if "train" in path.stem.lower()]
    chosen = named or list(tables)
    if len(chosen) > 1:
        names = ", ".join(str(path) for path in chosen)
        raise UsageError(f"which table has the labels: {names}? Name it instead of {folder}")
    return chosen[0] if chosen else None


def find_image_folders(folder: Path, images: str | None) -> tuple[ImageFolder, ...]:
    """Return the folders with images at any depth. The last is the competition's folder itself."""
    if images is not None:
        if not (folder / images).is_dir():
            raise UsageError(f"--images takes a folder in {folder}; there is no {folder / images}")
        return (ImageFolder(images, tuple(list_images(folder / images))),)
    folders: list[ImageFolder] = []
    for path in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))):
        files = tuple(list_images(path))
        if files:
            folders.append(ImageFolder(path.name, files))
    every = tuple(list_images(folder))
    if every:
        folders.append(ImageFolder(".", every))
    return tuple(folders)
