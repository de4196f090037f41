"""Measure ten epochs of a stage that trains only the head: timm in a PyTorch loop, and kcomp with cache_views.

    python scripts/benchmark_frozen.py --csv data/ants-bees/train.csv --json frozen.json

Each measurement runs in a new process. All train the same head on the same rows, in batches of 16, with a random crop
and a flip of each image in each epoch. timm keeps its backbone in evaluation mode and without gradients, and does not
score the held-out rows. kcomp scores them after every epoch, and writes its run.

The time covers the stage: compilation and missing features are included, and imports, building the model and the last
prediction are not. `cold` starts without features and decoded images on the disk, and `warm` finds them. A first run
that does not count fills the compilation caches. The table shows medians of the rounds, with quartiles in brackets.
"""

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmark import spread

CROP = (0.5, 1.0)  # smallest and largest share of an image


def rows_of(options):
    """Return the training rows and the held-out rows of fold 0."""
    import numpy as np

    from kcomp import data

    path = Path(options.csv)
    table = data.read_folders(path) if path.is_dir() else data.read_csv(path, label="label")
    if options.rows:
        table = table.rows(np.arange(min(options.rows, len(table))))
    return data.stratified_folds(table, 5, seed=0)


def time_timm(options):
    """Return the seconds of the PyTorch loop: decode, crop, flip, frozen backbone, head."""
    import cv2
    import numpy as np
    import torch
    from timm_peer import timm
    from torch.nn import functional as F

    from kcomp import data

    rows, _ = data.split(rows_of(options), 0)
    torch.manual_seed(0)
    draws, size = np.random.default_rng(0), options.size
    network = timm.create_model(options.timm, pretrained=False, num_classes=len(rows.columns))
    network.eval().to(memory_format=torch.channels_last).requires_grad_(False)
    head = network.get_classifier().requires_grad_(True)
    labels, paths = torch.from_numpy(rows.labels.argmax(1)), rows.images
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3)

    def picture(path):
        pixels = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
        share = np.sqrt(draws.uniform(*CROP))
        height, width = (max(1, int(side * share)) for side in pixels.shape[:2])
        top = draws.integers(0, pixels.shape[0] - height + 1)
        left = draws.integers(0, pixels.shape[1] - width + 1)
        pixels = cv2.resize(pixels[top : top + height, left : left + width], (size, size))
        pixels = pixels[:, ::-1] if draws.random() < 0.5 else pixels
        return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 127.5 - 1

    started = time.perf_counter()
    for _ in range(options.epochs):
        order = draws.permutation(len(rows))
        for start in range(0, len(rows) - 15, 16):
            chosen = order[start : start + 16]
            images = torch.stack([picture(paths[row]) for row in chosen]).contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                features = network.forward_head(network.forward_features(images), pre_logits=True)
            loss = F.cross_entropy(head(F.dropout(features, 0.2)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {"stage": time.perf_counter() - started, "rows": len(rows)}


@dataclass(frozen=True)
class Config:
    csv: str
    size: int
    epochs: int
    views: int | None


def time_kcomp(options):
    """Return the seconds of the stage in `kcomp train`, from its first line of output to its last epoch."""
    from kcomp.system.backends import prepare_backend

    prepare_backend(os.environ["KERAS_BACKEND"])  # as every command does, before its backend is imported
    import albumentations as A
    import keras
    import numpy as np
    from rich.console import Console

    from kcomp import data, models
    from kcomp.recipe import Loaded, Recipe, Stage
    from kcomp.runs.folder import Run
    from kcomp.training import fit

    def batches(config, rows, training, seed):
        crop = A.Compose([A.RandomResizedCrop((config.size, config.size), scale=CROP), A.HorizontalFlip(p=0.5)])
        images = data.Images(None if training else config.size)
        transform = crop if training else None
        return data.Batches(
            rows, config.size, batch_size=16, training=training, seed=seed, transform=transform, images=images
        )

    def model(config, target):
        if options.network == "lite0":
            return models.classifier(models.efficientnet_lite0(config.size, weights=None), target)
        return models.classifier(
            models.application(keras.applications.EfficientNetB0, config.size, weights=None), target
        )

    def stages(config):
        optimizer = keras.optimizers.AdamW(1e-3)
        return [Stage("head", config.epochs, "head", optimizer, cache_views=config.views)]

    values = Config(options.csv, options.size, options.epochs, options.views)
    recipe = Recipe(
        values, table=lambda config: rows_of(options), batches=batches, model=model, stages=stages, keep="last"
    )
    seconds, train_stage = {}, fit.train_stage

    def timed(*arguments):
        started = time.perf_counter()
        train_stage(*arguments)
        seconds["stage"] = time.perf_counter() - started

    fit.train_stage = timed
    loaded = Loaded(recipe, "benchmark_frozen", {"benchmark_frozen.py": Path(__file__).read_text()})
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run")
        fit.train(loaded, run, seed=0, fold=0, console=Console(file=sys.stderr))
        losses = np.loadtxt(run / "log.csv", delimiter=",", skiprows=1, usecols=3, ndmin=1)
    return {**seconds, "rows": len(data.split(rows_of(options), 0)[0]), "loss": float(losses[-1])}


def measure(options, what, backend, views=None, cache=None):
    """Run one measurement in a new process, and return what it prints."""
    command = [sys.executable, __file__, "--measure", what, "--csv", options.csv, "--size", str(options.size)]
    command += ["--epochs", str(options.epochs), "--rows", str(options.rows), "--network", options.network]
    command += ["--timm", options.timm, *(["--views", str(views)] if views else [])]
    environment = {**os.environ, "KERAS_BACKEND": backend, "NO_ALBUMENTATIONS_UPDATE": "1"}
    if cache is not None:
        environment |= {"KCOMP_CACHE": str(cache), "JAX_COMPILATION_CACHE_DIR": str(cache / "jax")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def emptied(cache, measured):
    """Return a function that removes features and decoded images from the cache, and then measures."""

    def run():
        for kept in ("features", "decoded"):
            shutil.rmtree(cache / kept, ignore_errors=True)
        return measured()

    return run


def contestants(options, folder):
    """Return {name: function that measures once}, in the order of a round."""
    found = {"timm": functools.partial(measure, options, "timm", "torch")}
    for backend in options.backends.split(","):
        cache = folder / backend
        if not options.no_plain:
            found[f"{backend}, on images"] = emptied(
                cache, functools.partial(measure, options, "kcomp", backend, None, cache)
            )
        for views in (1, options.epochs):
            measured = functools.partial(measure, options, "kcomp", backend, views, cache)
            found[f"{backend}, {views} view{'s' * (views > 1)}, cold"] = emptied(cache, measured)
            found[f"{backend}, {views} view{'s' * (views > 1)}, warm"] = measured
    return found


def compare(options):
    """Print a row for each measurement: seconds, and how many times as fast as timm in the same round."""
    with tempfile.TemporaryDirectory() as folder:
        asked = contestants(options, Path(folder))
        for name in asked:
            if name.endswith(("cold", "images")):
                asked[name]()  # uncounted: compiles JAX's programs and Numba's loops
        found = {name: [] for name in asked}
        for number in range(options.rounds):
            for name, once in asked.items():
                found[name].append(once())
            print(f"  round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    print("| | seconds | times timm's speed |\n|---|---|---|")
    for name, each in found.items():
        seconds = [one["stage"] for one in each]
        ratios = [base["stage"] / one for base, one in zip(found["timm"], seconds, strict=True)]
        print(f"| {name} | {spread(seconds, 1)} | {spread(ratios, 1)} |")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", default="data/ants-bees/train.csv", help="a CSV, or a folder of a folder a class")
    parser.add_argument("--network", choices=("lite0", "b0"), default="b0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=0, help="only so many rows of the table; 0 takes all")
    parser.add_argument("--backends", default="jax,torch")
    parser.add_argument("--rounds", type=int, default=1, help="each measures everything once; ratios are of one round")
    parser.add_argument("--no-plain", action="store_true", help="do not time kcomp without cache_views")
    parser.add_argument("--json", help="write the numbers there")
    parser.add_argument("--measure", choices=("timm", "kcomp"), help=argparse.SUPPRESS)
    parser.add_argument("--views", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--timm", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.timm = options.timm or {"lite0": "tf_efficientnet_lite0", "b0": "efficientnet_b0"}[options.network]
    if options.measure is None:
        compare(options)
    else:
        print(json.dumps(time_timm(options) if options.measure == "timm" else time_kcomp(options)))


if __name__ == "__main__":
    main()
