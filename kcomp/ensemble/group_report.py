"""What `kcomp ensemble --group-by` prints."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from kcomp.ensemble.blending import HeldOut
from kcomp.ensemble.group_judging import Judged, OfSize
from kcomp.report.table import print_table

FOLDS = (
    "folds: each held-out row is predicted by the one run that held it out, so the scores are those of single models; "
    "what the mean of a member's runs gains shows on test rows only. It costs the models and seconds shown"
)


def print_groups(judged: Sequence[Judged], rows: HeldOut, method: str) -> None:
    """A row for each group, the best score first: what it is, what it costs, and its gain over its best member."""
    print_table(Console(), [group_row(one) for one in judged], title=f"out of fold, {len(rows.ids)} rows, {method}")
    metric = judged[0].judgement.metric
    fitted = "; what is fitted was judged by nested cross-validation" if judged[0].judgement.parts else ""
    print(
        f"models predict each test row, seconds are those of their training; gain: in {metric}, over the group's best "
        f"member, above 0 is better, in brackets the 95 % interval over rows, by the bootstrap{fitted}"
    )
    if any(one.group.kind == "fold" for one in judged):
        print(FOLDS)


def group_row(one: Judged) -> dict[str, Any]:
    made, count = one.judgement, len(one.group.members)
    row: dict[str, Any] = {"kind": one.group.kind, "group": one.group.name, "of": one.group.levels}
    row |= {"members": count, "models": one.models, "seconds": round(one.seconds)} | made.ensemble
    if count == 1:
        return row | {"best member": "-", "gain": "-"}
    found = made.gain.intervals[made.metric]
    best = made.members[made.best][made.metric]
    return row | {
        "best member": f"{best:.4f}",
        "gain": f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]",
    }


def print_sizes(found: Sequence[OfSize], metric: str) -> None:
    """A row for each kind and number of members."""
    print(f"at equal numbers of members: {metric}, the mean over all choices of so many from a group; choices overlap")
    print_table(
        Console(),
        [
            {
                "kind": one.kind,
                "members": one.members,
                metric: one.score,
                "spread": "-" if math.isnan(one.spread) else f"{one.spread:.4f}",
                "choices": f"{one.ensembles}{' at random' if one.sampled else ''}",
                "models": f"{one.models:.1f}".removesuffix(".0"),
                "seconds": round(one.seconds),
            }
            for one in found
        ],
    )
