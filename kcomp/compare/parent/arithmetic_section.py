"""Write the section of the report that compares the results of each layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcomp.compare.parent import pictures
from kcomp.compare.parent.verdict import display_name
from kcomp.report.page import PageTable, Section


def number(value: float | None) -> str:
    """Return a number as text with two significant digits, or a dash for None and NaN."""
    if value is None or np.isnan(value):
        return "–"
    return "0" if value == 0 else f"{value:.1e}"


def joined_names(labels: Sequence[str]) -> str:
    return " and ".join(map(display_name, labels))


def arithmetic_summary(checked: Mapping[str, Any], labels: Sequence[str]) -> str:
    findings = checked["findings"]
    if findings:
        places = "One place differs" if len(findings) == 1 else f"{len(findings)} places differ"
        return f"{places} by more than rounding explains. {'. '.join(row['text'] for row in findings)}."
    layers = [row for row in checked["layers"] if row["checked"]]
    largest = max((row["used_tolerance"] or 0.0 for row in layers), default=0.0)
    return (
        f"No layer differs by more than rounding explains. {len(layers)} layers were run on the same inputs on "
        f"{joined_names(labels)}; the largest difference is {largest:.1%} of its tolerance."
    )


def arithmetic_section(report: Mapping[str, Any]) -> Section:
    checked, labels = report["arithmetic"], report["labels"]
    section = Section("Arithmetic", arithmetic_summary(checked, labels), checked["clean"])
    section.paragraphs += explanations(checked, report)
    section.pictures.append(("Differences by layer", pictures.layers_picture(checked, labels)))
    section.tables.append(("The whole training step", whole_table(checked, labels)))
    caption = (
        "Layer by layer, in order. Output and gradient: the difference between the two in the whole step, and what "
        "simulated rounding changes. Alone: the layer on the same inputs"
    )
    section.tables.append((caption, layer_table(checked, labels)))
    section.tables.append(("Gradients of the trained weights in the whole step", weight_table(checked, labels)))
    return section


def explanations(checked: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    batch_norm = "updates its statistics" if report["train_batch_norm"] else "keeps its statistics"
    texts = [
        f"What was run: one training step of stage “{report['stage']}”, the stage with the most trained weights, on "
        f"one mixed batch of {checked['rows']} rows. Batch normalization {batch_norm}. Constant weights, such as a "
        "head of zeros, are replaced by small random ones, because they would hide differences.",
        "How differences are measured: on every backend, every layer gets the same inputs and the same gradient of its "
        "output. A difference is a Euclidean norm relative to the float64 result. Gradients of weights are relative to "
        "the gradient of the whole layer.",
        f"Tolerances: in float64 the backends may differ by {checked['exact_factor']:.0f} times what moving every "
        f"number by up to the rounding unit ({checked['unit']:.1e}) changes. A backend may differ from its own "
        f"float64 by {checked['factor']:.0f} times that, or {checked['factor']:.0f} times the other backend's error.",
        "Simulated rounding: the float64 step again, with every layer's output and every weight moved at random by up "
        "to the rounding unit. It jumps where a number close to a kink, such as the zero of a ReLU, crosses it.",
    ]
    if report["silenced"]:
        texts[0] += f" Noise is off in {', '.join(report['silenced'])}."
    single = [row["layer"] for row in checked["layers"] if not row["float64"]]
    skipped = [row["layer"] for row in checked["layers"] if not row["checked"]]
    if single:
        texts.append(f"Not run in float64: {', '.join(single)}.")
    if skipped:
        texts.append(f"Not run alone, because of integers or another shape: {', '.join(skipped)}.")
    return texts


def difference_header(labels: Sequence[str]) -> list[str]:
    return ["between the two", *(f"{display_name(label)} to float64" for label in labels), "simulated rounding"]


def whole_table(checked: Mapping[str, Any], labels: Sequence[str]) -> PageTable:
    results = [*checked["mixing"], *checked["whole"]]
    rows = []
    for row in results:
        errors = [number(row["errors"][label]) for label in labels]
        cells = [number(row["between"]), *errors, number(row.get("rounding")), number(row["tolerance"])]
        rows.append([row["name"], *cells])
    marked = [n for n, row in enumerate(results) if row["finding"]]
    return PageTable(["result", *difference_header(labels), "tolerance"], rows, marked)


def layer_table(checked: Mapping[str, Any], labels: Sequence[str]) -> PageTable:
    header = ["layer", "kind", "output", "rounding", "gradient", "rounding", "alone: float64"]
    header += [*(f"alone: {display_name(label)}" for label in labels), "share of tolerance"]
    rows = []
    for row in checked["layers"]:
        cells = [row["layer"], row["kind"]]
        for name in ("output", "gradient"):
            cells += [number((row[name] or {}).get("between")), number(row[f"{name}_rounding"])]
        cells += [number(row["exact"]), *(number(row["errors"][label]) for label in labels)]
        rows.append([*cells, share(row["used_tolerance"])])
    return PageTable(header, rows, [row["number"] for row in checked["layers"] if row["faulty"]])


def share(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" if value < 10 else f"{value:.0f} times"


def weight_table(checked: Mapping[str, Any], labels: Sequence[str]) -> PageTable:
    rows = []
    for layer in checked["layers"]:
        for row in layer["weights"]:
            differences = row["gradient"] or {}
            cells = [number(differences.get(name)) for name in ("between", *labels)]
            rows.append([row["path"], *cells, number(row["rounding"])])
    return PageTable(["weight", *difference_header(labels)], rows)
