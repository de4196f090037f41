"""Cached stages on both backends: the same as uncached ones, computed once, and never taken for something else."""

import json

import conftest
import pandas as pd
import pytest

SMALL = '''
"""A tiny network whose first layers stay frozen."""
from dataclasses import dataclass
import os, time
import albumentations as A
import keras
import numpy as np
from keras import layers
from kcomp import augment, data, models
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    views: int | None = None
    mix: bool = False
    angle: float = 10.0
    first: int = 3

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(120)), 4, seed=0)

def batches(config, rows, training, seed):
    mixing = [augment.MixUp(0.4), augment.CutMix(1.0), augment.RandomErasing(0.5)] if config.mix else []
    return data.Batches(rows, 16, batch_size=16, training=training, seed=seed, layers=mixing,
        transform=A.Compose([A.Affine(rotate=(-config.angle, config.angle), p=1.0)]) if training else None)

def model(config, target):
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Rescaling(1 / 255)(x)
    for number, width in enumerate((8, 16, 16)):
        x = layers.Conv2D(width, 3, 2 if number < 2 else 1, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"block{number}_bn")(x))
        if number == 0:
            x = layers.Dropout(0.3, noise_shape=(None, 1, 1, 1))(x)  # drop connect, off while what is around it is frozen
    return models.classifier(keras.Model(inputs, x, name="tiny"), target, dropout=0.3)

class Pause(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None): time.sleep(float(os.environ.get("PAUSE", 0)))

def stages(config):
    cached = {"cache_views": config.views, "mix_features": config.mix}
    return [Stage("head", config.first, "head", keras.optimizers.AdamW(2e-2), **cached),
            Stage("block", 2, "head|block2.*", keras.optimizers.AdamW(1e-2), train_batch_norm=True, **cached)]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="last",
                callbacks=lambda config: [Pause()])
'''

TOOLS = """
import io, sys, tempfile
from pathlib import Path
import numpy as np, keras, pandas as pd
from rich.console import Console
from kcomp.prediction.forward import compile_forward
from kcomp import recipe as recipes
from kcomp.runs.folder import Run
from kcomp.training.frozen import batches as cached, features
from kcomp.training import fit
calls = []
original = compile_forward
def counted(network, **options):
    forward = original(network, **options)
    return lambda images: calls.append(network.name) or forward(images)
cached.compile_forward = counted
loaded = recipes.load(sys.argv[1])
def train(seed=5, **values):
    calls.clear()
    folder, text = Path(tempfile.mkdtemp()) / "run", io.StringIO()
    fit.train(loaded.with_values(**values), Run(folder), seed=seed, fold=1, console=Console(file=text))
    with np.load(folder / "state" / "epoch.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "progress"}
    return arrays, pd.read_csv(folder / "log.csv"), (folder / "oof.csv").read_bytes(), text.getvalue()
def frozen_calls(): return sum(name.endswith("_frozen") for name in calls)
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "small.py").write_text(SMALL)
    return tmp_path / "small.py"


@pytest.mark.parametrize("backend", conftest.backends())
def test_a_cached_stage_is_the_uncached_one_and_is_computed_once(backend, recipe):
    """Two stages, the second cut at a feature map: weights equal to the last bit, with drop connect in what is frozen."""
    found = conftest.in_backend(
        backend,
        TOOLS
        + """
plain = train()
cached_run = train(views=3); computed = frozen_calls()
again = train(views=3); second = frozen_calls()
fewer = train(views=1); third = frozen_calls()
def difference(one, other): return max(float(np.abs(one[k].astype("f8") - other[k]).max()) for k in one if one[k].size)
exact = ["epoch", "stage", "rate", "loss", "train_accuracy"]
give(names=list(plain[0]) == list(cached_run[0]), weights=difference(plain[0], cached_run[0]), again=difference(again[0], cached_run[0]),
     head=bool(plain[1][exact][:3].equals(cached_run[1][exact][:3])), logs=float(np.abs(plain[1].loss - cached_run[1].loss).max()), scores=float(np.abs(plain[1].log_loss - cached_run[1].log_loss).max()),
     oof=plain[2] == cached_run[2], computed=computed, second=second, third=third, losses=fewer[1].loss.tolist(), text=cached_run[3], told=plain[3],
     plain=plain[1].loss.tolist())
""",
        recipe,
    )
    assert found["names"] and found["head"] and found["again"] == 0
    assert found["weights"] == found["scores"] == found["logs"] == 0 and found["oof"], {**found, "text": 0}
    # 90 rows in 3 and 2 draws and 30 held-out rows, 16 at a time
    assert found["computed"] == (17 + 2) + (12 + 2) and found["second"] == found["third"] == 0
    assert "300 features computed" in found["text"]
    for text in (found["text"], found["told"]):
        assert "on frozen features of shape (16,)" in text and "on frozen features of shape (4, 4, 16)" in text
    # one view, seen in every epoch: the first epochs agree, the others do not
    assert found["losses"][0] == found["plain"][0] and found["losses"][1] != found["plain"][1]


@pytest.mark.parametrize("backend", conftest.backends())
def test_what_changes_a_feature_computes_it_anew(backend, recipe, tmp_path):
    found = conftest.in_backend(
        backend,
        TOOLS
        + """
import albumentations as A, cv2, os
from dataclasses import replace
from kcomp import data, models
from kcomp.targets import OneOf
from kcomp.training.frozen.cut import cut
images = Path(sys.argv[2]) / "images"; images.mkdir()
draws = np.random.default_rng(0)
for number in range(5): cv2.imwrite(str(images / f"i{number}.png"), draws.integers(0, 255, (16, 16, 3)).astype("uint8"))
network = loaded.recipe.model(None, OneOf(("a", "b"))); models.set_trainable(network, "head")
def cache(seed=0, angle=9, recipe="r", transform="compose", **options):
    transform = A.Compose([A.Affine(rotate=(-angle, angle), p=1.0)]) if transform == "compose" else transform
    table = data.read_images(images)
    training = data.Batches(table, 16, batch_size=4, training=True, seed=seed, transform=transform, **options)
    return cached.Cache(cut(network)[0], training, data.Batches(table, 16, batch_size=4, seed=seed), recipe)
counts = {}
def count(name, draws=(0, 1), **options): counts[name] = cache(**options).fill(draws)
count("first"); count("again"); count("another draw", draws=(1, 2)); count("seed", seed=1); count("pipeline", angle=8)
count("decoding", images=data.Images(16, resampling="linear")); count("again still")
class Own:
    def set_random_seed(self, seed): self.seed = seed
    def __call__(self, *, image): return {"image": np.roll(image, self.seed % 5, 0)}
count("own", transform=Own()); count("own again", transform=Own()); count("own, recipe changed", transform=Own(), recipe="s")
class Turn(A.ImageOnlyTransform):
    def apply(self, img, **params): return img[::-1]
count("subclass", transform=A.Compose([Turn(p=1.0)]), recipe="t"); count("subclass again", transform=A.Compose([Turn(p=1.0)]), recipe="t"); count("subclass changed", transform=A.Compose([Turn(p=1.0)]), recipe="u")
held_out = data.Batches(data.read_images(images), 16, batch_size=4, transform=Own())  # of the same recipe, maybe another pipeline
counts["own, held out"] = cached.features_key(cache().frozen, held_out, "r") == cached.features_key(cache().frozen, cache(transform=Own()).training, "r")
count("nothing drawn", transform=None); count("nothing drawn, again", transform=None, seed=9)
network.get_layer("head").set_weights([draws.normal(size=w.shape) for w in network.get_layer("head").get_weights()])
count("only the head changed")
cv2.imwrite(str(images / "i3.png"), draws.integers(0, 255, (16, 16, 3)).astype("uint8")); count("one file")
files = [cache().trained.path(2, draw) for draw in (0, 1, 2)]
content, before = files[0].read_bytes(), cache().trained.read_file(2, 0)
files[0].write_bytes(content[:-9]); files[1].write_bytes(b"x" + files[1].read_bytes()[1:]); files[2].write_bytes(b"")
count("three damaged", draws=(0, 1, 2)); counts["restored"] = np.array_equal(cache().trained.read_file(2, 0), before)
counts["leftovers"] = sum(name.suffix != ".f32" for name in cache().trained.folder.glob("*/*"))
layer = network.get_layer("block0_bn"); layer.set_weights([w + 0.5 for w in layer.get_weights()]); count("weights")
small = cache(); small.trained.memory_bytes = 100; small.fill([0, 1])  # one of 64 bytes fits
whole = cache(); whole.fill([0, 1])
counts["read from the disk"] = all(np.array_equal(small.trained.get(row, draw), whole.trained.get(row, draw)) for row in range(5) for draw in (0, 1))
batches = small.batches(loaded.recipe.stages(loaded.recipe.config)[0], 0)[0]
direct = compile_forward(small.frozen)
counts["features"] = float(max(np.abs(whole.trained.get(row, draw) - direct(whole.training.image(row, draw)[None].astype("f4"))[0]).max() for row in range(5) for draw in (0, 1)))
for file in small.trained.folder.glob("*/*.f32"): file.unlink()
try: [small.trained.get(row, 0) for row in range(5)]
except ValueError as error: counts["removed"] = str(error)
os.environ["KCOMP_CACHE"] = str(images / "i1.png")  # a file, so no folder can be made in it
lost = cache(); counts["unwritable"] = lost.fill([0, 1]); counts["kept"] = np.array_equal(lost.trained.get(1, 1), whole.trained.get(1, 1))
counts["line"] = lost.line(loaded.recipe.stages(loaded.recipe.config)[0], 15, 1.0)
give(**counts)
""",
        recipe,
        tmp_path,
    )
    # 5 training rows in 2 draws, and the plain view of the same 5, which no seed and no training transform touches
    removed, line, off = found.pop("removed"), found.pop("line"), found.pop("features")
    assert found == {
        "first": 15, "again": 0, "another draw": 5, "seed": 10, "pipeline": 10, "decoding": 10, "again still": 0,
        "own": 10, "own again": 0, "own, recipe changed": 10,
        "own, held out": False, "subclass": 10, "subclass again": 0, "subclass changed": 10,
        "nothing drawn": 0, "nothing drawn, again": 0,  # the plain view is there already
        "only the head changed": 0, "one file": 3, "three damaged": 3 + 1, "restored": True, "leftovers": 0, "weights": 15,  # the fourth: draw 2 of the changed file
        "read from the disk": True, "unwritable": 15, "kept": True,
    }  # fmt: skip
    assert off < 1e-6 and "was removed or damaged" in removed and "kept in memory only" in line


@pytest.mark.parametrize("backend", conftest.backends())
def test_features_are_mixed_as_the_plan_says(backend, recipe):
    found = conftest.in_backend(
        backend,
        TOOLS
        + """
from kcomp import models
from kcomp.data import Batches
from kcomp.training.frozen.cut import cut
from kcomp.training.mixed import Mixed
changed = loaded.with_values(views=2, mix=True)
recipe = changed.recipe
table = recipe.table(recipe.config)
session = fit.prepare(changed, Run(Path("none")), table, seed=5, fold=1, console=Console())
stage = session.stages[0]
models.set_trainable(session.network, "head")
frozen, rest = cut(session.network, spatial=True)
store = cached.Cache(frozen, session.training, session.validation, ""); store.fill([3, 4])
batches, held_out = store.batches(stage, 3)
numbers = [batches.draw_of(epoch) for epoch in range(3, 9)]
batch, other = batches.load(6, 1), batches.load(4, 1)
kept = store.trained
before = np.stack([kept.get(int(row), 4) for row in session.training.order(6)[16:32]]).astype("f8")
labels = session.training.table.labels[session.training.order(6)[16:32]].astype("f8")
def mix(values, labels, plan):
    out = np.empty_like(values)
    for i, j in enumerate(plan.partner):
        out[i] = values[i] * plan.blend[i] + values[j] * (1 - float(plan.blend[i]))
        top, bottom, left, right = plan.box[i]
        out[i, top:bottom, left:right] = values[j, top:bottom, left:right]
    weight = plan.weight.astype("f8")[:, None]
    return out, labels * weight + labels[plan.partner] * (1 - weight)
wanted, soft = before, labels
for number in (0, 1):
    wanted, soft = mix(wanted, soft, batch["plans"][number])
seen = []
class Spy(keras.Model):
    def call(self, x, training=False): seen.append(keras.ops.convert_to_numpy(x)); return rest(x, training=training)
mixed = Mixed(Spy(), batches.layers)
returned = mixed(keras.tree.map_structure(keras.ops.convert_to_tensor, batch))
boxes = batch["plans"][1].box
give(numbers=numbers, layers=[type(layer).__name__ for layer in batches.layers], shape=list(batch["images"].shape),
     raw=float(np.abs(batch["images"] - before).max()), features=float(np.abs(seen[0] - wanted).max()),
     labels=float(np.abs(keras.ops.convert_to_numpy(returned["labels"]) - soft).max()), moved=float(np.abs(wanted - before).max()),
     boxes=[int(boxes.min()), int(boxes.max()), int((boxes[:, 1] > boxes[:, 0]).sum())], plans=[list(plan._fields) for plan in batch["plans"]],
     held_out=list(held_out.load(0, 0)["images"].shape), plain=[type(layer).__name__ for layer in session.training.layers])
""",
        recipe,
    )
    assert found["numbers"] == [3, 4, 3, 4, 3, 4] and found["shape"] == found["held_out"] == [16, 4, 4, 16]
    assert found["layers"] == ["MixUp", "CutMix"] and found["plain"] == ["MixUp", "CutMix", "RandomErasing"]
    assert found["raw"] == 0 and found["moved"] > 0.01
    assert found["features"] < 1e-6 and found["labels"] < 1e-6
    assert found["boxes"][0] == 0 and found["boxes"][1] == 4 and found["boxes"][2] > 5
    assert found["plans"] == [["partner", "blend", "box", "weight"]] * 2


@pytest.mark.parametrize("backend", conftest.one_slow())
def test_a_killed_run_continues_on_its_features(backend, recipe, tmp_path):
    train = ("train", "small.py", "--seed", "5", "--set", "views=2", "--set", "mix=true", "-o")
    conftest.kcomp(*train, "whole", backend=backend, cwd=tmp_path)
    for epochs in (2, 4):  # inside the first stage, and inside the second, whose frozen part is another
        conftest.killed_after(epochs, tmp_path / "run", (*train, "run"), backend=backend, cwd=tmp_path)
    conftest.kcomp(*train, "run", backend=backend, cwd=tmp_path)
    ours, theirs = (pd.read_csv(tmp_path / name / "log.csv") for name in ("run", "whole"))
    exact = ["epoch", "stage", "rate", "loss", "train_accuracy", "log_loss", "accuracy"]
    pd.testing.assert_frame_equal(ours[exact], theirs[exact], check_exact=True)
    assert (tmp_path / "run" / "oof.csv").read_bytes() == (tmp_path / "whole" / "oof.csv").read_bytes()
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 5


@pytest.mark.parametrize("backend", conftest.backends()[:1])  # none of it is the backend's doing
def test_stages_that_cannot_be_cached_fail_before_training(backend, tmp_path):
    cases = (
        ('"head|block2.*"', '".*"', "nothing can be cut off below 'block0_conv'"),
        ("augment.MixUp(0.4)", "layers.GaussianNoise(0.1)", "leave out ['GaussianNoise'] or cache_views"),
        ('"cache_views": config.views', '"cache_views": 0', "cache_views must be at least 1 view, or None; received 0"),
        ('"cache_views": config.views', '"cache_views": None', "mix_features needs features; give cache_views"),
    )
    calls = []
    for number, (before, after, _) in enumerate(cases):
        path = tmp_path / f"wrong{number}.py"
        path.write_text(SMALL.replace(before, after))
        calls.append(["train", path, "--set", "views=1", "--set", "mix=true", "-o", tmp_path / "one"])
    for (code, _, error), (*_, message) in zip(conftest.commands(backend, calls), cases, strict=True):
        assert code == 1 and message in error and error.count("\n") == 1, error
    assert not (tmp_path / "one").exists()


PLAIN_TABLE = "    return data.stratified_folds(data.sklearn_digits().rows(np.arange(120)), 4, seed=0)\n"
ITEM_TABLE = """    rows = data.sklearn_digits().rows(np.arange(120))
    items = [f"item{row // 2}" for row in range(120)]
    return data.folds(dataclasses.replace(rows, frame=rows.frame.assign(item=items)), 4, seed=0)
"""


@pytest.mark.parametrize("backend", conftest.one_slow())
def test_a_cached_stage_scores_items(backend, tmp_path):
    """60 items of two images in 4 folds: 15 held-out rows, from a cached stage as from an uncached one."""
    assert PLAIN_TABLE in SMALL
    source = SMALL.replace(PLAIN_TABLE, ITEM_TABLE).replace("import keras\n", "import dataclasses, keras\n", 1)
    (tmp_path / "items.py").write_text(source)
    runs = []
    for name, values in (("plain", []), ("cached", ["--set", "views=1"])):
        conftest.kcomp("train", "items.py", *values, "--backend", backend, "-o", name, cwd=tmp_path)
        runs.append(pd.read_csv(tmp_path / name / "oof.csv", index_col=0))
    assert len(runs[1]) == 15 and runs[1].index.equals(runs[0].index)
