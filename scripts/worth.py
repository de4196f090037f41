"""Measure what each part is worth: train variants of a base recipe on three small competitions, paired with the base.

    python scripts/worth.py train --data data --folder worth
    python scripts/worth.py report --folder worth

`train` runs every variant of worth_variants.py with the seeds 0, 1 and 2. Seed s holds out fold s. Nothing is chosen on
the held-out rows: the scores are those of the last epoch. Each result is one line of FOLDER/results.jsonl, which is
written at once. A second call trains what is missing. All variants have seed 0 before the first has seed 1.

With `--part 1/2`, a process takes every second variant, so that two processes can work on one folder. `report` writes
docs/results/worth.csv from the lines, and the tables of docs/results/worth.md from the CSV.
"""

import argparse
import contextlib
import json
import shutil
import sys
import time
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from worth_report import write_report
from worth_variants import BASE, VARIANTS

RECIPE = Path(__file__).with_name("worth_recipes.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "report"))
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="the folder of ants-bees, sign-digits and cards"
    )
    parser.add_argument("--folder", type=Path, default=Path("worth"), help="for results, predictions and base runs")
    parser.add_argument("--kinds", nargs="+", help="train only these kinds of variants, such as Views, and the base")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--backend", choices=("torch", "jax"), default="torch", help="variants of the other are left out"
    )
    parser.add_argument("--part", default="1/1", help="such as 1/2, the first of two processes")
    options = parser.parse_args()
    if options.action == "report":
        write_report(read_results(options.folder))
    else:
        train_all(options)


def train_all(options):
    """Train all variants whose result is missing. A line of standard output describes each result."""
    from kcomp.system.backends import prepare_backend

    prepare_backend(options.backend)
    number, count = map(int, options.part.split("/"))
    sys.path.insert(0, str(RECIPE.parents[1]))
    jobs = [
        (variant, competition, seed)
        for seed in options.seeds
        for variant in VARIANTS
        for competition in variant.competitions
        if variant.backend == options.backend and (not options.kinds or variant.kind in (BASE.kind, *options.kinds))
    ]
    warm_up(options)
    for variant, competition, seed in jobs:
        owner = BASE.name if variant.views or variant.members else variant.name  # views need the base run
        if zlib.crc32(owner.encode()) % count != number - 1 or is_measured(options.folder, variant, competition, seed):
            continue
        if not all(predictions_file(options.folder, name, competition, seed).exists() for name in variant.members):
            continue  # a later call measures this ensemble
        result = measure(options, variant, competition, seed)
        with (options.folder / "results.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)


def read_results(folder):
    """Return the lines of results.jsonl that are no errors, as dicts. The last line of a training counts."""
    path = folder / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    results = {(line["variant"], line["competition"], line["seed"]): line for line in lines if "error" not in line}
    return list(results.values())


def is_measured(folder, variant, competition, seed):
    texts = as_texts(variant)
    return any(
        (line["variant"], line["competition"], line["seed"], line["values"]) == (variant.name, competition, seed, texts)
        for line in read_results(folder)
    )


def as_texts(variant):
    return {name: str(value) for name, value in variant.values.items()}


def warm_up(options):
    """Run one short training, so that the first measured one does not pay for imports and compiled functions."""
    train_run(options, BASE, "ants-bees", 0, options.folder / f"warm-up-{options.part[0]}", epochs_factor=0.01)


def measure(options, variant, competition, seed):
    """Return the result of a variant as a dict: scores of the held-out rows, and CPU seconds. Errors have a text."""
    line = {"variant": variant.name, "competition": competition, "seed": seed, "values": as_texts(variant)}
    base = options.folder / "base" / f"{competition}-{seed}"
    try:
        if variant.members:
            run, predictions, cost = mean_of_members(options, variant, competition, seed, base)
        elif variant.views:
            run, predictions, cost = predict_views(options, variant, competition, seed, base)
        else:
            place = base if variant == BASE else options.folder / f"run-{options.backend}-{options.part[0]}"
            run, cost = train_run(options, variant, competition, seed, place)
            predictions = run.probabilities("oof").to_numpy()
    except Exception as error:  # noqa: BLE001  (one failure must not end the study)
        return line | {"error": f"{type(error).__name__}: {error}"[:300]}
    path = predictions_file(options.folder, variant.name, competition, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, predictions)
    return line | scores(run, predictions) | cost


def predictions_file(folder, name, competition, seed):
    return folder / "predictions" / f"{name.replace('/', ' of ')} {competition} {seed}.npy"


def mean_of_members(options, variant, competition, seed, base):
    """Return the base run, the mean of the predictions of several variants, and the sum of their costs."""
    from kcomp.runs.folder import Run

    lines = read_results(options.folder)
    keys = [(name, competition, seed) for name in variant.members]
    chosen = [line for line in lines if (line["variant"], line["competition"], line["seed"]) in keys]
    costs = {name: sum(line[name] for line in chosen) for name in Costs().line()}
    run = Run(base)
    members = [np.load(predictions_file(options.folder, *key)) for key in keys]
    return run, run.target.average(members), costs


def train_run(options, variant, competition, seed, place, **values):
    """Train a variant in the folder `place`. Return the run, and its costs as `Costs.line` describes them."""
    from rich.console import Console

    from kcomp import recipe as recipes
    from kcomp.runs.folder import Run
    from kcomp.training.averages.ema_swa import WeightAverage
    from kcomp.training.fit import train
    from kcomp.training.frozen.features import Features

    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = str((options.data / competition).resolve())
    loaded = recipes.load(RECIPE).with_values(competition=competition, folder=folder, **variant.values, **values)
    run, costs = Run(place), Costs()
    # kcomp uses an average of weights only if it scores better on the held-out rows. Here, it is always used.
    with (
        (place.parent / f"{place.name}.log").open("w") as log,
        contextlib.redirect_stderr(log),
        mock.patch.object(WeightAverage, "outcome", averaged),
        mock.patch.object(Features, "fill", costs.measured(Features.fill)),
        weight_files(costs, variant),
    ):
        console = Console(file=log, force_terminal=False)
        train(loaded, run, seed=seed + variant.seed_offset, fold=seed, console=console)
    return run, costs.line()


class Costs:
    """CPU seconds of this process since the object was created. Those of frozen features are counted apart.

    Variants share cached features. So the time of a training depends on which features an earlier variant has cached.
    """

    def __init__(self):
        self.started, self.seconds, self.computed, self.needed = time.process_time(), 0.0, 0, 0

    def measured(self, fill):
        """Return Features.fill with a measurement."""

        def fill_and_measure(features, forward, numbers, count):
            started = time.process_time()
            computed = fill(features, forward, numbers, count)
            self.seconds += time.process_time() - started
            self.computed += computed
            self.needed += len(features.distinct(numbers)) * len(features.batches.table)
            return computed

        return fill_and_measure

    def uncounted(self, function):
        """Return the function, with its CPU seconds not counted."""

        def call(*arguments):
            started = time.process_time()
            function(*arguments)
            self.started += time.process_time() - started

        return call

    def line(self):
        """Return CPU seconds without features, those of features, and how many features were computed and needed."""
        rest = time.process_time() - self.started - self.seconds
        return {
            "cpu": round(rest, 2),
            "features_cpu": round(self.seconds, 2),
            "features_computed": self.computed,
            "features": self.needed,
        }


def weight_files(costs, variant):
    """Return a context in which a run neither writes its last weights nor reads them again. Only views need the file.

    For the base recipe, the file is written, but its CPU seconds do not count.
    """
    from kcomp.training import finish, fit

    stack = contextlib.ExitStack()
    for module, name in ((fit, "save_weights"), (finish, "load_weights")):
        function = costs.uncounted(getattr(module, name)) if variant == BASE else mock.DEFAULT
        stack.enter_context(mock.patch.object(module, name, function))
    return stack


def averaged(average):
    """Return the predictions of the averaged weights, as WeightAverage.outcome does if they score better."""
    average.complete()
    return average.session.validate(), {"method": type(average.stage.average).__name__, "accepted": True}


def predict_views(options, variant, competition, seed, base):
    """Return the base run, the mean predictions of some views of the held-out rows, and the costs of this call.

    The predictions of each view are cached beside the run.
    """
    from kcomp.data import split
    from kcomp.prediction.runs import RunPredictor
    from kcomp.runs.folder import Run

    run, costs = Run(base), Costs()
    if not run.complete:
        run, _ = train_run(options, BASE, competition, seed, base)
    path = run / "views.npz"
    by_view = dict(np.load(path)) if path.exists() else {}
    missing = [view for view in variant.views if view.name not in by_view]
    if missing:
        predictor = RunPredictor(run)
        _, held_out = split(predictor.recipe.table(predictor.recipe.config), seed)
        order = pd.Series(range(len(held_out)), index=held_out.ids)[run.probabilities("labels").index]
        for view, predictions in zip(missing, predictor.predict_views(held_out, missing), strict=True):
            by_view[view.name] = predictions[order]
        np.savez(path, **by_view)
    return run, run.target.view_mean(np.stack([by_view[view.name] for view in variant.views])), costs.line()


def scores(run, predictions):
    """Return the metric of the competition, the log loss, and the log loss after temperature scaling.

    The temperature, from 1/3 to 3, is fitted by cross-validation in ten parts. Few rows that are all predicted
    correctly would fit a temperature near 0.
    """
    from kcomp.ensembles.cross_validation import stratified_parts
    from kcomp.ensembles.methods import temperature
    from kcomp.metrics import get

    target, labels = run.target, run.probabilities("labels").to_numpy()
    scaled, parts = np.empty_like(predictions, np.float64), stratified_parts(target.strata(labels), 10)
    for part in range(10):
        rows, others = parts == part, parts != part
        value = np.clip(temperature.fit(predictions[others], labels[others], target), 1 / 3, 3)
        scaled[rows] = target.tempered(predictions[rows], value)
    metric = "accuracy" if "accuracy" in target.shown_metrics else "roc_auc"
    return {
        "metric": metric,
        "score": round(get(metric)(labels, predictions, target), 6),
        "log_loss": round(get("log_loss")(labels, predictions, target), 6),
        "scaled_log_loss": round(get("log_loss")(labels, scaled, target), 6),
    }


if __name__ == "__main__":
    main()
