"""Print tables in the terminal, and sort their rows."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from kcomp.report.console import PlainConsole


def print_table(console: Console, rows: Sequence[Mapping[str, Any]], *, title: str | None = None) -> None:
    """Print a table. Its columns are the keys of the first row. Numbers are right-aligned."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    numeric = {name: all(isinstance(row[name], int | float) for row in rows) for name in rows[0]}
    for name in rows[0]:
        table.add_column(
            name, justify="right" if numeric[name] else "left", overflow="fold", no_wrap=not console.is_terminal
        )
    for row in rows:
        table.add_row(*map(cell, row.values()))
    if not console.is_terminal:
        console = PlainConsole(width=1000)
    console.print(table, highlight=False)


def cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def sorted_rows(rows: Sequence[Mapping[str, Any]], column: str) -> list[Mapping[str, Any]]:
    """Return the rows, sorted by a column in ascending order. NaN, and texts among numbers, come last.

    Args:
        rows: Dicts of values by column.
        column: The name of the column. With a minus sign before the name, the order is descending.

    Raises:
        ValueError: If there is no such column.
    """
    name = column.removeprefix("-")
    if name not in rows[0]:
        close = difflib.get_close_matches(name, rows[0], 1)
        hint = f"did you mean {close[0]!r}?" if close else f"the columns are {', '.join(rows[0])}"
        raise ValueError(f"the table has no column {name!r}; {hint}")
    numbers = [row for row in rows if is_number(row[name])]
    texts = [row for row in rows if not is_number(row[name])]
    descending = column.startswith("-")
    if not numbers:
        return sorted(texts, key=lambda row: str(row[name]), reverse=descending)
    return sorted(numbers, key=lambda row: row[name], reverse=descending) + texts


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)
