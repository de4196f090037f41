"""Show the results of each label, for a target of several labels: prevalence, AUC, F1 and threshold."""

from dataclasses import asdict, dataclass

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.scores.thresholds import threshold_findings
from kcomp.metrics.classification import FScore
from kcomp.metrics.metric import mean_of_known
from kcomp.metrics.ranking import column_auc
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import number, percent

THRESHOLD = 0.5  # without fitted thresholds


@dataclass(frozen=True)
class LabelScores:
    """The results of one label, on the rows whose label is known.

    Attributes:
        name: The name of the label.
        rows: The number of these rows.
        positive: The number of these rows in which the label is present.
        auc: The area under the ROC curve. NaN unless the label is present in some rows and absent in others.
        precision: The share of rows with the label, among rows in which it is predicted. NaN if it is never predicted.
        recall: The share of rows in which the label is predicted, among rows with the label. NaN if it is never
            present.
        f1: The F1 score. NaN if the label is neither present nor predicted.
        threshold: The least probability at which the label is predicted.
    """

    name: str
    rows: int
    positive: int
    auc: float
    precision: float
    recall: float
    f1: float
    threshold: float


def label_part(rows: HeldOutRows, outcomes: Outcomes) -> Part:
    scores, findings = score_labels(rows, outcomes), threshold_findings(rows, outcomes)
    section = Section("Labels", " ".join([label_verdict(scores), *(finding.message for finding in findings)]))
    header = ["label", "rows", "present", "prevalence", "AUC", "F1", "precision", "recall", "threshold"]
    cells = [
        [
            each.name,
            str(each.rows),
            str(each.positive),
            percent(each.positive / each.rows if each.rows else np.nan),
            *(number(value) for value in (each.auc, each.f1, each.precision, each.recall, each.threshold)),
        ]
        for each in scores
    ]
    section.tables.append(("Each label, on the rows where it is known", PageTable(header, cells)))
    return Part("classes", section, {"labels": [asdict(each) for each in scores]}, findings)


def score_labels(rows: HeldOutRows, outcomes: Outcomes) -> list[LabelScores]:
    assert outcomes.true is not None and outcomes.decided is not None
    names = rows.target.class_names
    thresholds = outcomes.fitted.decisions.values if outcomes.fitted else (THRESHOLD,) * len(names)
    scores = []
    for column, (name, threshold) in enumerate(zip(names, thresholds, strict=True)):
        known = ~np.isnan(outcomes.true[:, column])
        true, decided = outcomes.true[known, column], outcomes.decided[known, column]
        positive, predicted, hits = (int(count) for count in (true.sum(), decided.sum(), (true * decided).sum()))
        auc = column_auc(true, rows.predictions[known, column]) if 0 < positive < len(true) else np.nan
        scores.append(
            LabelScores(
                name=name,
                rows=int(known.sum()),
                positive=positive,
                auc=auc,
                precision=hits / predicted if predicted else np.nan,
                recall=hits / positive if positive else np.nan,
                f1=float(FScore(1.0, "macro").of_counts(np.array(hits), np.array(positive), np.array(predicted))),
                threshold=threshold,
            )
        )
    return scores


def label_verdict(scores: list[LabelScores]) -> str:
    defined = [each for each in scores if not np.isnan(each.f1)]
    if not defined:
        return "No label is present or predicted in a held-out row."
    worst = min(defined, key=lambda each: each.f1)
    mean = mean_of_known([each.f1 for each in scores])
    auc = f", AUC {number(worst.auc)}" if not np.isnan(worst.auc) else ""
    return (
        f"The mean F1 of the labels is {number(mean)}. The worst label is {worst.name!r}: F1 {number(worst.f1)}{auc}; "
        f"{worst.positive} of {worst.rows} rows show it."
    )
