"""Apply the corrections chosen on the command line to final predictions, and print what they change."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kcomp import metrics
from kcomp.ensembles.corrections import priors
from kcomp.ensembles.corrections.smoothing import describe_smoothing
from kcomp.ensembles.joins import join_held_out
from kcomp.ensembles.members import build_members
from kcomp.metrics import Metric
from kcomp.metrics.scores import Scorer, score_each
from kcomp.report.console import PlainConsole
from kcomp.report.table import print_table
from kcomp.runs.folder import Run
from kcomp.targets import Target


@dataclass(frozen=True)
class Corrections:
    """Which corrections to apply to final predictions. Class rates are corrected first, then the predictions are
    smoothed.

    Attributes:
        smooth: The share and the threshold of smoothing; see `Target.smoothed`. None for no smoothing.
        correct_priors: Whether to adapt the predictions to the class rates of the test rows.
    """

    smooth: tuple[float, float] | None = None
    correct_priors: bool = False

    @property
    def is_empty(self) -> bool:
        return self.smooth is None and not self.correct_priors

    def check(self, target: Target) -> None:
        """Raise ValueError if the corrections need probabilities and the target has none."""
        if not self.is_empty and "vector" not in target.calibrations:
            raise ValueError(f"--smooth and --correct-priors need probabilities; a target of {target.name} has none")


@dataclass(frozen=True)
class KnownRows:
    """Predictions and true labels of held-out rows, both of shape (rows, columns)."""

    predictions: np.ndarray
    labels: np.ndarray


def average_known_rows(runs: list[Run]) -> KnownRows:
    """Return the mean prediction of all runs, and the labels, for the rows that every model held out.

    Raises:
        ValueError: If no row was held out by every model.
    """
    target, rows = runs[0].target, join_held_out(build_members(runs), partial=True)
    if rows is None:
        raise ValueError("--correct-priors needs rows that every model held out; these runs have none in common")
    order = [list(rows.target.columns).index(column) for column in target.columns]
    return KnownRows(target.average(list(rows.values))[:, order], rows.labels[:, order])


def metric_of(run: Run) -> Metric | None:
    """Return the metric of a run, or None if the recipe defines the metric as a function."""
    try:
        return metrics.get(run.manifest["metric"])
    except ValueError:
        return None


def apply_corrections(
    corrections: Corrections,
    predictions: pd.DataFrame,
    target: Target,
    *,
    metric: Metric | None,
    known: KnownRows | None,
) -> pd.DataFrame:
    """Return corrected predictions of test rows, and print what changed.

    Args:
        corrections: Which corrections to apply.
        predictions: One row for each test row, with the prediction columns of the target.
        target: The target of the predictions.
        metric: The metric of the runs, or None if it is unknown.
        known: Held-out rows with their labels. Only the correction of class rates needs them.
    """
    if corrections.is_empty:
        return predictions
    columns = list(target.prediction_columns)
    values = predictions[columns].to_numpy(np.float64)
    if corrections.correct_priors:
        assert known is not None
        values = correct_and_print(values, target, known)
    if corrections.smooth is not None:
        smoothed = target.smoothed(values, *corrections.smooth)
        print(f"On the test rows, {describe_smoothing(values, smoothed, metric)}.")
        values = smoothed
    return predictions.assign(**dict(zip(columns, values.T, strict=True)))


def correct_and_print(predictions: np.ndarray, target: Target, known: KnownRows) -> np.ndarray:
    training = priors.training_rates(known.labels)
    rates = priors.estimate_rates(predictions, training, target)
    held_out = priors.estimate_rates(known.predictions, training, target)
    lines, sentences = priors.describe_rates(rates, held_out, target)
    print_table(PlainConsole(), lines, title=f"Class rates, estimated from {len(predictions)} test rows")
    for sentence in sentences:
        print(sentence)
    return priors.correct(predictions, rates, target)


def print_smoothed_scores(
    smooth: tuple[float, float], labels: np.ndarray, predictions: np.ndarray, scorer: Scorer
) -> None:
    smoothed = scorer.target.smoothed(predictions, *smooth)
    chosen = scorer.first(2)
    before, after = (score_each(chosen, labels, values, scorer.target) for values in (predictions, smoothed))
    changes = ", ".join(f"{name} {before[name]:.4f} becomes {after[name]:.4f}" for name in before)
    print(f"On held-out rows, {describe_smoothing(predictions, smoothed, scorer.metric)}. {changes}.")
