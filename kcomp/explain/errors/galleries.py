"""Choose the rows that the page shows as pictures."""

from dataclasses import dataclass

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes, wrong_cells
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.scores.confusion import count_confusions, recalls
from kcomp.report.text import quantity

MISTAKES, UNCERTAIN, OF_CLASS = 24, 12, 4  # pictures in a gallery
CLASSES = 12  # at most this many classes or labels have a gallery


@dataclass(frozen=True)
class Gallery:
    """Held-out rows that the page shows together, under one caption.

    Attributes:
        caption: What the rows have in common.
        places: Positions of the rows in `HeldOutRows`.
        columns: For each row, the number of the prediction column that its heat map explains, int (rows,). None to use
            `explained_column`.
    """

    caption: str
    places: np.ndarray
    columns: np.ndarray | None = None


def choose_galleries(rows: HeldOutRows, outcomes: Outcomes) -> list[Gallery]:
    """Return galleries of the worst mistakes, the least certain rows, and the mistakes of each class or label."""
    order = np.argsort(-np.nan_to_num(outcomes.severity, nan=-np.inf), kind="stable")
    if outcomes.decided is None:
        worst = order[~np.isnan(outcomes.severity[order])][:MISTAKES]
        return [Gallery("The largest errors", worst), *uncertain_gallery(rows, outcomes)]
    wrong = order[outcomes.correct[order] == 0]
    caption = "The most confident mistakes" if not np.isnan(outcomes.confidence).all() else "The largest mistakes"
    groups = [Gallery(f"{caption} ({quantity(len(wrong), 'wrong row')} in all)", wrong[:MISTAKES])]
    groups += uncertain_gallery(rows, outcomes)
    groups += label_galleries(rows, outcomes) if outcomes.decided.ndim == 2 else class_galleries(rows, outcomes, wrong)
    return [group for group in groups if len(group.places)]


def uncertain_gallery(rows: HeldOutRows, outcomes: Outcomes) -> list[Gallery]:
    """Return a list with a gallery of the rows with the lowest confidence, or an empty list.

    For several labels, the heat map of a row explains its least certain label. Without probabilities, the rows are
    those on which several models differ most.
    """
    if not np.isnan(outcomes.confidence).all():
        places = np.argsort(outcomes.confidence, kind="stable")[:UNCERTAIN]
        columns = None if outcomes.is_one_class else rows.target.confidence(rows.predictions[places]).argmin(1)
        return [Gallery("The least certain rows", places, columns)]
    if len(rows.members) < 2:
        return []
    spread = np.zeros(len(rows))
    several = rows.held_out_by.sum(0) > 1
    spread[several] = (np.nanstd(rows.by_member[:, several], 0) / rows.target.unit).max(1)
    order = np.argsort(-spread, kind="stable")[:UNCERTAIN]
    return [Gallery("Rows on which the models differ most", order[spread[order] > 0])]


def class_galleries(rows: HeldOutRows, outcomes: Outcomes, wrong: np.ndarray) -> list[Gallery]:
    """Return a gallery of the worst mistakes for each of the classes with the lowest recall.

    `wrong` has the positions of all wrong rows, the worst mistake first.
    """
    assert outcomes.true is not None
    names = rows.target.class_names
    shares = recalls(count_confusions(outcomes, len(names)))
    classes = sorted((share.mean, place) for place, share in enumerate(shares) if share.rows)[:CLASSES]
    groups = []
    for _, place in classes:
        own = wrong[outcomes.true[wrong] == place]
        groups.append(Gallery(f"True class {names[place]!r}: {quantity(len(own), 'wrong row')}", own[:OF_CLASS]))
    return groups


def label_galleries(rows: HeldOutRows, outcomes: Outcomes) -> list[Gallery]:
    """Return a gallery of the worst mistakes for each of the labels with the most mistakes."""
    cells, groups = wrong_cells(outcomes), []
    for column in np.argsort(-cells.sum(0), kind="stable")[:CLASSES]:
        errors = np.where(cells[:, column], np.abs(rows.labels[:, column] - rows.predictions[:, column]), -1)
        own = np.argsort(-errors, kind="stable")[: min(OF_CLASS, int(cells[:, column].sum()))]
        count = quantity(int(cells[:, column].sum()), "wrong row")
        caption = f"Label {rows.target.class_names[column]!r}: {count}"
        groups.append(Gallery(caption, own, np.full(len(own), column)))
    return groups
