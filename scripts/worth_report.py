"""Write docs/results/worth.csv from results of scripts/worth.py, and from it the tables of docs/results/worth.md."""

import csv
import re
import statistics
from collections import Counter
from pathlib import Path

import numpy as np
from scipy import stats
from worth_variants import BASE, COMPETITIONS, VARIANTS

ROOT = Path(__file__).parents[1]
CSV, PAGE = ROOT / "docs/results/worth.csv", ROOT / "docs/results/worth.md"
COSTS = ["cpu", "features_cpu", "features_computed", "features"]
COLUMNS = ["variant", "competition", "seed", "metric", "score", "log_loss", "scaled_log_loss", *COSTS]
MARKED = re.compile(r"(<!-- (?P<name>[^>]+) -->\n).*?(<!-- end -->)", re.S)
LEAST = 5  # pairs, for an interval
LEVEL = 0.05


def write_report(results):
    """Write the CSV file and the page from results, a list of dicts."""
    places = {variant.name: place for place, variant in enumerate(VARIANTS)}
    rows = [{name: result[name] for name in COLUMNS} for result in results if result["variant"] in places]
    rows.sort(key=lambda row: (places[row["variant"]], COMPETITIONS.index(row["competition"]), row["seed"]))
    with CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    PAGE.write_text(page_text(PAGE.read_text(), read_rows()))


def read_rows():
    """Return the rows of the CSV file as dicts, with numbers."""
    with CSV.open(newline="") as file:
        rows = list(csv.DictReader(file))
    texts = {"variant", "competition", "metric"}
    return [{name: text if name in texts else float(text) for name, text in row.items()} for row in rows]


def page_text(text, rows):
    """Return the text of the page with the tables of these rows."""
    pairs = {variant.name: pairs_of(variant.name, rows) for variant in VARIANTS}
    significant = holm({name: p_value(relative(own)) for name, own in pairs.items() if len(own) >= LEAST})

    def table(match):
        kind = match["name"]
        if kind == "base":
            lines = base_table(rows)
        elif kind == "state":
            lines = state_lines(pairs, significant)
        else:
            lines = variant_table([variant.name for variant in VARIANTS if variant.kind == kind], pairs, significant)
        return "\n".join([match[1], *lines, "", match[3]])

    return MARKED.sub(table, text)


def pairs_of(name, rows):
    """Return the pairs (row of a variant, row of the base recipe) with equal competition and seed."""
    base = {(row["competition"], row["seed"]): row for row in rows if row["variant"] == BASE.name}
    own = [row for row in rows if row["variant"] == name and name != BASE.name]
    return [(row, base[key]) for row in own if (key := (row["competition"], row["seed"])) in base]


def relative(pairs, column="scaled_log_loss"):
    """Return the logarithm of variant / base of each pair."""
    return np.log([row[column] / base[column] for row, base in pairs])


def interval(values):
    """Return the mean of the values and its 95 % t interval."""
    mean, half = np.mean(values), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return mean, mean - half, mean + half


def p_value(values):
    """Return the p value of a t test of the mean against 0. Equal values have no spread: 1 if all are 0, else 0."""
    if np.ptp(values) == 0:
        return float(values[0] == 0)
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def holm(p_values):
    """Return the names whose p value is significant at LEVEL after Holm's correction (Holm 1979).

    p_values: {name: p value}.
    """
    significant = set()
    for place, (name, value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if value > LEVEL / (len(p_values) - place):
            break
        significant.add(name)
    return significant


def variant_table(names, pairs, significant):
    lines = ["| variant | ants-bees | sign-digits | cards | log loss | scaled log loss | cost | n |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    measured = [name for name in names if pairs[name]]
    if not measured:
        return ["Not measured yet."]
    return lines + [variant_line(name, pairs[name], name in significant) for name in measured]


def variant_line(name, own, is_significant):
    cells = [f"**{name}**" if is_significant else name]
    for competition in COMPETITIONS:
        changes = [row["score"] - base["score"] for row, base in own if row["competition"] == competition]
        cells.append(f"{statistics.mean(changes):+.3f}" if changes else "")
    for column in ("log_loss", "scaled_log_loss"):
        values = relative(own, column)
        mean, low, high = interval(values) if len(values) >= LEAST else (np.mean(values), None, None)
        span = "" if low is None else f" ({percent(low)} to {percent(high)})"
        cells.append(f"{percent(mean)} %{span}")
    views = next(variant.views for variant in VARIANTS if variant.name == name)
    cells.append(f"{len(views)} predictions" if views else f"{cost(own):.2f}")
    return f"| {' | '.join(cells)} | {len(own)} |"


def percent(logarithm):
    return f"{100 * np.expm1(logarithm):+.0f}"


def cost(own):
    """Return the CPU seconds of a variant divided by those of the base recipe, as the mean over the competitions."""
    ratios = []
    for competition in COMPETITIONS:
        both = [(row, base) for row, base in own if row["competition"] == competition]
        if both:
            ratios.append(sum(cpu_seconds(*pair) for pair in both) / sum(cpu_seconds(base, base) for _, base in both))
    return statistics.mean(ratios)


def cpu_seconds(row, base):
    """Return the CPU seconds of a training without cached features: each feature counts with its mean time.

    A variant that found all its features in the cache has the mean time of the base recipe.
    """
    source = row if row["features_computed"] else base
    seconds = source["features_cpu"] / source["features_computed"] if source["features_computed"] else 0.0
    return row["cpu"] + seconds * row["features"]


def base_table(rows):
    lines = [
        "| competition | metric | score | log loss | scaled log loss | CPU seconds | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for competition in COMPETITIONS:
        own = [row for row in rows if (row["variant"], row["competition"]) == (BASE.name, competition)]
        cells = [spread([row[column] for row in own], ".3f") for column in ("score", "log_loss", "scaled_log_loss")]
        cells.append(spread([cpu_seconds(row, row) for row in own], ".0f"))
        metric = own[0]["metric"].replace("roc_auc", "ROC AUC") if own else ""
        lines.append(f"| {competition} | {metric} | {' | '.join(cells)} | {len(own)} |")
    return lines


def spread(values, form):
    """Return the mean and the standard deviation over seeds."""
    if not values:
        return ""
    deviation = f" +- {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{deviation}"


def state_lines(pairs, significant):
    """Return lines that say how far the study is, and how many differences remain after Holm's correction."""
    others = [variant for variant in VARIANTS if variant != BASE]
    total = sum(len(variant.competitions) for variant in others)
    counts = Counter(int(row["seed"]) for own in pairs.values() for row, _ in own)
    lines = [f"- Seed {seed}: {count} of {total} pairs are measured." for seed, count in sorted(counts.items())]
    tested = sum(len(pairs[variant.name]) >= LEAST for variant in others)
    if not tested:
        return [*lines, f"- No variant has {LEAST} pairs, so there is no interval yet. A single line may be chance."]
    names = ", ".join(variant.name for variant in others if variant.name in significant) or "none"
    lines.append(f"- {tested} of {len(others)} variants have at least {LEAST} pairs, and therefore an interval.")
    return [*lines, f"- Significant after Holm's correction for {tested} variants: {names}."]
