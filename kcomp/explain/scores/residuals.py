"""Show the errors of predicted numbers: their size, their mean, and how they depend on the label."""

from dataclasses import asdict, dataclass

import numpy as np

from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.metrics.regression import column_mae, column_r2, column_rmse
from kcomp.report import plots
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import number

GROUPS = 5  # groups of equally many rows with similar labels
DRAWN = 3  # numbers with a plot
FEW = 50  # with fewer rows, no groups are shown


@dataclass(frozen=True)
class Residuals:
    """The errors of one regression target. A residual is the prediction minus the label, in the units of the label.

    Attributes:
        name: The name of the target.
        rows: The number of rows with a label.
        mae: The mean absolute residual.
        rmse: The root of the mean squared residual.
        r2: The coefficient of determination.
        bias: The mean residual.
        groups: Four numbers for each group of rows with similar labels: the lowest label, the highest label, the mean
            residual, and the mean absolute residual. The group with the lowest labels comes first.
    """

    name: str
    rows: int
    mae: float
    rmse: float
    r2: float
    bias: float
    groups: tuple[tuple[float, float, float, float], ...]


def residual_part(rows: HeldOutRows) -> Part:
    columns = [
        measure_residuals(name, *column)
        for name, *column in zip(rows.target.columns, rows.labels.T, rows.predictions.T, strict=True)
    ]
    section = Section("Residuals", " ".join(map(residual_sentence, columns[:3])))
    section.paragraphs.append(
        "A residual is the prediction minus the label. A bias above 0 means that predictions are too high."
    )
    for place, each in enumerate(columns[:DRAWN]):
        picture = plots.scatter(
            rows.labels[:, place],
            rows.predictions[:, place],
            xlabel=f"label: {each.name}",
            ylabel="prediction",
            diagonal=True,
        )
        section.pictures.append((f"{each.name}: predictions and labels. A right prediction is on the line", picture))
    cells = [[each.name, str(each.rows), *map(number, (each.mae, each.rmse, each.r2, each.bias))] for each in columns]
    header = ["number", "rows", "mean absolute error", "root mean squared error", "R2", "bias"]
    section.tables.append(("Each number, on the rows that have it", PageTable(header, cells)))
    for each in columns:
        if each.groups:
            groups = [list(map(number, group)) for group in each.groups]
            header = ["label from", "to", "bias", "mean absolute error"]
            section.tables.append((f"{each.name}: groups of rows with similar labels", PageTable(header, groups)))
    return Part("classes", section, {"numbers": [asdict(each) for each in columns]})


def measure_residuals(name: str, labels: np.ndarray, predictions: np.ndarray) -> Residuals:
    """Measure the errors of one regression target. `labels`, (rows,), are NaN in rows without a label."""
    known = ~np.isnan(labels)
    labels, predictions = labels[known], predictions[known]
    if not len(labels):
        return Residuals(name, 0, np.nan, np.nan, np.nan, np.nan, ())
    residuals = predictions - labels
    groups = []
    if len(labels) >= FEW:
        for place in np.array_split(np.argsort(labels, kind="stable"), GROUPS):
            part = residuals[place]
            groups.append((labels[place].min(), labels[place].max(), part.mean(), np.abs(part).mean()))
    return Residuals(
        name=name,
        rows=len(labels),
        mae=column_mae(labels, predictions),
        rmse=column_rmse(labels, predictions),
        r2=column_r2(labels, predictions),
        bias=float(residuals.mean()),
        groups=tuple(tuple(map(float, group)) for group in groups),  # type: ignore[misc]
    )


def residual_sentence(residuals: Residuals) -> str:
    """Return sentences about the size of the errors, and about their change from low to high labels."""
    text = f"{residuals.name}: the mean absolute error is {number(residuals.mae)}, R2 {number(residuals.r2)}."
    if len(residuals.groups) > 1:
        first, last = residuals.groups[0][2], residuals.groups[-1][2]
        if first > 0 > last and min(first, -last) > residuals.mae / 2:
            text += " Low labels are predicted too high and high labels too low, which is usual for weak models."
    return text
