"""Write the table of runs as an HTML page."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kcomp.report.page import Cell, Link, PageTable, Section, html
from kcomp.report.table import cell
from kcomp.report.text import quantity
from kcomp.runs.folder import Run
from kcomp.system.files import read_json, write_atomically
from kcomp.values import as_text

Row = Mapping[str, Any]  # a row of kcomp.runs.table.run_rows


def write_page(path: Path, folder: Path, rows: Sequence[Row]) -> None:
    """Write an HTML page with a table for each recipe. A click on a column header sorts the table.

    Args:
        path: The page.
        folder: The folder that contains the runs, for the title.
        rows: One row for each run, from `kcomp.runs.table.run_rows`.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["recipe"], []).append(row)
    sections = [recipe_section(recipe, group, path.parent) for recipe, group in groups.items()]
    subtitle = f"{counted(rows)}. Click a header to sort."
    write_atomically(path, html(f"Runs in {folder}", subtitle, sections, wide=True).encode())


def recipe_section(recipe: str, rows: Sequence[Row], start: Path) -> Section:
    """Return the section of the page with the runs of one recipe. Links are relative to the folder `start`."""
    values = differing_values([read_values(Path(row["folder"])) for row in rows])
    names = list(dict.fromkeys(name for row in values for name in row))
    header = [name for name in rows[0] if name not in ("recipe", "folder")]
    cells: list[list[Cell]] = []
    for row, own in zip(rows, values, strict=True):
        texts = [cell(row.get(name, "-")) for name in header] + [as_text(own.get(name, "")) for name in names]
        cells.append([folder_link(Path(row["folder"]), start), *texts])
    title = "Damaged runs" if recipe == "-" else recipe
    return Section(title, f"{counted(rows)}.", tables=[("", PageTable(["run", *header, *names], cells))])


def folder_link(folder: Path, start: Path) -> Link:
    """Return a link to a run's folder, relative to the folder `start`."""
    address = os.path.relpath(folder, start or ".").replace(os.sep, "/")
    return Link(folder.name, quote(address))


def counted(rows: Sequence[Row]) -> str:
    """Return a text such as "3 runs, 1 unfinished"."""
    counts = [quantity(len(rows), "run")]
    for state in ("unfinished", "damaged"):
        number = sum(row["seconds"] == state for row in rows)
        if number:
            counts.append(f"{number} {state}")
    return ", ".join(counts)


def read_values(folder: Path) -> dict[str, Any]:
    try:
        return dict(read_json(Run(folder) / "config.json"))
    except (ValueError, OSError, TypeError):
        return {}


def differing_values(values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the values of each run that are not equal in all runs, by name."""
    texts: dict[str, set[str]] = {}
    for row in values:
        for name, value in row.items():
            texts.setdefault(name, set()).add(json.dumps(value))
    return [{name: value for name, value in row.items() if len(texts[name]) > 1} for row in values]
