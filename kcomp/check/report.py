"""Write the report of a check: check.html, check.json and findings.csv."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.finding_text import example_ids
from kcomp.check.result import CheckResult
from kcomp.recipe import Loaded
from kcomp.report.finding import SEVERITIES, Finding, findings_csv, sorted_findings, uncovered, worst_severity
from kcomp.report.page import Link, PageTable, Section, html
from kcomp.report.part import Part
from kcomp.report.text import quantity
from kcomp.system.files import json_bytes, write_together

WORST = 10  # how many findings the top of the page and the terminal show


def write_report(folder: Path, loaded: Loaded, result: CheckResult, command: str) -> Path:
    """Write the three files of a report into a folder, and return the path of the page.

    Files of an earlier report are replaced. If one of the files cannot be written, all stay as they are.

    Args:
        folder: The folder, which is created if it does not exist.
        loaded: The recipe.
        result: The results of the checks.
        command: The command that made the report. The page shows it.
    """
    parts, data_set, findings = result.parts, result.data_set, all_findings(result.parts)
    sections = [overview(result), *(part.shown for part in by_severity(parts))]
    page = html(f"Check of {loaded.name}", command, sections)
    content = {
        "recipe": loaded.name,
        "fingerprint": loaded.fingerprint(),
        "command": command,
        "rows": len(data_set.table),
        "network": result.network,
        "test_rows": None if data_set.test is None else len(data_set.test),
        "findings": [vars(finding) for finding in findings],
        "parts": {part.name: part.numbers for part in parts},
    }
    files = {
        "check.json": json_bytes(plain(content)),
        "findings.csv": findings_csv(findings).encode(errors="surrogateescape"),
        "check.html": page.encode(errors="backslashreplace"),
    }
    write_together(folder, files)
    return folder / "check.html"


def all_findings(parts: Sequence[Part]) -> list[Finding]:
    """Return the findings of all parts, the worst first."""
    return sorted_findings(finding for part in parts for finding in part.findings)


def by_severity(parts: Sequence[Part]) -> list[Part]:
    """Return the parts of the report, sorted by their worst finding: errors, then warnings, then others."""
    return sorted(parts, key=lambda part: SEVERITIES.index(worst_severity(part.findings) or "note"))


def overview(result: CheckResult) -> Section:
    """Return the first section of the page: the numbers of errors and warnings, and the ten worst findings."""
    parts = result.parts
    findings = all_findings(parts)
    errors, warnings, notes = (sum(finding.severity == name for finding in findings) for name in SEVERITIES)
    worst = uncovered(findings)[:WORST]
    paragraphs = [describe(result.data_set)]
    tables = []
    if worst:
        links = links_to_sections(parts)
        header = ("severity", "kind", "problem", "images", "section")
        rows = [
            (finding.severity, finding.kind, finding.message, example_ids(finding), links[id(finding)])
            for finding in worst
        ]
        more = len(findings) - len(worst)
        tables = [("The worst findings" + (f", {more} more are below" if more else ""), PageTable(header, rows))]
        paragraphs.append(
            "An error makes training fail, or makes its result wrong. A warning is something that you should look at. "
            "A note is a fact that needs no action. findings.csv beside this page lists every finding with its images."
        )
    if result.network:
        paragraphs.append(result.network)
    good = False if errors else None if warnings else True
    text, severity = verdict(errors, warnings, notes), worst_severity(findings)
    return Section("Result", text, good, severity, paragraphs=paragraphs, tables=tables)


def links_to_sections(parts: Sequence[Part]) -> dict[int, Link]:
    """Return a link to the section of each finding. The keys are `id(finding)`."""
    return {
        id(finding): Link(part.section.title, f"#section-{number}")
        for number, part in enumerate(by_severity(parts), 2)
        for finding in part.findings
    }


def verdict(errors: int, warnings: int, notes: int) -> str:
    repair = f"{quantity(errors, 'error')} must be repaired before training"
    look = f"{quantity(warnings, 'warning')} {'needs' if warnings == 1 else 'need'} a look"
    if errors and warnings:
        return f"{repair}, and {look}."
    if errors:
        return f"{repair}."
    if warnings:
        return f"No error. {look}."
    return "No problem was found." + (f" {quantity(notes, 'note')} may be of interest." if notes else "")


def describe(data_set: DataSet) -> str:
    table = data_set.table
    test = "no test rows" if data_set.test is None else quantity(len(data_set.test), "test row")
    labels = table.required_target.describe(table.labels)
    return f"{quantity(len(table), 'labelled row')}, {test}. {labels}. The metric is {data_set.metric.name}."


def plain(content: Any) -> Any:
    """Convert NumPy numbers and arrays, and tuples, to the types that JSON can store."""
    if isinstance(content, Mapping):
        return {str(name): plain(value) for name, value in content.items()}
    if isinstance(content, np.generic | np.ndarray):
        return plain(content.tolist())
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    return content
