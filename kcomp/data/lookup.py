"""Find the image file of each id: by its name in a folder, with or without the file ending, or by a pattern."""

import os
import string
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.data.listing import IMAGE_ENDINGS, list_images
from kcomp.data.outside import check_inside, files_in_cells, is_path_beyond
from kcomp.system.notices import notice

USUAL_FOLDERS = ("images", "train", "train_images", "test", "test_images", ".")  # "." is the folder of the CSV


def find_images(
    source: pd.DataFrame,
    ids: pd.Series,
    csv: Path,
    images: str | Path | None,
    *,
    allow_missing: bool = False,
    allow_outside: bool = False,
    hint: str = "",
) -> list[str]:
    """Return the path of each row's image file.

    Args:
        source: The cells of a CSV file, as texts.
        ids: The image id of each row.
        csv: The path of the CSV file.
        images: A folder, or a pattern with names of columns, such as "images/{image_id}.jpg". None searches folders
            beside the CSV; see `search_usual_folders`.
        allow_missing: Whether images may be missing. The path of a missing image is the folder joined with the id, or
            the filled pattern. If no folder beside the CSV has every image, the folder that has most is used.
        allow_outside: Whether cells may lead out of the folder of images, by an absolute path or by `..`.
        hint: A text to add to the error message if only some of the images are missing.

    Raises:
        FileNotFoundError: If the folder or all images are missing, or if an image is missing and `allow_missing` is
            False.
        ValueError: If two files match an id, the pattern names an unknown column, or a cell leads out of the folder of
            images but `allow_outside` is False.
    """
    if images is not None and "{" in str(images):
        cells = source.assign(image_id=ids)
        return fill_pattern(cells, csv.parent, str(images), allow_missing, allow_outside=allow_outside, hint=hint)
    place = csv.parent if images is None else existing_folder(csv.parent, str(images))
    named = files_in_cells(ids.str.strip().tolist(), str(place), allow_outside=allow_outside)
    if len(named) == len(ids):
        return list(named.values())
    if images is None:
        return search_usual_folders(ids, csv, allow_missing, hint)
    files = list_images(place)
    positions = matches(ids, files)
    for row, path in named.items():
        positions[row] = len(files)
        files.append(os.path.relpath(path, place))
    if (positions < 0).any() and not (allow_missing and (positions >= 0).any()):
        raise FileNotFoundError(describe_missing(ids, positions, files, str(place), hint))
    return paths_of(ids, positions, files, str(place))


def paths_of(ids: pd.Series, positions: np.ndarray, files: Sequence[str], folder: str) -> list[str]:
    """Return the path of each row's image. A missing image has the path `folder`/id.

    Args:
        ids: The image ids.
        positions: The position in `files` of each row's image, or -1.
        files: Paths relative to `folder`.
        folder: The folder.
    """
    expected = ids.str.strip().str.replace("\0", "?")  # no path has a zero byte
    return [
        f"{folder}/{files[position] if position >= 0 else name}"
        for name, position in zip(expected, positions, strict=True)
    ]


def existing_folder(folder: Path, images: str) -> Path:
    """Return the folder `images` inside `folder` or, if it does not exist, inside the working directory.

    Raises:
        FileNotFoundError: If there is no such folder in either place.
    """
    places = list(dict.fromkeys([folder / images, Path(images)]))
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"no folder of images at {' or '.join(map(str, places))}; `images` is a folder, or a pattern such as "
        "'images/{image_id}.jpg'"
    )


def search_usual_folders(ids: pd.Series, csv: Path, allow_missing: bool, hint: str) -> list[str]:
    """Search folders beside a CSV file for the images, and return the path of each row's image.

    The first folder that has all images is used. If images may be missing, it is the folder that has most.
    """
    folder = csv.parent
    best, chosen, description, paths = 0, "", "", list[str]()
    for place in dict.fromkeys([csv.stem, f"{csv.stem}_images", *USUAL_FOLDERS]):
        if not (folder / place).is_dir():
            continue
        files = list_images(folder / place)
        try:
            positions = matches(ids, files)
        except ValueError:
            if not (allow_missing and best):
                raise
            continue  # the subfolders of "." have images of the same name; another folder has some images
        description = description or describe_missing(ids, positions, files, str(folder / place), hint)
        count = int((positions >= 0).sum())
        if count > best:
            best, chosen = count, place
            paths = [os.path.normpath(path) for path in paths_of(ids, positions, files, f"{folder / place}")]
        if count == len(ids):
            break
    if best < len(ids) and not (allow_missing and best):
        raise FileNotFoundError(f"{description}; name another folder with `images=`")
    if chosen != "images":
        notice(f"images are read from the folder {folder / chosen}")
    return paths


def describe_missing(ids: pd.Series, positions: np.ndarray, files: Sequence[str], place: str, hint: str) -> str:
    missing = ids[positions < 0]
    contents = f"its {len(files)} images are such as {files[0]}" if files else "it has no images"
    text = f"{len(missing)} of {len(ids)} images are missing in {place}, first {missing.iloc[:3].tolist()}; {contents}"
    return text if len(missing) == len(ids) else f"{text}{hint}"


def matches(ids: pd.Series, files: Sequence[str]) -> np.ndarray:
    """Return the position of each id's file in `files`, or -1 if there is none, (rows,).

    File endings, case and Unicode form may differ, but an exact match comes first.

    Raises:
        ValueError: If an id matches several files.
    """
    id_texts = ids.str.strip().to_numpy(object)
    positions = np.full(len(id_texts), -1)
    names = [file.rsplit("/", 1)[-1] for file in files]
    stems, path_stems = [without_ending(name) for name in names], [without_ending(file) for file in files]
    for change_id, keys in (
        (unchanged, (files, names)),
        (unchanged, (path_stems, stems)),
        (plain, (map(plain, files), map(plain, names))),
        (plain, (map(plain, path_stems), map(plain, stems))),
        (plain_stem, (map(plain, path_stems), map(plain, stems))),
    ):
        open_rows = np.flatnonzero(positions < 0)
        if not len(open_rows):
            break
        changed = np.array([change_id(name) for name in id_texts[open_rows]], dtype=object)
        for key in keys:
            rows = open_rows[positions[open_rows] < 0]
            places, repeated = index_keys(key)
            searched = changed[positions[open_rows] < 0]
            check_single(ids.iloc[rows], searched, repeated, files)
            positions[rows] = [places.get(name, -1) for name in searched]
    return positions


def index_keys(keys: Iterable[str]) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Return two dicts: the first position of each key, and all positions of each repeated key."""
    places: dict[str, int] = {}
    repeated: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        first = places.setdefault(key, position)
        if first != position:
            repeated.setdefault(key, [first]).append(position)
    return places, repeated


def check_single(ids: pd.Series, searched: np.ndarray, repeated: dict[str, list[int]], files: Sequence[str]) -> None:
    if not repeated:
        return
    several = [row for row, name in enumerate(searched) if name in repeated]
    if several:
        examples = " and ".join(files[position] for position in repeated[searched[several[0]]][:3])
        raise ValueError(
            f"{len(several)} ids match several images, first {ids.iloc[several[0]]!r}: {examples}; name one folder, or "
            "a pattern such as images='images/{image_id}.jpg'"
        )


def unchanged(name: str) -> str:
    return name


def plain(name: str) -> str:
    return (
        name.casefold()
        if name.isascii()
        else unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    )


def plain_stem(name: str) -> str:
    return plain(without_ending(name))


def without_ending(name: str) -> str:
    """Remove the ending of an image file, such as `.jpg`. Other dots belong to the name."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in IMAGE_ENDINGS else name


def fill_pattern(
    source: pd.DataFrame, folder: Path, pattern: str, allow_missing: bool, *, allow_outside: bool, hint: str
) -> list[str]:
    """Return the image path of each row: `pattern` with each `{column}` replaced by the row's cell.

    Raises:
        FileNotFoundError: If all images are missing, or if an image is missing and `allow_missing` is False.
        ValueError: If the pattern names an unknown column, or if a path leads out of the folder before the first
            `{column}` but `allow_outside` is False.
    """
    fixed = pattern.partition("{")[0].rpartition("/")[0]
    start = existing_folder(folder, fixed or ".")
    rest = pattern[len(fixed) :].lstrip("/")
    paths = pd.Series("", index=source.index, dtype=object)
    for text, column in pattern_parts(rest, pattern):
        paths = paths + text
        if column is None:
            continue
        if column not in source:
            raise ValueError(
                f"the image pattern {pattern!r} names the column {column!r}; there are {list(source.columns)}"
            )
        paths = paths + source[column].fillna("")
    paths = within_folder(paths.str.replace("\0", "?"), str(start), allow_outside)  # no path has a zero byte
    missing = paths[~are_files(paths)]
    if len(missing) and not (allow_missing and len(missing) < len(paths)):
        some = hint if len(missing) < len(paths) else ""
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} images are missing, first {missing.iloc[:3].tolist()}; the pattern was "
            f"{pattern!r}. A folder, `images={fixed or '.'!r}`, finds images whatever their ending{some}"
        )
    return paths.tolist()


def pattern_parts(rest: str, pattern: str) -> list[tuple[str, str | None]]:
    """Return the parts of a pattern: a text, and the name of the column after it. The last column may be None."""
    try:
        return [(text, column) for text, column, _, _ in string.Formatter().parse(rest)]
    except ValueError as error:
        raise ValueError(f"the image pattern {pattern!r} needs a brace at both ends of a column: {error}") from error


def within_folder(cells: pd.Series, folder: str, allow_outside: bool) -> pd.Series:
    """Return the cells as paths in a folder. An absolute path stays absolute if no file in the folder has this path.

    Raises:
        ValueError: If a path leads out of the folder but `allow_outside` is False.
    """
    paths = f"{folder}/" + cells
    beyond = np.array([is_path_beyond(text) for text in cells], dtype=bool)
    if beyond.any():
        outer = paths[beyond]
        absolute = cells[beyond].map(os.path.isabs).to_numpy(bool) & ~are_files(outer)
        paths[outer.index[absolute]] = cells[beyond][absolute]
        check_inside(paths[beyond].tolist(), folder, allow_outside=allow_outside)
    return paths


def are_files(paths: pd.Series) -> np.ndarray:
    """Return whether each path is a file, bool of shape (paths,)."""
    parts = paths.str.rsplit("/", n=1)
    listed: dict[str, set[str]] = {}
    for folder in parts.str[0].unique():
        try:
            with os.scandir(folder or "/") as entries:
                listed[folder] = {entry.name for entry in entries if entry.is_file()}
        except OSError:
            listed[folder] = set()
    return np.array([name in listed[folder] for folder, name in parts], dtype=bool)
