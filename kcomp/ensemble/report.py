"""What `kcomp ensemble` prints of its judgement."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console

from kcomp.ensemble.blending import HeldOut, Member
from kcomp.ensemble.diversity import correlations, disagreements
from kcomp.ensemble.framework_gain import FrameworkGain
from kcomp.ensemble.gains import Gain
from kcomp.ensemble.judging import Judgement
from kcomp.report.table import print_table


def print_judgement(found: Sequence[Member], rows: HeldOut, judged: Judgement, method: str) -> None:
    """Print members, how alike they are, the ensemble's score, and what it gains over the best member and the mean."""
    lines = [member_row(number, member, judged) for number, member in enumerate(found)]
    blank = dict.fromkeys(lines[0], "-")
    if len(found) > 1:
        plain = blank | {"member": f"mean of {len(found)}", "rows": len(rows.ids)}
        lines.append(plain | judged.mean)
        if judged.gain_over_mean is not None:
            nested = ", nested" if judged.parts else ""
            lines.append(plain | {"member": f"{method} of {len(found)}{nested}"} | judged.ensemble)
    print_table(Console(), lines, title=f"out of fold, {len(rows.ids)} rows")
    if len(found) == 1 and not judged.parts:
        return
    if len(found) > 1:
        print_likeness(rows.values)
    print_fit(rows, judged)
    best = f"gain over the best member ({judged.best + 1}, by {judged.metric} on these rows)"
    print(f"{best}: {described(judged.gain)}")
    if judged.gain_over_mean is not None:
        print(f"gain over the mean: {described(judged.gain_over_mean)}")
    print("(above 0 is better; in brackets the 95 % interval over rows, by the bootstrap)")


def member_row(number: int, member: Member, judged: Judgement) -> dict[str, Any]:
    row: dict[str, Any] = {"": number + 1, "member": f"{member.recipe} {member.fingerprint}", "backend": member.backend}
    row |= {"seed": member.seed, "folds": ",".join(str(fold) for fold in sorted(set(member.folds)))}
    row |= {"rows": len(member.probabilities)} | judged.members[number]
    if judged.fitted.temperatures is not None:
        row["temperature"] = float(judged.fitted.temperatures[number])
    if judged.fitted.weights is not None:
        row["weight"] = float(judged.fitted.weights[number])
    return row


def print_likeness(values: np.ndarray) -> None:
    """One matrix of members: correlation above the diagonal, disagreement below."""
    alike, unlike = correlations(values), disagreements(values)
    lines = []
    for one in range(len(values)):
        cells = [
            "-" if one == other else f"{alike[one, other] if one < other else unlike[one, other]:.3f}"
            for other in range(len(values))
        ]
        lines.append({"": str(one + 1)} | {str(number + 1): cell for number, cell in enumerate(cells)})
    print("above the diagonal: correlation of probabilities; below: share of rows with different top classes")
    print_table(Console(), lines)


def print_fit(rows: HeldOut, judged: Judgement) -> None:
    if not judged.parts:
        return
    origin = "the runs' folds" if rows.own_folds else "stratified"
    print(
        f"judged by nested cross-validation over {judged.parts} parts ({origin}): {judged.metric} "
        f"{judged.ensemble[judged.metric]:.4f}; on the very rows of the fit it would be {judged.optimistic:.4f}. "
        "What is shown above as fitted, and applied to test rows, comes from all rows"
    )
    if judged.fitted.penalty is not None:
        print(f"stacking: L2 penalty {judged.fitted.penalty:g}")


def described(found: Gain) -> str:
    parts = [
        f"{name} {interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
        for name, interval in found.intervals.items()
    ]
    return f"{', '.join(parts)}; {found.rows_won} rows won, {found.rows_lost} lost, McNemar p = {found.p:.2g}"


def print_framework_gain(found: Sequence[FrameworkGain], backends: Sequence[str]) -> None:
    """Print a row for each number of members, or why there is none where there are two frameworks."""
    if not found:
        if len(set(backends)) > 1:
            print("framework gain: needs one recipe, unchanged, with two seeds or more on each of two backends")
        return
    lines = []
    for one in found:
        row = {"recipe": f"{one.recipe} {one.fingerprint}", "members": one.k, "mixed": one.mixed}
        row |= {f"{backend} only": value for backend, value in one.single.items()}
        row |= {
            "each seed on both": "-" if one.same_seeds is None else f"{one.same_seeds:.4f}",
            "gain": f"{one.difference.mean():+.4f}",
            "spread": f"{one.spread:.4f}",
        }
        row |= {"sets of seeds": len(one.difference), "mixed choices": one.choices_mixed}
        lines.append(row | {"drawn": "at random" if one.sampled else "all"})
    print(
        f"framework gain in {found[0].metric} ({found[0].rows} rows): mixed has half of the seeds on each framework, "
        "the others have all on one; above 0 is better; the spread is over overlapping sets of seeds"
    )
    for columns in sorted({tuple(line) for line in lines}):
        print_table(Console(), [line for line in lines if tuple(line) == columns])
