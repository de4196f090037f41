"""Check for wrong labels and for images that are unlike all others."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.check.data_set import DataSet
from kcomp.check.pictures import picture_of
from kcomp.check.wrong_labels.outliers import outlier_scores
from kcomp.check.wrong_labels.suspects import (
    CheckedColumn,
    Suspect,
    check_columns,
    label_columns,
    rank_suspects,
    scores_of,
)
from kcomp.data.tables import Table
from kcomp.probe.kernel import kernel_scores
from kcomp.report.finding import Finding, Severity
from kcomp.report.page import PageTable, Picture, Section
from kcomp.report.part import Part
from kcomp.report.text import percent, quantity

CERTAINTY = 0.01  # probability of an alarm if all labels are correct and the model of the predictor is
LEAST_RATE = 0.01  # below this share of wrong labels, they are as rare as images that any predictor misjudges
LIKELY, NEARLY_CERTAIN = 0.5, 0.9  # probability that a label is wrong, in an alarm and without one
WIDE = 0.05  # an interval of this width does not say how many labels are wrong
PICTURES = 24
ROWS = 500  # of the table on the page
FEWEST_ROWS = 20


def check_wrong_labels(data_set: DataSet) -> Part:
    """Return the part of the report about wrong labels and outliers.

    Labels are compared with out-of-fold predictions: of runs, or of a kernel ridge regression on features.
    """
    return wrong_label_part(data_set, checked_columns(data_set))


def checked_columns(data_set: DataSet) -> list[CheckedColumn] | None:
    """Compare the labels of each column with predictions. Return None without predictions and features."""
    target, labels = data_set.table.required_target, data_set.table.labels
    columns = label_columns(target, labels)
    scores = predicted_scores(data_set, columns)
    if scores is None:
        return None
    return list(check_columns(target, columns, scores)) if len(labels) >= FEWEST_ROWS else []


def wrong_label_part(data_set: DataSet, columns: Sequence[CheckedColumn] | None) -> Part:
    section = Section("Wrong labels and outliers", "")
    numbers: dict[str, object] = {}
    findings: list[Finding] = []
    if columns is None:
        section.verdict = "Wrong labels were not looked for, because that needs features of a network, or runs."
        return Part("wrong_labels", section, {"checked": False})
    if columns:
        findings += label_findings(data_set, columns, section, numbers)
    else:
        section.verdict = "There are too few labels to find wrong ones."
    if data_set.features is not None:
        findings += outlier_findings(data_set, section, numbers)
    source = "out-of-fold predictions of runs" if data_set.predictions is not None else "a probe on frozen features"
    return Part("wrong_labels", section, {"checked": bool(columns), "source": source, **numbers}, tuple(findings))


def predicted_scores(data_set: DataSet, columns: np.ndarray) -> np.ndarray | None:
    """Return a score for each label column, (rows, columns), by a predictor that did not see the row's label.

    `columns` is the result of `label_columns`. Return None without predictions and features.
    """
    if data_set.predictions is not None:
        return scores_of(data_set.table.required_target, data_set.predictions)
    if data_set.features is None:
        return None
    hashes = pd.Series(data_set.facts.pixels_hash.astype(str))
    equal = pd.factorize(hashes.where(hashes != "", hashes.index.astype(str)))[0]
    return kernel_scores(data_set.features, columns, data_set.table, data_set.seed, together=equal)


def label_findings(
    data_set: DataSet, columns: Sequence[CheckedColumn], section: Section, numbers: dict[str, object]
) -> list[Finding]:
    """Return findings about labels that may be wrong. Also add these labels to the section and to `numbers`."""
    ids, count = data_set.table.ids, sum(len(column.rows) for column in columns)
    rate, low, high = share_of(columns)
    p_value = min(1.0, len(columns) * min(column.errors.p_value for column in columns))
    ranked = rank_suspects(columns, count)
    certain, alarm = p_value < CERTAINTY, p_value < CERTAINTY and rate >= LEAST_RATE
    chosen = [suspect for suspect in ranked if certain and suspect.wrong > (LIKELY if alarm else NEARLY_CERTAIN)]
    listed = [
        {"image_id": ids[suspect.row], "label": suspect.label, "likely": suspect.likely, "wrong": suspect.wrong}
        for suspect in chosen
    ]
    numbers |= {"wrong_share": rate, "interval": [low, high], "p_value": p_value, "suspects": listed}
    section.good = not alarm
    by = "the runs' out-of-fold predictions" if data_set.predictions is not None else "a probe on frozen features"
    section.paragraphs.append(
        f"Each image was predicted by {by}, without its own label. The probability that a label is wrong takes into "
        "account how often the predictions are wrong themselves. Look at the pictures before you change a label."
    )
    show_suspects(data_set.table, ranked[: max(len(chosen), PICTURES)], section)
    what = f"{quantity(len(chosen), 'label')} of {count:,}"
    section.verdict = share_verdict(rate, (low, high), count, certain=certain)
    if alarm and chosen:
        section.verdict += f" {what} look wrong."
        return [finding("warning", f"{what} look wrong", ids, chosen)]
    if not chosen:
        return []
    section.verdict += f" {what} {'needs' if len(chosen) == 1 else 'need'} a look."
    return [finding("note", f"{what} may be wrong", ids, chosen)]


def share_of(columns: Sequence[CheckedColumn]) -> tuple[float, float, float]:
    """Return three numbers: the share of wrong labels in all columns together, and the ends of its 95 % interval.

    The uncertainties of the columns count as independent, so the squares of the interval's halves are added.
    """
    weights = np.array([len(column.rows) for column in columns], float)
    weights /= weights.sum()
    rates = np.array([column.errors.rate for column in columns])
    low, high = np.array([column.errors.interval for column in columns]).T
    rate = float(weights @ rates)
    down, up = (float(np.sqrt(np.square(weights * gap).sum())) for gap in (rates - low, high - rates))
    return rate, max(rate - down, 0.0), rate + up


def share_verdict(rate: float, interval: tuple[float, float], count: int, *, certain: bool) -> str:
    """Return a sentence about the share of wrong labels, or about why it cannot be estimated.

    Args:
        rate: The estimated share.
        interval: The ends of its 95 % interval.
        count: The number of labels.
        certain: Whether some labels are wrong beyond chance.
    """
    low, high = interval
    if certain:
        return f"{percent(low)} to {percent(high)} of the labels are wrong (95 % interval), probably {percent(rate)}."
    if high - low <= WIDE:
        return (
            f"The predictions show no more wrong labels than chance explains: at most {percent(high)} (95 % interval)."
        )
    first = min(PICTURES, max(5, round(high * count)))
    return (
        f"{count:,} labels are too few, or their predictions too weak, to estimate how many are wrong: "
        f"{percent(low)} to {percent(high)} (95 % interval). Look at the first {first} pictures below."
    )


def finding(severity: str, message: str, ids: Sequence[str], chosen: Sequence[Suspect]) -> Finding:
    first = chosen[0]
    text = (
        f"{message}, first {ids[first.row]!r}: labelled {first.label}, predicted {first.likely}; correct the wrong ones"
    )
    details: dict[str, str] = {}
    for suspect in chosen:
        label = f"labelled {suspect.label}, predicted {suspect.likely} (wrong with probability {suspect.wrong:.2f})"
        image_id = ids[suspect.row]
        details[image_id] = f"{details[image_id]}; {label}" if image_id in details else label
    weight = sum(suspect.wrong for suspect in chosen)
    return Finding("wrong-label", severity, text, tuple(details), weight, tuple(details.values()))  # type: ignore[arg-type]


def show_suspects(table: Table, ranked: Sequence[Suspect], section: Section) -> None:
    ids = table.ids
    rows = [[ids[suspect.row], suspect.label, suspect.likely, f"{suspect.wrong:.2f}"] for suspect in ranked[:ROWS]]
    header = ("image", "label", "likeliest other label", "probability that the label is wrong")
    section.tables.append(("Labels that agree least with the predictions", PageTable(header, rows)))
    lines = [
        (
            suspect.row,
            [
                ids[suspect.row],
                f"label: {suspect.label}",
                f"if wrong: {suspect.likely}",
                f"wrong with probability {suspect.wrong:.2f}",
                *fold_and_path(table, suspect.row),
            ],
        )
        for suspect in ranked[:PICTURES]
    ]
    section.galleries.append(
        ("Labels that agree least with the predictions, the worst first", thumbnails(table, lines))
    )


def fold_and_path(table: Table, row: int) -> list[str]:
    """Return the fold of a row and the path of its image as texts, as far as it has them."""
    fold = [f"fold {table.frame['fold'].iloc[row]}"] if "fold" in table.frame else []
    image = table.frame["image"].iloc[row]
    return [*fold, *([str(image)] if isinstance(image, str | Path) else [])]


def outlier_findings(data_set: DataSet, section: Section, numbers: dict[str, object]) -> list[Finding]:
    """Return findings about outliers. Also add the outliers to the section and to `numbers`."""
    assert data_set.features is not None  # the caller checks it
    usable = np.flatnonzero(np.isfinite(data_set.features).all(1))
    if len(usable) < FEWEST_ROWS:
        return []
    scores, limit = outlier_scores(data_set.features[usable])
    order = np.argsort(-scores, kind="stable")
    outliers = [int(usable[place]) for place in order if scores[place] > limit]
    by_row = dict(zip(usable.tolist(), scores.tolist(), strict=True))
    ids = data_set.table.ids
    numbers["outliers"] = [{"image_id": ids[row], "score": by_row[row]} for row in outliers]
    lines = [
        (int(usable[place]), [ids[usable[place]], f"score {scores[place]:.1f}"]) for place in order[: PICTURES // 2]
    ]
    caption = f"Images that are least like others (an outlier has a score above {limit:.1f})"
    section.galleries.append((caption, thumbnails(data_set.table, lines)))
    extreme = [row for row in outliers if by_row[row] > 2 * limit]
    others = [row for row in outliers if by_row[row] <= 2 * limit]
    texts = {row: f"unlike all others: score {by_row[row]:.1f}, limit {limit:.1f}" for row in outliers}
    return [*outliers_finding("warning", ids, extreme, texts), *outliers_finding("note", ids, others, texts)]


def outliers_finding(
    severity: Severity, ids: Sequence[str], rows: Sequence[int], texts: Mapping[int, str]
) -> list[Finding]:
    """Return a list with a finding about the outliers in these rows. The list is empty without rows.

    `texts` has a sentence about each row.
    """
    if not rows:
        return []
    message = f"{quantity(len(rows), 'image')} {'is' if len(rows) == 1 else 'are'} unlike all others"
    images, details = tuple(ids[row] for row in rows), tuple(texts[row] for row in rows)
    return [Finding("outlier", severity, message, images, len(rows), details)]


def thumbnails(table: Table, rows: Sequence[tuple[int, Sequence[str]]]) -> list[Picture]:
    """Return thumbnails of the images at these rows, each with its lines of text. Unreadable images are left out."""
    images = table.images
    shown = (picture_of(images[row], table.value_range, lines) for row, lines in rows)
    return [picture for picture in shown if picture is not None]
