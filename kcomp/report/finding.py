"""A finding: one problem of a data set, with the images concerned."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # from the worst to the least
COLUMNS = ("kind", "severity", "image_id", "message")


@dataclass(frozen=True)
class Finding:
    """One problem of a data set.

    Attributes:
        kind: The kind of problem as lower-case words joined by hyphens, such as "near-duplicate".
        severity: "error" if training on the data would be wrong or would fail, "warning" if a person should look at it,
            and "note" for a fact that needs no action.
        message: The problem as one sentence, without the image ids.
        image_ids: The images concerned. Empty if the problem concerns the whole table.
        weight: The importance among findings of the same severity.
        details: The problem of each of `image_ids`, as a sentence without the id. Empty if `message` says it all.
    """

    kind: str
    severity: Severity
    message: str
    image_ids: tuple[str, ...] = ()
    weight: float = 0.0
    details: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {', '.join(SEVERITIES)}; received {self.severity!r}")


def sorted_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, the worst first: by severity, and by weight within each severity."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.weight))


def worst_severity(findings: Iterable[Finding]) -> Severity | None:
    return min((finding.severity for finding in findings), key=SEVERITIES.index, default=None)


def messages(findings: Iterable[Finding]) -> str:
    return " ".join(f"{finding.message[:1].upper()}{finding.message[1:]}." for finding in findings)


def uncovered(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings without notes that have the same images as an error or a warning."""
    alarms = {frozenset(finding.image_ids) for finding in findings if finding.severity != "note"} - {frozenset()}
    return [finding for finding in findings if finding.severity != "note" or frozenset(finding.image_ids) not in alarms]


def findings_csv(findings: Sequence[Finding]) -> str:
    """Return findings as CSV text with the columns `kind,severity,image_id,message`.

    There is one row for each image of each finding. If a finding concerns the whole table, it has one row without an
    image id.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for finding in sorted_findings(findings):
        image_ids = finding.image_ids or ("",)
        messages = finding.details or (finding.message,) * len(image_ids)
        for image_id, message in zip(image_ids, messages, strict=True):
            writer.writerow((finding.kind, finding.severity, image_id, message))
    return text.getvalue()
