"""Groups of images that show the same picture, and findings about these groups."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

from kcomp.check.duplicates.near import NearPair
from kcomp.check.label_text import label_text
from kcomp.check.pooled import PooledRows
from kcomp.data.splits.rows import TOGETHER
from kcomp.data.tables import Table
from kcomp.report.finding import Finding, Severity
from kcomp.report.text import quantity
from kcomp.targets import Target

# Labels of one picture contradict each other if they differ by more than this share of `target.unit`: half a class,
# label or grade, or a fifth of the standard deviation of numbers (two values a fifth apart are each a tenth from their
# mean, which is 1 % of the variance).
DIFFERENT_CLASS, DIFFERENT_NUMBER = 0.5, 0.2
NAMED = 4  # how many images a message names
WORDS = {
    "equal-bytes": "are copies of one file",
    "equal-pixels": "have equal pixels",
    "near-duplicate": "show the same picture",
}


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that show the same picture.

    Attributes:
        rows: The positions of the images in `PooledRows`, sorted.
        kind: "equal-bytes" if all files are equal, "equal-pixels" if all pixels are equal, else "near-duplicate".
        changes: How the images of near-duplicate pairs differ, such as "mirrored".
        folds: The fold numbers of the labelled images if they are in different folds; else empty.
        is_in_test: Whether the group has both labelled and test images.
        is_only_test: Whether all images are test images.
        labels: The different labels as texts if they contradict each other; else empty.
        is_known: Whether the table itself groups the images: all labelled ones have the same value in the column
            `group`, or all in the column `item`.
    """

    rows: tuple[int, ...]
    kind: str
    changes: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()
    is_in_test: bool = False
    is_only_test: bool = False
    labels: tuple[str, ...] = ()
    is_known: bool = False


def make_groups(rows: PooledRows, table: Table, near: Sequence[NearPair] = ()) -> list[DuplicateGroup]:
    """Return groups of images that have equal bytes, have equal pixels, or are in a pair of `near`.

    Groups that cross folds come first, then groups with contradicting labels, then groups with test images.
    """
    sets = DisjointSet(range(len(rows)))
    for hashes in (rows.facts.bytes_hash, rows.facts.pixels_hash):
        first: dict[str, int] = {}
        for position in np.flatnonzero(rows.facts.readable & (hashes != "")).tolist():
            sets.merge(first.setdefault(hashes[position], position), position)
    for pair in near:
        sets.merge(pair.first, pair.second)
    changes: dict[int, list[str]] = {}
    for pair in near:
        changes.setdefault(sets[pair.first], []).append(pair.change)
    labels = table.labels
    threshold = contradiction_threshold(table.required_target, labels)
    groups = [
        replace(
            describe_group(rows, table, members, contradictions(table.required_target, labels, members, threshold)),
            changes=tuple(dict.fromkeys(changes.get(sets[members[0]], ()))),
        )
        for members in sorted(sorted(subset) for subset in sets.subsets() if len(subset) > 1)
    ]
    return sorted(groups, key=lambda group: (not group.folds, not group.labels, not group.is_in_test, -len(group.rows)))


def describe_group(rows: PooledRows, table: Table, members: Sequence[int], labels: tuple[str, ...]) -> DuplicateGroup:
    labelled = [member for member in members if member < rows.labelled]
    folds = rows.folds[labelled]
    crossing = bool((folds != folds[:1]).any())
    return DuplicateGroup(
        rows=tuple(members),
        kind=kind_of(rows, members),
        folds=tuple(sorted(set(folds.ravel().tolist()))) if crossing else (),
        is_in_test=0 < len(labelled) < len(members),
        is_only_test=not labelled,
        labels=labels,
        is_known=any(table.frame[name].iloc[labelled].nunique() == 1 for name in TOGETHER if name in table.frame),
    )


def kind_of(rows: PooledRows, members: Sequence[int]) -> str:
    if len(set(rows.facts.bytes_hash[members])) == 1 and rows.facts.bytes_hash[members[0]]:
        return "equal-bytes"
    return "equal-pixels" if len(set(rows.facts.pixels_hash[members])) == 1 else "near-duplicate"


def contradiction_threshold(target: Target, labels: np.ndarray) -> np.ndarray:
    """Return for each label column the largest difference of two labels that is no contradiction, (columns,)."""
    if target.class_names:
        return np.full(labels.shape[1], DIFFERENT_CLASS)
    empty = np.isnan(labels).all(0)  # a column without labels has no standard deviation, and no contradictions
    return DIFFERENT_NUMBER * target.fitted(np.where(empty, 0, labels)).unit


def contradictions(
    target: Target, labels: np.ndarray, members: Sequence[int], threshold: np.ndarray
) -> tuple[str, ...]:
    """Return the different labels of a group as texts if they contradict each other, else ().

    Args:
        target: The target of the labels.
        labels: The labels of the table, (rows, columns).
        members: Positions of the group's rows in `PooledRows`. Test rows have no label and are ignored.
        threshold: The result of `contradiction_threshold`.
    """
    values = labels[[member for member in members if member < len(labels)]]
    return tuple(dict.fromkeys(label_text(target, label) for label in values)) if contradict(values, threshold) else ()


def contradict(labels: np.ndarray, threshold: np.ndarray) -> bool:
    """Return whether two of the labels (rows, columns) differ by more than `threshold`, (columns,), in any column.

    Missing labels, which are NaN, are ignored.
    """
    if len(labels) < 2:
        return False
    least = np.where(np.isnan(labels), np.inf, labels).min(0)
    most = np.where(np.isnan(labels), -np.inf, labels).max(0)
    return bool((most - least > threshold).any())


def findings_of(rows: PooledRows, groups: Sequence[DuplicateGroup]) -> list[Finding]:
    return [finding for group in groups for finding in findings_of_group(rows, group)]


def findings_of_group(rows: PooledRows, group: DuplicateGroup) -> list[Finding]:
    """Return a finding for each leak or contradiction of a group, and a last one that says how its images are alike."""
    ids = tuple(rows.ids[position] for position in group.rows)
    labelled = tuple(rows.ids[position] for position in group.rows if position < rows.labelled)
    what, weight = f"{list_ids(ids)} {WORDS[group.kind]}", float(len(ids))
    problems = []
    if group.folds:
        text = f"{list_ids(labelled)} show the same picture in the folds {join(group.folds)}, so scores are too good"
        problems.append(Finding("fold-leak", "error", text, labelled, weight))
    if group.labels:
        severity: Severity = "warning" if group.kind == "near-duplicate" else "error"
        text = f"{list_ids(labelled)} show the same picture, but have the labels {join(group.labels)}"
        problems.append(Finding("contradicting-labels", severity, text, labelled, weight))
    if group.is_in_test:
        tests = ids[len(labelled) :]
        verb = "shows" if len(tests) == 1 else "show"
        text = f"test {list_ids(tests)} {verb} the same picture as labelled {list_ids(labelled)}"
        problems.append(Finding("test-leak", "warning", text, ids, weight))
    details = f" ({', '.join(group.changes)})" if group.changes else ""
    is_note = problems or group.is_known or group.is_only_test
    return [*problems, Finding(group.kind, "note" if is_note else "warning", what + details, ids, weight)]


def group_leaks(table: Table, folds: np.ndarray) -> list[Finding]:
    """Return an error for each of the columns `group` and `item` in which one value occurs in several folds."""
    findings = []
    for name in TOGETHER:
        if name not in table.frame or not folds.shape[1]:
            continue
        codes = pd.factorize(table.frame[name])[0]
        counts = pd.DataFrame(folds).groupby(codes).nunique().max(axis=1)
        crossing = counts.index[(counts > 1) & (counts.index >= 0)]
        if not len(crossing):
            continue
        ids = table.frame["image_id"][np.isin(codes, crossing)]
        first = np.flatnonzero(codes == crossing[0])
        text = (
            f"rows of one {name} are in different folds, so scores are too good: {len(crossing)} of "
            f"{quantity(int(codes.max()) + 1, name)}, such as {table.frame[name].iloc[first[0]]} in the folds "
            f"{join(sorted(set(folds[first].ravel().tolist())))}; cut folds without allow_crossing"
        )
        findings.append(Finding("group-leak", "error", text, tuple(ids), float(len(ids))))
    return findings


def list_ids(ids: Sequence[str]) -> str:
    """Return text such as "images a, b and c" or "images a, b, c, d and 3 more"."""
    noun = "image" if len(ids) == 1 else "images"
    return f"{noun} {join(ids)}"


def join(values: Sequence[object]) -> str:
    """Return text such as "a, b and c" or "a, b, c, d and 3 more"."""
    texts = [str(value) for value in values[:NAMED]]
    if len(values) > NAMED:
        texts.append(f"{len(values) - NAMED} more")
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
