"""The report as sentences, tables and pictures, made from the numbers alone; kcomp.report.page writes them down."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcomp.compare.parent import pictures
from kcomp.metrics import scores
from kcomp.report.page import PageTable, Section


def number(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else "0" if value == 0 else f"{value:.1e}"


def sections(report: Mapping[str, Any]) -> list[Section]:
    return [
        arithmetic(report["arithmetic"], report["labels"], report),
        trajectory(report["trajectory"]),
        outcome(report["outcome"]),
        cost(report["cost"]),
        environment(report["environment"]),
    ]


def arithmetic_verdict(judged: Mapping[str, Any], labels: Sequence[str]) -> str:
    checked = [row for row in judged["layers"] if row["checked"]]
    if judged["findings"]:
        many = "One place computes" if len(judged["findings"]) == 1 else f"{len(judged['findings'])} places compute"
        texts = ". ".join(row["text"] for row in judged["findings"])
        return f"{many} something else than rounding explains. {texts}."
    strain = max((row["strain"] or 0.0 for row in checked), default=0.0)
    return (
        f"No layer differs by more than rounding explains: {len(checked)} layers checked alone on identical inputs, in "
        f"float64 and as {' and '.join(labels)} train; the closest used {strain:.1%} of its tolerance."
    )


def arithmetic(judged: Mapping[str, Any], labels: Sequence[str], report: Mapping[str, Any]) -> Section:
    found = Section("Arithmetic", arithmetic_verdict(judged, labels), judged["clean"])
    silenced = f" Noise is off in {', '.join(report['silenced'])}." if report["silenced"] else ""
    batch_norm = "learns" if report["train_batch_norm"] else "keeps its statistics"
    found.paragraphs += [
        f"Stage “{report['stage']}”, which trains the most weights; batch normalisation {batch_norm}. One batch, mixed "
        f"as the training step mixes it ({judged['rows']} rows), and one file of weights: the recipe's starting "
        f"weights, but small random ones for those that are constant (a head of zeros), which would hide "
        f"differences.{silenced}",
        "Each layer is given the same inputs and the same gradient of its output everywhere. Tolerances: in float64 "
        f"the backends may differ by {judged['exact_factor']:.0f} times what moving every number by up to "
        f"{judged['unit']:.1e} (the rounding unit) changes; a backend's own precision may differ from its own float64 "
        f"by {judged['factor']:.0f} times that, or {judged['factor']:.0f} times the other backend's error. Differences "
        "are Euclidean norms relative to the float64 reference.",
        "Simulated rounding is the float64 step with every layer's output and every weight moved at random by up to "
        "the rounding unit. Where it makes a step too, a number near a kink, such as a ReLU's, fell over it.",
    ]
    unable = [row["layer"] for row in judged["layers"] if not row["float64"]]
    skipped = [row["layer"] for row in judged["layers"] if not row["checked"]]
    if unable:
        found.paragraphs.append(f"Not in float64: {', '.join(unable)}.")
    if skipped:
        found.paragraphs.append(f"Not checked alone (integers, or another shape): {', '.join(skipped)}.")
    found.tables.append(("The whole step", whole_table(judged, labels)))
    found.tables.append(
        (
            "Layer by layer, in order: output and its gradient in the whole step, between the two; then the layer "
            "alone",
            layer_table(judged, labels),
        )
    )
    found.tables.append(("Gradients of the trained weights in the whole step", weight_table(judged, labels)))
    found.pictures.append(("Differences by layer", pictures.layers_picture(judged, labels)))
    return found


def whole_table(judged: Mapping[str, Any], labels: Sequence[str]) -> PageTable:
    header = ["", "between the two", *(f"{label} to float64" for label in labels), "simulated rounding", "tolerance"]
    found = [*judged["mixing"], *judged["whole"]]
    rows = []
    for row in found:
        errors = [number(row["errors"][label]) for label in labels]
        cells = [number(row["between"]), *errors, number(row.get("rounding")), number(row["tolerance"])]
        rows.append([row["name"], *cells])
    return PageTable(header, rows, [n for n, row in enumerate(found) if row["finding"]])


def layer_table(judged: Mapping[str, Any], labels: Sequence[str]) -> PageTable:
    header = ["layer", "kind", "output", "rounding", "gradient", "rounding"]
    header += ["alone: float64", *(f"alone: {label}" for label in labels), "of tolerance"]
    rows = []
    for row in judged["layers"]:
        cells = [row["layer"], row["kind"]]
        for name in ("output", "gradient"):
            cells += [number((row[name] or {}).get("between")), number(row[f"{name}_rounding"])]
        cells += [number(row["exact"]), *(number(row["errors"][label]) for label in labels)]
        rows.append([*cells, "–" if row["strain"] is None else f"{row['strain']:.2g}"])
    return PageTable(header, rows, [row["number"] for row in judged["layers"] if row["faulty"]])


def weight_table(judged: Mapping[str, Any], labels: Sequence[str]) -> PageTable:
    rows = []
    for layer in judged["layers"]:
        for row in layer["weights"]:
            found = row["gradient"] or {}
            cells = [number(found.get(name)) for name in ("between", *labels)]
            rows.append([row["path"], *cells, number(row["rounding"])])
    return PageTable(
        ["weight", "between the two", *(f"{label} to float64" for label in labels), "simulated rounding"], rows
    )


def trajectory_verdict(found: Mapping[str, Any]) -> str:
    one, other = found["labels"][:2]
    if found["identical"]:
        return f"{one} and {other} are identical to the last bit after {found['updates']} updates."
    rule = found["optimizer"]
    if not rule["alike"]:
        return (
            f"The optimizer is another one: given the same gradients, {rule['updates']} updates end "
            f"{number(rule['apart'])} of their length apart (tolerance {number(rule['tolerance'])})."
        )
    own = [values[-1] for values in found["reordered"].values()]
    first, tolerance, last = (number(found[name]) for name in ("first_distance", "tolerance", "last_distance"))
    said = (
        f"The first update is off by {first} of the weights' norm (tolerance {tolerance}). After {found['updates']} "
        f"updates {one} and {other} are {last} apart; runs of one backend whose rows are summed in another order, "
        f"{number(min(own))} to {number(max(own))} ({len(own)} pairs)."
    )
    if found["alike"]:
        return f"Both backends begin alike. {said}"
    return f"The backends part at once, by more than another order of summation explains. {said}"


def trajectory(found: Mapping[str, Any]) -> Section:
    rule = found["optimizer"]
    section = Section("Trajectory", trajectory_verdict(found), found["alike"] and rule["alike"])
    batches = "identical" if found["same_batches"] else "NOT identical"
    starts = found["other_starts"]
    other = f"not the same, for instance {starts[0]}" if starts else "the same to the last bit"
    section.paragraphs.append(
        f"The same stage from the recipe's starting weights ({other} on both as the recipe builds them), on {batches} "
        "batches, dropout and other noise off. The yardstick is a run of the same backend with the rows of each batch "
        "in another order: the same mathematics, rounded otherwise. Only the first update is judged, at "
        f"{found['factor']:.0f} times the largest such distance, or at what storing weights in float32 loses, if that "
        "is more: later one number near zero that falls to the other side parts two runs by orders of magnitude. What "
        "an optimizer remembers, such as a momentum, is judged by the optimizer alone: on the same made-up gradients, "
        f"{rule['updates']} updates end {number(rule['apart'])} of their length apart (tolerance "
        f"{number(rule['tolerance'])})."
    )
    section.tables.append(("The same run again, in a second process", repeat_table(found)))
    section.tables.append(("Update by update", update_table(found)))
    section.pictures.append(("Loss and distance by update", pictures.trajectory_picture(found)))
    return section


def repeat_table(found: Mapping[str, Any]) -> PageTable:
    rows = [
        [label, "identical to the last bit" if row["identical"] else "different", " / ".join(row["digests"])]
        for label, row in found["repeats"].items()
    ]
    differing = [n for n, row in enumerate(found["repeats"].values()) if not row["identical"]]
    return PageTable(["backend", f"weights after {found['updates']} updates", "digests"], rows, differing)


def update_table(found: Mapping[str, Any]) -> PageTable:
    labels, own = found["labels"], list(found["reordered"].values())
    header = ["update", *(f"loss, {label}" for label in labels), "weights apart", "reordered, least", "reordered, most"]
    rows = []
    for update in range(1, found["updates"] + 1):
        losses = [f"{found['losses'][label][update - 1]:.6f}" for label in labels]
        reordered = [values[update] for values in own]
        cells = [found["between"][update], min(reordered), max(reordered)]
        rows.append([str(update), *losses, *map(number, cells)])
    return PageTable(header, rows)


def outcome(found: Mapping[str, Any]) -> Section:
    if "failed" in found:
        return Section("Outcome", f"None: {found['failed']}.", good=False)
    section = Section("Outcome", found["sentence"])
    section.paragraphs.append(
        "Out-of-fold predictions of the same rows; intervals are percentile bootstraps over rows (10,000 resamples, "
        "2,000 of many rows) and do not cover the noise of training. Against seed noise: Student's t test with the "
        "seeds as samples."
    )
    header = ["backend", "seed", "fold", *(name.replace("_", " ") for name in scores.NAMES), "run"]
    rows = [
        [row["label"], str(row["seed"]), str(row["fold"])]
        + ["–" if np.isnan(row[name]) else f"{row[name]:.4f}" for name in scores.NAMES]
        + [row["folder"]]
        for row in found["scores"]
    ]
    section.tables.append(("Scores", PageTable(header, rows)))
    section.tables.append(("Differences", difference_table(found)))
    one, other = found["labels"][:2]
    rows = [
        [str(row["seed"]), str(row["only_first"]), str(row["only_second"]), f"{row['p']:.3g}", str(found["rows"])]
        for row in found["mcnemar"]
    ]
    section.tables.append(
        ("McNemar's exact test", PageTable(["seed", f"only {one} right", f"only {other} right", "p", "rows"], rows))
    )
    section.pictures.append(("Differences with their intervals", pictures.outcome_picture(found)))
    return section


def difference_table(found: Mapping[str, Any]) -> PageTable:
    rows = [
        [f"{found['labels'][0]} minus {found['labels'][1]}", name, row, f"{len(found['seeds'])} x seed"]
        for name, row in found["frameworks"].items()
    ]
    rows += [
        [f"{row['label']}: seed {row['seeds'][0]} minus seed {row['seeds'][1]}", row["metric"], row, "one backend"]
        for row in found["seeds_apart"]
    ]
    cells = [
        [
            what,
            name.replace("_", " "),
            f"{row['mean']:+.4f}",
            f"{row['low']:+.4f} to {row['high']:+.4f}",
            str(row["rows"]),
            n,
        ]
        for what, name, row, n in rows
    ]
    return PageTable(["difference", "score", "mean", "95 % interval", "rows", "of"], cells)


def cost(found: Mapping[str, Mapping[str, Any]]) -> Section:
    speeds = {label: (median(row["train"]), median(row["predict"])) for label, row in found.items()}
    said = [
        f"{label} trains {train:.0f} and predicts {predict:.0f} images a second"
        for label, (train, predict) in speeds.items()
    ]
    rounds = len(next(iter(found.values()))["predict"])
    section = Section("Cost", f"{'; '.join(said)} (medians of {rounds} rounds in one process each).")
    section.paragraphs.append(
        "Each backend alone in a process, nothing compiled before, from batches in memory, dropout off. Other work on "
        "the machine shows in these numbers: read ratios, and the spread of the rounds. Compile time is the first "
        "update less a later one."
    )
    names = {
        "start to first update, s": lambda row: f"{row['time_to_first_update']:.1f}",
        "compile (training), s": lambda row: f"{row['compile']:.1f}" if "compile" in row else "–",
        "first prediction, s": lambda row: f"{row['first_prediction']:.1f}",
        "training, images/s": lambda row: spread(row["train"]),
        "prediction, images/s": lambda row: spread(row["predict"]),
        "peak memory, MiB": lambda row: f"{row['host_mib']:.0f}",
        "on the device, MiB": lambda row: "not reported" if row["device_mib"] is None else f"{row['device_mib']:.0f}",
        "batch": lambda row: str(row["rows"]),
    }
    rows = [[name, *(text(row) for row in found.values())] for name, text in names.items()]
    section.tables.append(("Median (least to most of the rounds)", PageTable(["", *found], rows)))
    section.pictures.append(("Images a second", pictures.cost_picture(found)))
    return section


def median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def spread(values: Sequence[float]) -> str:
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})" if len(values) else "–"


def environment(found: Mapping[str, Mapping[str, Any]]) -> Section:
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    rows = [[name, *(str(row.get(name, "–")) for row in found.values())] for name in names]
    differing = [n for n, row in enumerate(rows) if len(set(row[1:])) > 1]
    section = Section("Environment", f"{len(rows)} settings; the marked ones differ.")
    section.tables.append(("Where it was computed", PageTable(["", *found], rows, differing)))
    return section
