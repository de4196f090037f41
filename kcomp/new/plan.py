"""Choose what a new recipe contains: label columns, target, metric, image size and folds, each with the reason."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd

from kcomp.new import columns as reading
from kcomp.new.arguments import choose_test, read_options
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


@dataclass(frozen=True, kw_only=True)
class RecipePlan:
    """What a new recipe contains.

    Attributes:
        folder: The folder of the competition.
        table: File name of the table of labelled rows in `folder`. Without a table, the subfolder with the class
            folders, such as "train/", or "".
        labels: The label columns.
        options: Further arguments of `data.read_csv`, such as the id column.
        test: The arguments of `data.read_test`, as pairs of name and value. The positional argument has the name "".
            Empty if no test rows are known.
        metric: Name of the metric.
        size: The image size.
        network: Name of the network.
        rows: How many labelled images there are.
        folds: How many folds there are.
        sample: The sample submission that fits the labels, or None.
        lines: Lines for the user, as pairs such as ("metric", "roc_auc: the usual one for this target").
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
    """Return the plan for images in one folder for each class."""
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
    lines += describe_choices(metric, why, size)
    arguments: tuple[tuple[str, object], ...] = (("", test.path),) if test else ()
    if test:
        lines.append(("test rows", f"{len(test.files)} images in {files.folder / test.path}"))
    others = [folder for folder in files.images if inner and folder not in (inner, test) and folder.path != "."]
    if others:
        lines.append(("not used", ", ".join(f"{len(other.files)} images in {other.path}" for other in others)))
    return RecipePlan(
        folder=root if test is None else files.folder,
        table=chosen.path + "/" if test else "",
        labels=labels,
        options={},
        test=arguments,
        metric=metric,
        size=size,
        network=overrides.network or default_network(),
        rows=int(counts.sum()),
        folds=min(5, max(2, int(counts.max()))),
        sample=first(files.samples),
        lines=tuple(lines),
    )


def has_classes(folder: ImageFolder) -> bool:
    """Return whether a folder has several subfolders with images, none with a name such as "train"."""
    names = subfolders(folder)
    return len(names) > 1 and not any(map(is_part, names))


def subfolders(folder: ImageFolder) -> list[str]:
    """Return the names of the subfolders that have images, in alphabetical order."""
    return sorted({file.split("/", 1)[0] for file in folder.files if "/" in file})


def is_part(name: str, start: str = "") -> bool:
    """Return whether a folder's name begins with `start` and is usual for a part of the data, such as "train"."""
    return PART.fullmatch(name) is not None and name.casefold().startswith(start)


def no_labels(files: Files) -> str:
    """Return the error message for files without labels."""
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
    """Raise UsageError if an option that needs a table, such as --label, is set."""
    for option, value in (("label", overrides.label), ("id", overrides.id), ("images", overrides.images)):
        if value is not None:
            raise UsageError(f"--{option} needs a table ({ENDINGS}), and {folder} has none")
    if overrides.target not in (None, "classes"):
        raise UsageError(f"--target {overrides.target} needs a table ({ENDINGS}), and {folder} has none")


def plan_table(files: Files, path: Path, overrides: Overrides) -> RecipePlan:
    """Return the plan for a table of labelled rows, the file `path`."""
    frame = read_table(path)
    id_column, folder = choose_id(frame, files.images, overrides.id, path)
    ids = frame[id_column]
    box, group, time = find_extras(frame, id_column)
    used = [id_column, *box, *(name for name in (group, time) if name)]
    headers = {sample: list(map(str, read_table(sample).columns[1:])) for sample in files.samples}
    sample_columns = first(headers.values()) or []
    labels, reason = find_labels(
        frame, ids, used, sample_columns, label=overrides.label, target=overrides.target, has_boxes=bool(box)
    )
    group, time = (None if name in labels.columns else name for name in (group, time))
    sample = choose_sample(headers, frame, labels)
    metric, why = choose_metric(labels, headers.get(sample) if sample else None, overrides.metric)
    options, notes = read_options(frame, id_column, group, box, labels)
    rows = count_rows(ids, labels, options)
    size = size_of(image_paths(files.folder, folder, ids), overrides)
    test, test_line = choose_test(files, id_column)
    lines = [
        ("table", f"{path}, {len(frame)} rows"),
        ("id", f"{id_column}: {folder.share(ids):.0%} of its values name an image in {files.folder / folder.path}"),
        *describe_columns(labels, reason, group, time),
        *notes,
        *describe_choices(metric, why, size),
        ("test rows", test_line),
    ]
    return RecipePlan(
        folder=files.folder,
        table=path.name,
        labels=labels,
        options={"images": folder.path, **options},
        test=test,
        metric=metric,
        size=size,
        network=overrides.network or default_network(),
        rows=rows,
        folds=choose_folds(frame, rows, labels, group),
        sample=sample,
        lines=tuple(lines),
    )


def find_extras(frame: pd.DataFrame, id_column: str) -> tuple[tuple[str, ...], str | None, str | None]:
    """Return the columns of boxes (empty for none), the column of groups or None, and the column of times or None."""
    box = reading.find_boxes(frame)
    used = [id_column, *box]
    return box, reading.find_group(frame, used), reading.find_time(frame, used)


def describe_columns(labels: Labels, reason: str, group: str | None, time: str | None) -> list[tuple[str, str]]:
    """Return the lines for the user about the columns. `reason` says why these are the label columns."""
    others = f" (--target {' or '.join(labels.others)} reads it as such)" if labels.others else ""
    lines = [("label", f"{shorten(labels.columns)}: {reason}")]
    lines.append(("target", f"{labels.argument}: {labels.reason}{others}"))
    if group:
        lines.append(("groups", f"{group}: rows of one {group} stay in one fold"))
    if time:
        lines.append(("time", f"{time} is not used; data.time_folds cuts folds by time"))
    return lines


def describe_choices(metric: str, why: str, size: Size) -> list[tuple[str, str]]:
    """Return the lines for the user about the metric and the image size. `why` says why this is the metric."""
    return [("metric", f"{metric}: {why}"), ("image size", f"{size.size}: {size.reason}")]


def choose_sample(headers: dict[Path, list[str]], frame: pd.DataFrame, labels: Labels) -> Path | None:
    """Return the sample submission whose columns fit the labels, or else the first one, or None.

    `headers` has the columns of each sample submission, except its first column.
    """
    for sample, names in headers.items():
        if set(names) == set(labels.columns):
            return sample
    for sample, names in headers.items():
        words = labels.name_column or labels.columns[0]
        if len(labels.columns) == 1 and len(names) > 1 and set(names) <= reading.words_of(frame[words]):
            return sample
    return first(headers)


def count_rows(ids: pd.Series, labels: Labels, options: dict[str, object]) -> int:
    """Return how many rows the recipe reads. Without items, there is one row for each id."""
    return ids.nunique() if labels.name_column or "item" not in options else len(ids)


def choose_folds(frame: pd.DataFrame, rows: int, labels: Labels, group: str | None) -> int:
    """Return how many folds the recipe uses: 5, or fewer for few rows, groups or rows of a class, but at least 2."""
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
