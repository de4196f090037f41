"""Compare kinds of ensembles on the same rows: single networks, seeds, snapshots, folds, soups and frameworks.

    python scripts/study_ensembles.py train --signs data/sign-digits/train.csv
    python scripts/study_ensembles.py report --json docs/results/ensembles.json

A fifth of the labelled rows is set aside. Nothing is trained, chosen or fitted on these rows, and every ensemble is
scored on them. Out-of-fold rows cannot score a fold ensemble, because only one of its networks predicts each row.

`train` trains the runs of `sign_digits.py` with smaller values (VALUES), makes the soups, and predicts the rows that
were set aside. It writes to the folder `study-ensembles`, and does not repeat complete runs. `report` prints the table
of docs/results/ensembles.md.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
VALUES = {"image_size": 64, "epochs": 6}
SEEDS, FOLDS, SNAPSHOTS = (0, 1, 2), 5, 3
SWEEPS = {  # folder: what is trained into it
    "torch": ["--backends", "torch", "--seed", "0,1,2"],
    "jax": ["--backends", "jax", "--seed", "0"],
    "snapshots": ["--backends", "torch", "--seed", "0", "--set", f"snapshots={SNAPSHOTS}"],
}


# ---------------------------------------------------------------- training


def train(options):
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lay_aside(Path(options.signs).resolve(), folder)
    recipe = ROOT / "recipes" / "sign_digits.py"
    values = {"csv": folder / "rest.csv", **VALUES}
    given = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    for name, arguments in SWEEPS.items():
        jobs = ["--jobs", options.jobs, "-o", folder / name]
        kcomp("sweep", recipe, *arguments, "--fold", "all", *given, *jobs)
    for fold in range(FOLDS):
        runs = [run.folder for run in complete(folder / "torch") if run.manifest["fold"] == fold]
        soup = folder / "soups" / f"fold{fold}"
        if not (soup / "result.json").is_file():
            kcomp("soup", *runs, "--method", "greedy", "--metric", "log_loss", "-o", soup, check=False)
    runs = [run for name in (*SWEEPS, "soups") for run in complete(folder / name)]
    missing = [run for run in runs if not (run / "test.csv").is_file()]
    if missing:
        kcomp("predict", *(run.folder for run in missing), "--test", folder / "aside.csv", "--views", "none")


def lay_aside(table, folder):
    """Write rest.csv and aside.csv (a stratified fifth of the rows), beside a link to their images."""
    from sklearn.model_selection import train_test_split

    rows = pd.read_csv(table, dtype={"image_id": str})
    labels = rows.drop(columns="image_id").to_numpy().argmax(1)
    rest, aside = train_test_split(rows, test_size=0.2, random_state=0, stratify=labels)
    rest.sort_values("image_id").to_csv(folder / "rest.csv", index=False)
    aside.sort_values("image_id").to_csv(folder / "aside.csv", index=False)
    if not (folder / "images").exists():
        (folder / "images").symlink_to(table.parent / "images")


def kcomp(*arguments, check=True):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "kcomp.cli", *map(str, arguments)], env=environment, check=check)


def complete(folder):
    from kcomp.runs.folder import find

    return [run for run in find(folder) if run.complete] if folder.is_dir() else []


# ---------------------------------------------------------------- the report


def report(options):
    aside = pd.read_csv(options.folder / "aside.csv", dtype={"image_id": str}).set_index("image_id").sort_index()
    runs = {name: by_seed_and_fold(complete(options.folder / name)) for name in SWEEPS}
    soups = {run.manifest["fold"]: run for run in complete(options.folder / "soups")}
    rows = [row_of(name, chosen, aside) for name, chosen in kinds(runs, soups).items() if chosen]
    print("| ensemble | networks trained | networks that predict | accuracy | log loss | gain in log loss | n |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [summary(row["accuracy"]), summary(row["log_loss"]), summary(row["gain"], "+.4f")]
        print(f"| {row['name']} | {row['trained']} | {row['predict']} | {' | '.join(cells)} | {row['n']} |")
    print(f"\n{len(aside)} rows laid aside; soups accepted in {len(soups)} of {FOLDS} folds")
    if options.json:
        options.json.write_text(json.dumps({"rows": len(aside), "kinds": rows}, indent=1) + "\n")


def by_seed_and_fold(runs):
    return {(run.manifest["seed"], run.manifest["fold"]): run for run in runs}


def kinds(runs, soups):
    """Return the choices of each kind: (runs that predict together, single networks to compare with)."""
    torch, folds = runs["torch"], range(FOLDS)
    everyone = {fold: [torch[seed, fold] for seed in SEEDS] for fold in folds}
    found = {"single": [([run], [run]) for run in torch.values()]}
    found["seed x 2"] = [
        (list(pair), list(pair)) for fold in folds for pair in itertools.combinations(everyone[fold], 2)
    ]
    found[f"seed x {len(SEEDS)}"] = [(everyone[fold], everyone[fold]) for fold in folds]
    found[f"snapshot x {SNAPSHOTS}"] = [([run], [torch[key]]) for key, run in runs["snapshots"].items()]
    found[f"fold x {FOLDS}"] = [([torch[seed, fold] for fold in folds],) * 2 for seed in SEEDS]
    found["soup"] = [([run], everyone[fold]) for fold, run in soups.items()]
    found["framework x 2, same seed"] = [([run, torch[key]],) * 2 for key, run in runs["jax"].items()]
    found["framework x 2, other seed"] = [
        ([run, torch[seed, fold]],) * 2 for (_, fold), run in runs["jax"].items() for seed in SEEDS[1:]
    ]
    return found


def row_of(name, choices, aside):
    scored = [score(predicting, aside) for predicting, _ in choices]
    singles = [np.mean([score([one], aside)["log_loss"] for one in against]) for _, against in choices]
    networks = {"single": (1, 1), "soup": (len(SEEDS), 1), f"snapshot x {SNAPSHOTS}": (1, SNAPSHOTS)}
    members = len(choices[0][0])
    trained, predict = networks.get(name, (members, members))
    return {
        "name": name,
        "trained": trained,
        "predict": predict,
        "n": len(choices),
        "accuracy": [one["accuracy"] for one in scored],
        "log_loss": [one["log_loss"] for one in scored],
        "gain": [single - one["log_loss"] for single, one in zip(singles, scored, strict=True)],
    }


def score(runs, aside):
    """Return the scores of the mean of these runs' probabilities on the rows that were set aside."""
    from kcomp.metrics import log_loss
    from kcomp.metrics.scores import Scorer
    from kcomp.targets import OneOf

    mean = np.mean([run.probabilities("test").loc[aside.index, aside.columns].to_numpy() for run in runs], axis=0)
    return Scorer(log_loss, OneOf(tuple(aside.columns))).all(aside.to_numpy(np.float64), mean)


def summary(values, form=".4f"):
    """Return the mean and the standard deviation over the choices, or the single value."""
    spread = f" +- {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{spread}"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("train", "report"))
    options.add_argument("--folder", type=Path, default=Path("study-ensembles"))
    options.add_argument("--signs", help="train.csv of the sign digits")
    options.add_argument("--jobs", default=1, help="trainings side by side")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    sys.path.insert(0, str(ROOT))
    {"train": train, "report": report}[chosen.what](chosen)


if __name__ == "__main__":
    main()
