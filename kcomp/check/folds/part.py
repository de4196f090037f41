"""Check the folds: their rows, the noise of the score, and whether another split would fit better."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.folds.score_noise import NORMAL, Noise, score_noise
from kcomp.check.folds.split_advice import split_advice
from kcomp.data.splits import fold_numbers
from kcomp.data.splits.rows import one_hot
from kcomp.data.tables import Table, fold_columns
from kcomp.probe.folds import group_numbers
from kcomp.report.finding import Finding, messages
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import quantity

LEAST_ROWS = 10  # with fewer held-out rows, a single row changes the accuracy by more than 10 points
SMALL_SHARE = 0.5  # of the mean size of the folds


def check_folds(data_set: DataSet) -> Part:
    table = data_set.table
    section = Section("Folds", "The table has no folds.")
    if "fold" not in table.frame or not len(table):
        section.paragraphs += split_advice(data_set)
        return Part("folds", section)
    held_out = held_out_rows(table)
    numbers = fold_numbers(table)
    noise = score_noise(data_set.metric, table.required_target, held_out_labels(table), data_set.seed)
    groups = group_numbers(table)
    sizes = [int(rows.sum()) for rows in held_out]
    findings = small_folds(numbers, sizes)
    section.tables.append(("What each fold holds", fold_table(table, numbers, held_out, groups, noise)))
    section.paragraphs += noise_text(data_set, noise, sizes, groups)
    advice = split_advice(data_set)
    section.paragraphs += advice
    section.good = not any(finding.severity == "warning" for finding in findings)
    section.verdict = verdict(table, numbers, data_set.metric.name, noise, findings)
    values: dict[str, Any] = {
        "rows": dict(zip(map(str, numbers), sizes, strict=True)),
        "metric": data_set.metric.name,
        "advice": advice,
    }
    if noise is not None:
        values |= {
            "typical_score": noise.score,
            "standard_error": noise.deviation,
            "smallest_difference": noise.difference,
            "noise_rows": noise.rows,
            "assumption": noise.assumption,
        }
    return Part("folds", section, values, tuple(findings))


def held_out_rows(table: Table) -> list[np.ndarray]:
    """Return a mask, bool (rows,), of the rows that each fold holds out."""
    columns = [table.frame[name].to_numpy() for name in fold_columns(table.frame)]
    return [np.any([column == number for column in columns], axis=0) for number in fold_numbers(table)]


def training_rows(table: Table, number: int, held_out: np.ndarray) -> np.ndarray:
    """Return a mask, bool (rows,), of the training rows of fold `number`, which holds out the rows in `held_out`."""
    return table.frame["fold"].to_numpy() < number if table.folds_in_order else ~held_out


def held_out_labels(table: Table) -> np.ndarray:
    """Return the labels of all rows that a fold holds out, float64 (rows, columns)."""
    rows = table.frame[fold_columns(table.frame)].to_numpy().max(1) >= 0
    return table.labels.astype(np.float64)[rows]


def small_folds(numbers: Sequence[int], sizes: Sequence[int]) -> list[Finding]:
    """Return a warning if a fold is less than half as large as the mean, or a note if one has fewer than 10 rows."""
    mean = float(np.mean(sizes))
    for least, severity in ((SMALL_SHARE * mean, "warning"), (LEAST_ROWS, "note")):
        small = [(number, size) for number, size in zip(numbers, sizes, strict=True) if size < least]
        if small:
            names = ", ".join(f"fold {number} ({quantity(size, 'row')})" for number, size in small[:5])
            more = f" and {len(small) - 5} more" if len(small) > 5 else ""
            text = f"too few held-out rows for a useful score: {names}{more}; the folds have {mean:.3g} on average"
            return [Finding("small-fold", severity, text)]  # type: ignore[arg-type]
    return []


def fold_table(
    table: Table, numbers: Sequence[int], held_out: Sequence[np.ndarray], groups: np.ndarray | None, noise: Noise | None
) -> PageTable:
    target, labels = table.required_target, table.labels.astype(np.float64)
    header = ["Fold", "Held-out rows", "Training rows"]
    header += ["Groups"] if groups is not None else []
    hot = one_hot(target.strata(labels)) if target.class_names else None
    header += ["Classes", "Rarest class (rows)"] if hot is not None else ["Mean label"]
    header += ["Noise of the score (95 %)"] if noise is not None else []
    rows = []
    for number, members in zip(numbers, held_out, strict=True):
        cells = [str(number), str(int(members.sum())), str(int(training_rows(table, number, members).sum()))]
        if groups is not None:
            cells.append(str(len(np.unique(groups[members]))))
        if hot is not None:
            counts = hot[members].sum(0)
            names = target.class_names
            present = counts > 0
            rarest = int(np.argmin(np.where(present, counts, np.iinfo(int).max)))
            cells += [str(int(present.sum())), f"{names[rarest]} ({counts[rarest]})" if present.any() else ""]
        else:
            known = labels[members][:, 0]
            known = known[~np.isnan(known)]
            cells.append(f"{known.mean():.4g}" if len(known) else "")
        if noise is not None:
            cells.append(f"±{NORMAL * noise.at(int(members.sum())).deviation:.2g}")
        rows.append(cells)
    return PageTable(header, rows)


def noise_text(data_set: DataSet, noise: Noise | None, sizes: Sequence[int], groups: np.ndarray | None) -> list[str]:
    """Return paragraphs about how much the score varies with the choice of rows.

    Args:
        data_set: The data set.
        noise: The noise of the score, or None if it cannot be simulated.
        sizes: How many rows each fold holds out.
        groups: The group number of each row. None without groups.
    """
    name = data_set.metric.name
    if noise is None:
        return [f"The noise of {name} cannot be simulated for these labels."]
    fold = noise.at(round(float(np.mean(sizes))))
    lines = [
        f"At a {name} of {noise.score:.3g}, the choice of rows alone changes the score of a model by "
        f"±{NORMAL * noise.deviation:.2g} on all {noise.rows} held-out rows, and by ±{NORMAL * fold.deviation:.2g} on "
        f"one fold of {fold.rows} rows (95 %). Two models on the same rows differ by more than chance if their scores "
        f"differ by at least {noise.difference:.2g} on all rows, or {fold.difference:.2g} on one fold. A smaller "
        "difference does not show which model is better. Training with another seed adds more noise.",
        f"Assumption: {noise.assumption}. The numbers fall with the square root of the number of rows. `kcomp compare` "
        "measures the difference of two trained models.",
    ]
    if groups is not None:
        count = len(np.unique(groups))
        worst = noise.at(count)
        lines.append(
            f"The rows belong to {count} groups. If the rows of a group are alike, the noise lies between these values "
            f"and those of {count} rows: ±{NORMAL * worst.deviation:.2g} and {worst.difference:.2g}."
        )
    return lines


def verdict(table: Table, numbers: Sequence[int], metric: str, noise: Noise | None, findings: Sequence[Finding]) -> str:
    text = f"{quantity(len(numbers), 'fold')}, {quantity(len(table), 'row')}."
    if noise is not None:
        text += f" Two models differ by more than chance if their {metric} differs by at least {noise.difference:.2g}."
    return f"{text} {messages(findings)}".strip()
