"""Report ids that occur in several rows of the table by mistake."""

from collections.abc import Sequence

from kcomp.data.bad_images import RepeatedId
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable
from kcomp.report.text import quantity


def repeated_findings(repeated: Sequence[RepeatedId]) -> list[Finding]:
    """Return an error about ids with different labels, and a warning about ids with the same label in all rows."""
    unlike = [each for each in repeated if len(each.labels) > 1]
    equal = [each for each in repeated if len(each.labels) == 1]
    findings = []
    if unlike:
        message = f"{quantity(len(unlike), 'id')} {occur(unlike)} in several rows with different labels; keep one row"
        details = [f"labelled {' and '.join(each.labels)} in {each.rows} rows" for each in unlike]
        findings.append(finding("contradicting-labels", "error", message, unlike, details))
    if equal:
        message = f"{quantity(len(equal), 'id')} {occur(equal)} in several rows with the same label; kcomp uses one row"
        details = [f"labelled {each.labels[0]} in each of {each.rows} rows" for each in equal]
        findings.append(finding("repeated-id", "warning", message, equal, details))
    return findings


def occur(ids: Sequence[RepeatedId]) -> str:
    return "occurs" if len(ids) == 1 else "occur"


def finding(kind: str, severity: str, message: str, ids: Sequence[RepeatedId], details: Sequence[str]) -> Finding:
    names = tuple(each.image_id for each in ids)
    return Finding(kind, severity, message, names, len(names), tuple(details))  # type: ignore[arg-type]


def repeated_tables(repeated: Sequence[RepeatedId]) -> list[tuple[str, PageTable]]:
    """Return a list with a caption and a table of the repeated ids. The list is empty if there are none."""
    if not repeated:
        return []
    cells = [[each.image_id, str(each.rows), "; ".join(each.labels)] for each in repeated]
    marked = [place for place, each in enumerate(repeated) if len(each.labels) > 1]
    return [("Ids that occur in several rows", PageTable(["image", "rows", "labels"], cells, marked))]
