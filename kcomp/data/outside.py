"""Decide whether paths in a table may lead out of the folder of images."""

import os
from collections.abc import Sequence


def is_path_beyond(text: str) -> bool:
    """Return whether a cell is an absolute path, or a path with `..`."""
    return os.path.isabs(text) or (".." in text and ".." in text.replace("\\", "/").split("/"))  # noqa: PTH117


def is_in_folder(path: str, folder: str) -> bool:
    """Return whether a path is inside a folder. Links in the folder count as inside."""
    absolute = os.path.abspath(path)  # noqa: PTH100
    places = {os.path.abspath(folder), os.path.realpath(folder)}  # noqa: PTH100
    return any(os.path.commonpath([absolute, place]) == place for place in places)


def check_inside(paths: Sequence[str], folder: str, *, allow_outside: bool) -> None:
    """Raise ValueError if paths lead out of `folder` but `allow_outside` is False."""
    outside = [] if allow_outside else [path for path in paths if not is_in_folder(path, folder)]
    if outside:
        raise ValueError(
            f"{len(outside)} paths of images lead out of the folder {folder}, first {outside[0]!r}; if the table's "
            "origin is trusted, allow them with read_csv(..., allow_outside=True)"
        )


def files_in_cells(cells: Sequence[str], folder: str, *, allow_outside: bool) -> dict[int, str]:
    """Return the paths of the files that cells name by an absolute path, or by a path with `..`, by row.

    Args:
        cells: Texts of a table, such as ids.
        folder: The folder of images. Paths that are not absolute start here.
        allow_outside: Whether the files may be outside of the folder.

    Raises:
        ValueError: If a file is outside of the folder but `allow_outside` is False.
    """
    paths = {row: os.path.join(folder, text) for row, text in enumerate(cells) if is_path_beyond(text)}  # noqa: PTH118
    files = {row: path for row, path in paths.items() if os.path.isfile(path)}  # noqa: PTH113
    check_inside(list(files.values()), folder, allow_outside=allow_outside)
    return files
