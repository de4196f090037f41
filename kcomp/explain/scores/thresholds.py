"""Compare the thresholds of labels, or the cut points of grades, with ones that are fitted to other rows."""

from dataclasses import dataclass

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.metrics.decisions import nested_decisions
from kcomp.metrics.metric import Metric
from kcomp.metrics.names import get
from kcomp.metrics.significance import Interval, paired_metric
from kcomp.report.finding import Finding
from kcomp.report.text import number

THRESHOLDS = 1e7  # weight of its finding


@dataclass(frozen=True)
class BetterDecisions:
    """Other thresholds or cut points that are better beyond chance.

    Attributes:
        how: What they are, such as "with the threshold 0.5".
        score: The score of the thresholds or cut points that the page uses.
        better: The score of the others.
        gain: The difference, with its 95 % interval.
    """

    how: str
    score: float
    better: float
    gain: Interval


def better_decisions(rows: HeldOutRows, outcomes: Outcomes, metric: Metric) -> BetterDecisions | None:
    """Return the best thresholds or cut points that are better than those of the page beyond chance, or None.

    Candidates are fitted by nested cross-validation, or are the threshold 0.5 or the nearest grade. For several labels,
    another candidate is that all labels are present.

    metric: The metric that compares them.
    """
    if outcomes.decided is None or rows.target.stacker == "multinomial" or len(rows) < 2:
        return None
    name, plain = words_of(rows)
    candidates = {f"with {plain}": rows.target.decide(rows.predictions)}
    if len(np.unique(rows.parts)) > 1:
        fitted = nested_decisions(rows.labels, rows.predictions, rows.parts, metric, rows.target)
        candidates[f"with {name} that are fitted to other rows"] = fitted
    if outcomes.decided.ndim == 2:
        candidates["if all labels are always predicted"] = np.ones_like(outcomes.decided)
    used = as_predictions(outcomes.decided)
    best = None
    for how, decided in candidates.items():
        score, better = (metric(rows.labels, values, rows.target) for values in (used, as_predictions(decided)))
        if not better > (score if best is None else best.better):
            continue
        gain = paired_metric(metric, rows.labels, as_predictions(decided), used, target=rows.target)
        if gain.low > 0:
            best = BetterDecisions(how, score, better, gain)
    return best


def words_of(rows: HeldOutRows) -> tuple[str, str]:
    """Return two texts: what decides on labels or grades, and what decides if nothing is fitted."""
    if rows.target.stacker == "binary":
        return "thresholds", "the threshold 0.5"
    return "cut points", "the nearest grade"


def as_predictions(decided: np.ndarray) -> np.ndarray:
    """Return predicted classes as predictions (rows, columns) for which the target decides on the same classes."""
    return decided.reshape(len(decided), -1).astype(np.float64)


def threshold_findings(rows: HeldOutRows, outcomes: Outcomes) -> tuple[Finding, ...]:
    """Return a finding if other thresholds or cut points would be better beyond chance; else nothing.

    Several labels are compared by the macro F1, grades by the quadratic kappa. The finding is a warning if the recipe's
    metric depends on thresholds or cut points, otherwise a note.
    """
    compared = get("macro_f1" if rows.target.stacker == "binary" else "quadratic_kappa")
    better = better_decisions(rows, outcomes, compared)
    if better is None:
        return ()
    metric, (name, plain) = rows.scorer.metric, words_of(rows)
    used = f"fitted {name}" if outcomes.fitted else plain
    message = (
        f"Many rows are wrong because of the {name}: with {used}, {compared.name} is {number(better.score)}, and "
        f"{number(better.better)} {better.how}. "
    )
    matters = metric.on == "decisions"
    if matters:
        message += f"The {name} were fitted to too few rows: train all folds, then use kcomp ensemble."
    else:
        message += (
            f"{metric.name} does not depend on {name}. If you need decisions, set metric={compared.name!r} in the "
            f"recipe: kcomp then fits {name}."
        )
    return (Finding("thresholds", "warning" if matters else "note", message, weight=THRESHOLDS),)
