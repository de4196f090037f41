"""Find the files of a competition (tables, sample submissions, folders of images), and match ids with images."""

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
    """A folder with images in it or in its subfolders.

    Attributes:
        path: The folder, relative to the competition's folder. "." is the competition's folder itself.
        files: The paths of the images, relative to this folder.
    """

    path: str
    files: tuple[str, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        """All ids that would match an image: path or file name in lower case, with and without the file ending."""
        names = set()
        for file in self.files:
            for text in (file, file.rsplit("/", 1)[-1]):
                names |= {text.casefold(), without_ending(text).casefold()}
        return frozenset(names)

    def share(self, ids: pd.Series) -> float:
        """Return the share of the ids that match an image in this folder, from 0 to 1."""
        texts = ids.dropna().str.strip().str.casefold()
        named = texts.isin(self.names) | texts.map(without_ending).isin(self.names)
        return float(named.sum() / max(len(ids), 1))


@dataclass(frozen=True)
class Files:
    """The files of a competition.

    Attributes:
        folder: The folder of the competition.
        train: The table of labelled rows. None if the names of folders are the classes.
        test: The table of test rows, or None.
        samples: The sample submissions.
        images: The folders of images in alphabetical order. The last one is the competition's folder itself.
    """

    folder: Path
    train: Path | None
    test: Path | None
    samples: tuple[Path, ...]
    images: tuple[ImageFolder, ...]


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV, and return its cells as text.

    Raises:
        UsageError: If the encoding of the text is unknown, or there are no rows.
        ValueError: If the file is not a CSV.
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
    """Find the files of a competition.

    Args:
        data: The competition's folder, its table of labelled rows (a CSV), or a folder with one folder of images for
            each class.
        images: The folder of the training images, relative to the competition's folder. None searches for it.

    Raises:
        UsageError: If `data` does not exist or is another kind of file, or if several tables may have the labels.
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
    """Return the table of labelled rows, or None for no table. Raise UsageError if several are possible."""
    named = [path for path in tables if path.stem.lower() == "train"]
    named = named or [path for path in tables if "train" in path.stem.lower()]
    chosen = named or list(tables)
    if len(chosen) > 1:
        names = ", ".join(str(path) for path in chosen)
        raise UsageError(f"which table has the labels: {names}? Name it instead of {folder}")
    return chosen[0] if chosen else None


def find_image_folders(folder: Path, images: str | None) -> tuple[ImageFolder, ...]:
    """Return the folders of images in alphabetical order, last the competition's folder. Or return only `images`."""
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


def choose_id(
    frame: pd.DataFrame, folders: Sequence[ImageFolder], name: str | None, path: Path
) -> tuple[str, ImageFolder]:
    """Return the id column and the image folder for which the largest share of the ids match an image.

    `name` is the value of `--id`, or None.

    Raises:
        UsageError: If fewer than half of the ids match, there are no images, or no column is named `name`.
    """
    if not folders:
        raise UsageError(f"no folder beside {path} holds images; name one with --images FOLDER")
    if name is not None and name not in frame:
        raise UsageError(f"--id takes a column of {path}, which are {list(map(str, frame))}; received {name!r}")
    best, chosen = 0.0, None
    for column in [name] if name is not None else list(frame):
        for folder in folders:
            share = folder.share(frame[column])
            if share > best:
                best, chosen = share, (str(column), folder)
    if chosen is None or best < 0.5:
        listed = ", ".join(f"{folder.path} ({len(folder.files)}, such as {folder.files[0]})" for folder in folders[:4])
        nearest = f" ({chosen[0]}: only {best:.0%} of its values do)" if chosen else ""
        raise UsageError(
            f"no column of {path} names the images{nearest}; choose with --id one of {', '.join(map(str, frame))}, and "
            f"with --images one of {listed}"
        )
    column, folder = chosen
    if column.casefold() in folder.names:
        raise UsageError(f"the first line of {path} must name the columns; it holds {', '.join(map(str, frame))}")
    return chosen


def image_paths(root: Path, folder: ImageFolder, ids: pd.Series) -> list[Path]:
    """Return the paths of the images in `folder` that match an id. If no image matches, return all paths."""
    texts = set(ids.dropna().str.strip().str.casefold())
    stems = {text.rsplit(".", 1)[0] for text in texts}
    named = [file for file in folder.files if file.casefold() in texts or file.casefold().rsplit(".", 1)[0] in stems]
    return [root / folder.path / file for file in named or folder.files]
