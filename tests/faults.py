"""Faults in the middle of a training: kills at each write and at random times, and writes that fail.

`Trainings` trains a recipe with a fault, repeats the command, and compares the run folder with that of a run without
faults. Each training runs in a fork of the fork server of its backend, so it costs little more than the training.
"""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import conftest
import h5py
import numpy as np
import pandas as pd

from kcomp.system.cache import cache_folder

RECIPE = '''
"""A tiny network that is trained with everything that has a state."""
from dataclasses import dataclass
import albumentations as A
import keras
import numpy as np
from keras import layers
from kcomp import augment, data, models, schedules
from kcomp.averaging import EMA, SWA, Snapshots
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    kind: str = "ema"  # ema, snapshots or scaled

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(36)), 3, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, 16, batch_size=4, training=training, seed=seed,
        sampling="balanced" if config.kind == "snapshots" else None,
        transform=A.Compose([A.Affine(rotate=(-10, 10), p=1.0)]) if training else None,
        layers=[augment.MixUp(0.2), augment.CutMix(1.0)])

def model(config, target):
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Rescaling(1 / 255)(x)
    x = layers.ReLU()(layers.Conv2D(4, 3, 2, padding="same", name="block0_conv")(x))
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False, name="block1_conv")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="block1_bn", momentum=0.8)(x))
    x = layers.GaussianNoise(0.1)(x)
    return models.classifier(keras.Model(inputs, x, name="tiny"), target, dropout=0.3)

class Nudge(keras.callbacks.Callback):
    """Count batches, and move a bias by the count: a callback of a recipe with a state."""
    count = 0
    def on_train_begin(self, logs=None): self.count = 0
    def on_train_batch_end(self, batch, logs=None): self.count += 1
    def on_epoch_end(self, epoch, logs=None):
        bias = self.model.network.layers[-1].bias
        bias.assign(bias + 1e-3 * self.count)
    def get_state(self): return self.count
    def set_state(self, state): self.count = state

def callbacks(config):
    chosen = [Nudge(), keras.callbacks.EarlyStopping("log_loss", patience=3, mode="min")]
    if config.kind == "scaled":
        chosen += [keras.callbacks.ReduceLROnPlateau("log_loss", factor=0.5, patience=1, min_delta=0.5, mode="min", cooldown=1),
                   keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.9 * rate)]
    return chosen if config.kind != "snapshots" else chosen[:1]

def stages(config):
    o, loss = keras.optimizers, keras.losses.CategoricalCrossentropy(from_logits=True)
    head = Stage("head", 2, "head", o.Adam(1e-2), loss, cache_views=2, mix_features=True)
    if config.kind == "ema":
        rate = schedules.Plateau(0.3, patience=1, factor=0.5, warmup=1)
        fine = o.AdamW(rate, weight_decay=0.1, global_clipnorm=1.0, gradient_accumulation_steps=4)
        return [head, Stage("all", 4, "all", fine, loss, train_batch_norm=True, layer_decay=0.8, average=EMA(0.9))]
    if config.kind == "snapshots":
        rate = lambda peak: schedules.CosineRestarts(peak, 4, 2)
        parts = o.MultiOptimizer(o.OptimizerMap(o.Nadam(rate(1e-2)), {".*conv.*": o.SGD(rate(2e-2), momentum=0.9)}))
        return [head, Stage("all", 4, "all", parts, loss, train_batch_norm=True, average=Snapshots())]
    fine = o.SGD(5e-2, momentum=0.9, nesterov=True, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=None)
    return [head, Stage("all", 4, "all", fine, loss, train_batch_norm=True, image_size=12)]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, callbacks=callbacks)
'''
RECIPE = RECIPE.replace(
    "callbacks=callbacks)",
    """callbacks=callbacks,
    test=lambda config: data.sklearn_digits().rows(np.arange(100, 108)),
    keep="last" if KIND == "snapshots" else "best", precision="mixed_float16" if KIND == "scaled" else "float32")""",
)
KINDS = ("ema", "snapshots", "scaled")

# Runs the command in a process in which calls that change the disk are counted, and one of them has a fault.
CHILD = '''
import errno, itertools, json, os, shutil, signal, sys, tempfile, types
from pathlib import Path
order = json.loads(sys.argv[1])
os.environ.pop("PAUSE", None)
here, moments, calls = os.getcwd(), [], []

def is_counted(path):
    """Whether a path counts: files of the run and of its cache, but only a few of the many features."""
    path = os.path.realpath(path)
    if not path.startswith(here) or path.endswith("lock") or "/jax/" in path: return False
    return "/features/" not in path or sum(os.path.basename(path)[-12:].encode()) % 16 == 0

def moment(name, path):
    """Count a moment in which the disk has another content than in the moment before, and kill the process there."""
    if not is_counted(path): return
    moments.append(f"{name} {os.path.relpath(path, here)}")
    if order["error"] is None and len(moments) == order["at"]: os.kill(os.getpid(), signal.SIGKILL)

def call(name, path):
    """Count a call that may fail, and let it fail."""
    if not is_counted(path): return
    calls.append(f"{name} {os.path.relpath(path, here)}")
    if order["error"] is not None and len(calls) == order["at"]:
        number = getattr(errno, order["error"])
        raise OSError(number, os.strerror(number))

fsync, replace, link, mkstemp = os.fsync, os.replace, os.link, tempfile.mkstemp

def counted_fsync(descriptor):
    call("the sync of", os.readlink(f"/proc/self/fd/{descriptor}"))
    fsync(descriptor)

def counted_replace(source, target, **options):
    kills_here = order["error"] is None and len(moments) + 1 == order["at"] and is_counted(target)
    if kills_here and os.path.isfile(source) and Path(source).name.startswith(".") | Path(source).parent.name.startswith("."):
        os.truncate(source, os.path.getsize(source) // 2)
    moment("half written", target)
    moment("before the move to", target)
    call("the move to", target)
    replace(source, target, **options)
    moment("after the move to", target)

def counted_link(source, target, **options):
    call("the link to", target)
    link(source, target, **options)

def counted_mkstemp(*arguments, **options):
    call("a temporary file in", str(options.get("dir", ".")) + "/x")
    return mkstemp(*arguments, **options)

if order["at"] is not None:
    os.fsync, os.replace, os.link, tempfile.mkstemp = counted_fsync, counted_replace, counted_link, counted_mkstemp
from kcomp.system.backends import prepare_backend
prepare_backend(os.environ["KERAS_BACKEND"])
from kcomp.training import callback_state, callbacks, record, state
ticks = itertools.count()  # one second a look at the clock: the saves do not depend on the speed of the machine
record.time = types.SimpleNamespace(monotonic=lambda: float(next(ticks)))
record.UNSAVED = 0.0
leave, assign = order["leave"], state.assign
if leave == "noise":
    keep = callbacks.SeedNoise.on_train_batch_begin
    callbacks.SeedNoise.on_train_batch_begin = lambda self, batch, logs=None: keep(self, batch + 1)
    state.assign = lambda variables, arrays, prefix, run: assign(variables, {name: value * 0 if "seed_generator" in name else value for name, value in arrays.items()}, prefix, run)
elif leave == "callbacks":
    callback_state.CallbackStates.load = lambda self, states: None
elif leave == "batches":
    from kcomp.training import fit
    load = fit.load_progress
    def load_progress(*arguments):
        progress = load(*arguments)
        progress.batches = 0
        return progress
    fit.load_progress = load_progress
elif leave:
    def assign_others(variables, arrays, prefix, run):
        starts = {name: np.array(keras.ops.convert_to_numpy(v.value)) for name, v in zip(sorted(n for n in arrays if n.startswith(prefix)), variables)}
        assign(variables, arrays | {name: value for name, value in starts.items() if leave in name}, prefix, run)
    import keras
    import numpy as np
    state.assign = assign_others

from kcomp.cli import main
sys.argv = ["kcomp", *order["command"]]
try:
    main()
except SystemExit as end:
    code = end.code
else:
    code = 0
if not code:
    from kcomp.prediction.runs import predict_run
    from kcomp.runs.folder import Run
    predict_run(Run(Path(order["command"][-1])), None, count=None, output=None)
if order["steps"]:
    Path(order["steps"]).write_text(json.dumps([moments, calls]))
sys.exit(code)
'''
SKIPPED = ["images_per_second", "seconds"]  # columns of log.csv that depend on the machine


class Trainings:
    """Trainings of one kind of the recipe on one backend, in the subfolders of a folder.

    Args:
        folder: A folder for the recipe, its runs and its cache.
        backend: The backend.
        kind: The value of the recipe's setting `kind`.
    """

    def __init__(self, folder, backend, kind="ema"):
        self.folder, self.backend, self.kind, self.count = Path(folder), backend, kind, 0
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "tiny.py").write_text(RECIPE.replace("KIND", repr(kind)))
        conftest.ForkServer.of(backend).run([], code="", cwd=folder, env=conftest.environment(backend))  # it imports
        started = time.monotonic()
        code, self.reference = self.train("whole", at=0, steps=True)
        assert code == 0, self.reference
        self.seconds = time.monotonic() - started
        self.moments, self.calls = json.loads((self.folder / "steps.json").read_text())
        self.expected = contents(self.folder / "whole")

    def start(self, run, *, at=None, error=None, leave=None, steps=False, backend=None):
        """Start a training in a fork, and return the fork server and the process id."""
        backend = backend or self.backend
        command = ["train", "tiny.py", "--save-every", "3s", "--set", f"kind={self.kind}"]
        command += ["--backend", backend, "-o", run]
        place = str(self.folder / "steps.json") if steps else None
        order = {"at": at, "error": error, "leave": leave, "steps": place, "command": command}
        server, outputs = conftest.ForkServer.of(backend), [self.folder / f"{run}.out", self.folder / f"{run}.err"]
        for path in outputs:
            path.touch()
        # each run has its own cache of features, else only the first would compute them
        cache, programs = self.folder / f"{run}-cache", cache_folder() / "jax"
        cache.mkdir(exist_ok=True)
        programs.mkdir(parents=True, exist_ok=True)
        if not (cache / "jax").exists():
            (cache / "jax").symlink_to(programs)
        env = conftest.environment(backend) | {"KCOMP_CACHE": str(cache)}
        return server, server.start([json.dumps(order)], code=CHILD, cwd=self.folder, env=env, outputs=outputs)

    def train(self, run, **options):
        """Train to the end or to the fault, and return the exit code and what was printed."""
        server, _ = self.start(run, **options)
        code = server.answer()
        return code, "".join((self.folder / f"{run}.{end}").read_text() for end in ("out", "err"))

    def kill_at(self, at, leave=None):
        """Kill a training at a moment, continue it, and return what differs from the training without faults."""
        return self.finish(self.killed_at(at), leave)

    def killed_at(self, at):
        """Kill a training at a moment, and return the name of its folder."""
        run = self.name()
        code, text = self.train(run, at=at)
        assert code == -signal.SIGKILL, f"{code} {text}"
        return run

    def kill_after(self, seconds):
        """Kill a training after some seconds. Return None if it had ended."""
        run = self.name()
        server, process = self.start(run)
        ended = server.has_answer(seconds)
        if not ended:
            os.kill(process, signal.SIGKILL)
        server.answer()
        return self.finish(run)

    def fail_at(self, at, error):
        """Let a call fail with an error, such as "ENOSPC". Return what the command printed, and what differs then."""
        run = self.name()
        code, text = self.train(run, at=at, error=error)
        return code, text, self.finish(run)

    def finish(self, run, leave=None):
        code, text = self.train(run, leave=leave)
        differences = [text[-2000:]] if code else differing(self.expected, contents(self.folder / run))
        if not differences or leave:
            shutil.rmtree(self.folder / run, ignore_errors=True)
            shutil.rmtree(self.folder / f"{run}-cache", ignore_errors=True)
        return differences

    def name(self):
        self.count += 1
        return f"run{self.count}"

    def random_seconds(self, count, draws):
        """Return times to kill, equally likely in the duration of a training. `draws` is a `random.Random`."""
        return [draws.uniform(0, self.seconds) for _ in range(count)]

    def moments_of(self, text):
        """Return the numbers, from 1, of the moments with a text."""
        return [number for number, moment in enumerate(self.moments, 1) if moment == text]


def contents(run):
    """Return what a complete run with test predictions contains, except times: {name: value}."""
    arrays = {}
    for path in sorted(run.glob("**/*.weights.h5")):
        if path.parent.name == "state":
            continue
        name = str(path.relative_to(run))
        arrays |= {f"{name}/{key}": value for key, value in datasets(path).items()}
    with np.load(run / "state" / "epoch.npz") as file:
        arrays |= {f"state/{name}": file[name] for name in file.files if name != "progress"}
    values = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}
    values["log.csv"] = pd.read_csv(run / "log.csv").drop(columns=SKIPPED).to_csv()
    for name in ("oof.csv", "labels.csv", "test.csv"):
        values[name] = (run / name).read_bytes()
    result = json.loads((run / "result.json").read_text())
    values["result.json"] = {name: value for name, value in result.items() if name != "seconds"}
    values["names"] = sorted(str(path.relative_to(run)) for path in run.rglob("*"))
    return values


def datasets(path):
    """Return the arrays of an HDF5 file by name."""
    values = {}

    def add(key, item):
        if isinstance(item, h5py.Dataset):
            values[key] = item[()]

    with h5py.File(path) as file:
        file.visititems(add)
    return values


def differing(expected, actual):
    """Return the names of what differs between two runs."""
    return [name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name)]
