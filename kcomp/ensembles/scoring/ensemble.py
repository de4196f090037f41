"""Score members and their ensemble on held-out rows. This module imports no Keras."""

from dataclasses import dataclass

import numpy as np

from kcomp.ensembles.decisions import ScoredDecisions, score_decisions
from kcomp.ensembles.joins import HeldOut
from kcomp.ensembles.methods import fitting
from kcomp.ensembles.scoring.gains import SHOWN, Gain, compute_gain, find_best
from kcomp.metrics.scores import Scorer, score_each


@dataclass(frozen=True)
class EnsembleScores:
    """Scores, by name, of each member, of the ensemble, and of the plain mean of all members.

    metric:          the metric that the ensemble was fitted to. The best member is best by this metric.
    best:            the position of the best member. It is chosen on the rows that it is scored on, so its score is
                     rather too good, and the gain over it rather too small.
    gain:            the gain of the ensemble over the best member. Members and plain mean are not calibrated. With
                     calibration, a gain in log loss therefore includes the effect of the calibration.
    gain_over_mean:  the gain of the ensemble over the plain mean. None if the ensemble is the plain mean.
    fitted:          the method, fitted on all rows. Use it for test rows.
    parts:           the number of parts of nested cross-validation. 0 if nothing was fitted.
    optimistic:      the ensemble's `metric` on the rows that it was fitted on.
    decisions:       thresholds or cut points, fitted to the ensemble. None if the metric or the target uses none.
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
    decisions: ScoredDecisions | None


def score_ensemble(rows: HeldOut, scorer: Scorer, *, method: str = "mean", calibrate: bool = False) -> EnsembleScores:
    """Fit the ensemble on all rows. Score it by nested cross-validation, on rows that it was not fitted on."""

    def scores_of(predictions: np.ndarray) -> dict[str, float]:
        return score_each(scorer.first(SHOWN), rows.labels, predictions, scorer.target)

    members = [scores_of(member) for member in rows.values]
    best = find_best(scorer.first(SHOWN), members)
    unseen = fitting.predict_unseen(method, rows.values, rows.labels, scorer, rows.parts, calibrate=calibrate)
    plain = rows.target.average(list(rows.values))
    fitted = fitting.fit_method(method, rows.values, rows.labels, scorer, calibrate=calibrate)
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
        optimistic=scorer(rows.labels, fitted(rows.values)) if is_fitted else ensemble[scorer.metric.name],
        decisions=score_decisions(scorer, rows.labels, unseen, rows.parts),
    )
