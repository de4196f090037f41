"""Show held-out rows as pictures, each with a heat map of the network that held out the row."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kcomp.explain.errors.galleries import Gallery, choose_galleries
from kcomp.explain.held_out.outcomes import Outcomes, column_errors
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.report.page import Picture, Section
from kcomp.report.part import Part
from kcomp.report.text import number, percent, quantity
from kcomp.report.thumbnail import thumbnail
from kcomp.runs.folder import Run
from kcomp.system.errors import error_line

SIDE = 150  # pixels of a picture's longer side
Progress = Callable[[int, int], None]
Place = tuple[int, int]  # a row, and the column of its prediction that the heat map explains


def error_part(rows: HeldOutRows, outcomes: Outcomes, others: Sequence[Gallery], progress: Progress) -> Part:
    """Return the part of the page with pictures of wrong and uncertain rows, and their heat maps.

    `others` has more galleries to show.
    """
    groups = [*choose_galleries(rows, outcomes), *others]
    section = Section("Errors", error_verdict(outcomes))
    section.paragraphs.append("errors.csv lists all held-out rows, the largest loss first.")
    if rows.table is None:
        section.paragraphs.append(f"There are no pictures, because the images cannot be read: {rows.problem}.")
        images: Mapping[Place, bytes] = {}
    else:
        places = {place for group in groups for place in explained_places(group, rows, outcomes)}
        images, problems = draw_rows(rows, sorted(places), progress)
        section.paragraphs.append(
            "Each picture shows the image as the network gets it, and beside it a heat map. Bright parts raise the "
            "prediction that is named below the picture (HiResCAM; attention rollout for transformers)."
        )
        section.paragraphs += problems
    for group in groups:
        shown = explained_places(group, rows, outcomes)
        pictures = [Picture(images[place], describe_row(rows, outcomes, place)) for place in shown if place in images]
        if pictures:
            section.galleries.append((group.caption, pictures))
    listed = [{"caption": group.caption, "ids": [str(rows.ids[place]) for place in group.places]} for group in groups]
    return Part("errors", section, {"groups": listed})


def error_verdict(outcomes: Outcomes) -> str:
    if outcomes.decided is None:
        return "These are the rows with the largest errors. Look for what they have in common."
    wrong = int((outcomes.correct == 0).sum())
    if not wrong:
        return "No held-out row is wrong."
    known = int((~np.isnan(outcomes.correct)).sum())
    return (
        f"{wrong:,} of {known:,} rows {'is' if wrong == 1 else 'are'} wrong. Look for what the most confident mistakes "
        "have in common, and whether their labels are right."
    )


def explained_places(group: Gallery, rows: HeldOutRows, outcomes: Outcomes) -> list[Place]:
    """Return, for each row of a gallery, its position and the prediction column that its heat map explains."""
    if group.columns is not None:
        return list(zip(group.places.tolist(), group.columns.tolist(), strict=True))
    return [(int(row), explained_column(rows, outcomes, int(row))) for row in group.places]


def explained_column(rows: HeldOutRows, outcomes: Outcomes, row: int) -> int:
    """Return the number of the prediction column that the heat map of a row explains.

    This is the predicted class or, for other targets, the column with the largest error.
    """
    if outcomes.is_one_class:
        assert outcomes.decided is not None
        return int(outcomes.decided[row])
    errors = column_errors(rows.labels[[row]], rows.predictions[[row]], rows.target)[0]
    return int(np.argmax(np.nan_to_num(errors, nan=-1)))


def describe_row(rows: HeldOutRows, outcomes: Outcomes, place: Place) -> list[str]:
    """Return the lines below a picture: id, label, prediction, fold and path."""
    row, column = place
    lines = [str(rows.ids[row]), f"label: {outcomes.labels[row]}"]
    if outcomes.is_one_class:
        lines.append(f"predicted: {outcomes.predictions[row]} ({percent(outcomes.confidence[row])})")
    else:
        lines.append(f"predicted: {outcomes.predictions[row]}")
        if len(rows.target.prediction_columns) > 1 or outcomes.decided is not None:
            lines.append(f"{rows.target.prediction_columns[column]}: {number(rows.predictions[row, column])}")
    path = rows.paths[row]
    return [*lines, f"fold {rows.folds[row]}", *([path] if path else [])]


def draw_rows(rows: HeldOutRows, places: Sequence[Place], progress: Progress) -> tuple[dict[Place, bytes], list[str]]:
    """Draw rows with their heat maps.

    Returns:
        Two things: a JPEG file for each (row, prediction column), and sentences about missing pictures and heat maps.
    """
    by_run: dict[Run, list[Place]] = {}
    for place in places:
        by_run.setdefault(run_that_held_out(rows, place[0]), []).append(place)
    images: dict[Place, bytes] = {}
    problems: list[str] = []
    for run, own in by_run.items():
        pixels, unreadable = read_inputs(rows, run, own)
        problems += unreadable
        readable = [place for place in own if place in pixels]
        try:
            heats: Iterable[Any] = compute_heat(run, [pixels[place] for place in readable], readable)
        except Exception as error:  # noqa: BLE001  (the recipe builds the network, and may raise any type)
            problems.append(f"{run.folder} has no heat maps: {error_line(error)}.")
            heats = [None] * len(readable)
        for place, heat in zip(readable, heats, strict=True):
            images[place] = draw(pixels[place], heat)
        progress(len(images), len(places))
    return images, list(dict.fromkeys(problems))


def run_that_held_out(rows: HeldOutRows, row: int) -> Run:
    """Return the run of the first member that held out a row. A member is all runs that differ only in their fold."""
    member = rows.members[int(rows.held_out_by[:, row].argmax())]
    return Run(member.folder_of(str(rows.ids[row])))


def read_inputs(rows: HeldOutRows, run: Run, places: Sequence[Place]) -> tuple[dict[Place, np.ndarray], list[str]]:
    """Return two things: each image as the run's network gets it, and a list of sentences about unreadable images."""
    from kcomp.experiment.build import build_batches

    assert rows.table is not None
    positions = sorted({row for row, _ in places})  # a row may be shown for several labels
    table = rows.table.rows(np.array(positions))
    pixels: dict[int, np.ndarray] = {}
    failures: list[str] = []
    try:
        batches = build_batches(run.recipe().recipe, table, training=False, seed=int(run.manifest["seed"]))
    except Exception as error:  # noqa: BLE001  (recipes are programs and may raise any type)
        return {}, [f"The batches of {run.folder} cannot be built: {error_line(error)}."]
    for position, row in enumerate(positions):
        try:
            pixels[row] = batches.image(position)
        except (ValueError, OSError) as error:
            failures.append(error_line(error))
    shown = {place: pixels[place[0]] for place in places if place[0] in pixels}
    return shown, [f"{quantity(len(failures), 'picture')} cannot be shown: {failures[0]}."] if failures else []


def compute_heat(run: Run, images: Sequence[np.ndarray], places: Sequence[Place]) -> np.ndarray:
    from kcomp.explain.heat.maps import heat_maps
    from kcomp.prediction.runs import trained_network

    if not images:
        return np.empty((0, 1, 1))
    network = trained_network(run, run.recipe().recipe)
    return heat_maps(network, np.stack(images), [column for _, column in places], target=run.target)


def draw(pixels: np.ndarray, heat: np.ndarray | None) -> bytes:
    from kcomp.explain.heat.colors import overlay

    shown = displayable(pixels)
    if heat is None:
        return thumbnail(shown, SIDE)
    shown = enlarge(np.repeat(shown, 3, 2) if shown.shape[2] == 1 else shown)
    return thumbnail(np.concatenate([shown, overlay(shown, heat)], 1), 2 * SIDE)


def enlarge(pixels: np.ndarray) -> np.ndarray:
    """Enlarge an image to a longer side of `SIDE`. Return a larger image unchanged."""
    import cv2

    scale = SIDE / max(pixels.shape[:2])
    if scale <= 1:
        return pixels
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR if scale < 2 else cv2.INTER_NEAREST)


def displayable(pixels: np.ndarray) -> np.ndarray:
    """Return an image as uint8 with 1 or 3 channels.

    Floats from 0 to 255 are rounded. Floats in another range, such as 0 to 1, are stretched to 0..255.
    """
    pixels = pixels[..., : 3 if pixels.shape[2] >= 3 else 1]
    if pixels.dtype == np.uint8:
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 255 or high <= 1:
        pixels = (pixels - low) * (255 / max(high - low, 1e-9))
    return np.rint(pixels).astype(np.uint8)
