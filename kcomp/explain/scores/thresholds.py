"""Compare thresholds of labels, or cut points of grades, with others, such as those fitted to other rows."""

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
    """Thresholds or cut points that are better than those of the page, beyond chance.

    Attributes:
        how: These thresholds or cut points in words, such as "with the threshold 0.5".
        score: The score with the thresholds or cut points of the page.
        better: The score with the better ones.
        gain: The difference of the two scores, with its 95 % interval.
    """

    how: str
    score: float
    better: float
    gain: Interval


def better_decisions(rows: HeldOutRows, outcomes: Outcomes, metric: Metric) -> BetterDecisions | None:
    """Return the best thresholds or cut points, if they are better than those of the page beyond chance, else None.

    Candidates are those fitted by nested cross-validation, and the threshold 0.5 or the nearest grade. For several
    labels, a third candidate is to predict all labels in every row. `metric` compares the candidates.
    """
    if outcomes.decided is None or rows.target.stacker == "multinomial" or len(rows) < 2:
        return None
    name, plain = decision_words(rows)
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


def decision_words(rows: HeldOutRows) -> tuple[str, str]:
    """Return two texts: the name of what is fitted, such as "thresholds", and what is used if nothing is fitted."""
    if rows.target.stacker == "binary":
        return "thresholds", "the threshold 0.5"
    return "cut points", "the nearest grade"


def as_predictions(decided: np.ndarray) -> np.ndarray:
    """Return predicted classes as predictions (rows, columns) from which the target decides on the same classes."""
    return decided.reshape(len(decided), -1).astype(np.float64)


def threshold_findings(rows: HeldOutRows, outcomes: Outcomes) -> tuple[Finding, ...]:
    """Return a finding if other thresholds or cut points are better beyond chance.

    Several labels are compared by the macro F1, and grades by the quadratic kappa. The finding is a warning if the
    recipe's metric depends on thresholds or cut points, else a note.
    """
    compared = get("macro_f1" if rows.target.stacker == "binary" else "quadratic_kappa")
    better = better_decisions(rows, outcomes, compared)
    if better is None:
        return ()
    metric, (name, plain) = rows.scorer.metric, decision_words(rows)
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
