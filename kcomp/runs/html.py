"""The table of runs as a page of one file, with the values in which the runs differ. No Keras."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kcomp.report.page import PageTable, Section, html
from kcomp.report.table import cell
from kcomp.runs.folder import Run
from kcomp.system.files import read_json, write_atomically
from kcomp.values import as_text


def write_page(path: Path, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of kcomp.report.table.run_row; a click on a header sorts."""
    values = differing([values_of(Path(row["folder"])) for row in rows])
    names = list(dict.fromkeys(name for row in values for name in row))
    header = [name for name in rows[0] if name != "folder"]
    cells = [
        [cell(row[name]) for name in header] + [as_text(found.get(name, "")) for name in names] + [str(row["folder"])]
        for row, found in zip(rows, values, strict=True)
    ]
    table = PageTable([*header, *names, "folder"], cells)
    said = f"{len(rows)} runs, {sum(row['seconds'] == 'unfinished' for row in rows)} of them unfinished."
    section = Section("Runs", said, paragraphs=["A click on a header sorts."], tables=[("", table)])
    write_atomically(path, html(f"Runs in {folder}", "kcomp runs", [section], sortable=True).encode())


def values_of(folder: Path) -> dict[str, Any]:
    """The recipe's values of a run, none where they cannot be read."""
    try:
        return dict(read_json(Run(folder) / "config.json"))
    except (ValueError, OSError, TypeError):
        return {}


def differing(values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each run the values whose names stand for more than one value among the runs."""
    seen: dict[str, set[str]] = {}
    for row in values:
        for name, value in row.items():
            seen.setdefault(name, set()).add(json.dumps(value))
    return [{name: value for name, value in row.items() if len(seen[name]) > 1} for row in values]
