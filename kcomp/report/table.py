"""Tables in the terminal."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(console: Console, rows: Sequence[Mapping[str, Any]], *, title: str | None = None) -> None:
    """Print rows with the keys of the first as columns; numbers are right-aligned, piped output is never cut."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    numeric = {name: all(isinstance(row[name], int | float) for row in rows) for name in rows[0]}
    for name in rows[0]:
        table.add_column(
            name, justify="right" if numeric[name] else "left", overflow="fold", no_wrap=not console.is_terminal
        )
    for row in rows:
        table.add_row(*map(cell, row.values()))
    if not console.is_terminal:
        console = Console(width=1000)
    console.print(table, highlight=False)


def cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def sorted_rows(rows: Sequence[Mapping[str, Any]], column: str) -> list[Mapping[str, Any]]:
    """The rows by this column, or from its high end for `-column`; what a column of numbers lacks comes last.

    ValueError for a column that is not there, with the nearest.
    """
    name = column.removeprefix("-")
    if name not in rows[0]:
        close = difflib.get_close_matches(name, rows[0], 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(rows[0])}"
        raise ValueError(f"the table has no column {name!r}; {hint}")
    numbers = [row for row in rows if is_number(row[name])]
    others = [row for row in rows if not is_number(row[name])]
    down = column.startswith("-")
    found = sorted(numbers, key=lambda row: row[name], reverse=down)
    return found + (others if found else sorted(others, key=lambda row: str(row[name]), reverse=down))


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)
