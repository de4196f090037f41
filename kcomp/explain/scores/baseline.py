"""Compare the score with that of constant predictions, to warn about models that learned nothing."""

from dataclasses import dataclass

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes, metric_arrays
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.scores.interval_text import interval_text
from kcomp.metrics.significance import Interval
from kcomp.report.finding import Finding
from kcomp.report.text import number

LEAST = 20  # rows; the mean label of few rows predicts them too well
BASELINE = 1e8  # weight of its finding; below that of a change that the held-out images already have
PERMUTATIONS = 200
CHANCE = 0.025  # the largest probability of a score by chance that counts as better than chance
LEVEL = 0.01  # probability that random predictions count as following the labels


@dataclass(frozen=True)
class ConstantScore:
    """The score of a prediction that is the same for all rows.

    Attributes:
        name: The prediction in words, such as "the mean label".
        score: The score by the recipe's metric.
    """

    name: str
    score: float


def baseline_findings(rows: HeldOutRows, outcomes: Outcomes, metrics: dict[str, Interval]) -> tuple[Finding, ...]:
    """Return a finding if the score is not clearly better than that of a constant prediction.

    The score is clearly better if two conditions hold. Its 95 % interval excludes the score of the constant prediction.
    And predictions in random order reach it with a probability of at most 2.5 %.

    `metrics` is {metric: score of all rows}. The recipe's metric is the first.
    """
    metric, main = rows.scorer.metric, next(iter(metrics.values()))
    constant = best_constant(rows)
    if constant is None or np.isnan(main.mean):
        return ()
    worst = main.low if metric.higher_is_better else main.high
    if metric.is_better(worst, constant.score) and permutation_p_value(rows, outcomes) <= CHANCE:
        return ()
    text = f"{metric.name} is {number(main.mean)}, and {number(constant.score)} if every prediction is {constant.name}"
    if metric.is_better(main.mean, constant.score) or len(rows) < LEAST:
        message = (
            f"{text}: on {len(rows)} rows, chance may explain the difference. Do not rely on the rest of this page. "
            "Hold out more rows with --fold all, or train longer."
        )
    elif reason := describe_skill(rows, metrics):
        message = f"{text}. But the models learned something: {reason}."
    else:
        message = (
            f"{text}: the models learned nothing that helps on these rows. Check the learning rate, the epochs, and "
            "with kcomp check what the network is fed."
        )
    return (Finding("score", "warning", message, weight=BASELINE),)


def best_constant(rows: HeldOutRows) -> ConstantScore | None:
    """Return the constant prediction with the best score, or None if no score is defined.

    Candidates are the mean label, the median label (for numbers and grades), and all labels at once (for several labels
    and a metric that uses thresholds).
    """
    if np.isnan(rows.labels).all(0).any():
        return None
    metric, target = rows.scorer.metric, rows.target
    values = {"the mean label": np.nanmean(rows.labels, 0)}
    if target.stacker == "ridge":
        values["the median label"] = np.nanmedian(rows.labels, 0)
    if target.stacker == "binary" and metric.on == "decisions":
        values["that all labels are present"] = np.ones(rows.labels.shape[1])
    best: ConstantScore | None = None
    for name, value in values.items():
        score = float(metric(rows.labels, np.tile(value, (len(rows), 1)), target))
        if metric.is_better(score, None if best is None else best.score):
            best = ConstantScore(name, score)
    return best


def permutation_p_value(rows: HeldOutRows, outcomes: Outcomes, *, seed: int = 0) -> float:
    """Return the probability that predictions in random order have a score at least as good (a permutation test)."""
    metric, random = rows.scorer.metric, np.random.default_rng(seed)
    true, scored = metric_arrays(rows, outcomes, metric)
    score = float(metric.function(true, scored))
    drawn = [float(metric.function(true, scored[random.permutation(len(scored))])) for _ in range(PERMUTATIONS)]
    as_good = sum(not metric.is_better(score, other) for other in drawn if not np.isnan(other))
    return (1 + as_good) / (1 + PERMUTATIONS)


def describe_skill(rows: HeldOutRows, metrics: dict[str, Interval]) -> str:
    """Return text about what models with a bad score learned nevertheless, and about the likely cause of the bad score.

    The text is empty if they learned nothing.
    """
    metric, area = rows.scorer.metric, metrics.get("roc_auc")
    if area is not None and area.low > 0.5 and metric.name != "roc_auc":
        text = f"roc_auc is {interval_text(area)}, so their probabilities order the rows"
        if metric.on != "decisions":
            return f"{text}, but are too high or too low; kcomp ensemble --calibrate corrects this"
        if rows.target.stacker == "binary":
            return f"{text}, but the thresholds are wrong; see the section Labels"
        return f"{text}, but a class is predicted too often; see the section Predictions"
    if rows.target.stacker == "ridge" and (share := rank_correlation(rows)):
        text = f"predictions follow the labels (rank correlation {number(share)})"
        return f"{text}, but are too high, too low or too far apart"
    return ""


def rank_correlation(rows: HeldOutRows) -> float:
    """Return the largest Spearman correlation between the predictions and labels of a column.

    It is 0 if chance may explain it. The p-value is multiplied by the number of columns (Bonferroni).
    """
    from scipy import stats

    best = 0.0
    for labels, predictions in zip(rows.labels.T, rows.predictions.T, strict=True):
        known = ~np.isnan(labels)
        if known.sum() < LEAST or not np.ptp(labels[known]) or not np.ptp(predictions[known]):
            continue
        result = stats.spearmanr(labels[known], predictions[known], alternative="greater")
        if result.pvalue * rows.labels.shape[1] <= LEVEL:
            best = max(best, float(result.statistic))
    return best
