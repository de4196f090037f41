"""Find class names that differ only in case, spaces, hyphens or Unicode form."""

import unicodedata
from collections.abc import Sequence

from kcomp.data.spelling import JOINED
from kcomp.data.tables import Table
from kcomp.report.finding import Finding
from kcomp.targets import Target
from kcomp.targets.arrays import list_names
from kcomp.targets.one_of import NUMBER

SEPARATORS = str.maketrans("", "", "_-")


def spelling_findings(table: Table, notices: Sequence[str]) -> list[Finding]:
    """Return warnings about spellings that kcomp joined to one class, and about classes that differ only in spelling.

    `notices` are the texts that were printed when the table was read. They name the joined spellings.
    """
    findings = [Finding("label-spelling", "warning", joined_text(text)) for text in notices if JOINED in text]
    groups = similar_names(table.required_target)
    if groups:
        more = f", and {len(groups) - 1} more such groups" if len(groups) > 1 else ""
        message = f"{list_names(groups[0])} are different classes, but only differ in spelling{more}"
        findings.append(Finding("label-spelling", "warning", message))
    return findings


def joined_text(text: str) -> str:
    """Turn a notice about joined spellings, which begins with the path of the table, into the text of a warning."""
    source, _, spellings = text.partition(f": {JOINED} ")
    return f"kcomp {JOINED} {spellings}; write one spelling in {source}"


def similar_names(target: Target) -> list[list[str]]:
    """Return groups of class names that differ only in case, spaces, `_`, `-` or Unicode form."""
    groups: dict[str, list[str]] = {}
    for name in target.class_names:
        plain = unicodedata.normalize("NFKC", name).strip()
        if any(letter.isalpha() for letter in plain):
            key = plain if len(plain) == 1 else "".join(plain.casefold().split()).translate(SEPARATORS)
            groups.setdefault(key, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def numeric_names_text(target: Target) -> list[str]:
    """Return a list with a paragraph if all class names are numbers, else an empty list."""
    names = target.class_names
    if not names or names != target.columns or not all(NUMBER.fullmatch(name.strip()) for name in names):
        return []
    return [
        f"All {len(names)} classes are numbers. kcomp treats them as names, without order or distance. If their order "
        "matters, read them with `grades=` or `numbers=` instead of `label=`."
    ]
