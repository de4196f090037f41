"""Check regression targets: their distribution, values far from all others, and codes for missing values."""

from dataclasses import dataclass

import numpy as np

from kcomp.data.tables import Table
from kcomp.report import plots
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable, Section

MISSING_CODES = (-1, -9, -99, -999, -9999, 99, 999, 9999, 99999, 65535)  # that people write for a missing number
LARGEST_SHARE = 0.05  # of rows that can be far from all others
MOST_PICTURES = 4  # columns with a histogram


@dataclass(frozen=True)
class OddValues:
    """Values in a column of a regression target that look wrong.

    Attributes:
        rows: Whether each row has such a value, bool (rows,).
        reason: What is odd about these values, as a sentence.
    """

    rows: np.ndarray
    reason: str


def odd_values(table: Table) -> list[Finding]:
    """Return a warning for each column of a regression target with values that look wrong."""
    target, labels = table.required_target, table.labels.astype(np.float64)
    if target.class_names:
        return []
    findings = []
    for name, values in zip(target.columns, labels.T, strict=True):
        for odd in (missing_code(values), far_values(values)):
            if odd is None:
                continue
            ids = tuple(image_id for image_id, is_odd in zip(table.ids, odd.rows, strict=True) if is_odd)
            findings.append(Finding("outlier", "warning", f"column {name!r}: {odd.reason}", ids))
            break
    return findings


def missing_code(values: np.ndarray) -> OddValues | None:
    """Return the values that are probably a code for a missing number, such as -1 or 999. Return None without any."""
    known = values[~np.isnan(values)]
    for code in MISSING_CODES:
        count, others = int((known == code).sum()), known[known != code]
        if count < 2 or len(others) < 2:
            continue
        width = others.max() - others.min()
        gap = max(code - others.max(), others.min() - code)
        if (code < 0 <= others.min()) or (gap > width / 2 and gap > 0):
            return OddValues(
                values == code, f"{count} rows have {code:g}, which looks like a code for a missing number"
            )
    return None


def far_values(values: np.ndarray) -> OddValues | None:
    """Return the values that lie far from all others. Return None without any.

    They are in at most 5 % of the rows, beyond a gap that is wider than the range of the other values (Dixon 1950).
    """
    known = ~np.isnan(values)
    if known.sum() < 10:
        return None
    far = beyond_gap(values[known])
    if (values[known] > 0).all():
        far &= beyond_gap(np.log(values[known]))
    if not far.any():
        return None
    rows = np.zeros(len(values), bool)
    rows[known] = far
    others = values[known][~far]
    shown = ", ".join(f"{value:g}" for value in np.unique(values[rows])[:5])
    text = (
        f"{int(far.sum())} rows have values far from all others, {shown}; the others lie between {others.min():g} and "
    )
    return OddValues(rows, f"{text}{others.max():g}")


def beyond_gap(values: np.ndarray) -> np.ndarray:
    """Return whether each value lies beyond a gap that is wider than the range of the others, bool (values,)."""
    ordered = np.sort(values)
    gaps, most = np.diff(ordered), max(1, int(LARGEST_SHARE * len(values)))
    result = np.zeros(len(values), bool)
    for place in np.argsort(-gaps, kind="stable")[:2]:
        lower, upper = ordered[: place + 1], ordered[place + 1 :]
        if len(upper) <= most and gaps[place] > np.ptp(lower) > 0:
            result |= values >= upper[0]
        elif len(lower) <= most and gaps[place] > np.ptp(upper) > 0:
            result |= values <= lower[-1]
    return result


def value_section(table: Table, section: Section) -> None:
    rows, repeated = [], []
    labels = table.labels.astype(np.float64)
    for name, values in zip(table.columns, labels.T, strict=True):
        known = values[~np.isnan(values)]
        if not len(known):
            rows.append([name, "0", str(len(values)), *[""] * 7])
            continue
        quantiles = np.quantile(known, [0, 0.05, 0.5, 0.95, 1])
        cells = [f"{number:.5g}" for number in (*quantiles, known.mean(), known.std())]
        rows.append([name, str(len(known)), str(len(values) - len(known)), *cells])
        distinct, counts = np.unique(known, return_counts=True)
        for place in np.argsort(-counts, kind="stable")[:3]:
            if counts[place] > 1:
                repeated.append(
                    [name, f"{distinct[place]:g}", str(counts[place]), f"{100 * counts[place] / len(known):.1f} %"]
                )
    header = ["Number", "Rows", "Missing", "Lowest", "5 %", "Median", "95 %", "Highest", "Mean", "Standard deviation"]
    section.tables.append(("Distribution", PageTable(header, rows)))
    if repeated:
        section.tables.append(("Most frequent values", PageTable(["Number", "Value", "Rows", "Share"], repeated)))
    for name, values in zip(table.columns[:MOST_PICTURES], labels.T[:MOST_PICTURES], strict=True):
        section.pictures.append(
            (f"How often each value of {name} occurs", plots.histogram({name: values}, xlabel=name))
        )
