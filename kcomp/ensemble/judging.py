"""The scores of members and of their ensemble, on rows that nothing in it was fitted on. Imports no Keras."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.ensemble import averages, methods
from kcomp.ensemble.blending import HeldOut
from kcomp.ensemble.gains import Gain, best_of, gain
from kcomp.ensemble.objectives import score


@dataclass(frozen=True)
class Judgement:
    """Scores by name, of each member, the ensemble and the plain mean, and the ensemble's gain over the `best` member.

    What was fitted is judged by nested cross-validation (`parts` of them, 0 where nothing was fitted); `optimistic` is
    its score on the very rows of the fit, and `fitted` what all rows gave, for the test rows. The best member is chosen
    on the rows it is judged on, which makes the gain over it, if anything, too small. It and the plain mean are taken
    as they are: with calibration, a gain in log loss is also what calibrating alone brings.
    """

    metric: str
    members: list[dict[str, float]]
    ensemble: dict[str, float]
    mean: dict[str, float]
    best: int
    gain: Gain
    gain_over_mean: Gain | None
    fitted: methods.Fitted
    parts: int
    optimistic: float


def judge(rows: HeldOut, *, method: str = "mean", metric: str = "log_loss", calibrate: bool = False) -> Judgement:
    """Fit the ensemble on all rows, and judge it on rows it was not fitted on."""
    names = shown(metric)
    each = [score_all(names, rows.labels, member) for member in rows.values]
    best = best_of(metric, each)
    nested = methods.out_of_part(method, rows.values, rows.labels, metric, rows.parts, calibrate=calibrate)
    plain = averages.mean(rows.values)
    fitted = methods.fit(method, rows.values, rows.labels, metric, calibrate=calibrate)
    chosen = methods.is_fitted(method, calibrate=calibrate)
    ensemble = score_all(names, rows.labels, nested)
    return Judgement(
        metric=metric,
        members=each,
        ensemble=ensemble,
        mean=score_all(names, rows.labels, plain),
        best=best,
        gain=gain(metric, rows.labels, nested, rows.values[best]),
        gain_over_mean=gain(metric, rows.labels, nested, plain) if chosen or method != "mean" else None,
        fitted=fitted,
        parts=len(np.unique(rows.parts)) if chosen else 0,
        optimistic=score(metric, rows.labels, fitted(rows.values)) if chosen else ensemble[metric],
    )


def shown(metric: str) -> list[str]:
    """The scores that are shown: the chosen one, accuracy and log loss."""
    return list(dict.fromkeys((metric, "accuracy", "log_loss")))


def score_all(names: Sequence[str], labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    return {name: score(name, labels, probabilities) for name in names}
