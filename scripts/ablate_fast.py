"""Speed of whole training steps and predictions with one fast path turned off at a time.

    KERAS_BACKEND=torch python scripts/ablate_fast.py --json docs/internals/fast-paths.json
    KERAS_BACKEND=jax python scripts/ablate_fast.py --networks B0,Lite0 --json docs/internals/fast-paths.json
    python scripts/ablate_fast.py --json docs/internals/fast-paths.json --table table.md

B0 is EfficientNet-B0 of keras.applications and Lite0 is kcomp's EfficientNet-Lite0. Both have random weights and 10
classes. AdamW trains all layers; in "B0 frozen" all but batch normalisation. Batches are ready in memory.

One process runs all variants. In each round every variant takes a turn, in random order, and the variant with all fast
paths takes three. A ratio is a variant's time divided by the median of those three in the same round: 1.10 means that
the part makes a step 1.10 times as fast. The variant without kept memory runs in a second process, which takes turns
with the first. --json replaces the rows of the file that are measured again, and keeps the others.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np

NETWORKS = "B0", "B0 frozen", "Lite0"
ALL, MEMORY = "all", "memory"
CLASSES, BATCH = 10, 16
STEPS = {"train": 1, "predict": 4}  # a turn


def network_of(name, size):
    import keras

    from kcomp import models

    if name == "Lite0":
        return models.classifier(models.efficientnet_lite0(size, weights=None), CLASSES)
    network = models.classifier(models.application(keras.applications.EfficientNetB0, size, weights=None), CLASSES)
    if name == "B0 frozen":
        models.set_trainable(network, ".*")  # all layers but batch normalisation
    return network


def parts_of_torch():
    """Loops and operations inside a patch: {name: (module, function, what stands in for it)}."""
    from torch.nn import functional

    from kcomp.fast.torch import depthwise, folding

    return {
        "depthwise loops": (depthwise, "suits", lambda *_: False),
        "silu loops in prediction": (folding, "silu_in_place", lambda values: functional.silu(values, inplace=True)),
        "excitation loops in prediction": (folding, "silu_excited", lambda *_: False),
        "kernels ordered once in prediction": (folding, "pack_kernel", lambda *_: None),
    }


def variants_of(backend):
    from kcomp.fast.install import is_enabled
    from kcomp.fast.patches import PATCHES

    names = [patch.name for patch in PATCHES if patch.backend == backend and is_enabled(patch.name)]
    return [ALL, *names, *(parts_of_torch() if backend == "torch" else [])]


@contextlib.contextmanager
def without(variant, backend):
    """Turn one part off while the context lasts."""
    from kcomp.fast import install

    parts = parts_of_torch() if backend == "torch" else {}
    with contextlib.ExitStack() as stack:
        if variant in parts:
            module, function, stand_in = parts[variant]
            stack.enter_context(mock.patch.object(module, function, stand_in))
        stack.enter_context(mock.patch.object(install, "_turned_off", {variant}))
        install._switch(False)
        install.install()
        yield


class Work:
    """A network, and for each variant the functions that train and predict with it."""

    def __init__(self, name, size, backend):
        from kcomp.engine.initial_weights import draw_weights_on_host

        draws = np.random.default_rng(0)
        self.images = draws.uniform(0, 255, (BATCH, size, size, 3)).astype(np.float32)
        self.labels = np.eye(CLASSES, dtype=np.float32)[draws.integers(0, CLASSES, BATCH)]
        self.backend, self.models, self.forwards = backend, {}, {}
        with draw_weights_on_host(0):
            self.network = network_of(name, size)

    def prepare(self, variant):
        """Make what a variant needs, and run it once, which compiles it."""
        import keras

        from kcomp.prediction.forward import compile_forward
        from kcomp.training.mixed import Mixed

        with without(variant, self.backend):
            model = self.models[variant] = Mixed(self.network, [])
            model.compile(keras.optimizers.AdamW(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True))
            model.optimizer.build(model.trainable_variables)
            self.forwards[variant] = compile_forward(self.network)
        for kind in STEPS:
            self.seconds(variant, kind)

    def seconds(self, variant, kind):
        """Time a turn of a variant: seconds for one step or prediction."""
        count = STEPS[kind]
        with without(variant, self.backend):
            if kind == "predict":
                self.forwards[variant](self.images)  # folds the weights that have changed
            started = time.perf_counter()
            if kind == "train":
                batches = (({"images": self.images, "labels": self.labels},) for _ in range(count))
                self.models[variant].fit(batches, steps_per_epoch=count, verbose=0, shuffle=False)
            else:
                for _ in range(count):
                    self.forwards[variant](self.images)
            return (time.perf_counter() - started) / count


class Child:
    """This script in a process without kept memory, which times turns of all other fast paths."""

    def __init__(self, name, size):
        command = [sys.executable, __file__, "--child", name, "--sizes", str(size)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, **pipes)
        self.read()

    def read(self):
        line = next(line for line in self.process.stdout if line.startswith("SECONDS"))
        return float(line.removeprefix("SECONDS"))

    def seconds(self, kind):
        self.process.stdin.write(f"{kind}\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def serve(name, size, backend):
    """Answer each line of the standard input, "train" or "predict", with the seconds of a turn."""
    from kcomp.system import backends

    with mock.patch.object(backends, "keep_freed_memory"):
        backends.prepare_backend(backend)
    work = Work(name, size, backend)
    work.prepare(ALL)
    print("SECONDS0", flush=True)
    for line in sys.stdin:
        print(f"SECONDS{work.seconds(ALL, line.strip())}", flush=True)


def measure(name, size, backend, rounds, parts):
    """Return a row for each variant: its ratios of every round in training and in prediction."""
    work, order = Work(name, size, backend), random.Random(0)
    variants = [variant for variant in variants_of(backend) if parts is None or variant in (ALL, *parts)]
    for variant in variants:
        started = time.perf_counter()
        work.prepare(variant)
        print(f"  {variant}: first turns {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    child = Child(name, size)
    rows = [
        {"backend": backend, "network": name, "size": size, "variant": variant, "train": [], "predict": []}
        for variant in [*variants, MEMORY]
    ]
    for _ in range(rounds):
        for kind in STEPS:
            turns = [*variants, ALL, ALL, MEMORY]
            times = {}
            for variant in order.sample(turns, len(turns)):
                taken = child.seconds(kind) if variant == MEMORY else work.seconds(variant, kind)
                times.setdefault(variant, []).append(taken)
            usual = float(np.median(times[ALL]))
            for row in rows:
                value = usual if row["variant"] == ALL else times[row["variant"]][0] / usual
                row[kind].append(round(value, 5))
    child.close()
    return rows if parts is None else [row for row in rows if row["variant"] in parts]


def key_of(row):
    return row["backend"], row["network"], row["size"], row["variant"]


def processor():
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def cell(values, digits=2):
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(report):
    """Return two tables in Markdown for each backend, for training and prediction: medians, quartiles in brackets."""
    lines = [f"{report['processor']}, {report['cores']} cores, batch {BATCH}.", ""]
    for backend in sorted({row["backend"] for row in report["rows"]}, reverse=True):
        for kind in STEPS:
            lines += [*table_of(kind, backend, [row for row in report["rows"] if row["backend"] == backend]), ""]
    counts = sorted({len(row["train"]) for row in report["rows"]})
    return "\n".join([*lines, f"n = {', '.join(map(str, counts))} rounds."])


def table_of(kind, backend, rows):
    cases = [(name, size) for name in NETWORKS for size in sorted({row["size"] for row in rows})]
    by_case = {(row["network"], row["size"], row["variant"]): row[kind] for row in rows}
    cases = [case for case in cases if (*case, ALL) in by_case]
    yield f"| {backend}, {kind}, without | {' | '.join(f'{name}, {size}' for name, size in cases)} |"
    yield "|" + "---|" * (len(cases) + 1)
    for variant in dict.fromkeys(row["variant"] for row in rows):
        values = [by_case.get((*case, variant)) for case in cases]
        cells = ["" if ratios is None else cell(ratios) for ratios in values]
        if variant == ALL:
            cells = [cell([1000 * value for value in seconds], 0) for seconds in values]
        yield f"| {'nothing, ms' if variant == ALL else variant} | {' | '.join(cells)} |"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", default="128,224", help="pixels, with commas between")
    options.add_argument("--networks", default=",".join(NETWORKS))
    options.add_argument("--parts", help="parts to turn off, with commas between; all by default")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--json", type=Path)
    options.add_argument("--table", type=Path, help="write the table of the --json file here, and measure nothing")
    options.add_argument("--child", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.table:
        chosen.table.write_text(table(json.loads(chosen.json.read_text())) + "\n")
        return
    backend, sizes = os.environ["KERAS_BACKEND"], [int(text) for text in chosen.sizes.split(",")]
    if chosen.child:
        serve(chosen.child, sizes[0], backend)
        return
    from kcomp.system.backends import prepare_backend

    prepare_backend(backend)
    report = {"processor": processor(), "cores": os.cpu_count(), "rows": []}
    if chosen.json and chosen.json.exists():
        report["rows"] = json.loads(chosen.json.read_text())["rows"]
    for name in chosen.networks.split(","):
        for size in sizes:
            print(f"{name}, {size} px", file=sys.stderr, flush=True)
            rows = measure(name, size, backend, chosen.rounds, chosen.parts and chosen.parts.split(","))
            report["rows"] = [row for row in report["rows"] if key_of(row) not in map(key_of, rows)] + rows
            if chosen.json:
                chosen.json.write_text(json.dumps(report, indent=1))
    print(table(report))


if __name__ == "__main__":
    main()
