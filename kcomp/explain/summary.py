"""The first section of the page: where the models fail, and what to do next."""

from collections.abc import Sequence

from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.scores.interval_text import interval_text
from kcomp.explain.scores.overall import Scores
from kcomp.report.finding import Finding, sorted_findings
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import quantity

FEW = 200  # rows; the 95 % interval of an accuracy on fewer rows may be wider than 0.14
TOPICS = {
    "classes": "class",
    "calibration": "calibration",
    "slices": "slice",
    "stress": "stress",
    "wrong_labels": "labels",
    "several": "models",
}


def summary_part(rows: HeldOutRows, scores: Scores, parts: Sequence[Part]) -> Part:
    """Return the first part of the page: the most important finding, and a table of the findings of all parts."""
    findings = sorted_findings(finding for part in parts for finding in part.findings)
    runs = sum(len(member.runs) for member in rows.members)
    text = (
        f"On {quantity(len(rows), 'row')} that {quantity(runs, 'run')} held out, {rows.scorer.metric.name} is "
        f"{interval_text(scores.main)}. "
    )
    text += findings[0].message.removesuffix(".") + "." if findings else quiet_verdict(len(rows))
    section = Section("Where do the models fail?", text)
    cells = [[finding.kind, finding.message, ids_text(finding)] for finding in findings]
    quiet = [part for part in parts if part.name in TOPICS and not part.findings]
    cells += [[TOPICS[part.name], part.section.verdict, ""] for part in quiet]
    table = PageTable(["topic", "what it means and what to do", "rows"], cells)
    section.tables.append(("What to look at, the most important first", table))
    if rows.problem:
        section.paragraphs.append(
            f"The page has no pictures, because the rows of the recipe cannot be read: {rows.problem}. If the data "
            "are in another place now, run kcomp explain in the folder where the training was started."
        )
    listed = [{"kind": each.kind, "message": each.message, "image_ids": list(each.image_ids)} for each in findings]
    return Part("summary", section, {"findings": listed, "problem": rows.problem}, tuple(findings))


def quiet_verdict(rows: int) -> str:
    """Return the verdict of a page without findings. For few rows, it says that only large weaknesses would show."""
    if rows < FEW:
        return f"No weakness stands out beyond chance, but {quantity(rows, 'row')} can only show large ones."
    return "No weakness stands out beyond chance."


def ids_text(finding: Finding) -> str:
    """Return the first ids of a finding, such as "a, b, c, d, e and 3 more"."""
    more = f" and {len(finding.image_ids) - 5} more" if len(finding.image_ids) > 5 else ""
    return ", ".join(finding.image_ids[:5]) + more
