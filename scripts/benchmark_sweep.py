"""Measure `kcomp sweep` of 12 short runs against the same runs one after the other.

    python scripts/benchmark_sweep.py --jobs 2 --json sweep.json

The runs train a small recipe (--recipe). First `kcomp train` trains them one after the other, each with the number of
threads that the sweep gives it. Then one sweep trains all of them into an empty folder. A first run of each backend,
which does not count, fills JAX's compilation cache. The script prints the sum of the single times, that sum divided by
the number of jobs, the time of the sweep, and the ratio of the last two. Use a machine that is otherwise idle.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def timed(arguments, folder, settings):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    started = time.perf_counter()
    command = [sys.executable, "-m", "kcomp.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return time.perf_counter() - started, done.stdout


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "digits.py")
    options.add_argument("--backends", default="jax,torch")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--folds", type=int, default=2)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    threads = str(max(1, len(os.sched_getaffinity(0)) // chosen.jobs))
    settings = {"OMP_NUM_THREADS": threads, "NPROC": threads}
    wanted = [
        (backend, seed, fold)
        for seed in range(chosen.seeds)
        for fold in range(chosen.folds)
        for backend in chosen.backends.split(",")
    ]
    own = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (backend, seed, fold) in enumerate([*wanted[: chosen.backends.count(",") + 1], *wanted]):
            place = Path(folder) / f"{number}"
            arguments = ["train", chosen.recipe, "--backend", backend, "--seed", seed, "--fold", fold, "-o", place]
            seconds, _ = timed(arguments, folder, settings)
            if number > chosen.backends.count(","):
                own[f"{backend}-seed{seed}-fold{fold}"] = seconds
                print(f"{backend} seed {seed} fold {fold}: {seconds:.1f} s", flush=True)
        numbers = [",".join(map(str, range(count))) for count in (chosen.seeds, chosen.folds)]
        arguments = ["--backends", chosen.backends, "--seed", numbers[0], "--fold", numbers[1], "--jobs", chosen.jobs]
        together, _ = timed(["sweep", chosen.recipe, *arguments, "-o", "sweep"], folder, settings)
    side = sum(own.values()) / chosen.jobs
    print(f"{len(own)} runs: {sum(own.values()):.1f} s one after the other, / {chosen.jobs} = {side:.1f} s")
    print(f"the sweep: {together:.1f} s, {together / side:.3f} of that")
    if chosen.json:
        chosen.json.write_text(json.dumps({"own": own, "sweep": together, "jobs": chosen.jobs, "threads": threads}))


if __name__ == "__main__":
    main()
