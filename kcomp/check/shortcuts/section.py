"""Describe on the page how well properties of the image files predict the labels, and return findings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcomp.check.shortcuts.outcome import Outcome
from kcomp.check.shortcuts.permutation import LEVEL, Tested, least_score
from kcomp.report import plots
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable, Section

ROLES = {
    "trace": "a network can see it",
    "content": "may follow from what the images show",
    "order": "a network cannot see it",
}
MOST_CLASSES = 20  # of the table of medians


def make_section(tested: Sequence[Tested], outcome: Outcome, constant: Sequence[str]) -> Section:
    """Return the section of the page about the tested properties.

    `constant` has the names of properties with the same value in all images, which are not tested.
    """
    alarms = [each for each in tested if each.is_large and each.measured.role == "trace"]
    others = [each for each in tested if each.is_large and each.measured.role != "trace"]
    verdict = "No property of the image files predicts the labels well."
    if alarms:
        names = ", ".join(each.measured.name for each in alarms)
        verdict = (
            f"Properties of the files predict the labels: {names}. A network may learn them instead of the content."
        )
    elif others:
        names = ", ".join(each.measured.name for each in others)
        verdict = f"No property of the files is a shortcut. These properties also predict the labels: {names}."
    score = outcome.score_name
    section = Section("Shortcuts", verdict, good=not alarms)
    section.paragraphs += [
        f"Each property alone predicts the labels of held-out rows. The score is the {score}: {outcome.no_skill:g} is "
        "chance and 1 is perfect. The range by chance comes from 200 permutations of the labels. A score is large "
        f"if it is at least {least_score(outcome)} (a large effect, Cohen 1988), and chance reaches it in any test "
        f"with a probability below {LEVEL}.",
        "A network can see size, shape, compression and channels. It can also see the time, because light and "
        "background change. A large score of one of these is a warning. File size and colour often follow from what "
        "the images show, such as grass or sand, so they are no warning. The order of the rows is no warning either: "
        "kcomp shuffles the rows in every epoch.",
    ]
    if any(each.association.score < each.association.chance_interval[0] for each in tested):
        section.paragraphs.append(
            "A score below the range by chance means that rows with similar values seldom share a label, for example "
            "because each person was photographed with each label in turn."
        )
    if tested:
        section.tables.append((f"How well each property predicts the labels ({score})", table_of(tested, outcome)))
        section.pictures.append(score_plot(tested, outcome))
    if constant:
        section.paragraphs.append(f"The same in all images: {', '.join(constant)}.")
    if alarms and outcome.is_class:
        section.tables.append(("Median of the property by class", median_table(alarms, outcome)))
    return section


def score_plot(tested: Sequence[Tested], outcome: Outcome) -> tuple[str, bytes]:
    """Return a caption and a plot: the mean score of each property, and the range of its scores by chance."""
    ordered = sorted(tested, key=lambda each: -np.nan_to_num(each.association.score))
    picture = plots.points(
        [each.measured.name for each in ordered],
        [each.association.score for each in ordered],
        [each.association.chance_interval for each in ordered],
        xlabel=outcome.score_name,
        reference=outcome.no_skill,
    )
    return "Mean score of each property (dot) and 95 % of the scores by chance (line)", picture


def table_of(tested: Sequence[Tested], outcome: Outcome) -> PageTable:
    header = ["Property", "Kind", "Score", "By chance", "Best predicted", "Its score", "p-value (corrected)"]
    rows: list[list[str]] = []
    marked: list[int] = []
    for each in sorted(tested, key=lambda each: -np.nan_to_num(each.best_score)):
        low, high = each.association.chance_interval
        best = each.strongest
        if each.is_large and each.measured.role == "trace":
            marked.append(len(rows))
        rows.append(
            [
                each.measured.name,
                ROLES[each.measured.role],
                f"{each.association.score:.3f}",
                f"{low:.3f} to {high:.3f}",
                outcome.names[best],
                f"{each.best_score:.3f}",
                f"{each.p_values[best]:.2g}",
            ]
        )
    return PageTable(header, rows, tuple(marked))


def median_table(alarms: Sequence[Tested], outcome: Outcome) -> PageTable:
    rows: list[list[str]] = []
    for column in range(min(len(outcome.names), MOST_CLASSES)):
        members = outcome.values[:, column] == 1
        values = [each.measured.values[members] for each in alarms]
        known = [value[~np.isnan(value)] for value in values]
        cells = [f"{np.median(value):.6g}" if len(value) else "none" for value in known]
        rows.append([outcome.names[column], str(int(members.sum())), *cells])
    return PageTable(["Class", "Rows", *(each.measured.name for each in alarms)], rows)


def numbers_of(tested: Sequence[Tested], outcome: Outcome) -> dict[str, Any]:
    result: dict[str, Any] = {"score": outcome.score_name, "properties": []}
    for each in tested:
        best = each.strongest
        result["properties"].append(
            {
                "name": each.measured.name,
                "kind": each.measured.role,
                "score": each.association.score,
                "chance": list(each.association.chance_interval),
                "best": outcome.names[best],
                "best_score": each.best_score,
                "p_value": float(each.p_values[best]),
                "is_large": each.is_large,
            }
        )
    return result


def findings_of(tested: Sequence[Tested], outcome: Outcome) -> list[Finding]:
    """Return a warning about properties that leave traces in the pixels, and a note about numbers in file names.

    Only properties that predict the labels with a large effect count.
    """
    findings = []
    for role, severity in (("trace", "warning"), ("order", "note")):
        large = [each for each in tested if each.is_large and each.measured.role == role]
        large = [each for each in large if each.measured.name != "position in the table"]
        if not large:
            continue
        texts = [
            f"{each.measured.name} alone predicts {outcome.names[each.strongest]!r} with a {outcome.score_name} of "
            f"{each.best_score:.2f} (chance {outcome.no_skill:g})"
            for each in sorted(large, key=lambda each: -each.best_score)
        ]
        advice = (
            "a network may learn it instead of the content; make the files alike"
            if role == "trace"
            else "networks do not see it, but test rows may follow the same order"
        )
        weight = max(each.best_score for each in large)
        findings.append(Finding("shortcut", severity, f"{'; '.join(texts)}: {advice}", (), weight))  # type: ignore[arg-type]
    return findings
