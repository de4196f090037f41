"""Show in which slices of the held-out rows the models are worse."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.slices.columns import fact_columns, sample_rows, table_columns
from kcomp.explain.slices.search import FALSE_ALARMS, LEAST, Slice, find_slices
from kcomp.measurements import measure
from kcomp.report import plots
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part
from kcomp.report.text import number, percent

DRAWN = 15  # slices in the plot
FINDINGS = 3  # at most this many slices are findings
REMEDIES = {  # what helps where a measurement matters
    "brightness": "train with RandomBrightnessContrast",
    "contrast": "train with RandomBrightnessContrast",
    "sharpness": "train with GaussianBlur or MotionBlur",
    "noise": "train with GaussNoise",
    "JPEG compression": "train with ImageCompression",
    "file size in bytes": "train with ImageCompression",
    "width": "train with RandomScale, or with larger images",
    "height": "train with RandomScale, or with larger images",
    "aspect ratio (width / height)": 'try another `fit` of data.Images, such as "crop"',
    "share of red": "train with HueSaturationValue or ToGray",
    "share of green": "train with HueSaturationValue or ToGray",
    "share of blue": "train with HueSaturationValue or ToGray",
}


def slice_part(rows: HeldOutRows, outcomes: Outcomes, progress: Callable[[int, int], None]) -> Part:
    if rows.table is None:
        verdict = "Slices need the rows of the recipe, which cannot be read."
        return Part("slices", Section("Slices", verdict), {"slices": []})
    places = sample_rows(rows)
    facts = measure(rows.table.rows(places), progress=progress)
    columns = {**table_columns(rows.table), **fact_columns(facts, places, len(rows))}
    classes = outcomes.true if outcomes.true is not None and outcomes.true.ndim == 1 else None
    slices = find_slices(columns, outcomes.harm, classes)
    worse = [each for each in slices if each.is_worse]
    section = Section("Slices", slice_verdict(worse, slices, outcomes), good=not worse if slices else None)
    section.paragraphs.append(
        "A slice is all rows with one value of a column, or a fifth of the rows by a number. Slices of at least "
        f"{LEAST} rows are tested. A page on which no column matters marks a slice with a probability of at most "
        f"{100 * FALSE_ALARMS:g} % (Holm's correction). If the column 'of its classes' is as high as the slice, the "
        "slice is worse only because it has more rows of hard classes."
    )
    if len(places) < len(rows):
        section.paragraphs.append(f"Images of {len(places):,} random rows of {len(rows):,} were measured.")
    if slices:
        section.pictures.append(slice_plot(slices[:DRAWN], outcomes))
        section.tables.append(("All slices, the clearest difference first", slice_table(slices, outcomes)))
    findings = tuple(slice_finding(each, rows, outcomes) for each in worse[:FINDINGS])
    return Part("slices", section, {"slices": [slice_fields(each) for each in slices]}, findings)


def harm_text(value: float, outcomes: Outcomes) -> str:
    return percent(value) if outcomes.is_one_class else number(value)


def harm_name(outcomes: Outcomes) -> str:
    return "wrong rows" if outcomes.is_one_class else "mean loss"


def slice_verdict(worse: Sequence[Slice], slices: Sequence[Slice], outcomes: Outcomes) -> str:
    if not slices:
        return f"No column has two values with at least {LEAST} rows each."
    if not worse:
        return f"None of {len(slices)} slices is worse than the rest beyond chance."
    return f"{len(worse)} of {len(slices)} slices are worse than the rest. {sentence(worse[0], outcomes)}"


def sentence(each: Slice, outcomes: Outcomes) -> str:
    inside, outside = harm_text(each.harm.mean, outcomes), harm_text(each.rest, outcomes)
    kind = "of them are wrong" if outcomes.is_one_class else "mean loss"
    return (
        f"{each.harm.rows} rows with {each.column} {each.value}: {inside} {kind}, {outside} elsewhere "
        f"(p = {each.adjusted:.2g} after correction)."
    )


def slice_finding(each: Slice, rows: HeldOutRows, outcomes: Outcomes) -> Finding:
    remedy = REMEDIES.get(each.column)
    action = f"What helps: {remedy}, or add such images." if remedy else "Look at such rows, or add more of them."
    worst = each.rows[np.argsort(-outcomes.harm[each.rows], kind="stable")]
    ids = tuple(str(rows.ids[row]) for row in worst[:20])
    return Finding("slice", "warning", f"{sentence(each, outcomes)} {action}", ids, weight=-np.log10(each.p + 1e-300))


def slice_plot(slices: Sequence[Slice], outcomes: Outcomes) -> tuple[str, bytes]:
    known = outcomes.harm[~np.isnan(outcomes.harm)]
    scale = 100 if outcomes.is_one_class else 1
    name = f"{harm_name(outcomes)}{' in %' if outcomes.is_one_class else ''}"
    picture = plots.points(
        [each.name for each in slices],
        [scale * each.harm.mean for each in slices],
        [(scale * each.harm.low, scale * each.harm.high) for each in slices],
        xlabel=f"{name}, with 95 % interval; the dashed line is the mean of all rows",
        notes=[f"{each.harm.rows} rows" for each in slices],
        reference=scale * float(known.mean()),
    )
    return f"The {len(slices)} slices with the clearest difference", picture


def slice_table(slices: Sequence[Slice], outcomes: Outcomes) -> PageTable:
    header = ["column", "value", "rows", harm_name(outcomes), "elsewhere", "of its classes", "p", "p corrected"]
    cells = [
        [
            each.column,
            each.value,
            str(each.harm.rows),
            *(harm_text(value, outcomes) for value in (each.harm.mean, each.rest, each.expected)),
            f"{each.p:.2g}",
            f"{each.adjusted:.2g}",
        ]
        for each in slices
    ]
    return PageTable(header, cells, marked=[place for place, each in enumerate(slices) if each.is_worse])


def slice_fields(each: Slice) -> dict[str, object]:
    values = {name: value for name, value in asdict(each).items() if name != "rows"}
    return {**values, "is_worse": each.is_worse}
