"""Show how often each class or grade is predicted right, and which classes are confused."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix

from kcomp.explain.held_out.outcomes import Outcomes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.scores.thresholds import threshold_findings
from kcomp.metrics.significance import Interval, wilson_interval
from kcomp.report import plots
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import number, percent, quantity

FEW = 10  # the recall of a class with fewer rows is too uncertain to call it the worst
LISTED = 20  # at most this many pairs of confused classes are listed
MOST_DRAWN = 60  # a matrix of more classes is not readable


def confusion_part(rows: HeldOutRows, outcomes: Outcomes) -> Part:
    """Return the part of the page about the recall and precision of each class or grade, and about confused classes."""
    names = rows.target.class_names
    matrix = count_confusions(outcomes, len(names))
    shares = recalls(matrix)
    pairs = confused_pairs(matrix)
    findings = threshold_findings(rows, outcomes)
    verdict = confusion_verdict(names, matrix, shares, pairs)
    section = Section("Classes", " ".join([verdict, *(finding.message for finding in findings)]))
    if len(names) <= MOST_DRAWN:
        section.pictures.append(
            (
                "Confusion matrix: how often rows of each true class get each prediction",
                plots.matrix(matrix, names, xlabel="predicted class", ylabel="true class", by_row=True),
            )
        )
    caption = "Recall is the share of a class's rows that are right, precision the share of its predictions"
    section.tables.append((caption, class_table(names, matrix, shares, outcomes)))
    if pairs:
        section.tables.append(("Most frequent mistakes", pairs_table(names, matrix, pairs)))
    numbers = {"names": list(names), "confusion": matrix.tolist(), "recall": [vars(share) for share in shares]}
    return Part("classes", section, numbers, findings + class_findings(rows, outcomes, matrix, shares))


def count_confusions(outcomes: Outcomes, count: int) -> np.ndarray:
    """Return the confusion matrix, int (true classes, predicted classes). `count` is the number of classes."""
    assert outcomes.true is not None and outcomes.decided is not None
    matrix: np.ndarray = confusion_matrix(
        outcomes.true.astype(int), outcomes.decided.astype(int), labels=np.arange(count)
    )
    return matrix


def recalls(matrix: np.ndarray) -> list[Interval]:
    """Return the recall of each class with its 95 % interval (Wilson 1927), from a confusion matrix."""
    return [
        wilson_interval(int(hits), int(total)) for hits, total in zip(matrix.diagonal(), matrix.sum(1), strict=True)
    ]


def confused_pairs(matrix: np.ndarray) -> list[tuple[int, int]]:
    """Return at most `LISTED` pairs (true class, predicted class) of wrong rows, the most frequent first."""
    mistakes = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-mistakes, axis=None, kind="stable")[:LISTED]
    places = zip(*np.unravel_index(order, matrix.shape), strict=True)
    return [(int(true), int(other)) for true, other in places if mistakes[true, other]]


def worst_class(shares: Sequence[Interval], overall: float) -> int | None:
    """Return the class with the lowest recall, if the interval of its recall lies below `overall`, else None.

    Classes with few rows are ignored.

    Args:
        shares: The recall of each class, with its interval.
        overall: The share of right rows among all rows.
    """
    below = [(share.mean, place) for place, share in enumerate(shares) if share.rows >= FEW and share.high < overall]
    return min(below)[1] if below else None


def confusion_verdict(
    names: Sequence[str], matrix: np.ndarray, shares: Sequence[Interval], pairs: Sequence[tuple[int, int]]
) -> str:
    right, total = int(matrix.diagonal().sum()), int(matrix.sum())
    text = f"{right:,} of {total:,} rows are right ({percent(right / total)})."
    if not pairs:
        return text
    worst = worst_class(shares, right / total)
    if worst is None:
        text += " No class is clearly worse than the others."
    else:
        share = shares[worst]
        text += f" The worst class is {names[worst]!r}: {percent(share.mean)} of its {share.rows} rows are right."
    true, other = pairs[0]
    count = quantity(int(matrix[true, other]), "row")
    return f"{text} The most frequent mistake is {names[other]!r} for {names[true]!r} ({count})."


def class_findings(
    rows: HeldOutRows, outcomes: Outcomes, matrix: np.ndarray, shares: Sequence[Interval]
) -> tuple[Finding, ...]:
    """Return a finding about the worst class, if `worst_class` returns one."""
    worst = worst_class(shares, float(matrix.diagonal().sum() / matrix.sum()))
    if worst is None:
        return ()
    names, wrong = rows.target.class_names, np.flatnonzero((outcomes.true == worst) & (outcomes.correct == 0))
    mistakes = np.where(np.arange(len(names)) == worst, -1, matrix[worst])
    share, other = shares[worst], names[int(mistakes.argmax())]
    message = (
        f"The worst class is {names[worst]!r}: {percent(share.mean)} of its {share.rows} rows are right. It is taken "
        f"most often for {other!r}. Are their labels right, and can you tell the classes apart at this image size?"
    )
    ids = tuple(str(rows.ids[row]) for row in wrong[np.argsort(-outcomes.severity[wrong], kind="stable")][:20])
    return (Finding("class", "warning", message, ids),)


def class_table(names: Sequence[str], matrix: np.ndarray, shares: Sequence[Interval], outcomes: Outcomes) -> PageTable:
    right, predicted = matrix.diagonal(), matrix.sum(0)
    cells = []
    for place, (name, share) in enumerate(zip(names, shares, strict=True)):
        precision = wilson_interval(int(right[place]), int(predicted[place])).mean
        losses = outcomes.loss[outcomes.true == place]
        loss = number(float(losses.mean())) if len(losses) else "-"
        interval = f"{percent(share.low)} to {percent(share.high)}"
        cells.append([name, str(share.rows), percent(share.mean), interval, percent(precision), loss])
    return PageTable(["class", "rows", "recall", "95 % interval", "precision", "mean loss"], cells)


def pairs_table(names: Sequence[str], matrix: np.ndarray, pairs: Sequence[tuple[int, int]]) -> PageTable:
    cells = []
    for true, other in pairs:
        share = matrix[true, other] / matrix[true].sum()
        cells.append([names[true], names[other], str(matrix[true, other]), percent(float(share))])
    return PageTable(["true class", "predicted class", "rows", "share of the true class"], cells)
