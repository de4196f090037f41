"""Describe in lines what differs between two runs."""

from collections.abc import Sequence

from kcomp.metrics.significance import Interval
from kcomp.report.text import number, quantity
from kcomp.reproduce.causes import Cause
from kcomp.reproduce.results import Differences


def result_lines(differences: Differences) -> list[str]:
    """Return lines about epochs, weights, predictions and scores. `differences` must not be none."""
    if differences.first_epoch is None:
        lines = [f"epochs: all {differences.epochs} are equal"]
    else:
        lines = [f"epochs: different from epoch {differences.first_epoch} on"]
    if differences.weights == 0:
        lines += ["weights: equal"]
    elif differences.weights == float("inf"):
        lines += ["weights: other layers or shapes"]
    else:
        lines += [f"weights: different by up to {number(differences.weights)}"]
    return [*lines, prediction_line(differences), *score_lines(differences.score)]


def prediction_line(differences: Differences) -> str:
    if not differences.rows:
        return "predictions: no held-out row is common, so the scores cannot be compared"
    text = f"predictions of {quantity(differences.rows, 'common held-out row')}: "
    if differences.predictions == 0:
        text += "equal"
    elif differences.predictions == float("inf"):
        text += "other columns"
    else:
        text += f"different by up to {number(differences.predictions)}"
    if differences.other_rows:
        text += f"; {quantity(differences.other_rows, 'row')} only in one run"
    return text


def score_lines(score: Interval | None) -> list[str]:
    if score is None:
        return []
    verdict = "more than chance" if score.excludes_zero else "may be chance"
    interval = f"95 % interval over rows {score.low:+.4f} to {score.high:+.4f}"
    return [f"score of the first - score of the second: {score.mean:+.4f} ({interval}): {verdict}"]


def cause_line(causes: Sequence[Cause]) -> str:
    """Return a line that names the subjects which differ."""
    if not causes:
        return "no recorded cause differs"
    subjects = list(dict.fromkeys(cause.subject for cause in causes))
    verb = "differs" if len(subjects) == 1 else "differ"
    return f"{', '.join(subjects)} {verb}"


def verdict_lines(differences: Differences, causes: Sequence[Cause], *, deterministic: bool, device: str) -> list[str]:
    """Return the verdict of `kcomp verify`: whether the repetition equals the run, and if not, what may be the cause.

    Args:
        differences: The differences of the results.
        causes: The recorded differences of code, data and machine.
        deterministic: Whether both runs were trained with --deterministic.
        device: The name of the training device, such as "cpu".
    """
    if differences.are_none:
        epochs, rows = quantity(differences.epochs, "epoch"), quantity(differences.rows, "held-out row")
        return [f"reproduced: {epochs}, the weights and the predictions of {rows} are equal bit for bit"]
    lines = ["not reproduced bit for bit", *result_lines(differences)]
    if causes:
        return [*lines, f"possible causes: {cause_line(causes)}"]
    if device != "cpu" and not deterministic:
        return [*lines, "possible cause: operations of the GPU whose results vary; train with --deterministic"]
    return [
        *lines,
        "no recorded cause differs. Possible causes: random numbers without a seed in the recipe's own code, or a "
        "cache that was out of date in the first training",
    ]
