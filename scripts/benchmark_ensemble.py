"""Measure the seconds and the peak memory of `kcomp ensemble` on made-up run folders, for each method.

    python scripts/benchmark_ensemble.py --members 30 --rows 10000 --classes 100

Half of the members belong to JAX and half to PyTorch. Each has its own noise around a common signal. There are as many
test rows as held-out rows, and every command writes its submission. With `--folds 5`, each member has five runs, and
there are five times as many test predictions to read. Peak memory is the largest resident set of the command.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kcomp.ensembles import CALIBRATIONS, METHODS  # noqa: E402  (from this working copy)
from kcomp.runs.probabilities import write_probabilities  # noqa: E402
from kcomp.targets import OneOf  # noqa: E402


def make_runs(folder, members, rows, classes, folds):
    """Write members * folds run folders. Each has a part of the held-out rows, and all test rows."""
    draws = np.random.default_rng(0)
    names = [f"class{number:03d}" for number in range(classes)]
    truth = draws.integers(0, classes, rows)
    signal = draws.normal(0, 1, (rows, classes)) + 2.5 * np.eye(classes)[truth]
    ids = np.array([f"row{number:06d}" for number in range(rows)])
    for member in range(members):
        backend, seed = ("jax", "torch")[member % 2], member // 2
        logits = signal + draws.normal(0, 1, signal.shape)
        raised = np.exp(2 * logits)
        values = (raised / raised.sum(1, keepdims=True)).astype(np.float32)
        for fold in range(folds):
            run = folder / f"{backend}-seed{seed}-fold{fold}"
            run.mkdir(parents=True)
            kept = {"recipe": "made_up", "fingerprint": "0", "backend": backend, "seed": seed, "fold": fold}
            kept |= {"classes": names, "table": "t", "metric": "log_loss", "scores": ["log_loss", "accuracy"]}
            kept["target"] = OneOf(tuple(names)).to_json()
            (run / "manifest.json").write_text(json.dumps(kept))
            (run / "result.json").write_text(json.dumps({"scores": {}, "seconds": 0.0}))
            held = np.arange(rows) % folds == fold
            write_probabilities(run / "oof.csv", ids[held], names, values[held])
            write_probabilities(run / "labels.csv", ids[held], names, np.eye(classes, dtype=np.float32)[truth[held]])
            if fold:  # the numbers do not matter, reading them does
                os.link(folder / f"{backend}-seed{seed}-fold0" / "test.csv", run / "test.csv")
            else:
                write_probabilities(run / "test.csv", ids, names, values)


def measured(arguments):
    """Return wall seconds, processor seconds, peak memory (MB) and the output of the command."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "kcomp.cli", "ensemble", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as out:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)  # this child's own resource usage
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode:
        raise RuntimeError(text[-2000:])
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, text


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--members", type=int, default=30)
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--classes", type=int, default=100)
    options.add_argument("--folds", type=int, default=1, help="runs of a member")
    options.add_argument("--methods", default="mean,vote,gmean,rank,search,greedy", help=f"of {','.join(METHODS)}")
    options.add_argument("--metrics", default="log_loss", help="with commas between")
    options.add_argument("--calibrate", choices=CALIBRATIONS)
    options.add_argument("--print", action="store_true", help="show what the commands print")
    options.add_argument("--folder", type=Path, help="keep the run folders here, and use those that are there")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = (chosen.folder or Path(temporary)) / "runs"
        if not runs.exists():
            make_runs(runs, chosen.members, chosen.rows, chosen.classes, chosen.folds)
        print("| method | metric | seconds | processor seconds | peak MB |\n|---|---|---|---|---|")
        for method in chosen.methods.split(","):
            for metric in chosen.metrics.split(","):
                arguments = [runs, "--method", method, "--metric", metric, "-o", Path(temporary) / "submission.csv"]
                seconds, busy, memory, text = measured(
                    [*arguments, *(["--calibrate", chosen.calibrate] if chosen.calibrate else [])]
                )
                if chosen.print:
                    print(text)
                print(f"| {method} | {metric} | {seconds:.1f} | {busy:.1f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
