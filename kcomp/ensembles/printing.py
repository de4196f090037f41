"""Print the scores of an ensemble and of its members."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcomp.ensembles.joins import HeldOut
from kcomp.ensembles.members import Member
from kcomp.ensembles.methods.calibration import Temperature
from kcomp.ensembles.scoring.diversity import correlations, disagreements, equal_members
from kcomp.ensembles.scoring.ensemble import EnsembleScores
from kcomp.ensembles.scoring.framework_gain import FrameworkGain
from kcomp.ensembles.scoring.gains import Gain
from kcomp.metrics.significance import Interval
from kcomp.report.console import PlainConsole
from kcomp.report.table import print_table
from kcomp.targets import Target

FRAMEWORK_GAIN = (
    "Two frameworks or one: {metric} of ensembles of equal size, on {rows} rows. `mixed` has half of its seeds on each "
    "framework; the gain is that of `mixed` over the mean of both frameworks alone, above 0 is better. The spread is "
    "over overlapping sets of seeds."
)


def print_scores(members: Sequence[Member], rows: HeldOut, scores: EnsembleScores, method: str) -> None:
    count = len(members)
    lines = [member_row(number, member, scores) for number, member in enumerate(members)]
    name = f"{method} of {count}"
    if count > 1:
        plain = dict.fromkeys(lines[0], "-") | {"rows": len(rows.ids)}
        lines.append(plain | {"member": f"mean of {count}"} | scores.mean)
        if scores.gain_over_mean is not None:
            lines.append(plain | {"member": name} | scores.ensemble)
    print_table(PlainConsole(), lines, title=f"Scores on {len(rows.ids)} held-out rows")
    if scores.decisions is not None:
        print(scores.decisions.describe())
    if count == 1 and not scores.parts:
        return
    if count > 1:
        print_diversity(rows.values, rows.target)
    print_fit(rows, scores)
    best = f"the best member ({scores.best + 1}, chosen by {scores.metric} on these rows)"
    print_gain(f"{name} against {best}", scores.gain, f"member {scores.best + 1}")
    if scores.gain_over_mean is not None:
        print_gain(f"{name} against the plain mean", scores.gain_over_mean, "the plain mean")


def print_views(member: Member, names: Sequence[str], rows: HeldOut, scores: EnsembleScores) -> None:
    """Print a table with the score and the fitted weight of each view, and the gain of the weights over equal weights.

    A view is a variant of an image for test-time augmentation.
    """
    assert scores.fitted.weights is not None
    pairs = zip(names, scores.members, scores.fitted.weights, strict=True)
    lines: list[dict[str, Any]] = [{"view": name, **own, "weight": float(weight)} for name, own, weight in pairs]
    lines.append({"view": "equal weights", **scores.mean, "weight": "-"})
    lines.append({"view": "fitted weights", **scores.ensemble, "weight": "-"})
    print_table(PlainConsole(), lines, title=f"Views of {member.name}, scored on {len(rows.ids)} held-out rows")
    print_fit(rows, scores)
    if scores.gain_over_mean is not None:
        print_gain("fitted weights against equal weights", scores.gain_over_mean, "equal weights")


def member_row(number: int, member: Member, scores: EnsembleScores) -> dict[str, Any]:
    row: dict[str, Any] = {"": number + 1, "member": f"{member.recipe} {member.fingerprint}", "backend": member.backend}
    row |= {"seed": member.seed, "folds": ",".join(str(fold) for fold in sorted(set(member.folds)))}
    row |= {"rows": len(member.predictions)} | scores.members[number]
    calibrator = None if scores.fitted.calibrators is None else scores.fitted.calibrators[number]
    if isinstance(calibrator, Temperature):
        row["temperature"] = calibrator.value
    if scores.fitted.weights is not None:
        row["weight"] = float(scores.fitted.weights[number])
    return row


def print_diversity(values: np.ndarray, target: Target) -> None:
    correlation = correlations(values, target)
    disagreement = disagreements(values, target) if target.class_names else None
    if len(values) == 2:
        share = "" if disagreement is None else f"The members decide differently in {disagreement[0, 1]:.1%} of cases. "
        print(f"{share.replace('%', ' %')}Their predictions have a correlation of {correlation[0, 1]:.3f}.")
    else:
        print_differences(correlation, disagreement)
    for first, second in equal_members(values):
        print(
            f"Members {first + 1} and {second + 1} predict exactly the same, so this model counts twice; "
            "leave one of them out."
        )


def print_differences(correlation: np.ndarray, disagreement: np.ndarray | None) -> None:
    """Print a table with the correlation and the disagreement of each pair of members.

    Both arrays have the shape (members, members).
    """
    lines = []
    for row in range(len(correlation)):
        line = {"member": str(row + 1)}
        for column in range(len(correlation)):
            matrix = correlation if row < column or disagreement is None else disagreement
            line[str(column + 1)] = "-" if row == column else f"{matrix[row, column]:.3f}"
        lines.append(line)
    if disagreement is None:
        print("How much the members differ: correlation of their predictions.")
    else:
        print(
            "How much the members differ. Below the diagonal: share of cases in which they decide differently. "
            "Above it: correlation of their predictions."
        )
    print_table(PlainConsole(), lines)


def print_fit(rows: HeldOut, scores: EnsembleScores) -> None:
    if not scores.parts:
        return
    origin = "the folds of the runs" if rows.own_folds else "stratified"
    print(
        f"Scored by nested cross-validation over {scores.parts} parts ({origin}): {scores.metric} "
        f"{scores.ensemble[scores.metric]:.4f}. "
        f"On the rows that it was fitted on, it would be {scores.optimistic:.4f}. "
        "The fit shown above, which test predictions use, is on all rows."
    )
    if scores.fitted.penalties:
        several = "of each column " if len(scores.fitted.penalties) > 1 else ""
        print(f"stacking: L2 penalty {several}{', '.join(f'{penalty:g}' for penalty in scores.fitted.penalties)}")


def print_gain(title: str, gain: Gain, other: str) -> None:
    """Print the gain of an ensemble over another model in each metric, with its 95 % interval.

    Also print how many rows only one of the two predicts right. `title` begins the output, and `other` names the other
    model.
    """
    print(f"{title}, with the 95 % interval over rows:")
    width = max(map(len, gain.intervals))
    for name, interval in gain.intervals.items():
        print(f"  {name:<{width}} {describe_gain(interval)}")
    if gain.rows_won is not None:
        print(
            f"  right on {gain.rows_won} rows that {other} has wrong, wrong on {gain.rows_lost} rows that it has right"
        )


def describe_gain(interval: Interval) -> str:
    """Return a gain as text, such as "better by 0.0104 [+0.0030, +0.0243]"."""
    size = f"{abs(interval.mean):.4f}"
    if np.isnan(interval.mean):
        return "not defined"
    text = f"{'better' if interval.mean > 0 else 'worse'} by {size}"
    if size == "0.0000":
        text = "equal to four digits"
    chance = "" if interval.excludes_zero else ", may be chance"
    return f"{text} [{signed(interval.low)}, {signed(interval.high)}]{chance}"


def signed(value: float) -> str:
    """Return a number as text with its sign and four decimals, or "0.0000" if it rounds to zero."""
    text = f"{value:+.4f}"
    return text[1:] if float(text) == 0 else text


def print_framework_gain(gains: Sequence[FrameworkGain]) -> None:
    if not gains:
        return
    lines = []
    for gain in gains:
        row = {"recipe": f"{gain.recipe} {gain.fingerprint}", "members": gain.k, "mixed": gain.mixed}
        row |= {f"{backend} only": value for backend, value in gain.single.items()}
        row |= {
            "each seed on both": "-" if gain.same_seeds is None else f"{gain.same_seeds:.4f}",
            "gain": signed(float(gain.difference.mean())),
            "spread": "-" if np.isnan(gain.spread) else f"{gain.spread:.4f}",
        }
        row |= {"sets of seeds": len(gain.difference), "mixed ensembles": gain.choices_mixed}
        lines.append(row | {"drawn": "at random" if gain.sampled else "all"})
    print(FRAMEWORK_GAIN.format(metric=gains[0].metric, rows=gains[0].rows))
    for columns in sorted({tuple(line) for line in lines}):
        print_table(PlainConsole(), [line for line in lines if tuple(line) == columns])
