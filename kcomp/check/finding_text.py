"""Write a finding as one line for the terminal."""

from kcomp.report.finding import Finding
from kcomp.system.printable import printable

IDS = 3  # how many image ids a line shows
SHOWN = 40  # characters of an image id in a line


def finding_line(finding: Finding) -> str:
    """Return a finding as one line: the severity, the kind, the problem, and the ids of the first images."""
    ids = example_ids(finding)
    return f"{finding.severity}: {finding.kind}: {printable_line(finding.message)}" + (f" ({ids})" if ids else "")


def example_ids(finding: Finding) -> str:
    """Return the first image ids of a finding, such as "a, b, c and 5 more". Empty if the finding names no image."""
    shown = [shorten(printable_line(name)) for name in finding.image_ids[:IDS]]
    more = len(finding.image_ids) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def shorten(text: str) -> str:
    return text if len(text) <= SHOWN else f"...{text[3 - SHOWN :]}"


def printable_line(text: str) -> str:
    """Return a text in one line, in which control characters and invalid characters are escaped for the terminal."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")
