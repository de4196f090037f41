"""Measure the calibration of probabilities: how well confidences agree with the share of right rows.

References:
    Guo et al. 2017, On calibration of modern neural networks: the expected calibration error (ECE) in 15 bins.
    Nixon et al. 2019, Measuring calibration in deep learning: bins of equally many rows, and the mean over classes.
    Broecker and Smith 2007, Increasing the reliability of reliability diagrams: what a calibrated model would show.
    Clopper and Pearson 1934, The use of confidence or fiducial limits: the exact interval of a share.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.report import plots
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import percent

BINS = 15  # of Guo et al.
RESAMPLES = 200  # simulated calibrated models
# A calibrated model fails each of two tests with a probability of 2.5 %: the error is larger than in this share of the
# simulated models, or the interval of a bin excludes its confidence. The intervals hold for all bins together.
LEVEL = 0.975
ROUNDING = 1e-6  # of a mean confidence
ROWS_PER_BIN = 20  # the curve has at most `BINS` bins, and fewer if the bins would have fewer rows


@dataclass(frozen=True)
class Calibration:
    """How well the confidences of cases agree with the share of right cases.

    For one class, a case is a row. Its confidence is the largest probability, and the case is right if that class is
    true. For several labels, a case is a known label of a row. Its confidence is the probability of the label, and the
    case is right if the label is present.

    Attributes:
        error: The expected calibration error in 15 bins of equal width (Guo et al. 2017). For several labels, the mean
            over the labels.
        adaptive_error: The expected calibration error in 15 bins of equally many cases.
        expected: The mean `error` of simulated models that have the same confidences and are perfectly calibrated.
        limit: The 97.5 % quantile of `error` of these simulated models.
        confidence: The mean confidence.
        right: The share of right cases.
        curve: The calibration curve in bins of equally many cases, (bins, 5). The columns are the mean confidence, the
            share of right cases, both ends of its interval, and the number of cases.
    """

    error: float
    adaptive_error: float
    expected: float
    limit: float
    confidence: float
    right: float
    curve: np.ndarray

    @property
    def is_calibrated(self) -> bool:
        return self.error <= self.limit and self.worst_bin is None

    @property
    def worst_bin(self) -> np.ndarray | None:
        """The row of `curve` whose interval is farthest from its mean confidence. None if all intervals include it."""
        confidence, low, high = self.curve[:, 0], self.curve[:, 2], self.curve[:, 3]
        distances = np.maximum(low - confidence, confidence - high)
        return self.curve[distances.argmax()] if distances.max() > ROUNDING else None


def equal_width_bins(confidence: np.ndarray, count: int = BINS) -> np.ndarray:
    """Return the bin number of each confidence, int (cases,), for `count` bins of equal width from 0 to 1."""
    return np.clip(np.ceil(confidence * count).astype(int) - 1, 0, count - 1)


def equal_count_bins(confidence: np.ndarray, count: int = BINS) -> np.ndarray:
    """Return the bin number of each confidence, int (cases,), for `count` bins with equally many cases."""
    bins = np.empty(len(confidence), int)
    bins[np.argsort(confidence, kind="stable")] = np.arange(len(confidence)) * count // max(1, len(confidence))
    return bins


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: np.ndarray) -> float:
    """Return the expected calibration error.

    It is the mean of |share of right cases - mean confidence| over bins, weighted by their numbers of cases.

    Args:
        confidence: The confidence of each case, (cases,).
        right: 1 for a right case, else 0, (cases,).
        bins: The bin number of each case, int (cases,).
    """
    if not len(confidence):
        return float("nan")
    sums = np.bincount(bins, weights=right - confidence)
    return float(np.abs(sums).sum() / len(confidence))


def measure_calibration(
    confidence: np.ndarray, right: np.ndarray, columns: np.ndarray, *, seed: int = 0
) -> Calibration:
    """Measure how well the confidences of cases are calibrated.

    Args:
        confidence: The confidence of each case, (cases,).
        right: 1 for a right case, else 0, (cases,). It may be a fraction for a soft label.
        columns: The label number of each case, int (cases,). It is 0 for all cases if each row has one class.
        seed: Seed of the simulated calibrated models.
    """
    groups = [columns == column for column in np.unique(columns)]
    bins = [(group, equal_width_bins(confidence[group])) for group in groups]

    def error(values: np.ndarray) -> float:
        return float(np.mean([calibration_error(confidence[group], values[group], own) for group, own in bins]))

    random = np.random.default_rng(seed)
    simulated = [error((random.random(len(confidence)) < confidence).astype(float)) for _ in range(RESAMPLES)]
    adaptive = [
        calibration_error(confidence[group], right[group], equal_count_bins(confidence[group])) for group in groups
    ]
    return Calibration(
        error=error(right),
        adaptive_error=float(np.mean(adaptive)),
        expected=float(np.mean(simulated)),
        limit=float(np.quantile(simulated, LEVEL)),
        confidence=float(confidence.mean()),
        right=float(right.mean()),
        curve=calibration_curve(confidence, right),
    )


def calibration_curve(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the calibration curve, (bins, 5); see `Calibration.curve`."""
    count = int(np.clip(len(confidence) // ROWS_PER_BIN, 1, BINS))
    bins = equal_count_bins(confidence, count)
    points = []
    for number in np.unique(bins):
        own = bins == number
        low, high = exact_interval(round(float(right[own].sum())), int(own.sum()), 1 - (1 - LEVEL) / count)
        points.append((confidence[own].mean(), right[own].mean(), low, high, own.sum()))
    return np.array(points)


def exact_interval(hits: int, cases: int, level: float) -> tuple[float, float]:
    """Return the ends of the exact interval of a share, which has at least the confidence level `level`."""
    from scipy import stats

    ends = stats.binomtest(hits, cases).proportion_ci(level, method="exact")
    return float(ends.low), float(ends.high)


def calibration_cases(rows: HeldOutRows, outcomes: Outcomes) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return three arrays (cases,): the confidence, whether the case is right (1 or 0), and the number of its label.

    Return None for a target without probabilities.
    """
    if outcomes.decided is None or np.isnan(outcomes.confidence).all():
        return None
    if outcomes.decided.ndim == 1:
        right = (rows.predictions.argmax(1) == outcomes.true).astype(float)
        return outcomes.confidence, right, np.zeros(len(rows), int)
    known = ~np.isnan(rows.labels)
    return rows.predictions[known], rows.labels[known], np.nonzero(known)[1]


def calibration_part(rows: HeldOutRows, outcomes: Outcomes) -> Part | None:
    """Return the part of the page about calibration, or None for a target without probabilities."""
    cases = calibration_cases(rows, outcomes)
    if cases is None or not len(cases[0]):
        return None
    measured = measure_calibration(*cases)
    section = Section("Calibration", calibration_verdict(measured, single=outcomes.is_one_class))
    section.good = True if measured.is_calibrated else None
    section.paragraphs.append(
        "The expected calibration error is the mean distance between confidence and the share of right cases, in 15 "
        f"bins of equal width (Guo et al. 2017). It is {measured.error:.4f}. With bins of equally many cases, it is "
        f"{measured.adaptive_error:.4f}. On as many rows, a perfectly calibrated model has {measured.expected:.4f} on "
        f"average by chance, and less than {measured.limit:.4f} in 97.5 % of cases."
    )
    curve = measured.curve
    picture = plots.curves(
        curve[:, 0],
        {"held-out rows": curve[:, 1]},
        xlabel="mean confidence",
        ylabel="share of right rows" if outcomes.is_one_class else "share of rows that show the label",
        bands={"held-out rows": (curve[:, 2], curve[:, 3])},
        diagonal=True,
    )
    section.pictures.append(
        ("Calibration curve. All intervals of a calibrated model include the dashed line, in 97.5 % of cases", picture)
    )
    header = ["mean confidence", "right", "from", "to", "cases"]
    cells = [[*map(percent, point[:4]), str(int(point[4]))] for point in measured.curve]
    section.tables.append(("Calibration curve, in bins of equally many cases", PageTable(header, cells)))
    findings = () if measured.is_calibrated else (Finding("calibration", "note", section.verdict, weight=-1),)
    return Part("calibration", section, numbers(measured), findings)


def calibration_verdict(measured: Calibration, *, single: bool) -> str:
    """Return sentences about whether the probabilities can be trusted and, if not, what to do.

    `single` says whether each row has one class.
    """
    if measured.is_calibrated:
        return "The probabilities are calibrated: they differ from the share of right cases by no more than chance."
    return f"{gap_text(measured, single=single)} kcomp ensemble --calibrate corrects this, which improves log loss."


def gap_text(measured: Calibration, *, single: bool) -> str:
    """Return sentences about the bin whose interval is farthest from its confidence.

    If all intervals include the confidence, the sentences are about all cases.
    """
    worst = measured.worst_bin
    if worst is not None:
        confidence, right, _, _, cases = worst
        what = "are right" if single else "of these labels are present"
        kind = "rows" if single else "labels"
        text = f"At a confidence of about {percent(confidence)}, {percent(right)} {what} ({int(cases)} {kind})."
        direction = "high" if confidence > right else "low"
        return f"The probabilities are not calibrated: some are too {direction}. {text}"
    gap = measured.confidence - measured.right
    if single:
        direction = "too confident" if gap > 0 else "not confident enough"
        text = f"The models are {direction}: their mean confidence is {percent(measured.confidence)}, and "
        return f"{text}{percent(measured.right)} of the rows are right."
    text = f"The probabilities of labels are too {'high' if gap > 0 else 'low'}: their mean is "
    return f"{text}{percent(measured.confidence)}, and {percent(measured.right)} of the labels are present."


def numbers(measured: Calibration) -> dict[str, Any]:
    names = ("confidence", "right", "low", "high", "cases")
    curve = [dict(zip(names, map(float, point), strict=True)) for point in measured.curve]
    return {**vars(measured), "curve": curve}
