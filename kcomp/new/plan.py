"""Choose the contents of a recipe: label columns, target, metric, image size and folds, each with the reason."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd

from kcomp.new import columns as reading
from kcomp.new.columns import Labels
from kcomp.new.files import Files, ImageFolder, read_table
from kcomp.new.sizes import Size, choose_size
from kcomp.system.errors import UsageError
from kcomp.targets import AnyOf, Grades, Numbers, OneOf, Target

Item = TypeVar("Item")

TARGETS: dict[str, type[Target]] = {
    "label": OneOf,
    "one_hot": OneOf,
    "labels": AnyOf,
    "multi_hot": AnyOf,
    "numbers": Numbers,
    "grades": Grades,
}


@dataclass(frozen=True)
class Choices:
    """The options of `kcomp new`. None chooses a value from the files."""

    label: str | None = None
    id: str | None = None
    images: str | None = None
    metric: str | None = None
    size: int | None = None
    network: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class Plan:
    """The content of a recipe.

    Attributes:
        folder: The folder of the competition, or of the class folders.
        table: The name of the table in this folder; empty for class folders.
        labels: The label columns.
        options: Further arguments of `data.read_csv` for the labelled rows, such as the id column.
        test: The arguments of `data.read_test`; empty if no test rows are known.
        metric: Name of the metric.
        size: The image size.
        network: Name of the network.
        rows: Number of labelled images.
        folds: Number of folds.
        sample: The sample submission that fits the labels.
        lines: Pairs of what was decided, such as "metric", and a text with the value and the reason.
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


def make_plan(files: Files, choices: Choices) -> Plan:
    """Return the plan for the files of a competition.

    Raises:
        UsageError: If the files leave a choice open. The message names the option that sets it.
    """
    return plan_folders(files, choices) if files.train is None else plan_table(files, files.train, choices)


def plan_folders(files: Files, choices: Choices) -> Plan:
    """Return the plan for a folder of class folders, or for one with class folders in train/."""
    inner = next((folder for folder in files.images if folder.path == "train" and has_classes(folder)), None)
    top = next((folder for folder in files.images if folder.path == "."), None)
    chosen = inner or top
    if chosen is None or not has_classes(chosen):
        raise UsageError(f"{files.folder} has neither a table nor a folder of images for each of several classes")
    root = files.folder / chosen.path
    counts = pd.Series([file.split("/", 1)[0] for file in chosen.files if "/" in file]).value_counts()
    paths = [root / file for file in chosen.files]
    labels = Labels("label", ("folder",), f"{len(counts)} folders hold images")
    metric, why = choose_metric(labels, None, choices)
    size = size_of(paths, choices)
    test = next((folder for folder in files.images if inner and folder.path.startswith("test")), None)
    lines = [("classes", f"the folders {', '.join(sorted(counts.index)[:6])}"), ("images", f"{counts.sum()} in {root}")]
    lines += [("metric", f"{metric}: {why}"), ("image size", f"{size.size}: {size.reason}")]
    arguments: tuple[tuple[str, object], ...] = (("", test.path),) if test else ()
    if test:
        lines.append(("test rows", f"{len(test.files)} images in {files.folder / test.path}"))
    folder = root if test is None else files.folder
    folds = min(5, max(2, int(counts.max())))
    table = chosen.path + "/" if test else ""
    return Plan(folder, table, labels, {}, arguments, metric, size, choices.network or default_network(),
                int(counts.sum()), folds, first(files.samples), tuple(lines))  # fmt: skip


def has_classes(folder: ImageFolder) -> bool:
    return len({file.split("/", 1)[0] for file in folder.files if "/" in file}) > 1


def plan_table(files: Files, path: Path, choices: Choices) -> Plan:
    """Return the plan for a table of labelled rows."""
    frame = read_table(path)
    id_column, folder = choose_id(frame, files.images, choices.id, path)
    ids = frame[id_column]
    box = reading.find_boxes(frame)
    used = [id_column, *box]
    group = reading.find_group(frame, used)
    time = reading.find_time(frame, used)
    used += [name for name in (group, time) if name]
    headers = {sample: list(map(str, read_table(sample).columns[1:])) for sample in files.samples}
    names, reason = label_columns(frame, used, first(headers.values()) or [], choices.label)
    if id_column in names:
        raise UsageError(f"--label takes columns beside the ids; received {id_column!r}")
    group, time = (None if name in names else name for name in (group, time))
    labels = reading.classify(frame, names, ids, choices.target)
    sample = choose_sample(headers, frame, labels)
    metric, why = choose_metric(labels, headers.get(sample) if sample else None, choices)
    options, notes = read_options(frame, id_column, group, box, labels)
    rows = ids.nunique() if labels.argument == "labels" and "item" not in options else len(frame)
    size = size_of(image_paths(files.folder, folder, ids), choices)
    test, test_line = choose_test(files, id_column)
    others = f" (--target {' or '.join(labels.others)} reads it as such)" if labels.others else ""
    lines = [
        ("table", f"{path}, {len(frame)} rows"),
        ("id", f"{id_column}: {folder.share(ids):.0%} of its values name an image in {files.folder / folder.path}"),
        ("label", f"{shorten(names)}: {reason}"),
        ("target", f"{labels.argument}: {labels.reason}{others}"),
        *([("groups", f"{group}: rows of one {group} stay in one fold")] if group else []),
        *([("time", f"{time} is not used; data.time_folds cuts folds by time")] if time else []),
        *notes,
        ("metric", f"{metric}: {why}"),
        ("image size", f"{size.size}: {size.reason}"),
        ("test rows", test_line),
    ]
    folds = choose_folds(frame, labels, group)
    return Plan(files.folder, path.name, labels, {"images": folder.path, **options}, test, metric, size,
                choices.network or default_network(), rows, folds, sample, tuple(lines))  # fmt: skip


def label_columns(
    frame: pd.DataFrame, used: Sequence[str], hints: Sequence[str], label: str | None
) -> tuple[tuple[str, ...], str]:
    """Return the label columns and the reason; see `kcomp.new.columns.choose_columns`."""
    if label is None:
        return reading.choose_columns(frame, used, hints)
    names = tuple(name.strip() for name in label.split(","))
    absent = [name for name in names if name not in frame]
    if absent:
        raise UsageError(f"--label takes columns of the table, {list(map(str, frame))}; received {absent}")
    return names, "--label"


def choose_id(
    frame: pd.DataFrame, folders: Sequence[ImageFolder], name: str | None, path: Path
) -> tuple[str, ImageFolder]:
    """Return the id column and the image folder with the most matching ids; the first pair if several are equal."""
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
        raise UsageError(
            f"no column of {path} names the images; choose with --id one of {', '.join(map(str, frame))}, and with "
            f"--images one of {listed}"
        )
    return chosen


def image_paths(root: Path, folder: ImageFolder, ids: pd.Series) -> list[Path]:
    """Return the images of the folder that match an id; all images if none matches."""
    texts = set(ids.dropna().str.strip().str.casefold())
    stems = {text.rsplit(".", 1)[0] for text in texts}
    named = [file for file in folder.files if file.casefold() in texts or file.casefold().rsplit(".", 1)[0] in stems]
    return [root / folder.path / file for file in named or folder.files]


def choose_sample(headers: dict[Path, list[str]], frame: pd.DataFrame, labels: Labels) -> Path | None:
    """Return the sample submission whose columns fit the labels; the first sample if none fits."""
    for sample, names in headers.items():
        if set(names) == set(labels.columns):
            return sample
    for sample, names in headers.items():
        if len(labels.columns) == 1 and len(names) > 1 and set(names) <= reading.words_of(frame[labels.columns[0]]):
            return sample
    return first(headers)


def choose_metric(labels: Labels, header: Sequence[str] | None, choices: Choices) -> tuple[str, str]:
    """Return the name of the metric and the reason."""
    from kcomp.metrics.names import get_fitting

    target = TARGETS[labels.argument]
    if choices.metric is not None:
        try:
            metric = get_fitting(choices.metric, target)
        except ValueError as error:
            raise UsageError(f"--metric: {error}") from error
        return metric.name, "--metric"
    in_one_cell = header is not None and len(header) == 1
    if labels.argument == "label" and in_one_cell:
        return "accuracy", "the sample submission has one column (--metric changes it)"
    if labels.argument == "labels" and in_one_cell:
        return "macro_f1", "the sample submission has labels in a cell (--metric changes it)"
    return target.default_metric, "the usual one for this target (--metric changes it)"


def read_options(
    frame: pd.DataFrame, id_column: str, group: str | None, box: tuple[str, ...], labels: Labels
) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """Return the arguments of `data.read_csv` for ids, groups, boxes and items, and lines about them."""
    options: dict[str, object] = {} if id_column == "image_id" else {"id": id_column}
    if group is not None:
        options["group"] = group
    lines = []
    repeated = bool(frame[id_column].duplicated().any())
    if box and frame[list(box)].notna().all(axis=None):
        options["box"] = list(box)
        lines.append(("boxes", f"images are cut at {', '.join(box)}"))
    if repeated and (box or labels.argument != "labels"):
        options["item"] = id_column
        if labels.argument == "labels":  # an image has each label that one of its rows has
            options["item_average"] = "max"
        lines.append(("items", f"{id_column} has several rows, whose predictions belong together"))
    return options, lines


def choose_test(files: Files, id_column: str) -> tuple[tuple[tuple[str, object], ...], str]:
    """Return the arguments of `data.read_test`, and a line about the test rows."""
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


def choose_folds(frame: pd.DataFrame, labels: Labels, group: str | None) -> int:
    """Return the number of folds, from 2 to 5. Few groups, few rows or a small largest class reduce it."""
    counts = [frame[group].nunique()] if group is not None else [len(frame) // 2]
    if labels.argument in ("label", "grades"):
        counts.append(int(frame[labels.columns[0]].str.strip().str.casefold().value_counts().max()))
    return max(2, min(5, *counts))


def size_of(paths: Sequence[Path], choices: Choices) -> Size:
    return choose_size(paths) if choices.size is None else Size(choices.size, "--size")


def default_network() -> str:
    return "efficientnet_lite0"


def shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def first(values: Iterable[Item]) -> Item | None:
    return next(iter(values), None)
