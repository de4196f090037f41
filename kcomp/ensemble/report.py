"""What `kcomp ensemble` prints of its judgement."""

from collections.abc import Sequence

import pandas as pd
from rich.console import Console

from kcomp.ensemble import blending
from kcomp.table import print_table


def print_judgement(members: Sequence[blending.Member], labels: pd.DataFrame) -> None:
    """Print each member's scores, the ensemble's, and what it gains over the best member."""
    judged = blending.judge(members, labels)
    if judged is None:
        print("no row was held out by every member, so the ensemble cannot be scored")
        return
    rows = [{"member": name, **found_scores} for name, found_scores in judged.members.items()]
    if len(rows) > 1:
        rows.append({"member": f"mean of {len(members)}", **judged.ensemble})
    print_table(Console(), rows, title=f"out of fold, {judged.rows} rows")
    if len(members) > 1:
        best = min(judged.members.values(), key=lambda scores: scores["log_loss"])
        print(
            f"gain over the best member (by log loss): accuracy {judged.ensemble['accuracy'] - best['accuracy']:+.4f}, "
            f"log loss {best['log_loss'] - judged.ensemble['log_loss']:+.4f} (above 0 is better)"
        )
