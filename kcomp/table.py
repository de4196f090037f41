"""Tables in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from kcomp import scores
from kcomp.runs import Run, made_by


def print_table(console: Console, rows: Sequence[Mapping[str, Any]], *, title: str | None = None) -> None:
    """Print rows with the keys of the first as columns; numbers are right-aligned, piped output is never cut."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    numeric = {name: all(isinstance(row[name], int | float) for row in rows) for name in rows[0]}
    for name in rows[0]:
        table.add_column(
            name, justify="right" if numeric[name] else "left", overflow="fold", no_wrap=not console.is_terminal
        )
    for row in rows:
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()))
    if not console.is_terminal:
        console = Console(width=1000)
    console.print(table, highlight=False)


def run_row(run: Run) -> dict[str, Any]:
    """What `kcomp runs` shows of a run; of a damaged one, that it is."""
    try:
        kept, result = run.manifest, run.result if run.complete else None
    except (ValueError, OSError):
        unknown = ("recipe", "fingerprint", "backend", "fold", "seed", *scores.NAMES)
        return dict.fromkeys(unknown, "-") | {"seconds": "damaged", "folder": str(run.folder)}
    row = {"recipe": kept["recipe"], "fingerprint": kept["fingerprint"], "backend": made_by(kept)}
    row |= {"fold": kept["fold"], "seed": kept["seed"]}
    if result is None:
        return row | dict.fromkeys(scores.NAMES, "-") | {"seconds": "unfinished", "folder": str(run.folder)}
    return row | result["scores"] | {"seconds": round(result["seconds"]), "folder": str(run.folder)}
