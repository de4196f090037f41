"""Show how predictions are distributed, compared with the labels."""

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.metrics.metric import mean_of_known
from kcomp.report import plots
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import number, percent

DRAWN = 3  # numbers with a plot


def distribution_part(rows: HeldOutRows, outcomes: Outcomes) -> Part:
    if outcomes.is_one_class:
        return class_distribution(rows, outcomes)
    if outcomes.decided is not None and outcomes.decided.ndim == 2:
        return label_distribution(rows, outcomes)
    return number_distribution(rows)


def class_distribution(rows: HeldOutRows, outcomes: Outcomes) -> Part:
    """Return the part about the confidence of right and wrong rows, and about how often each class is predicted."""
    assert outcomes.true is not None and outcomes.decided is not None
    names = rows.target.class_names
    true = np.bincount(outcomes.true.astype(int), minlength=len(names))
    predicted = np.bincount(outcomes.decided.astype(int), minlength=len(names))
    right = outcomes.correct == 1
    sure, unsure = (mean_of_known(outcomes.confidence[chosen]) for chosen in (right, ~right))
    most = int(np.argmax(np.abs(predicted - true)))
    verdict = f"{names[most]!r} is predicted {predicted[most]} times and is the label of {true[most]} rows."
    if not np.isnan(unsure):
        verdict += f" The mean confidence is {percent(sure)} for right rows and {percent(unsure)} for wrong ones."
    section = Section("Predictions", verdict)
    groups = {"right rows": outcomes.confidence[right], "wrong rows": outcomes.confidence[~right]}
    picture = plots.histogram(groups, xlabel="confidence: the probability of the predicted class")
    section.pictures.append(("How certain right and wrong rows are", picture))
    cells = [[name, str(label), str(guess)] for name, label, guess in zip(names, true, predicted, strict=True)]
    section.tables.append(("Rows by class", PageTable(["class", "rows by label", "rows by prediction"], cells)))
    numbers = {"labels": true.tolist(), "predictions": predicted.tolist(), "right": sure, "wrong": unsure}
    return Part("predictions", section, numbers)


def label_distribution(rows: HeldOutRows, outcomes: Outcomes) -> Part:
    """Return the part about the probabilities of present and absent labels, and how often each label is predicted."""
    assert outcomes.true is not None and outcomes.decided is not None
    present, absent = rows.predictions[outcomes.true == 1], rows.predictions[outcomes.true == 0]
    verdict = (
        f"The mean probability is {percent(mean_of_known(present))} for labels that are present and "
        f"{percent(mean_of_known(absent))} for absent ones."
    )
    section = Section("Predictions", verdict)
    groups = {"label is present": present, "label is absent": absent}
    section.pictures.append(("Probabilities of all labels", plots.histogram(groups, xlabel="probability")))
    cells = []
    for column, name in enumerate(rows.target.class_names):
        known = ~np.isnan(outcomes.true[:, column])
        shares = [
            mean_of_known(values[known, column]) for values in (outcomes.true, rows.predictions, outcomes.decided)
        ]
        cells.append([name, *map(percent, shares)])
    header = ["label", "present", "mean probability", "predicted as present"]
    section.tables.append(("Share of the rows in which each label is known", PageTable(header, cells)))
    return Part("predictions", section, {"present": mean_of_known(present), "absent": mean_of_known(absent)})


def number_distribution(rows: HeldOutRows) -> Part:
    """Return the part about the range of labels and the range of predictions, for grades or for each number."""
    section = Section("Predictions", "Predictions usually spread less than labels; compare both below.")
    cells, numbers = [], {}
    for column, name in enumerate(rows.target.columns):
        known = ~np.isnan(rows.labels[:, column])
        groups = {"labels": rows.labels[known, column], "predictions": rows.predictions[known, column]}
        if column < DRAWN:
            section.pictures.append((f"{name}: labels and predictions", plots.histogram(groups, xlabel=name)))
        for kind, values in groups.items():
            parts = [values.mean(), values.std(), values.min(), values.max()] if len(values) else [np.nan] * 4
            cells.append([name, kind, *map(number, parts)])
            numbers[f"{name} {kind}"] = dict(
                zip(("mean", "deviation", "lowest", "highest"), map(float, parts), strict=True)
            )
    header = ["number", "of", "mean", "standard deviation", "lowest", "highest"]
    section.tables.append(("Labels and predictions of the rows with a label", PageTable(header, cells)))
    return Part("predictions", section, numbers)
