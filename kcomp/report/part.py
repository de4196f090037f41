"""A part of a report: a section of the page, numbers for the JSON file, and findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kcomp.report.finding import Finding, worst_severity
from kcomp.report.page import Section


@dataclass(frozen=True)
class Part:
    """The result of one group of checks, or of one analysis.

    Attributes:
        name: The key of `numbers` in the JSON file, such as "duplicates".
        section: The section of the page.
        numbers: The content of the JSON file: numbers, texts, lists and dicts.
        findings: The problems that were found.
    """

    name: str
    section: Section
    numbers: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def shown(self) -> Section:
        """The section, with the worst severity of the part's findings."""
        return replace(self.section, severity=worst_severity(self.findings))
