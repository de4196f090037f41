"""Check the image files of a data set. docs/internals/check.md explains each finding and its source."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.files.damage import kind_of_damage
from kcomp.check.files.formats import odd_formats
from kcomp.check.files.rules import OddImages, blur_radius, odd_pixels, odd_shapes
from kcomp.check.pooled import PooledRows, pool
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable, Picture, Section
from kcomp.report.part import Part
from kcomp.report.text import quantity

SHOWN = 12  # pictures of a kind
EXTREMES = 2  # pictures of each extreme
LISTED = 200  # rows of a kind in the table
DAMAGE = ("missing", "empty", "unreadable", "truncated", "damaged")
SINGULAR = {"is": "is", "has": "has", "them": "it"}
PLURAL = {"is": "are", "has": "have", "them": "them"}
SENTENCES = {
    "missing": "{is} missing: there is no file where it is expected",
    "empty": "{is} empty: the file has no bytes",
    "unreadable": "cannot be read",
    "truncated": "{is} truncated: the file ends before the picture does",
    "damaged": "{is} damaged inside",
}


def check_files(data_set: DataSet) -> Part:
    pooled = pool(data_set)
    problems = all_problems(pooled, data_set.left_out)
    findings = [finding for problem in problems for finding in findings_of(problem, pooled)]
    section = Section("Files", verdict(findings, pooled), is_good(findings))
    section.paragraphs = list(remarks(data_set, pooled))
    errors = [problem for problem in problems if problem.severity == "error"]
    others = [problem for problem in problems if problem.severity != "error"]
    if errors:
        section.first_tables.append(("Images that cannot be used", problem_table(errors, pooled)))
    if others:
        section.tables.append(("Images that stand out", problem_table(others, pooled)))
    galleries = [*(gallery_of(problem, pooled) for problem in problems), extremes(pooled)]
    section.galleries = [(caption, pictures) for caption, pictures in galleries if pictures]
    section.tables += [("Formats", format_table(pooled)), ("Measurements", measurement_table(pooled))]
    return Part("files", section, numbers_of(data_set, pooled, problems), tuple(findings))


def file_findings(data_set: DataSet) -> list[Finding]:
    """Return the findings of `check_files` without pictures and tables.

    Measurements of the file headers are enough for this.
    """
    pooled = pool(data_set)
    return [finding for problem in all_problems(pooled, data_set.left_out) for finding in findings_of(problem, pooled)]


def all_problems(pooled: PooledRows, left_out: frozenset[str]) -> list[OddImages]:
    facts = pooled.facts
    return [*damaged(pooled, left_out), *odd_formats(pooled), *odd_shapes(facts), *odd_pixels(facts)]


def damaged(pooled: PooledRows, left_out: frozenset[str]) -> Iterator[OddImages]:
    """Yield the images that cannot be used, one `OddImages` for each kind of damage.

    `left_out` has the paths of images whose rows the recipe leaves out.
    """
    rows = np.flatnonzero(pooled.facts.problem != "")
    kinds = np.array([kind_of_damage(pooled.images[row], pooled.facts.problem[row]) for row in rows], dtype=object)
    dropped = np.array([pooled.facts.path[row] in left_out and not pooled.is_test[row] for row in rows], dtype=bool)
    for kind in DAMAGE:
        for is_dropped in (False, True):
            mask = (kinds == kind) & (dropped == is_dropped)
            texts = [pooled.facts.problem[row] for row in rows[mask]]
            sentence = SENTENCES[kind] + ("; the recipe leaves {them} out" if is_dropped else "")
            if mask.any():
                yield OddImages(kind, "warning" if is_dropped else "error", rows[mask], sentence, texts)


def findings_of(problem: OddImages, pooled: PooledRows) -> Iterator[Finding]:
    """Yield a finding about the labelled images with this problem, and a finding about the test images with it."""
    for is_test, noun in ((False, "labelled image"), (True, "test image")):
        chosen = [
            (row, text) for row, text in zip(problem.rows, problem.texts, strict=True) if pooled.is_test[row] == is_test
        ]
        if chosen:
            words = SINGULAR if len(chosen) == 1 else PLURAL
            message = f"{quantity(len(chosen), noun)} {problem.sentence.format(**words)}"
            share = len(chosen) / max(int((pooled.is_test == is_test).sum()), 1)
            ids = tuple(pooled.ids[row] for row, _ in chosen)
            single = f"this {noun} {problem.sentence.format(**SINGULAR)}"
            details = tuple(f"{single} ({text})" if text else single for _, text in chosen)
            if problem.severity == "error" and not is_test:
                message += '; on_bad="drop" leaves out such rows'
            yield Finding(problem.kind, problem.severity, message, ids, share, details)


def verdict(findings: Sequence[Finding], pooled: PooledRows) -> str:
    images = quantity(len(pooled.ids), "image")
    unusable = int((pooled.facts.problem != "").sum())
    text = f"All {images} can be read" if not unusable else f"{unusable} of {images} cannot be used"
    if any(finding.severity == "error" for finding in findings):
        return f'{text}. Replace the files, or leave out their rows with `on_bad="drop"` in the recipe.'
    if unusable:
        text += ", and the recipe leaves their rows out"
    odd = [finding.kind for finding in findings if finding.severity == "warning" and finding.kind not in DAMAGE]
    if odd:
        return f"{text}. Look at those that stand out: {', '.join(dict.fromkeys(odd))}."
    if unusable:
        return f"{text}. None of the others stands out."
    return f"{text}. None needs a repair." if findings else f"{text}, and none of them stands out."


def is_good(findings: Sequence[Finding]) -> bool | None:
    severities = {finding.severity for finding in findings}
    return False if "error" in severities else None if "warning" in severities else True


def remarks(data_set: DataSet, pooled: PooledRows) -> Iterator[str]:
    """Yield paragraphs about rows that the recipe leaves out, and about images with more than 8 bits, if any."""
    if data_set.left_out:
        yield (
            f'The recipe reads the table with on_bad="drop", which leaves out the rows of '
            f"{quantity(len(data_set.left_out), 'image')}. This page shows them as well."
        )
    if (pooled.facts.bits > 8).any() and data_set.table.value_range is not None:
        low, high = data_set.table.value_range
        yield f"Some images have more than 8 bits. Their pixel values from {low:g} to {high:g} become 0 to 255."


def problem_table(problems: Sequence[OddImages], pooled: PooledRows) -> PageTable:
    rows = [
        [
            problem.kind,
            problem.severity,
            pooled.ids[row],
            "test" if pooled.is_test[row] else "labelled",
            text,
            pooled.facts.path[row],
        ]
        for problem in problems
        for row, text in zip(problem.rows[:LISTED], problem.texts[:LISTED], strict=True)
    ]
    return PageTable(["kind", "severity", "image", "rows", "what", "file"], rows)


def gallery_of(problem: OddImages, pooled: PooledRows) -> tuple[str, list[Picture]]:
    """Return a caption and thumbnails for the first images with this problem."""
    shown = zip(problem.rows[:SHOWN], problem.texts[:SHOWN], strict=True)
    pictures = [picture for row, text in shown if (picture := pooled.picture(row, text)) is not None]
    caption = f"{problem.kind} ({problem.severity})"
    return f"{caption}: {len(pictures)} of {len(problem.rows)}" if len(problem.rows) > len(
        pictures
    ) else caption, pictures


def extremes(pooled: PooledRows) -> tuple[str, list[Picture]]:
    """Return a caption and thumbnails for the images with the most extreme measurements, such as the darkest."""
    facts, pictures = pooled.facts, []
    rows = np.flatnonzero(facts.readable)
    for title, values in (
        ("darkest", facts.brightness),
        ("brightest", -facts.brightness),
        ("least contrast", facts.contrast),
        ("least sharp", -blur_radius(facts)),
        ("sharpest", -facts.sharpness),
        ("noisiest", -facts.noise),
    ):
        if not len(rows) or np.ptp(values[rows]) == 0:
            continue  # all images have the same value
        for row in rows[np.argsort(values[rows], kind="stable")[:EXTREMES]]:
            pictures.append(pooled.picture(row, title))
    return "The extremes of each measurement, which need not be bad", [
        picture for picture in pictures if picture is not None
    ]


def format_table(pooled: PooledRows) -> PageTable:
    facts = pooled.facts
    names = zip(facts.format, facts.mode, facts.bits.tolist(), strict=True)
    counts = Counter((format or "-", mode or "-", bits) for format, mode, bits in names)
    rows = [[format, mode, str(bits), str(count)] for (format, mode, bits), count in counts.most_common(30)]
    return PageTable(["format", "mode", "bits", "images"], rows)


MEASURES = {
    "width": "width, px",
    "height": "height, px",
    "size_bytes": "file size, bytes",
    "brightness": "brightness, 0 to 255",
    "contrast": "contrast (standard deviation)",
    "sharpness": "sharpness (variance of the Laplacian)",
    "noise": "noise (standard deviation)",
}


def measurement_table(pooled: PooledRows) -> PageTable:
    rows = []
    for name, title in MEASURES.items():
        values = getattr(pooled.facts, name)[pooled.facts.readable].astype(float)
        if len(values):
            rows.append([title, *map(rounded, np.quantile(values, [0, 0.05, 0.5, 0.95, 1]).tolist())])
    return PageTable(["measurement", "lowest", "5 %", "median", "95 %", "highest"], rows)


def rounded(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def numbers_of(data_set: DataSet, pooled: PooledRows, problems: Sequence[OddImages]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for problem in problems:
        counts[problem.kind] += len(problem.rows)
    facts = pooled.facts
    return {
        "images": int((~pooled.is_test).sum()),
        "test_images": int(pooled.is_test.sum()),
        "left_out": len(data_set.left_out),
        "kinds": dict(counts),
        "formats": dict(Counter(facts.format.tolist())),
        "modes": dict(Counter(facts.mode.tolist())),
        "medians": {
            name: float(np.median(getattr(facts, name)[facts.readable])) if facts.readable.any() else None
            for name in MEASURES
        },
    }
