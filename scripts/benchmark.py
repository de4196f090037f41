"""Measure the speed of training and prediction: kcomp on PyTorch and JAX, plain Keras, and timm.

    python scripts/benchmark.py --quick --json quick.json      # 128 px, batch 16, under ten minutes
    python scripts/benchmark.py --stock --compile --sizes 128,224 --json speed.json --picture docs/results/speed.png

The network is EfficientNet-B0 with random weights and 10 classes. All weights are trained with AdamW in float32, and
batch normalisation is trained too. Each contestant is a process with the same number of threads, and reads the same
batches from memory. In each round, the contestants take turns in a new order while the others wait. A ratio is a
contestant's speed divided by the speed of timm (eager, channels_last) in the same round.

Before the rounds, each contestant starts four times while no other runs. The first start may compile, and the later
ones find the result in a cache. In the file of --json, "torch" and "jax" hold the median ratios at the first size and
batch, and "rows" holds all measurements.
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

STARTS = 4  # of each contestant, alone; the first is told apart
CONTESTANTS = {
    "timm": "timm, eager, channels_last",
    "timm-compile": "timm, torch.compile",
    "timm-kept": "timm, keeping freed memory as kcomp does",
    "torch": "kcomp on PyTorch",
    "torch-passive": "kcomp on PyTorch, OMP_WAIT_POLICY=passive",
    "jax": "kcomp on JAX",
    "stock-torch": "plain Keras on PyTorch",
    "stock-jax": "plain Keras on JAX",
}
CLASSES = 10


# ---------------------------------------------------------------- a contestant, in its own process


def timm_loop(images, labels, *, compiled, precision):
    """Return functions that run n updates and n forward passes of timm, as a careful PyTorch user writes them."""
    import torch
    from timm_peer import timm
    from torch.nn import functional

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = timm.create_model("efficientnet_b0", num_classes=CLASSES, drop_rate=0.2, drop_path_rate=0.2)
    network = network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.004)
    run = torch.compile(network) if compiled else network
    cast = torch.autocast(device, torch.bfloat16, enabled=precision == "mixed_bfloat16")

    def tensor(array):
        return torch.from_numpy(array).to(device)

    def train(count):
        network.train()
        for _ in range(count):
            optimizer.zero_grad()
            with cast:
                loss = functional.cross_entropy(run(tensor(images).permute(0, 3, 1, 2)), tensor(labels))
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    def predict(count):
        network.eval()
        with torch.inference_mode(), cast:
            for _ in range(count):
                found = run(tensor(images).permute(0, 3, 1, 2)).float().cpu().numpy()
        return found

    return train, predict


def kcomp_loop(images, labels, backend, precision):
    """Return functions that run what `kcomp train` and `kcomp predict` run, with batches from memory."""
    from kcomp.system import backends

    with mock.patch.object(backends, "set_wait_policy"):  # the contestant's name says the policy
        backends.prepare_backend(backend)

    from kcomp.engine.initial_weights import draw_weights_on_host
    from kcomp.engine.precision import use_precision
    from kcomp.prediction.forward import compile_forward
    from kcomp.training.mixed import Mixed

    use_precision(precision)
    with draw_weights_on_host(0):
        network = keras_network(images.shape[1])
        model = Mixed(network, [])
        model.compile(*keras_step())
        model.optimizer.build(model.trainable_variables)
    forward = compile_forward(network)

    def train(count):
        batches = (({"images": images, "labels": labels},) for _ in range(count))
        model.fit(batches, steps_per_epoch=count, verbose=0, shuffle=False)

    def predict_batches(count):
        for _ in range(count):
            found = forward(images)
        return found

    return train, predict_batches


def stock_loop(images, labels, backend, precision):
    """Return functions that run n updates and n forward passes of plain Keras."""
    os.environ["KERAS_BACKEND"] = backend
    import keras

    keras.config.set_dtype_policy(precision)
    network = keras_network(images.shape[1])
    network.compile(*keras_step(), jit_compile=backend == "jax")

    def train(count):
        network.fit(((images, labels) for _ in range(count)), steps_per_epoch=count, verbose=0, shuffle=False)

    def predict(count):
        for _ in range(count):
            found = network.predict_on_batch(images)
        return found

    return train, predict


def keras_network(size):
    import keras

    return keras.applications.EfficientNetB0(
        weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None
    )


def keras_step():
    import keras

    return keras.optimizers.AdamW(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True)


def serve(name, size, batch, precision):
    """Read "train N" or "predict N" from standard input, and answer each with the seconds it took."""
    started = time.perf_counter()
    draws = np.random.default_rng(0)
    images = draws.uniform(0, 255, (batch, size, size, 3)).astype(np.float32)
    labels = np.eye(CLASSES, dtype=np.float32)[draws.integers(0, CLASSES, batch)]
    if name == "timm-kept":
        from kcomp.system.memory import keep_freed_memory

        keep_freed_memory()
    if name.startswith("timm"):
        train, predict = timm_loop(images, labels, compiled=name.endswith("compile"), precision=precision)
    elif name.startswith("stock-"):
        train, predict = stock_loop(images, labels, name.removeprefix("stock-"), precision)
    else:
        train, predict = kcomp_loop(images, labels, name.removesuffix("-passive"), precision)
    work = {"train": train, "predict": predict}
    built = time.perf_counter()
    train(1)
    answer(built=built - started, first_step=time.perf_counter() - built)
    predict(1)
    for line in sys.stdin:
        kind, count = line.split()
        begun = time.perf_counter()
        work[kind](int(count))
        answer(seconds=time.perf_counter() - begun, peak_mib=peak_memory())


def answer(**found):
    print("ANSWER" + json.dumps(found), flush=True)


def peak_memory():
    """Return the peak memory of this process in MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)


# ---------------------------------------------------------------- the coordinator


class Contestant:
    """A process that trains and predicts on request.

    start: seconds; `built` is for imports and the network, `first_step` for the first step with its compilation.
    """

    def __init__(self, name, size, batch, precision, program=__file__):
        self.name, self.batch = name, batch
        command = [sys.executable, program, "--serve", name, "--sizes", str(size), "--batches", str(batch)]
        command += ["--precision", precision]
        settings = {"OMP_WAIT_POLICY": "passive"} if name.endswith("passive") else {}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=os.environ | settings, **pipes)
        self.start = self.read()
        self.peak = 0.0

    def read(self):
        for line in self.process.stdout:
            if line.startswith("ANSWER"):
                return json.loads(line[6:])
        raise RuntimeError(f"{self.name} ended early; its message stands above")

    def ask(self, kind, count):
        self.process.stdin.write(f"{kind} {count}\n")
        self.process.stdin.flush()
        found = self.read()
        self.peak = max(self.peak, found["peak_mib"])
        return self.batch * count / found["seconds"]

    def count_for(self, kind, seconds=2.0):
        """Return the number of batches that take about this many seconds, measured in a warm-up."""
        self.ask(kind, 1)
        speed = self.ask(kind, 2)
        return max(2, round(seconds * speed / self.batch))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def busy(programs):
    """Run programs that keep one core busy each, until the block ends."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)]
    try:
        yield
    finally:
        for one in started:
            one.kill()


def interleaved(contestants, rounds):
    """Return the images a second of each round, {(name, "train" or "predict"): [...]}. The order changes each round."""
    counts = {(one.name, kind): one.count_for(kind) for one in contestants for kind in ("train", "predict")}
    speeds = {asked: [] for asked in counts}
    order = random.Random(0)
    for number in range(rounds):
        for kind in ("train", "predict"):
            for one in order.sample(contestants, len(contestants)):
                speeds[one.name, kind].append(one.ask(kind, counts[one.name, kind]))
        print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return speeds


def compare(names, size, batch, rounds, precision):
    """Return a row for each contestant: speeds and ratios of every round, every start, and peak memory."""
    starts = {name: [] for name in names}
    for _ in range(STARTS):
        for name in names:
            print(f"  {CONTESTANTS[name]} starts", file=sys.stderr, flush=True)
            alone = Contestant(name, size, batch, precision)
            starts[name].append(alone.start)
            alone.close()
    contestants = [Contestant(name, size, batch, precision) for name in names]
    speeds = interleaved(contestants, rounds)
    rows = []
    for one in contestants:
        row = {"name": one.name, "size": size, "batch": batch, "precision": precision, "peak_mib": one.peak}
        row |= {part: [start[part] for start in starts[one.name]] for part in ("built", "first_step")}
        for kind in ("train", "predict"):
            row[kind] = speeds[one.name, kind]
            row[f"{kind}_ratio"] = [a / b for a, b in zip(row[kind], speeds["timm", kind], strict=True)]
        rows.append(row)
        one.close()
    return rows


def spread(values, digits):
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def markdown(rows):
    """Return a Markdown table of medians and quartiles. Starts show the first, then the median of later ones."""
    header = ["", "px", "batch", "train, images/s", "ratio", "predict, images/s", "ratio"]
    header += ["imports and network, s", "first step, s", "peak, MiB"]
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    for row in rows:
        cells = [CONTESTANTS[row["name"]], row["size"], row["batch"]]
        for kind in ("train", "predict"):
            cells += [spread(row[kind], 0), spread(row[f"{kind}_ratio"], 2)]
        cells += [f"{first:.1f}, then {spread(later, 1)}" for first, *later in (row["built"], row["first_step"])]
        cells.append(f"{row['peak_mib']:.0f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def draw(rows, path):
    """Draw the ratios to timm as bars with quartiles, for training and prediction."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in rows if row["name"] != "timm"]
    labels = [f"{CONTESTANTS[row['name']]}\n{row['size']} px, batch {row['batch']}" for row in shown]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 0.9 + 0.55 * len(shown)), sharey=True, layout="constrained")
    for axis, kind in zip(axes, ("train", "predict"), strict=True):
        low, middle, high = np.percentile([row[f"{kind}_ratio"] for row in shown], [25, 50, 75], axis=1)
        axis.barh(labels, middle, xerr=[middle - low, high - middle], color="#4477aa", ecolor="#222222")
        line = axis.axvline(1.0, color="#cc3311")
        axis.set_xlabel(f"{kind}: images a second, relative to timm")
    axes[0].invert_yaxis()
    figure.legend([line], ["timm, eager, channels_last"], loc="outside upper center")
    figure.savefig(path, dpi=120)


def report_of(rows):
    """Return the rows, the machine, and the median ratios of kcomp at the first size and batch size."""
    first = [row for row in rows if (row["size"], row["batch"]) == (rows[0]["size"], rows[0]["batch"])]
    ratios = {
        row["name"]: {kind: float(np.median(row[f"{kind}_ratio"])) for kind in ("train", "predict")}
        for row in first
        if row["name"] in ("torch", "jax")
    }
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return ratios | {"rows": rows, "machine": machine}


def read_options():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="three contestants, 128 px, batch 16, five rounds")
    options.add_argument("--stock", action="store_true", help="plain Keras too (slow on JAX)")
    options.add_argument("--compile", action="store_true", help="timm under torch.compile too (compiles for minutes)")
    options.add_argument("--kept", action="store_true", help="timm with kcomp's setting of the C library too")
    options.add_argument(
        "--busy",
        type=int,
        metavar="N",
        help="beside N busy programs, kcomp on PyTorch also with OMP_WAIT_POLICY=passive",
    )
    options.add_argument("--sizes", default="128", help="pixels, with commas between")
    options.add_argument("--batches", default="16")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    options.add_argument("--json", type=Path)
    options.add_argument("--picture", type=Path)
    options.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    return options.parse_args()


def main():
    chosen = read_options()
    sizes, batches = ([int(text) for text in numbers.split(",")] for numbers in (chosen.sizes, chosen.batches))
    if chosen.serve:
        return serve(chosen.serve, sizes[0], batches[0], chosen.precision)
    if chosen.quick:
        sizes, batches, chosen.rounds = [128], [16], 5
    names = ["timm", "torch", "jax"]
    names += ["timm-kept"] * chosen.kept + ["timm-compile"] * chosen.compile
    names += ["stock-torch", "stock-jax"] * chosen.stock + ["torch-passive"] * (chosen.busy is not None)
    rows = []
    with busy(chosen.busy or 0):
        for size in sizes:
            for batch in batches:
                print(f"{size} px, batch {batch}", file=sys.stderr)
                rows += compare(names, size, batch, chosen.rounds, chosen.precision)
    print(markdown(rows))
    if chosen.json:
        chosen.json.write_text(json.dumps(report_of(rows), indent=1))
    if chosen.picture:
        draw(rows, chosen.picture)
    return None


if __name__ == "__main__":
    main()
