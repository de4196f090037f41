"""Measure all of recipes/ants_bees.py, its folds and its test images in 9 views, against a plain PyTorch script.

    python scripts/benchmark_job.py --data data/ants-bees --json job.json

scripts/plain_pytorch.py has the same weights, stages, epochs and rows. Each contestant starts with empty caches of
images and features. JAX's compiled programs come from an earlier run, unless --cold is given. The contestants take
turns for `--rounds` rounds. The table shows the seconds and the ratio to the plain script.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
VALUES = {  # those of the plain script
    "network": "efficientnet_lite0",
    "image_size": 224,
    "imagenet_head": True,
    "head_epochs": 2,
    "head_rate": 3e-4,
    "peak_rate": 1e-5,
}


def plain(folder, data, folds):
    """Return the seconds and the mean held-out accuracy of the plain script."""
    command = [sys.executable, ROOT / "scripts" / "plain_pytorch.py", "--csv", data / "train.csv", "--fold", folds]
    seconds, out = timed([*command, "--test", data / "test.csv"], folder, {})
    return seconds, float(re.search(r"^accuracy ([\d.]+)", out, re.MULTILINE)[1])


def kcomp(folder, data, folds, backend, programs):
    """Return the seconds and the mean held-out accuracy of `kcomp train` and `kcomp predict`.

    `programs` is the folder of JAX's compiled programs, which are read from there and written back.
    """
    cache = folder / "cache"
    settings = {"KCOMP_CACHE": str(cache), "KERAS_BACKEND": backend}
    if programs:
        shutil.copytree(programs, cache, dirs_exist_ok=True)
    run = [sys.executable, "-m", "kcomp.cli"]
    values = {**VALUES, "csv": data / "train.csv"}
    assignments = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    recipe = [ROOT / "recipes" / "ants_bees.py", "--fold", folds, *assignments]
    training, _ = timed([*run, "train", *recipe], folder, settings)
    predicting, _ = timed([*run, "predict", "runs", "--test", data / "test.csv", "--views", "8"], folder, settings)
    for name in ("jax", "programs") if programs and backend == "jax" else ():
        shutil.copytree(cache / name, programs / name, dirs_exist_ok=True)
    results = [json.loads(path.read_text()) for path in folder.rglob("result.json")]
    return training + predicting, float(np.mean([result["scores"]["accuracy"] for result in results]))


def timed(command, folder, settings):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    started = time.perf_counter()
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return time.perf_counter() - started, done.stdout


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("data/ants-bees"))
    options.add_argument("--folds", default="all", help="all, or one number for a short trial")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--cold", action="store_true", help="JAX compiles everything anew each time")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    data, found = chosen.data.resolve(), {"plain": [], "torch": [], "jax": []}
    with tempfile.TemporaryDirectory() as kept:
        programs = None if chosen.cold else Path(kept)
        for number in range(chosen.rounds + (not chosen.cold)):  # the first round of all leaves JAX's programs
            filling = number == 0 and not chosen.cold
            for name in ["jax"] if filling else found:
                with tempfile.TemporaryDirectory() as folder:
                    folder = Path(folder)
                    folds = "0" if filling else chosen.folds
                    arguments = (folder, data, folds)
                    one = plain(*arguments) if name == "plain" else kcomp(*arguments, name, programs)
                print(f"{name}: {one[0]:.0f} s, accuracy {one[1]:.4f}{' (fills the cache)' * filling}", flush=True)
                if not filling:
                    found[name].append(one)
    print("| | seconds | ratio to the plain script | accuracy |\n|---|---|---|---|")
    for name, runs in found.items():
        seconds = [run[0] for run in runs]
        ratios = [run[0] / base[0] for run, base in zip(runs, found["plain"], strict=True)]
        cells = [
            ", ".join(f"{value:{form}}" for value in values) for values, form in ((seconds, ".0f"), (ratios, ".2f"))
        ]
        print(f"| {name} | {cells[0]} | {cells[1]} | {', '.join(f'{run[1]:.3f}' for run in runs)} |")
    if chosen.json:
        chosen.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
