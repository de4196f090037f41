"""Check the labels: rows of each class, labels that occur together, unusual numbers, and spellings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.labels.repeated import repeated_findings, repeated_tables
from kcomp.check.labels.spellings import numeric_names_text, spelling_findings
from kcomp.check.labels.values import odd_values, value_section
from kcomp.data.splits import fold_numbers
from kcomp.data.splits.rows import one_hot
from kcomp.data.tables import Table
from kcomp.report import plots
from kcomp.report.finding import Finding, messages
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import quantity

MOST_PAIRS = 100  # pairs of labels in the table
MOST_SHOWN = 15  # labels in the matrix
MOST_NAMES = 5  # class names in a message


def check_labels(data_set: DataSet) -> Part:
    table = data_set.table
    target, labels = table.required_target, table.labels.astype(np.float64)
    section = Section("Labels", target.describe(labels) if len(labels) else "The table has no rows.")
    findings = [
        *repeated_findings(data_set.repeated),
        *spelling_findings(table, data_set.notices),
        *odd_values(table),
    ]
    section.tables += repeated_tables(data_set.repeated)
    numbers: dict[str, Any] = {"rows": len(labels), "missing_labels": int(np.isnan(labels).sum())}
    if target.class_names and len(labels):
        counts = class_counts(table)
        findings += rare_classes(table, counts)
        numbers["rows_of_classes"] = dict(zip(target.class_names, counts.astype(int).tolist(), strict=True))
        section.tables.append(("Rows of each class", balance(target.class_names, counts, len(labels))))
        order = np.argsort(-counts, kind="stable")
        names = [target.class_names[place] for place in order]
        section.pictures.append(("Rows of each class", plots.bars(names, counts[order], xlabel="rows")))
        if target.strata(labels).ndim == 2:
            section.tables += [
                ("Labels of a row", label_count_table(table)),
                ("Labels that occur together", pair_table(table)),
            ]
            section.pictures.append(("Rows with both labels, of the most frequent labels", pair_plot(table, order)))
    elif len(labels):
        value_section(table, section)
    section.paragraphs += [*balance_text(numbers.get("rows_of_classes", {})), *numeric_names_text(target)]
    section.good = not findings
    if findings:
        section.verdict += f". {messages(findings)}"
    return Part("labels", section, numbers, tuple(findings))


def class_counts(table: Table) -> np.ndarray:
    """Return the number of rows of each class, int (classes,). A soft label counts as its most likely class."""
    target = table.required_target
    membership = class_members(table)
    counts = np.zeros(len(target.class_names), int)
    counts[: membership.shape[1]] = membership.sum(0)
    return counts


def class_members(table: Table) -> np.ndarray:
    """Return whether each row belongs to each class, bool (rows, classes)."""
    target = table.required_target
    hot = one_hot(target.strata(table.labels.astype(np.float64)))
    result = np.zeros((len(table), len(target.class_names)), bool)
    result[:, : hot.shape[1]] = hot
    return result


def balance(names: Sequence[str], counts: np.ndarray, rows: int) -> PageTable:
    order = np.argsort(-counts, kind="stable")
    cells = [[names[place], str(counts[place]), f"{100 * counts[place] / rows:.1f} %"] for place in order]
    return PageTable(["Class", "Rows", "Share of the rows"], cells)


def balance_text(counts: dict[str, int]) -> list[str]:
    """Return a list with a paragraph that compares the largest class with the smallest. Empty for a single class."""
    present = {name: count for name, count in counts.items() if count}
    if len(present) < 2:
        return []
    rarest, commonest = min(present, key=lambda name: present[name]), max(present, key=lambda name: present[name])
    ratio = present[commonest] / present[rarest]
    return [
        f"The largest class, {commonest!r}, has {ratio:.3g} times as many rows as the smallest, {rarest!r}. A model "
        f"that always predicts {commonest!r} is right in {present[commonest]} rows."
    ]


def rare_classes(table: Table, counts: np.ndarray) -> list[Finding]:
    """Return warnings about classes with fewer rows than folds, and about classes whose rows are all in one fold."""
    names, membership = table.required_target.class_names, class_members(table)
    numbers = fold_numbers(table) if "fold" in table.frame else []
    repeats = 1 + sum(f"fold_{repeat}" in table.frame for repeat in range(1, len(numbers)))
    folds = len(numbers) // repeats
    least = max(folds, 2)
    few = counts < least
    untrained = np.zeros(len(names), bool)
    for fold in numbers[:folds]:
        held_out = table.frame["fold"].to_numpy() == fold
        train = table.frame["fold"].to_numpy() < fold if table.folds_in_order else ~held_out
        untrained |= ~membership[train].any(0) & membership[held_out].any(0)
    findings = []
    if few.any():
        text = list_classes([f"{names[place]!r} ({counts[place]})" for place in np.flatnonzero(few)])
        rule = f"there are {folds} folds" if folds >= 2 else "a class needs a row to train on and a row to hold out"
        message = f"{number_of_classes(few)} too few rows ({rule}): {text}"
        findings.append(Finding("rare-class", "warning", message, ids_of(table, membership, few)))
    if (untrained & ~few).any():
        text = list_classes([repr(names[place]) for place in np.flatnonzero(untrained & ~few)])
        message = f"{number_of_classes(untrained & ~few)} held-out rows but no training row in a fold: {text}"
        findings.append(Finding("rare-class", "warning", message, ids_of(table, membership, untrained & ~few)))
    return findings


def number_of_classes(chosen: np.ndarray) -> str:
    return "1 class has" if chosen.sum() == 1 else f"{int(chosen.sum())} classes have"


def list_classes(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MOST_NAMES} more" if len(texts) > MOST_NAMES else ""
    return ", ".join(texts[:MOST_NAMES]) + more


def ids_of(table: Table, membership: np.ndarray, classes: np.ndarray) -> tuple[str, ...]:
    rows = np.flatnonzero(membership[:, classes].any(1))
    ids = table.ids
    return tuple(ids[row] for row in rows)


def label_count_table(table: Table) -> PageTable:
    """Return a table with the number of rows that have 0 labels, 1 label, 2 labels and so on."""
    counts = np.bincount(class_members(table).sum(1))
    rows = [[quantity(number, "label"), str(count)] for number, count in enumerate(counts) if count]
    return PageTable(["Labels of the row", "Rows"], rows)


def pair_plot(table: Table, order: np.ndarray) -> bytes:
    """Return a PNG plot of a matrix: the number of rows with both labels of each pair.

    `order` has column numbers of labels. The matrix shows the first of them.
    """
    shown = order[:MOST_SHOWN]
    membership = class_members(table)[:, shown].astype(np.float64)
    names = [table.required_target.class_names[place] for place in shown]
    return plots.matrix(membership.T @ membership, names, xlabel="label", ylabel="label")


def pair_table(table: Table) -> PageTable:
    """Return a table of pairs of labels: how many rows have both, and how many would if the labels were independent.

    The first pairs are those whose number of rows is the most standard deviations from the expected number.
    """
    names, membership = table.required_target.class_names, class_members(table).astype(np.float64)
    shares, rows = membership.mean(0), len(membership)
    together = membership.T @ membership
    expected = np.outer(shares, shares) * rows
    spread = np.sqrt(np.maximum(expected * np.outer(1 - shares, 1 - shares), 1e-9))
    first, second = np.triu_indices(len(names), 1)
    distance = (together - expected)[first, second] / spread[first, second]
    order = np.argsort(-np.abs(distance), kind="stable")[:MOST_PAIRS]
    cells = [
        [
            names[first[place]],
            names[second[place]],
            f"{together[first[place], second[place]]:.0f}",
            f"{expected[first[place], second[place]]:.1f}",
            f"{distance[place]:+.1f}",
        ]
        for place in order
    ]
    return PageTable(["Label", "Label", "Rows with both", "By chance", "Standard deviations from chance"], cells)
