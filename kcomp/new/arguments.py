"""Choose the arguments of `data.read_csv` and `data.read_test` in a new recipe."""

import pandas as pd

from kcomp.data.repeated import are_mistakes
from kcomp.new.columns import Labels
from kcomp.new.files import Files, read_table


def read_options(
    frame: pd.DataFrame, id_column: str, group: str | None, box: tuple[str, ...], labels: Labels
) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """Choose the arguments `id`, `group`, `box`, `item` and `item_average` of `data.read_csv`.

    Args:
        frame: The labelled rows.
        id_column: The column of image ids.
        group: The column of groups. None without groups.
        box: The columns of boxes. Empty without boxes.
        labels: The label columns.

    Returns:
        Two things: the arguments that differ from their default, by name; and lines for the user, as pairs such as
            ("boxes", "images are cut at ...").
    """
    options: dict[str, object] = {} if id_column == "image_id" else {"id": id_column}
    if group is not None:
        options["group"] = group
    lines = []
    counts = frame[id_column].value_counts()
    repeated = bool((counts > 1).any())
    if box and frame[list(box)].notna().all(axis=None):
        options["box"] = list(box)
        lines.append(("boxes", f"images are cut at {', '.join(box)}"))
    if not box and labels.argument != "labels" and are_mistakes(frame[id_column]):
        several = f"{int((counts > 1).sum())} of {len(counts)} ids have several rows"
        others = "; --target labels joins them to several labels" if labels.argument == "label" else ""
        lines.append(("repeated", f"{several}, probably by mistake: kcomp check lists them{others}"))
    elif repeated and not labels.name_column and (box or labels.argument != "labels"):
        options["item"] = id_column
        if labels.argument == "labels":  # an image has each label that one of its rows has
            options["item_average"] = "max"
        lines.append(("items", f"{id_column} has several rows, whose predictions belong together"))
    return options, lines


def choose_test(files: Files, id_column: str) -> tuple[tuple[tuple[str, object], ...], str]:
    """Find the test rows.

    Returns:
        Two things: the arguments of `data.read_test` as pairs (name, value), and a text about the test rows for the
            user. Without test rows, there are no pairs. The name of the positional argument is "".
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
