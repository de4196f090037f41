"""Score all held-out rows, each fold and each member (all runs that differ only in their fold), with intervals."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.ensembles.decisions import ScoredDecisions
from kcomp.explain.held_out.outcomes import Outcomes, metric_arrays
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.scores.baseline import baseline_findings
from kcomp.explain.scores.interval_text import interval_text
from kcomp.metrics.metric import Metric
from kcomp.metrics.significance import Interval, metric_interval
from kcomp.report import plots
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import number, quantity


@dataclass(frozen=True)
class Scores:
    """Scores with 95 % intervals, which show how much another choice of rows may change them.

    Attributes:
        metrics: {metric: score of all rows}. The recipe's metric comes first, then the other metrics of the target.
        folds: {fold: score by the recipe's metric}.
        members: {member: score by the recipe's metric, on the rows that the member held out}.
    """

    metrics: dict[str, Interval]
    folds: dict[int, Interval]
    members: dict[str, Interval]

    @property
    def main(self) -> Interval:
        """The score of all rows by the recipe's metric."""
        return next(iter(self.metrics.values()))


def compute_scores(rows: HeldOutRows, outcomes: Outcomes) -> Scores:
    metric = rows.scorer.metric
    every = np.ones(len(rows), bool)
    folds = {int(fold): score_rows(rows, outcomes, metric, rows.folds == fold) for fold in np.unique(rows.folds)}
    return Scores(
        metrics={shown.name: score_rows(rows, outcomes, shown, every) for shown in rows.scorer.shown},
        folds=folds,
        members={
            member.name: score_member(rows, outcomes, place, own)
            for place, (member, own) in enumerate(zip(rows.members, rows.held_out_by, strict=True))
        },
    )


def score_rows(rows: HeldOutRows, outcomes: Outcomes, metric: Metric, chosen: np.ndarray) -> Interval:
    """Return the score of the mean predictions on the rows where `chosen` is True.

    It uses fitted thresholds, if any.
    """
    true, scored = metric_arrays(rows, outcomes, metric)
    return metric_interval(metric, true[chosen], scored[chosen])


def score_member(rows: HeldOutRows, outcomes: Outcomes, place: int, chosen: np.ndarray) -> Interval:
    """Return the score of one member's predictions, with thresholds that were fitted to all rows, if any.

    Args:
        rows: All rows.
        outcomes: The outcomes, which have the thresholds.
        place: The position of the member in `rows.members`.
        chosen: Whether each row is used, bool (rows,). The member must have held out these rows.
    """
    metric, predictions = rows.scorer.metric, rows.by_member[place][chosen]
    decisions = outcomes.fitted.decisions if outcomes.fitted else None
    return metric_interval(metric, *metric.inputs(rows.labels[chosen], predictions, rows.target, decisions))


def score_part(rows: HeldOutRows, outcomes: Outcomes, scores: Scores) -> Part:
    """Return the part of the page with the scores, and with fitted thresholds or cut points."""
    metric, main = rows.scorer.metric, scores.main
    verdict = (
        f"{metric.name} is {interval_text(main)} on {quantity(len(rows), 'row')} that the models were not trained on. "
        f"{'Higher' if metric.higher_is_better else 'Lower'} is better. {fold_sentence(scores)}"
    )
    findings = baseline_findings(rows, outcomes, scores.metrics)
    section = Section("Score", " ".join([verdict.strip(), *(finding.message for finding in findings)]))
    section.paragraphs.append(
        "The interval says how much the score would vary with another choice of as many rows. Two models whose scores "
        "differ by less than the width of the interval may be equally good."
    )
    section.tables.append(("All held-out rows, mean prediction of all models", metrics_table(scores)))
    if len(scores.folds) > 1:
        section.pictures.append(folds_plot(metric, scores))
        section.tables.append((f"{metric.name} of each fold", folds_table(scores)))
    if len(rows.members) > 1:
        section.tables.append(
            (f"{metric.name} of each model on the rows that it held out", members_table(rows, scores))
        )
    if outcomes.fitted is not None:
        section.paragraphs.append(outcomes.fitted.describe())
        section.tables.append(("Fitted thresholds or cut points", decisions_table(rows, outcomes.fitted)))
    return Part("score", section, numbers(rows, outcomes, scores), findings)


def fold_sentence(scores: Scores) -> str:
    """Return a sentence about how much the scores of the folds differ. Empty for a single fold."""
    means = [interval.mean for interval in scores.folds.values() if not np.isnan(interval.mean)]
    if len(means) < 2:
        return ""
    return f"Over {len(means)} folds it ranges from {number(min(means))} to {number(max(means))}."


def metrics_table(scores: Scores) -> PageTable:
    rows = [[name, number(each.mean), number(each.low), number(each.high)] for name, each in scores.metrics.items()]
    return PageTable(["metric", "score", "from", "to"], rows)


def folds_plot(metric: Metric, scores: Scores) -> tuple[str, bytes]:
    named = {f"fold {fold}": each for fold, each in scores.folds.items()}
    named |= scores.members if len(scores.members) > 1 else {}
    picture = plots.points(
        list(named),
        [each.mean for each in named.values()],
        [(each.low, each.high) for each in named.values()],
        xlabel=f"{metric.name}; the dashed line is the score of all rows",
        notes=[f"{each.rows} rows" for each in named.values()],
        reference=scores.main.mean,
    )
    return "Scores with 95 % intervals", picture


def folds_table(scores: Scores) -> PageTable:
    cells = [[str(fold), f"{each.rows}", *cells_of(each)] for fold, each in scores.folds.items()]
    return PageTable(["fold", "rows", "score", "from", "to"], cells)


def members_table(rows: HeldOutRows, scores: Scores) -> PageTable:
    cells = []
    for member, each in zip(rows.members, scores.members.values(), strict=True):
        own = [member.recipe, member.fingerprint, member.backend, str(member.seed), quantity(len(member.runs), "run")]
        cells.append([*own, f"{each.rows}", *cells_of(each)])
    return PageTable(["recipe", "fingerprint", "backend", "seed", "runs", "rows", "score", "from", "to"], cells)


def cells_of(interval: Interval) -> list[str]:
    return [number(interval.mean), number(interval.low), number(interval.high)]


def decisions_table(rows: HeldOutRows, fitted: ScoredDecisions) -> PageTable:
    """Return a table of thresholds or cut points, with a column for all rows and a column for each run."""
    names, values = rows.target.class_names, fitted.decisions.values
    if len(values) < len(names):
        names = tuple(f"{low} | {high}" for low, high in itertools.pairwise(names))
    runs = [run for member in rows.members for run in member.runs]
    stored = [(run.folder.name, run.result.get("decisions")) for run in runs]
    columns = [(name, decisions["values"]) for name, decisions in stored if decisions]
    columns = [(name, own) for name, own in columns if len(own) == len(values)]
    header = ["label" if len(values) == len(rows.target.class_names) else "between", "all rows", *dict(columns)]
    cells = [
        [name, number(values[place]), *(number(own[place]) for own in dict(columns).values())]
        for place, name in enumerate(names[: len(values)])
    ]
    return PageTable(header, cells)


def numbers(rows: HeldOutRows, outcomes: Outcomes, scores: Scores) -> dict[str, Any]:
    return {
        "metric": rows.scorer.metric.name,
        "rows": len(rows),
        "metrics": {name: vars(interval) for name, interval in scores.metrics.items()},
        "folds": {str(fold): vars(interval) for fold, interval in scores.folds.items()},
        "models": {name: vars(interval) for name, interval in scores.members.items()},
        "decisions": None if outcomes.fitted is None else outcomes.fitted.to_json(),
    }
