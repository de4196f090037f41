"""List the image files of a folder."""

import os
from collections import Counter
from pathlib import Path

from kcomp.system.notices import notice

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
LEFTOVERS = frozenset({"__macosx", "thumbs.db", "desktop.ini"})  # of archives and file managers, in lower case


def list_images(folder: str | Path) -> list[str]:
    """Return the sorted paths of all image files in a folder and its subfolders, relative to the folder.

    Hidden files and files of the system, such as `Thumbs.db` and `__MACOSX`, are skipped with a notice.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not os.path.isdir(folder):  # noqa: PTH112
        raise FileNotFoundError(f"no folder at {folder}; name a folder that exists")
    paths: list[str] = []
    skipped: list[str] = []
    waiting = [""]
    while waiting:
        start = waiting.pop()
        with os.scandir(os.path.join(folder, start)) as entries:  # noqa: PTH118  # faster than Path for a million files
            for entry in entries:
                if is_leftover(entry.name):
                    skipped.append(start + entry.name + ("/" if entry.is_dir() else ""))
                elif entry.is_dir():
                    if entry.is_symlink() and is_inside(os.path.join(folder, start), entry.path):  # noqa: PTH118
                        continue  # a link to a folder above it, which would be listed without end
                    waiting.append(f"{start}{entry.name}/")
                elif os.path.splitext(entry.name)[1].lower() in IMAGE_ENDINGS:  # noqa: PTH122
                    paths.append(start + entry.name)
    if skipped:
        names = Counter(path.rstrip("/").rsplit("/", 1)[-1] + ("/" if path.endswith("/") else "") for path in skipped)
        examples = ", ".join(sorted(names)[:4])
        notice(f"skipped {len(skipped)} hidden or leftover files and folders in {folder}: {examples}")
    return sorted(paths)


def is_leftover(name: str) -> bool:
    return name.startswith(".") or name.lower() in LEFTOVERS


def is_inside(folder: str | Path, other: str) -> bool:
    return Path(other).resolve() in [Path(folder).resolve(), *Path(folder).resolve().parents]
