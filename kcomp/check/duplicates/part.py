"""Find duplicates, and leaks between folds and into the test rows."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.duplicates.groups import DuplicateGroup, findings_of, group_leaks, join, make_groups
from kcomp.check.duplicates.near import EXHAUSTIVE, near_pairs
from kcomp.check.label_text import label_text
from kcomp.check.pooled import PooledRows, pool
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable, Picture, Section
from kcomp.report.part import Part
from kcomp.report.text import quantity

LEAST_SIDE = 32  # pixels; images with a shorter side have too little structure to call them near-duplicates
SHOWN_GROUPS, SHOWN_IMAGES, TABLE_ROWS = 24, 6, 500
ADVICE = {
    "fold-leak": "Give the images of a group the same value in one column, and name this column with `group=` of "
    "`data.read_csv`. Folds of `data.stratified_folds` then keep the group together. Or drop all images but one.",
    "contradicting-labels": "Look at each group with different labels, and correct the labels or drop its rows.",
    "test-leak": "Some test images are also labelled. Read the rules of the competition before you use their labels.",
    "group-leak": "Rows of one `group` or `item` must share a fold. Cut the folds with `data.stratified_folds` or "
    "`data.folds`, without `allow_crossing=True`.",
}


def exact_findings(data_set: DataSet) -> list[Finding]:
    """Return findings about images with equal hashes, and about leaks between folds. No image is decoded."""
    rows = pool(data_set)
    return all_findings(data_set, rows, make_groups(rows, data_set.table, []))


def all_findings(data_set: DataSet, rows: PooledRows, groups: Sequence[DuplicateGroup]) -> list[Finding]:
    return [*group_leaks(data_set.table, rows.folds), *findings_of(rows, groups)]


def check_duplicates(data_set: DataSet) -> Part:
    """Return the part of the report about images that show the same picture.

    The images may be mirrored, rotated, resized, brighter or cropped copies. Candidates are pairs with similar
    perceptual hashes (Zauner 2010) or features (Barz and Denzler 2020). `describe_change` then compares their pixels.
    """
    rows = pool(data_set)
    groups = make_groups(rows, data_set.table, near_pairs(rows, positions_to_compare(rows)))
    findings = all_findings(data_set, rows, groups)
    section = make_section(data_set, rows, groups, findings)
    return Part("duplicates", section, numbers_of(rows, groups, findings), tuple(findings))


def positions_to_compare(rows: PooledRows) -> np.ndarray:
    """Return the positions of the images among which near-duplicates are searched, int.

    Images with a side below `LEAST_SIDE` are left out. Of several images with equal pixels, only the first is compared.
    """
    facts = rows.facts
    _, first = np.unique(facts.pixels_hash.astype(str), return_index=True)
    is_first = np.isin(np.arange(len(rows)), first)
    return np.flatnonzero(facts.readable & is_first & (np.minimum(facts.width, facts.height) >= LEAST_SIDE))


def numbers_of(rows: PooledRows, groups: Sequence[DuplicateGroup], findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the content of `duplicates` in check.json."""
    return {
        "images": len(rows),
        "groups": [
            {
                "kind": group.kind,
                "image_ids": [rows.ids[position] for position in group.rows],
                "changes": list(group.changes),
                "folds": list(group.folds),
                "labels": list(group.labels),
                "in_test": group.is_in_test,
            }
            for group in groups
        ],
        "findings": dict(Counter(finding.kind for finding in findings)),
    }


def make_section(
    data_set: DataSet, rows: PooledRows, groups: Sequence[DuplicateGroup], findings: Sequence[Finding]
) -> Section:
    alarms = [finding for finding in findings if finding.severity != "note"]
    section = Section("Duplicates and leaks", verdict(rows, groups, findings), not alarms)
    section.paragraphs += [text for kind, text in ADVICE.items() if any(finding.kind == kind for finding in findings)]
    section.paragraphs.append(method_text(rows))
    section.paragraphs += [finding.message for finding in findings if finding.kind == "group-leak"]
    if groups:
        section.tables.append((table_caption(groups), group_table(rows, groups)))
    for number, group in enumerate(groups[:SHOWN_GROUPS], 1):
        pictures = gallery(data_set, rows, group)
        if pictures:
            section.galleries.append((gallery_caption(number, group), pictures))
    return section


def verdict(rows: PooledRows, groups: Sequence[DuplicateGroup], findings: Sequence[Finding]) -> str:
    kinds = Counter(finding.kind for finding in findings)
    if not findings:
        return f"{quantity(len(rows), 'image')} have no duplicates, and no group crosses folds."
    parts = [f"{quantity(len(groups), 'picture')} {'occurs' if len(groups) == 1 else 'occur'} more than once."]
    if not groups:
        parts = []
    if kinds["fold-leak"] or kinds["group-leak"]:
        count = kinds["fold-leak"]
        leaks = [f"{quantity(count, 'picture')} in several folds"] if count else []
        leaks += ["rows of one group or item in several folds"] if kinds["group-leak"] else []
        parts.append(f"Held-out scores are too good, because of {' and '.join(leaks)}.")
    if kinds["contradicting-labels"]:
        count = kinds["contradicting-labels"]
        parts.append(f"{quantity(count, 'picture')} {'has' if count == 1 else 'have'} contradicting labels.")
    if kinds["test-leak"]:
        count = kinds["test-leak"]
        parts.append(f"{quantity(count, 'picture')} {'is' if count == 1 else 'are'} in the labelled and the test rows.")
    return " ".join(parts)


def method_text(rows: PooledRows) -> str:
    crops = "small copies"
    if len(rows) > EXHAUSTIVE:
        crops = "features of a pretrained network"
    has_crops = len(rows) <= EXHAUSTIVE or rows.features is not None
    source = f"perceptual hashes and {crops}" if has_crops else "perceptual hashes"
    return (
        f"Candidates for near-duplicates are found by {source}, and then compared by their pixels. Copies may be "
        f"mirrored, turned, resized or brighter{', or cropped' if has_crops else ', but not cropped'}. Images with a "
        f"side below {LEAST_SIDE} px are compared for equality only."
    )


def table_caption(groups: Sequence[DuplicateGroup]) -> str:
    shown = f", the first {TABLE_ROWS} of {len(groups)} groups" if len(groups) > TABLE_ROWS else ""
    return f"Images that show the same picture{shown}"


def group_table(rows: PooledRows, groups: Sequence[DuplicateGroup]) -> PageTable:
    header = ("group", "kind", "images", "ids", "folds", "labels", "test", "change")
    cells = [
        (
            str(number),
            group.kind,
            str(len(group.rows)),
            join([rows.ids[position] for position in group.rows]),
            join(group.folds) if group.folds else "–",
            "; ".join(group.labels) or "–",
            "all" if group.is_only_test else "some" if group.is_in_test else "–",
            ", ".join(group.changes) or "–",
        )
        for number, group in enumerate(groups[:TABLE_ROWS], 1)
    ]
    marked = [number for number, group in enumerate(groups[:TABLE_ROWS]) if group.folds or group.labels]
    return PageTable(header, cells, marked)


def gallery_caption(number: int, group: DuplicateGroup) -> str:
    texts = [group.kind, *group.changes]
    texts += [f"folds {join(group.folds)}"] if group.folds else []
    texts += [f"labels {'; '.join(group.labels)}"] if group.labels else []
    texts += ["labelled and test"] if group.is_in_test else []
    return f"Group {number}: {', '.join(texts)}"


def gallery(data_set: DataSet, rows: PooledRows, group: DuplicateGroup) -> list[Picture]:
    pictures = []
    for position in group.rows[:SHOWN_IMAGES]:
        lines = []
        if not rows.is_test[position]:
            lines += [f"fold {join(rows.folds[position].tolist())}"] if rows.folds.shape[1] else []
            lines.append(label_text(data_set.table.required_target, data_set.table.labels[position]))
        pictures.append(rows.picture(position, *lines))
    return [picture for picture in pictures if picture is not None]
