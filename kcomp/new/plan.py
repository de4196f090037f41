"""Choose what a new recipe contains: label columns, target, metric, image size and folds, each with the reason."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd

from kcomp.new import columns as reading
from kcomp.new.columns import Labels
from kcomp.new.files import TABLE_ENDINGS, Files, ImageFolder, choose_id, image_paths, read_table
from kcomp.new.labels import find_labels
from kcomp.new.metric import choose_metric
from kcomp.new.sizes import Size, choose_size
from kcomp.report.text import quantity
from kcomp.system.errors import UsageError

Item = TypeVar("Item")
ENDINGS = " or ".join(TABLE_ENDINGS)
# Folders with these names, such as "training_set" or "Test images", are not classes.
PART = re.compile(r"(train|test|val|valid)(ing|ation)?([_ -]?(set|data|images))?|images", re.IGNORECASE)


@dataclass(frozen=True)
class Overrides:
    """The options of `kcomp new`. An option that is None is chosen from the files."""

    label: str | None = None
    id: str | None = None
    images: str | None = None
    metric: str | None = None
    size: int | None = None
    network: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class RecipePlan:
    """What a new recipe contains.

    Attributes:
        folder: The folder of the competition, or of the class folders.
        table: Name of the table of labelled rows in this folder. For class folders, it is empty, or their parent
            followed by "/", such as "train/".
        labels: The label columns.
        options: Further arguments of `data.read_csv`, such as the id column.
        test: The arguments of `data.read_test`, as pairs of name and value. The name of the first, positional one is
            "". Empty if no test rows are known.
        metric: Name of the metric.
        size: The image size.
        network: Name of the network.
        rows: How many labelled images there are.
        folds: How many folds there are.
        sample: The sample submission that fits the labels, or None.
        lines: What is printed for the user, as pairs such as ("metric", "roc_auc: the usual one for this target").
    """

    folder: Path
    table: str
    labels: Labels
    options: dict[str, object]
    test: tuple[tuple[str, object], ...]
    metric: str
    size: Size
    network: str
    rows: int
    folds: int
    sample: Path | None
    lines: tuple[tuple[str, str], ...]


def make_plan(files: Files, overrides: Overrides) -> RecipePlan:
    """Decide what the recipe for these files contains.

    Raises:
        UsageError: If something cannot be decided from the files. The message names the option that decides it.
    """
    return plan_folders(files, overrides) if files.train is None else plan_table(files, files.train, overrides)


def plan_folders(files: Files, overrides: Overrides) -> RecipePlan:
    """Plan the recipe for images in one folder for each class. They may be in a subfolder such as train/."""
    check_no_table_options(files.folder, overrides)
    training = [folder for folder in files.images if is_part(folder.path, "train")]
    inner = next((folder for folder in training if has_classes(folder)), None)
    top = next((folder for folder in files.images if folder.path == "." and has_classes(folder)), None)
    chosen = inner or top
    if chosen is None:
        raise UsageError(no_labels(files))
    root = files.folder / chosen.path
    counts = pd.Series([file.split("/", 1)[0] for file in chosen.files if "/" in file]).value_counts()
    paths = [root / file for file in chosen.files]
    labels = Labels("label", ("folder",), f"{len(counts)} folders hold images")
    metric, why = choose_metric(labels, None, overrides.metric)
    size = size_of(paths, overrides)
    test = next((folder for folder in files.images if inner and folder.path.casefold().startswith("test")), None)
    lines = [("classes", f"the folders {', '.join(sorted(counts.index)[:6])}"), ("images", f"{counts.sum()} in {root}")]
    lines += [("metric", f"{metric}: {why}"), ("image size", f"{size.size}: {size.reason}")]
    arguments: tuple[tuple[str, object], ...] = (("", test.path),) if test else ()
    if test:
        lines.append(("test rows", f"{len(test.files)} images in {files.folder / test.path}"))
    others = [folder for folder in files.images if inner and folder not in (inner, test) and folder.path != "."]
    if others:
        lines.append(("not used", ", ".join(f"{len(other.files)} images in {other.path}" for other in others)))
    folder = root if test is None else files.folder
    folds = min(5, max(2, int(counts.max())))
    table = chosen.path + "/" if test else ""
    return RecipePlan(folder, table, labels, {}, arguments, metric, size, overrides.network or default_network(),
                      int(counts.sum()), folds, first(files.samples), tuple(lines))  # fmt: skip


def has_classes(folder: ImageFolder) -> bool:
    """Return whether a folder has class folders: several subfolders with images, none with a name such as "train"."""
    names = subfolders(folder)
    return len(names) > 1 and not any(map(is_part, names))


def subfolders(folder: ImageFolder) -> list[str]:
    """Return the names of the subfolders that have images, in alphabetical order."""
    return sorted({file.split("/", 1)[0] for file in folder.files if "/" in file})


def is_part(name: str, start: str = "") -> bool:
    """Return whether a folder's name means a part of the data, such as "train". `start` restricts the part."""
    return PART.fullmatch(name) is not None and name.casefold().startswith(start)


def no_labels(files: Files) -> str:
    """Return the error message for files without labels. It says what there is, and which subfolder has a table."""
    parts = [name for folder in files.images if folder.path == "." for name in subfolders(folder) if is_part(name)]
    count = sum(len(folder.files) for folder in files.images if folder.path == ".")
    deeper = sorted(path for ending in TABLE_ENDINGS for path in files.folder.glob(f"*/*{ending}"))
    ignored = f"; folders not taken as classes: {shorten(parts)}" if parts else ""
    advice = f"; name {deeper[0].parent}, which has {deeper[0].name}" if deeper else ""
    return (
        f"{files.folder} has neither a table ({ENDINGS}) nor a folder of images for each of several classes; it has "
        f"{quantity(count, 'image')}{ignored}{advice}"
    )


def check_no_table_options(folder: Path, overrides: Overrides) -> None:
    """Raise UsageError if an option such as --label is set. These options need a table, and there is none."""
    for option, value in (("label", overrides.label), ("id", overrides.id), ("images", overrides.images)):
        if value is not None:
            raise UsageError(f"--{option} needs a table ({ENDINGS}), and {folder} has none")
    if overrides.target not in (None, "classes"):
        raise UsageError(f"--target {overrides.target} needs a table ({ENDINGS}), and {folder} has none")


def plan_table(files: Files, path: Path, overrides: Overrides) -> RecipePlan:
    """Plan the recipe for a table of labelled rows. `path` is the table."""
    frame = read_table(path)
    id_column, folder = choose_id(frame, files.images, overrides.id, path)
    ids = frame[id_column]
    box = reading.find_boxes(frame)
    used = [id_column, *box]
    group = reading.find_group(frame, used)
    time = reading.find_time(frame, used)
    used += [name for name in (group, time) if name]
    headers = {sample: list(map(str, read_table(sample).columns[1:])) for sample in files.samples}
    hints = first(headers.values()) or []
    labels, reason = find_labels(
        frame, ids, used, hints, label=overrides.label, target=overrides.target, has_boxes=bool(box)
    )
    group, time = (None if name in labels.columns else name for name in (group, time))
    sample = choose_sample(headers, frame, labels)
    metric, why = choose_metric(labels, headers.get(sample) if sample else None, overrides.metric)
    options, notes = read_options(frame, id_column, group, box, labels)
    is_joined = labels.names or (labels.argument == "labels" and "item" not in options)
    rows = ids.nunique() if is_joined else len(frame)
    size = size_of(image_paths(files.folder, folder, ids), overrides)
    test, test_line = choose_test(files, id_column)
    others = f" (--target {' or '.join(labels.others)} reads it as such)" if labels.others else ""
    lines = [
        ("table", f"{path}, {len(frame)} rows"),
        ("id", f"{id_column}: {folder.share(ids):.0%} of its values name an image in {files.folder / folder.path}"),
        ("label", f"{shorten(labels.columns)}: {reason}"),
        ("target", f"{labels.argument}: {labels.reason}{others}"),
        *([("groups", f"{group}: rows of one {group} stay in one fold")] if group else []),
        *([("time", f"{time} is not used; data.time_folds cuts folds by time")] if time else []),
        *notes,
        ("metric", f"{metric}: {why}"),
        ("image size", f"{size.size}: {size.reason}"),
        ("test rows", test_line),
    ]
    folds = choose_folds(frame, rows, labels, group)
    return RecipePlan(files.folder, path.name, labels, {"images": folder.path, **options}, test, metric, size,
                      overrides.network or default_network(), rows, folds, sample, tuple(lines))  # fmt: skip


def choose_sample(headers: dict[Path, list[str]], frame: pd.DataFrame, labels: Labels) -> Path | None:
    """Return the sample submission whose columns fit the labels. If none fits, return the first one, or None.

    `headers` has the columns of each sample submission without the first.
    """
    for sample, names in headers.items():
        if set(names) == set(labels.columns):
            return sample
    for sample, names in headers.items():
        words = labels.names or labels.columns[0]
        if len(labels.columns) == 1 and len(names) > 1 and set(names) <= reading.words_of(frame[words]):
            return sample
    return first(headers)


def read_options(
    frame: pd.DataFrame, id_column: str, group: str | None, box: tuple[str, ...], labels: Labels
) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """Find further arguments of `data.read_csv`: the columns of ids, groups, boxes and items.

    An item is something with several images (rows), whose predictions are combined, such as a patient.

    Returns:
        Two things: the arguments by name, and pairs of text for the user, such as ("boxes", "images are cut at ...").
    """
    options: dict[str, object] = {} if id_column == "image_id" else {"id": id_column}
    if group is not None:
        options["group"] = group
    lines = []
    repeated = bool(frame[id_column].duplicated().any())
    if box and frame[list(box)].notna().all(axis=None):
        options["box"] = list(box)
        lines.append(("boxes", f"images are cut at {', '.join(box)}"))
    if repeated and not labels.names and (box or labels.argument != "labels"):
        options["item"] = id_column
        if labels.argument == "labels":  # an image has each label that one of its rows has
            options["item_average"] = "max"
        lines.append(("items", f"{id_column} has several rows, whose predictions belong together"))
    return options, lines


def choose_test(files: Files, id_column: str) -> tuple[tuple[tuple[str, object], ...], str]:
    """Find the test rows.

    Returns:
        Two things: the arguments of `data.read_test` as pairs (empty if there are no test rows), and a text for the
        user.
    """
    for path in (files.test, *files.samples):
        if path is None:
            continue
        frame = read_table(path)
        name = id_column if id_column in frame else str(frame.columns[0])
        folder = max(files.images, key=lambda folder: folder.share(frame[name]), default=None)
        if folder is not None and folder.share(frame[name]) == 1 and not frame[name].duplicated().any():
            named: list[tuple[str, object]] = [("", path.name), ("images", folder.path)]
            named += [] if name == "image_id" else [("id", name)]
            return tuple(named), f"{len(frame)} rows of {path}, images in {files.folder / folder.path}"
    folder = next((folder for folder in files.images if folder.path.startswith("test")), None)
    if folder is not None:
        return (("", folder.path),), f"{len(folder.files)} images in {files.folder / folder.path}"
    return (), "none; name their folder later, with kcomp submit --images FOLDER"


def choose_folds(frame: pd.DataFrame, rows: int, labels: Labels, group: str | None) -> int:
    """Return how many folds the recipe uses, from 2 to 5.

    There are fewer than 5 if there are few groups or rows, or if the largest class has fewer than 5 rows.
    """
    counts = [frame[group].nunique()] if group is not None else [rows // 2]
    if labels.argument in ("label", "grades"):
        counts.append(int(frame[labels.columns[0]].str.strip().str.casefold().value_counts().max()))
    return max(2, min(5, *counts))


def size_of(paths: Sequence[Path], overrides: Overrides) -> Size:
    return choose_size(paths) if overrides.size is None else Size(overrides.size, "--size")


def default_network() -> str:
    return "efficientnet_lite0"


def shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def first(values: Iterable[Item]) -> Item | None:
    return next(iter(values), None)
