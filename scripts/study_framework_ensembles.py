"""Measure what averaging two frameworks gains: three seeds by five folds on JAX and PyTorch.

    python scripts/study_framework_ensembles.py train --ants data/ants-bees/train.csv --signs data/sign-digits/train.csv
    python scripts/study_framework_ensembles.py report --json study.json --pictures docs/results

`train` runs `kcomp train` for one backend after the other, into the folder `study`. With `--backends jax` it trains
only that backend, so that two processes can share a machine. It does not repeat complete runs, so you can interrupt it
and start it again. `report` reads the runs and prints the tables of docs/results/framework-ensembles.md. The members
are the shipped recipes with smaller values (VALUES), so that sixty runs fit two CPU cores.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
BACKENDS = ("jax", "torch")
RECIPES = {"ants": "ants_bees", "signs": "sign_digits"}
VALUES = {  # smaller pictures and fewer epochs than the recipes' own
    "ants": {
        "network": "efficientnet_lite0",
        "image_size": 160,
        "imagenet_head": True,
        "head_epochs": 2,
        "head_rate": 3e-4,
        "epochs": 2,
        "peak_rate": 1e-5,
    },
    "signs": {"image_size": 64, "epochs": 3},
}


# ---------------------------------------------------------------- training


def train(options):
    """Run `kcomp train` for every data set, seed, fold and backend of the options."""
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, recipe in RECIPES.items():
        table = getattr(options, name)
        if table is None:
            continue
        values = {"csv": Path(table).resolve(), **VALUES[name]}
        for backend in options.backends.split(","):
            command = [sys.executable, "-m", "kcomp.cli", "train", ROOT / "recipes" / f"{recipe}.py"]
            command += ["--seed", options.seeds, "--fold", "all", "--backend", backend]
            for key, value in values.items():
                command += ["--set", f"{key}={value}"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            subprocess.run(list(map(str, command)), cwd=options.folder, env=environment, check=True)


# ---------------------------------------------------------------- the report


def report(options):
    """Print tables for each data set, and write the numbers and the pictures."""
    found = {}
    for name, recipe in RECIPES.items():
        members, labels = members_of(options.folder / "runs" / recipe)
        if members:
            found[name] = study_of(members, labels)
            print_section(name, found[name])
            if options.pictures:
                draw(found[name], recipe, options.pictures / f"framework-ensembles-{recipe}.svg")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def members_of(folder):
    """Return the members of a folder of runs, each with five folds, and the labels of all rows."""
    from kcomp.ensembles.members import build_members, read_labels
    from kcomp.runs.folder import folder as runs

    complete = [run for run in runs.find(folder) if run.complete] if folder.is_dir() else []
    fingerprints = {run.manifest["fingerprint"] for run in complete}
    if len(fingerprints) > 1:
        raise SystemExit(f"{folder} holds runs of {len(fingerprints)} recipes ({sorted(fingerprints)}); keep one")
    labels = read_labels(complete).sort_index() if complete else None
    members = build_members(complete) if complete else []
    return [member for member in members if len(member.predictions) == len(labels)], labels


def study_of(trained, labels):
    """Return all numbers of one data set. Differences are paired over the same rows."""
    from kcomp.ensembles.scoring.framework_gain import framework_gain

    gains = {name: framework_gain(trained, labels, scorer_for(labels, name)) for name in ("accuracy", "log_loss")}
    members = {(one.backend, one.seed): one.predictions[labels.columns].to_numpy(np.float64) for one in trained}
    labels, seeds = (
        labels.to_numpy(),
        sorted({seed for _, seed in members if all((b, seed) in members for b in BACKENDS)}),
    )
    found = {"rows": len(labels), "classes": labels.shape[1], "seeds": seeds, "members": []}
    found["framework gain"] = {metric: [vars(one) for one in records] for metric, records in gains.items()}
    for (backend, seed), probabilities in members.items():
        found["members"].append({"backend": backend, "seed": seed, **measures(labels, probabilities)})
    found["pairs"] = [pair(labels, first, second, members) for first, second in itertools.combinations(members, 2)]
    found["budgets"] = [budget(labels, members, seeds, count) for count in range(2, len(seeds) + 1)]
    found["all"] = measures(labels, np.mean(list(members.values()), axis=0))
    return found


def measures(labels, probabilities):
    from kcomp import metrics
    from kcomp.metrics.scores import score_each

    return score_each([metrics.accuracy, metrics.log_loss], labels, probabilities, target_of(labels))


def target_of(labels):
    from kcomp.targets import OneOf

    return OneOf(tuple(f"class {number}" for number in range(labels.shape[1])))


def scorer_for(labels, name):
    from kcomp import metrics
    from kcomp.metrics.scores import Scorer

    return Scorer(metrics.get(name), target_of(labels))


def row_values(labels, probabilities):
    """Accuracy and log loss of each row."""
    from kcomp import metrics

    return {
        metric.name: metric.row_values(labels, probabilities, target_of(labels))
        for metric in (metrics.accuracy, metrics.log_loss)
    }


def pair(labels, first, second, members):
    """Return how much two members differ, and what their average gains over the mean of their scores."""
    from kcomp.metrics.significance import mcnemar, paired_interval

    one, other = members[first], members[second]
    values, others = row_values(labels, one), row_values(labels, other)
    both = row_values(labels, (one + other) / 2)
    kind = "seeds" if first[0] == second[0] else "frameworks" if first[1] == second[1] else "both"
    differences = {name: paired_interval(values[name], others[name]) for name in values}
    return {
        "first": first,
        "second": second,
        "kind": kind,
        "disagreement": float((one.argmax(1) != other.argmax(1)).mean()),
        "distance": float(np.abs(one - other).sum(1).mean() / 2),
        "difference": {name: [found.mean, found.low, found.high] for name, found in differences.items()},
        "mcnemar": mcnemar(values["accuracy"], others["accuracy"]),
        "gain": {
            "accuracy": float(both["accuracy"].mean() - (values["accuracy"] + others["accuracy"]).mean() / 2),
            "log_loss": float((values["log_loss"] + others["log_loss"]).mean() / 2 - both["log_loss"].mean()),
        },
    }


def budget(labels, members, seeds, count):
    """Return the scores of all means of `count` members of one framework, and of members of both frameworks."""
    found = {"members": count}
    for backend in BACKENDS:
        choices = [[(backend, seed) for seed in chosen] for chosen in itertools.combinations(seeds, count)]
        found[backend] = [measures(labels, np.mean([members[key] for key in chosen], axis=0)) for chosen in choices]
    mixed = []
    for many in {count // 2, count - count // 2}:  # of an odd number, either framework may have one more
        for of_jax in itertools.combinations(seeds, many):
            for of_torch in itertools.combinations(seeds, count - many):
                keys = [("jax", seed) for seed in of_jax] + [("torch", seed) for seed in of_torch]
                mixed.append(measures(labels, np.mean([members[key] for key in keys], axis=0)))
    found["mixed"] = mixed
    return found


# ---------------------------------------------------------------- tables and a picture


def print_section(name, found):
    print(f"\n## {RECIPES[name]}.py, {found['rows']} rows, {found['classes']} classes, seeds {found['seeds']}")
    print_members(found)
    print_kinds(found["pairs"])
    differ = [one for one in found["pairs"] if one["kind"] == "frameworks"]
    print_pairs("same seed, JAX minus PyTorch", [(f"seed {one['first'][1]}", one) for one in differ])
    seeds = [one for one in found["pairs"] if one["kind"] == "seeds"]
    named = [(f"{one['first'][0]}, seeds {one['first'][1]} and {one['second'][1]}", one) for one in seeds]
    print_pairs("same framework, one seed minus another", named)
    print_budgets(found)
    print_gains(found["framework gain"])


def print_members(found):
    print("\n| backend | seed | accuracy | log loss |\n|---|---|---|---|")
    for member in found["members"]:
        print(f"| {member['backend']} | {member['seed']} | {member['accuracy']:.4f} | {member['log_loss']:.4f} |")
    for backend in BACKENDS:
        of_backend = [member for member in found["members"] if member["backend"] == backend]
        cells = [summary([member[key] for member in of_backend]) for key in ("accuracy", "log_loss")]
        print(f"| {backend} | mean | {' | '.join(cells)} |")


def print_kinds(pairs):
    print("\n| two members that differ in | pairs | top class differs | distance | gain in accuracy | in log loss |")
    print("|---|---|---|---|---|---|")
    for kind in ("seeds", "frameworks", "both"):
        chosen = [pair for pair in pairs if pair["kind"] == kind]
        cells = [summary([pair[key] for pair in chosen]) for key in ("disagreement", "distance")]
        cells += [summary([pair["gain"][key] for pair in chosen]) for key in ("accuracy", "log_loss")]
        print(f"| {kind} | {len(chosen)} | {' | '.join(cells)} |")


def print_pairs(title, pairs):
    print(f"\n| {title} | accuracy | log loss | only first right | only second | p |\n|---|---|---|---|---|---|")
    for name, one in pairs:
        cells = [f"{mean:+.4f} ({low:+.4f} to {high:+.4f})" for mean, low, high in one["difference"].values()]
        first, second, p = one["mcnemar"]
        print(f"| {name} | {' | '.join(cells)} | {first} | {second} | {p:.2f} |")


def print_budgets(found):
    print("\n| members averaged | kind | choices | accuracy | log loss |\n|---|---|---|---|---|")
    for one in found["budgets"]:
        for kind in (*BACKENDS, "mixed"):
            cells = [summary([scores[key] for scores in one[kind]]) for key in ("accuracy", "log_loss")]
            print(f"| {one['members']} | {kind} | {len(one[kind])} | {' | '.join(cells)} |")
    count = len(found["members"])
    print(f"| {count} | all | 1 | {found['all']['accuracy']:.4f} | {found['all']['log_loss']:.4f} |")


def print_gains(gains):
    """Print the scores of ensembles with half of their seeds on each framework, and with all seeds on one."""
    print("\n| metric | members | both frameworks | JAX alone | PyTorch alone | sets of seeds | gain of both |")
    print("|---|---|---|---|---|---|---|")
    for metric, records in gains.items():
        for one in records:
            alone = " | ".join(f"{one['single'][backend]:.4f}" for backend in BACKENDS)
            difference = np.mean(list(one["differences"].values()), axis=0)
            cells = f"{one['mixed']:.4f} | {alone} | {len(difference)} | {summary(difference, '+.4f')}"
            print(f"| {metric} | {one['k']} | {cells} |")


def summary(values, form=".4f"):
    """Return the mean and the standard deviation, or the single value."""
    if len(values) < 2:
        return ", ".join(f"{value:{form}}" for value in values)
    return f"{np.mean(values):{form}} +- {np.std(values, ddof=1):.4f}"


def draw(found, title, path):
    """Draw log loss against the number of members, one dot for each choice, and the disagreement of pairs."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = title  # so that the same numbers give the same file
    from matplotlib import pyplot

    colours = {"jax": "#4477aa", "torch": "#ee6677", "mixed": "#228833", "all": "#222222"}
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for offset, kind in enumerate(("jax", "torch", "mixed")):
        places, values = [], []
        singles = [member["log_loss"] for member in found["members"] if member["backend"] == kind]
        for count, scores in [(1, singles)] + [
            (one["members"], [score["log_loss"] for score in one[kind]]) for one in found["budgets"]
        ]:
            places += [count + (offset - 1) * 0.15] * len(scores)
            values += scores
        label = {"jax": "JAX", "torch": "PyTorch", "mixed": "both frameworks"}[kind]
        left.plot(places, values, "o", color=colours[kind], label=label, alpha=0.7)
    left.plot([len(found["members"])], [found["all"]["log_loss"]], "D", color=colours["all"], label="all members")
    left.set_xlabel("members averaged")
    left.set_ylabel("log loss, out of fold")
    left.legend()
    kinds = ("seeds", "frameworks", "both")
    values = [[100 * pair["disagreement"] for pair in found["pairs"] if pair["kind"] == kind] for kind in kinds]
    for place, these in enumerate(values):
        right.plot([place] * len(these), these, "o", color="#4477aa", alpha=0.7)
        right.plot([place - 0.2, place + 0.2], [np.mean(these)] * 2, color="#222222")
    right.set_xticks(range(3), ["other seed,\nsame framework", "other framework,\nsame seed", "both differ"])
    right.set_xlim(-0.5, 2.5)
    right.set_ylim(bottom=0)
    right.set_ylabel("rows whose top class differs, %")
    figure.suptitle(f"{title}.py: {found['rows']} rows out of fold")
    figure.savefig(path, metadata={"Date": None})


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("train", "report"))
    options.add_argument("--folder", type=Path, default=Path("study"))
    options.add_argument("--ants", help="train.csv of the ants and bees, or a folder of a folder a class")
    options.add_argument("--signs", help="train.csv of the sign digits, or a folder of a folder a class")
    options.add_argument("--backends", default="jax,torch")
    options.add_argument("--seeds", default="0,1,2")
    options.add_argument("--json", type=Path)
    options.add_argument("--pictures", type=Path, help="the folder to draw into")
    chosen = options.parse_args()
    {"train": train, "report": report}[chosen.what](chosen)


if __name__ == "__main__":
    main()
