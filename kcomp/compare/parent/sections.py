"""Turn the numbers of the report into its sections."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcomp.compare.parent import pictures
from kcomp.compare.parent.arithmetic_section import arithmetic_section
from kcomp.compare.parent.score_text import decimals, metric_words, plain, signed
from kcomp.compare.parent.updates_section import updates_section
from kcomp.compare.parent.verdict import Verdict, better, display_name, mean_decimals, mean_scores, score_decimals
from kcomp.report.page import PageTable, Section


def report_sections(report: Mapping[str, Any], verdict: Verdict) -> list[Section]:
    return [
        verdict_section(report, verdict),
        outcome_section(report["outcome"]),
        cost_section(report["cost"]),
        environment_section(report["environment"]),
        updates_section(report["trajectory"]),
        arithmetic_section(report),
    ]


def verdict_section(report: Mapping[str, Any], verdict: Verdict) -> Section:
    section = Section("Verdict", verdict.text, verdict.agree)
    section.tables.append(("At a glance", glance_table(report)))
    return section


def glance_table(report: Mapping[str, Any]) -> PageTable:
    """Return the table of scores and costs at the top of the report, with a column for each backend."""
    labels, costs, outcome = report["labels"], report["cost"], report["outcome"]
    rows = []
    if "failed" not in outcome:
        for name in outcome["metrics"]:
            means, places = mean_scores(outcome, name), mean_decimals(outcome, name)
            title = f"{metric_words(name)} ({better(outcome, name)})"
            rows.append([title, *(plain(means[label], places) for label in labels)])
    rows.append(["training, images/s", *(f"{median(costs[label]['train']):.0f}" for label in labels)])
    rows.append(["prediction, images/s", *(f"{median(costs[label]['predict']):.0f}" for label in labels)])
    rows.append(["start to first update, s", *(f"{costs[label]['time_to_first_update']:.1f}" for label in labels)])
    rows.append(["peak memory, MiB", *(memory(costs[label]["host_mib"]) for label in labels)])
    return PageTable(["", *map(display_name, labels)], rows)


def outcome_section(outcome: Mapping[str, Any]) -> Section:
    if "failed" in outcome:
        return Section("Outcome", f"No scores: {outcome['failed']}.", good=False)
    section = Section("Outcome", outcome["sentence"])
    section.paragraphs.append(
        "Scores are of out-of-fold predictions of the same rows. Intervals are percentile bootstraps over rows (10,000 "
        "resamples, 2,000 of many rows); they do not cover the noise of training. With several seeds, Student's t test "
        "compares the difference of the backends with that of the seeds."
    )
    section.pictures.append(("Differences with their intervals", pictures.outcome_picture(outcome)))
    section.tables.append(("Scores", score_table(outcome)))
    section.tables.append(("Differences", difference_table(outcome)))
    first, second = map(display_name, outcome["labels"][:2])
    rows = [
        [str(row["seed"]), str(row["only_first"]), str(row["only_second"]), f"{row['p']:.3g}", str(outcome["rows"])]
        for row in outcome["mcnemar"]
    ]
    header = ["seed", f"only {first} right", f"only {second} right", "p", "rows"]
    if rows:
        section.tables.append(("McNemar's exact test", PageTable(header, rows)))
    return section


def score_table(outcome: Mapping[str, Any]) -> PageTable:
    header = ["backend", "seed", "fold", *map(metric_words, outcome["shown"]), "run"]
    rows = []
    for row in outcome["scores"]:
        values = [plain(row[name], decimals([row[name]], digits=3)) for name in outcome["shown"]]
        rows.append([display_name(row["label"]), str(row["seed"]), str(row["fold"]), *values, row["folder"]])
    return PageTable(header, rows)


def difference_table(outcome: Mapping[str, Any]) -> PageTable:
    first, second = map(display_name, outcome["labels"][:2])
    seeds = f"mean of {len(outcome['seeds'])} seeds" if len(outcome["seeds"]) > 1 else "one seed"
    rows = [[f"{first} minus {second}", name, row, seeds] for name, row in outcome["frameworks"].items()]
    for row in outcome["seeds_apart"]:
        first_seed, second_seed = row["seeds"]
        title = f"{display_name(row['label'])}: seed {first_seed} minus seed {second_seed}"
        rows.append([title, row["metric"], row, "one backend"])
    cells = []
    for title, name, row, source in rows:
        places = max(score_decimals(outcome, name), decimals([row["low"], row["high"]]) if excludes_zero(row) else 0)
        interval = f"{signed(row['low'], places)} to {signed(row['high'], places)}"
        cells.append([title, metric_words(name), signed(row["mean"], places), interval, str(row["rows"]), source])
    return PageTable(["difference", "score", "mean", "95 % interval", "rows", "from"], cells)


def excludes_zero(row: Mapping[str, Any]) -> bool:
    return bool(row["low"] > 0 or row["high"] < 0)


def cost_section(costs: Mapping[str, Mapping[str, Any]]) -> Section:
    sentences = []
    for label, row in costs.items():
        train, predict = median(row["train"]), median(row["predict"])
        sentences.append(f"{display_name(label)} trains {train:.0f} and predicts {predict:.0f} images a second")
    rounds = len(next(iter(costs.values()))["predict"])
    section = Section("Cost", f"{'; '.join(sentences)} (medians of {rounds} rounds).")
    section.paragraphs.append(
        "Each backend runs alone in a new process, with batches in memory, without dropout, and compiles everything "
        "anew. Other programs on the machine slow it down: compare the two, and look at the spread of the rounds. "
        "Compile time is the first update minus the time of a later one."
    )
    section.pictures.append(("Images a second", pictures.cost_picture(costs)))
    section.tables.append(("Median (slowest to fastest round)", cost_table(costs)))
    return section


def cost_table(costs: Mapping[str, Mapping[str, Any]]) -> PageTable:
    columns = {
        "start to first update, s": lambda row: f"{row['time_to_first_update']:.1f}",
        "compile (training), s": lambda row: f"{row['compile']:.1f}" if "compile" in row else "–",
        "first prediction, s": lambda row: f"{row['first_prediction']:.1f}",
        "training, images/s": lambda row: spread(row["train"]),
        "prediction, images/s": lambda row: spread(row["predict"]),
        "peak memory, MiB": lambda row: memory(row["host_mib"]),
        "peak memory of the device, MiB": lambda row: memory(row["device_mib"]),
        "batch size": lambda row: str(row["rows"]),
    }
    rows = [[name, *(text(row) for row in costs.values())] for name, text in columns.items()]
    return PageTable(["", *map(display_name, costs)], rows)


def memory(mebibytes: float | None) -> str:
    return "not reported" if mebibytes is None else f"{mebibytes:.0f}"


def median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def spread(values: Sequence[float]) -> str:
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})" if len(values) else "–"


def environment_section(environments: Mapping[str, Mapping[str, Any]]) -> Section:
    names = list(dict.fromkeys(name for row in environments.values() for name in row))
    rows = [[name, *(str(row.get(name, "–")) for row in environments.values())] for name in names]
    differing = [n for n, row in enumerate(rows) if len(set(row[1:])) > 1]
    section = Section("Environment", f"{len(rows)} settings; those that differ are marked.")
    section.tables.append(("Versions and settings", PageTable(["", *map(display_name, environments)], rows, differing)))
    return section
