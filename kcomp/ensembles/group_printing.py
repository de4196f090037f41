"""Print the tables of `kcomp ensemble --group-by`."""

import math
from collections.abc import Sequence
from typing import Any

from kcomp.ensembles.joins import HeldOut
from kcomp.ensembles.printing import signed
from kcomp.ensembles.scoring.groups import GroupScores, SizeScores
from kcomp.report.console import PlainConsole
from kcomp.report.table import print_table

FOLDS = (
    "Groups of kind `fold`: each held-out row is predicted by one run, so these are scores of single models. "
    "Averaging the runs of all folds improves test predictions only; `models` and `seconds` are its cost."
)
NESTED = "Fitted ensembles are scored by nested cross-validation; members by themselves are scored without a fit."


def print_groups(results: Sequence[GroupScores], rows: HeldOut, method: str) -> None:
    """Print one table row for each group of members: its scores, its costs, and its gain over its best member."""
    lines = [group_row(result) for result in results]
    print(f"{method} of each group, scored on {len(rows.ids)} held-out rows")
    print_table(PlainConsole(), lines)
    metric = results[0].scores.metric
    print(
        f"models: predict each test row. seconds: of their training. gain: in {metric}, over the group's best member, "
        "above 0 is better, with the 95 % interval over rows."
    )
    if any(result.scores.parts for result in results):
        print(NESTED)
    if any(result.group.kind == "fold" for result in results):
        print(FOLDS)


def group_row(result: GroupScores) -> dict[str, Any]:
    scores, count = result.scores, len(result.group.members)
    row: dict[str, Any] = {"kind": result.group.kind, "group": result.group.name, "of": result.group.levels}
    row |= {"members": count, "models": result.models, "seconds": round(result.seconds)} | scores.ensemble
    if count == 1:
        return row | {"best member": "-", "gain": "-"}
    gain = scores.gain.intervals[scores.metric]
    best = scores.members[scores.best][scores.metric]
    return row | {
        "best member": f"{best:.4f}",
        "gain": f"{signed(gain.mean)} [{signed(gain.low)}, {signed(gain.high)}]",
    }


def print_sizes(results: Sequence[SizeScores], metric: str) -> None:
    lines = [
        {
            "kind": result.kind,
            "members": result.members,
            metric: result.score,
            "spread": "-" if math.isnan(result.spread) else f"{result.spread:.4f}",
            "ensembles": f"{result.ensembles}{' at random' if result.sampled else ''}",
            "models": f"{result.models:.1f}".removesuffix(".0"),
            "seconds": round(result.seconds),
        }
        for result in results
    ]
    print(f"At equal numbers of members: mean {metric} over all ensembles of that size within a group; they overlap")
    print_table(PlainConsole(), lines)
