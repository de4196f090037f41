"""What one backend began the other continues, and starts from: state, weights, and which rows they have seen."""

import hashlib
import json
import shutil

import conftest
import h5py
import numpy as np
import pandas as pd
import pytest

from kcomp.runs.folder import Run, continued, made_by
from kcomp.system.backends import BACKENDS, is_installed
from kcomp.training.state_file import write_state

both = pytest.mark.skipif(not all(map(is_installed, BACKENDS)), reason="needs both backends")

RECIPE = '''
"""A tiny network without dropout, whose optimizer holds all that an optimizer can hold; a cached stage, then all."""
from dataclasses import dataclass
import os, time
import keras
import numpy as np
from keras import layers
from kcomp import augment, data, models, schedules, targets
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    rate: float = 4e-2
    width: int = 12
    folds: int = 4
    rows: int = 400
    classes: int = 10
    first: int = 0

def table(config):
    digits = data.sklearn_digits().rows(np.arange(config.first, config.first + config.rows))
    names = digits.labels.argmax(1) % config.classes
    frame = digits.frame[["image_id", "image"]].reset_index(drop=True)
    classes = tuple(f"class {number}" for number in range(config.classes))
    for number, name in enumerate(classes):
        frame[name] = (names == number).astype(np.float32)
    return data.stratified_folds(data.Table(frame, targets.OneOf(classes)), config.folds, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, 16, batch_size=16, training=training, seed=seed, layers=[augment.MixUp(0.1)])

def model(config, target):
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Rescaling(1 / 64, -2.0)(x)
    for number, width in enumerate((8, config.width)):
        x = layers.Conv2D(width, 3, 2, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"block{number}_bn")(x))
    return models.classifier(keras.Model(inputs, x, name="tiny"), target, dropout=0.0)

class Pause(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None): time.sleep(float(os.environ.get("PAUSE", 0)))

def stages(config):
    rate = schedules.WarmupCosine(config.rate, 4, warmup=1 / 6)
    head = keras.optimizers.Adam(config.rate, use_ema=True, ema_momentum=0.9, epsilon=1e-3)
    fine = keras.optimizers.AdamW(rate, weight_decay=0.1, global_clipnorm=1.0, use_ema=True,
                                  gradient_accumulation_steps=2, ema_momentum=0.9, epsilon=1e-3)
    return [Stage("head", 2, "head", head, label_smoothing=0.1, cache_views=1),
            Stage("all", 4, "all", fine, label_smoothing=0.1, train_batch_norm=True)]  # Keras takes the averages at a stage's end

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, callbacks=lambda config: [Pause()],
                keep="last")
'''
TRAIN = ("train", "recipe.py", "--seed", "5")


def write(folder):
    (folder / "recipe.py").write_text(RECIPE)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder in which each backend trained folds 0 of the recipe, in a folder of its name."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write(folder)
    for backend in BACKENDS:
        conftest.kcomp(*TRAIN, "-o", backend, backend=backend, cwd=folder)
    return folder


def log_of(run):
    return pd.read_csv(run / "log.csv")


def jump(log, reference):
    """The largest relative difference of the losses, over all epochs."""
    columns = ["loss", "log_loss"]
    return float((log[columns] / reference[columns] - 1).abs().to_numpy().max())


def begun(run, backend, epochs):
    """A run of this backend, killed (-9) in the epoch after these."""
    write(run.parent)
    conftest.killed_after(epochs, run, (*TRAIN, "-o", run.name), backend=backend, cwd=run.parent)


def forget(run, *endings):
    """Set variables of the optimizer to zero in a run's state."""
    arrays = dict(np.load(run / "state" / "epoch.npz"))
    chosen = [name for name in arrays if name.startswith("optimizer/") and name.endswith(endings)]
    assert chosen
    write_state(Run(run), arrays | {name: np.zeros_like(arrays[name]) for name in chosen})


@both
@pytest.mark.parametrize(
    ("first", "second", "epochs"), [pytest.param("jax", "torch", 4, marks=pytest.mark.slow), ("torch", "jax", 2)]
)
def test_the_other_backend_continues_without_a_jump(undisturbed, first, second, epochs, tmp_path):
    """Killed inside a stage, and at the end of one, which is cached and averages its weights."""
    run = tmp_path / "run"
    begun(run, first, epochs)
    refused = conftest.kcomp(*TRAIN, "-o", "run", backend=second, cwd=tmp_path, check=False)
    assert refused.returncode == 1 and f"say both -o and --backend {second}" in refused.stderr
    if epochs == 4:
        shutil.copytree(run, tmp_path / "moments")
        shutil.copytree(run, tmp_path / "iteration")
    done = conftest.kcomp(*TRAIN, "-o", "run", "--backend", second, cwd=tmp_path)
    assert f"run continues on {second} what {first} trained, at epoch {epochs + 1}\n" in done.stdout
    references = [undisturbed / backend for backend in (first, second)]
    for reference in references:
        assert log_of(run).epoch.tolist() == log_of(reference).epoch.tolist() == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(log_of(run).rate, log_of(reference).rate, rtol=1e-6)  # each computes its own cosine
        assert jump(log_of(run), log_of(reference)) < 1e-4
        ours, theirs = (json.loads((one / "result.json").read_text())["scores"] for one in (run, reference))
        assert ours["log_loss"] == pytest.approx(theirs["log_loss"], rel=1e-4)  # with the averaged weights
    kept = json.loads((run / "manifest.json").read_text())
    assert kept["backend"] == second and second in kept["versions"]
    assert [(part["backend"], part["epoch"]) for part in kept["history"]] == [(first, 1), (second, epochs + 1)]
    assert first in kept["history"][0]["versions"] and Run(run).name.endswith(f"-{first}-{second}-seed5-fold0")
    if epochs == 4:  # what the test would say if the state were not carried over
        for name, endings in (("moments", ("momentum", "velocity")), ("iteration", ("iteration",))):
            forget(tmp_path / name, *endings)
            conftest.kcomp(*TRAIN, "-o", name, "--backend", second, cwd=tmp_path)
            assert jump(log_of(tmp_path / name), log_of(references[1])) > 1e-3
        assert log_of(tmp_path / "iteration").rate[4] != pytest.approx(log_of(references[1]).rate[4], rel=0.1)


def test_history_tells_who_trained_which_epochs():
    jax, torch = ({"backend": name, "device": "cpu", "versions": {name: "1"}, "seed": 0} for name in ("jax", "torch"))
    assert continued(jax, jax, 3) == jax
    both_of_them = continued(jax, torch, 3)
    assert both_of_them["backend"] == "torch" and made_by(both_of_them) == "jax-torch"
    assert [(part["backend"], part["epoch"]) for part in both_of_them["history"]] == [("jax", 1), ("torch", 4)]
    assert continued(both_of_them, torch, 5) == both_of_them
    assert continued(both_of_them, jax, 3) == jax  # torch was killed before it had finished an epoch
    assert continued(jax, torch, 0) == torch
    back = continued(both_of_them, jax, 5)
    assert made_by(back) == "jax-torch-jax" and [part["epoch"] for part in back["history"]] == [1, 4, 6]
    assert made_by(back | {"from": {"sha256": "0123456789"}}) == "jax-torch-jax-from-01234567"


STATES = """
import sys
from pathlib import Path
import keras, numpy as np
from kcomp.runs.folder import Run
from kcomp.training import state
from kcomp.training.progress import TrainingProgress
from kcomp.training.run_files import save_weights
one, several, seed = keras.optimizers, keras.optimizers.MultiOptimizer, np.random.default_rng(0)
made = {
    "all": lambda: one.AdamW(one.schedules.ExponentialDecay(0.1, 3, 0.5), weight_decay=0.1, use_ema=True, amsgrad=True,
                             ema_overwrite_frequency=3, gradient_accumulation_steps=2),
    "momentum": lambda: one.SGD(0.1, momentum=0.9, nesterov=True),
    "parts": lambda: several(one.OptimizerMap(one.AdamW(0.01), {".*bias": one.Lion(0.1)})),
    "factors": lambda: one.Adafactor(0.1),
    "nesterov": lambda: one.Nadam(0.1),
}
found = {}
for name, make in made.items():
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    network = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(4), keras.layers.Dropout(0.5),
                                keras.layers.BatchNormalization(), keras.layers.Dense(3)])
    draws = np.random.default_rng(7)
    for variable in network.weights:
        variable.assign(draws.normal(size=variable.shape).astype("float32") ** 2)
    optimizer = make()
    optimizer.build(network.trainable_variables)
    gradients = [[draws.normal(size=v.shape).astype("float32") for v in network.trainable_variables] for _ in range(8)]
    def apply(part):
        for arrays in part:
            optimizer.apply([keras.ops.convert_to_tensor(array) for array in arrays])
    run = Run(Path(sys.argv[1]) / name)
    if sys.argv[2] == "save":
        apply(gradients[:5])
        state.save(run, TrainingProgress(epochs=1), network, optimizer)
        save_weights(run, network)
    else:
        network.load_weights(run / "best.weights.h5")
        kept = [keras.ops.convert_to_numpy(w.value) for w in network.weights]
        for variable in network.weights: variable.assign(variable * 0.0)
        state.load_variables(run, network, optimizer)
        assert all((keras.ops.convert_to_numpy(w.value) == array).all() for w, array in zip(network.weights, kept))
        state.save(Run(run.folder.with_name(name + "-again")), TrainingProgress(epochs=1), network, optimizer)
    apply(gradients[5:])
    found[name] = [np.asarray(keras.ops.convert_to_numpy(w.value)).tolist() for w in network.weights]
give(**found)
"""


@both
@pytest.mark.slow  # five optimizers, two processes each
@pytest.mark.parametrize(("first", "second"), [("jax", "torch"), ("torch", "jax")])
def test_every_kind_of_optimizer_goes_on_from_the_other_backends_state(first, second, tmp_path):
    """Same gradients, three more updates: the same weights; and what is saved again is what was saved, bit for bit."""
    here, there = (
        conftest.in_backend(*args) for args in ((first, STATES, tmp_path, "save"), (second, STATES, tmp_path, "load"))
    )
    for name in here:
        for ours, theirs in zip(here[name], there[name], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)
        saved, again = (np.load(tmp_path / folder / "state" / "epoch.npz") for folder in (name, f"{name}-again"))
        assert saved.files == again.files and any("seed_generator" in key for key in saved.files)
        for key in set(saved.files) - {"progress"}:
            assert (saved[key] == again[key].astype(saved[key].dtype)).all(), key


def losses(run):
    return json.loads((run / "result.json").read_text())["scores"]["log_loss"], log_of(run).log_loss[0]


@both
@pytest.mark.parametrize(("donor", "backend"), [("jax", "torch"), ("torch", "jax")])
def test_a_run_starts_from_the_weights_of_another(undisturbed, donor, backend, tmp_path):
    write(tmp_path)
    given = ("--from", undisturbed / donor, "--set", "rate=1e-12", "--backend", backend)
    done = conftest.kcomp(*TRAIN, *given, cwd=tmp_path)
    assert "starts from the weights of" in done.stdout and "but for" not in done.stdout
    [run] = tmp_path.glob(f"runs/recipe/*/{backend}-from-*-seed5-fold0")
    assert losses(run)[1] == pytest.approx(losses(undisturbed / donor)[0], abs=1e-5)  # after an epoch at rate 1e-12
    kept = json.loads((run / "manifest.json").read_text())["from"]
    weights = (undisturbed / donor / "best.weights.h5").read_bytes()
    assert kept["sha256"] == hashlib.sha256(weights).hexdigest() and f"-from-{kept['sha256'][:8]}-" in run.name
    assert (kept["recipe"], kept["backend"], kept["seed"], kept["fold"], kept["from"]) == ("recipe", donor, 5, 0, None)
    assert "is complete" in conftest.kcomp(*TRAIN, *given, cwd=tmp_path).stdout
    without = conftest.kcomp(*TRAIN, *given[2:], "-o", run, cwd=tmp_path, check=False)
    assert without.returncode == 1 and "holds a run with --from weights with the hash" in without.stderr


FROM = """
import sys
from pathlib import Path
import keras, numpy as np
from kcomp import recipe as recipes
from kcomp.models.transfer import take_weights
from kcomp.runs.folder import Run
from kcomp.targets import OneOf
from kcomp.training.origin import check_unseen, find_origin, start_from
donor, folder, found = Path(sys.argv[1]), Path(sys.argv[2]), {}
loaded, origin = recipes.load(sys.argv[3]), find_origin(donor)
def attempt(action, *arguments):
    try: return action(*arguments)
    except (ValueError, OSError) as error: return f"{type(error).__name__} {error}"
def unseen(fold, given=None, **values):
    changed = loaded.recipe.with_values(**values)
    return attempt(check_unseen, given or origin, changed.table(changed.config), fold)
def network(classes=10, **values):
    changed = loaded.recipe.with_values(**values)
    return changed.model(changed.config, OneOf(tuple(f"class {number}" for number in range(classes))))
def arrays(model): return [keras.ops.convert_to_numpy(w.value) for w in model.weights]
same, other, twice = network(), network(4), network()
found["said"] = [start_from(origin, model, OneOf(tuple(f"class {n}" for n in range(count)))) for model, count in ((same, 10), (other, 4))]
found["backbone"] = all((a == b).all() for a, b in zip(arrays(same)[:-2], arrays(other)[:-2]))
found["heads"] = [bool(np.abs(arrays(model)[-2]).max() > 0) for model in (same, other)]
turned = network()
start_from(origin, turned, OneOf(tuple(f"class {n}" for n in reversed(range(10)))))
found["turned"] = bool((arrays(turned)[-2] == arrays(same)[-2][:, ::-1]).all() and (arrays(turned)[-1] == arrays(same)[-1][::-1]).all())
found["renamed"] = start_from(origin, twice, OneOf(tuple(f"kind {n}" for n in range(10))))
found["renamed head"] = float(np.abs(arrays(twice)[-2]).max())
found["width"] = attempt(take_weights, network(width=16), origin.weights)
same.save_weights(folder / "copy.weights.h5")
(folder / "bad.weights.h5").write_text("nothing")
copy = find_origin(folder / "copy.weights.h5")
found["copy"] = [copy.record["recipe"], start_from(copy, network(), OneOf(tuple(f"x {n}" for n in range(10))))]
found["bad"] = attempt(take_weights, network(), folder / "bad.weights.h5")
found["paths"] = [attempt(find_origin, folder / name) for name in ("none", "recipe.py", "unfinished")]
found["deeper"] = attempt(take_weights, keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)]), origin.weights)
found["direct"] = find_origin(donor / "best.weights.h5").run == Run(donor)
found["unseen"] = [unseen(0), unseen(0, classes=4), unseen(1), unseen(0, folds=5), unseen(1, folds=5), unseen(0, rows=500), unseen(1, first=900), unseen(1, copy)]
import dataclasses
here = dataclasses.replace(copy, record={**copy.record, "table": "another", "fold": 3, "from": origin.record})
found["in turn"] = [unseen(0, here), unseen(1, here)]
split_anew = loaded.recipe.with_values(folds=5)
split_anew = split_anew.table(split_anew.config)
def corrected(count):
    frame = split_anew.frame.copy()
    names = list(split_anew.columns)
    held = frame.index[frame["image_id"].isin(origin.run.probabilities("labels").index)][:count]
    frame.loc[held, names] = np.roll(frame.loc[held, names].to_numpy(), 1, axis=1)
    return attempt(check_unseen, origin, dataclasses.replace(split_anew, frame=frame), 1)
found["corrected"] = [corrected(2), corrected(1000)]
give(**found)
"""


@both
def test_what_fits_and_what_leaks(undisturbed, tmp_path):
    write(tmp_path)
    (tmp_path / "unfinished").mkdir()
    shutil.copy(undisturbed / "jax" / "manifest.json", tmp_path / "unfinished")
    found = conftest.in_backend("jax", FROM, undisturbed / "torch", tmp_path, tmp_path / "recipe.py")
    assert (
        found["said"][0].endswith("best.weights.h5")
        and "the head, which stays as the recipe makes it" in found["said"][1]
    )
    assert found["backbone"] and found["heads"] == [True, False] and found["turned"]  # a new head starts at zero
    assert "the target differs" in found["renamed"] and found["renamed head"] == 0
    assert (
        "'block1_conv' has weights of shapes [(3, 3, 8, 12)] there, and [(3, 3, 8, 16)] here (3 layers"
        in found["width"]
    )
    assert found["copy"][0] is None and "but for" not in found["copy"][1]
    assert "is not a weights file" in found["bad"] and "do not fit the network: layer 'dense'" in found["deeper"]
    for said, wanted in zip(found["paths"], ("are 0 runs", "ends in .weights.h5", "is not complete"), strict=True):
        assert wanted in said and said.startswith("ValueError")
    assert found["direct"]
    fine, other_classes, fold, inside, split_anew, more_rows, other_rows, unknown = found["unseen"]
    assert fine is other_classes is other_rows is unknown is None
    assert inside is None  # of one seed, fold 0 of 5 lies in fold 0 of 4
    assert "trained on rows that fold 1 holds out, for it held out fold 0" in fold
    assert "other folds, and fold 1 holds out" in split_anew and "other folds, and fold 0 holds out" in more_rows
    few, all_of_them = found["corrected"]  # labels since the other run
    assert "other folds, and fold 1 holds out" in few and all_of_them is None
    assert (
        found["in turn"][0] is None and "comes from a run that was trained on rows that fold 1" in found["in turn"][1]
    )


@both
def test_a_leak_is_refused_before_any_fold_is_trained(undisturbed, tmp_path):
    write(tmp_path)
    done = conftest.kcomp(
        *TRAIN, "--fold", "0,1", "--from", undisturbed / "jax", backend="jax", cwd=tmp_path, check=False
    )
    assert done.returncode == 1 and "fold 1 holds out" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


LOGITS = """
import sys
import numpy as np, keras
from pathlib import Path
from kcomp.prediction.forward import compile_forward
from kcomp.prediction.runs import trained_network
from kcomp.runs.folder import Run
run = Run(Path(sys.argv[1]))
network = trained_network(run, run.recipe().recipe)
images = np.random.default_rng(0).uniform(0, 255, (32, 16, 16, 3)).astype(np.float32)
network.save_weights(sys.argv[2])
give(logits=compile_forward(network)(images).tolist())
"""


@both
@pytest.mark.parametrize("donor", ["jax", "torch"])
def test_a_weights_file_is_the_same_on_the_other_backend(undisturbed, donor, tmp_path):
    """Logits within 1e-4, and the file written again holds the same bytes."""
    logits, files = [], []
    for backend in ("jax", "torch"):
        files.append(tmp_path / f"{backend}.weights.h5")
        logits.append(conftest.in_backend(backend, LOGITS, undisturbed / donor, files[-1])["logits"])
    np.testing.assert_allclose(*logits, atol=1e-4)
    arrays = [datasets(path) for path in (undisturbed / donor / "best.weights.h5", *files)]
    assert arrays[0] == arrays[1] == arrays[2] and len(arrays[0]) == 12


def datasets(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None
        )
    return found


@pytest.mark.parametrize("backend", conftest.backends())
def test_weights_that_cannot_be_read_are_named(backend, tmp_path):
    found = conftest.in_backend(
        backend,
        """
import sys, keras
from pathlib import Path
from kcomp.models.transfer import load_weights
network, folder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), Path(sys.argv[1])
network.save_weights(folder / "cut.weights.h5")
whole = (folder / "cut.weights.h5").read_bytes()
(folder / "cut.weights.h5").write_bytes(whole[:900])
(folder / "zeros.weights.h5").write_bytes(whole[:600] + bytes(512) + whole[1112:])
keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)]).save_weights(folder / "other.weights.h5")
said = []
for name in ("cut.weights.h5", "zeros.weights.h5", "other.weights.h5", "none.weights.h5"):
    try: load_weights(network, folder / name)
    except (ValueError, FileNotFoundError) as error: said.append([type(error).__name__, str(error)])
give(said=said)
""",
        tmp_path,
    )
    told = f"{tmp_path}/{{}}.weights.h5 is not a weights file of this network, or is damaged: "
    for (kind, said), name in zip(found["said"], ("cut", "zeros", "other"), strict=False):
        assert kind == "ValueError" and said.startswith(told.format(name))
    missing = f"{tmp_path}/none.weights.h5 is not there; a run without it must be trained anew"
    assert found["said"][3] == ["FileNotFoundError", missing]
