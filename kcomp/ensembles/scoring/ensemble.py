"""Score an ensemble and its members on held-out rows."""

from dataclasses import dataclass

import numpy as np

from kcomp.ensembles.decisions import ScoredDecisions, score_decisions
from kcomp.ensembles.joins import HeldOut
from kcomp.ensembles.methods import fitting
from kcomp.ensembles.scoring.gains import SHOWN, Gain, compute_gain, find_best
from kcomp.metrics.scores import Scorer, score_each


@dataclass(frozen=True)
class EnsembleScores:
    """Scores of an ensemble, of each member, and of the plain (unweighted) mean. Scores are dicts by metric name.

    Attributes:
        metric: Name of the metric that the ensemble was fitted to.
        members: Scores of each member.
        ensemble: Scores of the ensemble.
        mean: Scores of the plain mean of all members.
        best: Position of the member with the best `metric` on these rows.
        gain: Gain of the ensemble over the best member without calibration.
        gain_over_mean: Gain of the ensemble over the plain mean without calibration. None if the ensemble is the plain
            mean.
        fitted: The method, fitted on all rows. It is used for test rows.
        parts: How many parts the nested cross-validation has. 0 if nothing was fitted.
        optimistic: The ensemble's `metric` on the rows that it was fitted on. This score is too good.
        predictions: The ensemble's predictions that were scored, (rows, columns).
        decisions: Thresholds or cut points, fitted to the ensemble's predictions. None if the metric or the target uses
            neither.
    """

    metric: str
    members: list[dict[str, float]]
    ensemble: dict[str, float]
    mean: dict[str, float]
    best: int
    gain: Gain
    gain_over_mean: Gain | None
    fitted: fitting.FittedMethod
    parts: int
    optimistic: float
    predictions: np.ndarray
    decisions: ScoredDecisions | None


def score_ensemble(
    rows: HeldOut,
    scorer: Scorer,
    *,
    method: str = "mean",
    calibrate: str | None = None,
    inputs: np.ndarray | None = None,
) -> EnsembleScores:
    """Fit an ensemble on all rows, and score it by nested cross-validation.

    Args:
        rows: Predictions and labels of the held-out rows.
        scorer: The metric and the target.
        method: A name from `kcomp.ensembles.METHODS`.
        calibrate: How to calibrate each member first, a name from `kcomp.ensembles.CALIBRATIONS`, or None.
        inputs: Further inputs of trees, (rows, inputs). None for no inputs.
    """

    def scores_of(predictions: np.ndarray) -> dict[str, float]:
        return score_each(scorer.first(SHOWN), rows.labels, predictions, scorer.target)

    members = [scores_of(member) for member in rows.values]
    best = find_best(scorer.first(SHOWN), members)
    unseen = fitting.predict_unseen(
        method, rows.values, rows.labels, scorer, rows.parts, calibrate=calibrate, inputs=inputs
    )
    plain = rows.target.average(list(rows.values))
    fitted = fitting.fit_method(method, rows.values, rows.labels, scorer, calibrate=calibrate, inputs=inputs)
    is_fitted = fitting.is_fitted(method, calibrate=calibrate)
    ensemble = scores_of(unseen)
    return EnsembleScores(
        metric=scorer.metric.name,
        members=members,
        ensemble=ensemble,
        mean=scores_of(plain),
        best=best,
        gain=compute_gain(scorer, rows.labels, unseen, rows.values[best]),
        gain_over_mean=compute_gain(scorer, rows.labels, unseen, plain) if is_fitted or method != "mean" else None,
        fitted=fitted,
        parts=len(np.unique(rows.parts)) if is_fitted else 0,
        optimistic=scorer(rows.labels, fitted(rows.values, inputs)) if is_fitted else ensemble[scorer.metric.name],
        predictions=unseen,
        decisions=score_decisions(scorer, rows.labels, unseen, rows.parts),
    )
