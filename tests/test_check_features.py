"""Frozen features: by hand, without the rows that cannot be read, and shared with training; on both backends."""

import conftest
import pytest
from conftest import in_backend
from test_features import SMALL

TOOLS = """
import sys, tempfile
from pathlib import Path
import keras, numpy as np, pandas as pd
from keras import layers
from kcomp import data, models, recipe as recipes
from kcomp.probe import features
from kcomp.probe import frozen_network
from kcomp.data.splits import split
from kcomp.experiment.build import build_experiment
from kcomp.training.frozen.batches import Cache
from kcomp.training.frozen.cut import cut
loaded = recipes.load(sys.argv[1])
table = loaded.recipe.table(loaded.recipe.config)

def no_weights():
    raise ModuleNotFoundError("no ImageNet weights")
frozen_network.lite_network = no_weights
def pretend():
    "Random weights of a seed that does not change count as pretrained."
    original = frozen_network.build_network
    frozen_network.build_network = lambda recipe, target, seed: original(recipe, target, seed=0)
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("backend", conftest.backends())
def test_features_are_pooled_outputs_of_an_inner_layer_and_below_the_head(backend, recipe, tmp_path):
    found = in_backend(
        backend,
        TOOLS
        + """
pretend()
calls = []
answer = features.frozen_features(loaded, [table, table.rows(np.arange(30))], progress=lambda *numbers: calls.append(numbers))
network = build_experiment(loaded.recipe, table, fold=0, seed=0).network
images = np.stack([loaded.recipe.batches(loaded.recipe.config, table, False, 0).image(row) for row in range(len(table))])
two = keras.Model(network.input, [network.get_layer("block1_conv").input, network.get_layer("head_pool").output])
inner, top = map(keras.ops.convert_to_numpy, two(images.astype("float32"), training=False))
def standardised(values): return (values - values.mean(0)) / values.std(0) / values.shape[1] ** 0.5
scaled = np.concatenate([standardised(inner.mean((1, 2))), standardised(top)], 1)
rows, again = answer.rows
distances = lambda values: np.square(values[:40, None] - values[None, :40]).sum(-1)
found = features.frozen_features(loaded, [table])
give(shape=rows.shape, dtype=str(rows.dtype), computed=answer.computed, calls=calls[-1], again=found.computed,
     off=float(np.abs(distances(found.rows[0]) - distances(scaled)).max() / distances(scaled).max()),
     same=float(np.abs(rows[:30] - again).max()), pretrained=answer.pretrained, text=answer.network)
""",
        recipe,
        cache=tmp_path / "cache",
    )
    assert found["shape"] == [120, 24] and found["dtype"] == "float32" and found["calls"] == [150, 150]
    assert found["computed"] == 120 and found["again"] == 0  # the second table has images of the first
    assert found["off"] < 1e-4 and found["same"] < 1e-5
    assert found["pretrained"] and "the recipe's own network" in found["text"]


@pytest.mark.parametrize("backend", conftest.backends())
def test_a_head_stage_finds_the_features_of_its_held_out_rows(backend, recipe, tmp_path):
    found = in_backend(
        backend,
        TOOLS
        + """
pretend()
features.frozen_features(loaded, [table])
built = build_experiment(loaded.recipe, table, fold=1, seed=0)
models.set_trainable(built.network, "head")
frozen, _ = cut(built.network)
cache = Cache(frozen, built.training, built.validation, loaded.fingerprint())
give(computed=cache.fill([0]), training=len(built.training.table), held_out=len(built.validation.table))
""",
        recipe,
        cache=tmp_path / "cache",
    )
    assert found["held_out"] == 30 and found["computed"] == found["training"] == 90  # training images are augmented


@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
def test_rows_that_cannot_be_read_are_nan(backend, recipe, tmp_path):
    found = in_backend(
        backend,
        TOOLS
        + """
folder = Path(tempfile.mkdtemp())
(folder / "damaged.png").write_bytes(b"no picture")
def broken(): raise OSError("gone")
images = table.frame["image"].tolist()
images[3], images[50], images[70] = str(folder / "missing.png"), str(folder / "damaged.png"), broken
faulty = data.Table(table.frame.assign(image=pd.Series(images, table.frame.index, dtype=object)), table.target)
calls = []
answer = features.frozen_features(loaded, [faulty], progress=lambda *numbers: calls.append(numbers))
nothing = features.frozen_features(loaded, [faulty.rows(np.array([3]))])
give(nan=np.flatnonzero(np.isnan(answer.rows[0]).any(1)).tolist(), computed=answer.computed, last=calls[-1],
     pretrained=answer.pretrained, text=answer.network, nothing=bool(np.isnan(nothing.rows[0]).all()))
""",
        recipe,
        cache=tmp_path / "cache",
    )
    assert found["nan"] == [3, 50, 70] and found["computed"] == 117 and found["last"] == [120, 120]
    assert not found["pretrained"] and "weak" in found["text"] and found["nothing"]


@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
def test_without_a_recipe_or_for_large_images_the_network_is_efficientnet_lite(backend, recipe, tmp_path):
    found = in_backend(
        backend,
        TOOLS
        + """
from kcomp.data.batches import Batches
def small_lite():
    network = frozen_network.without_head(models.classifier(models.efficientnet_lite0(32, weights=None), 1))
    return frozen_network.FrozenNetwork(frozen_network.with_inner_layer(network), network, lambda rows: Batches(rows, 32, batch_size=8), "", "lite", True)
frozen_network.lite_network = small_lite
some = table.rows(np.arange(8))
names = [features.frozen_features(None, [some]).network, features.frozen_features(loaded, [some]).network]
pretend()
names.append(features.frozen_features(loaded, [some]).network)
frozen_network.MOST_PIXELS = 16 * 15
names.append(features.frozen_features(loaded, [some]).network)
give(names=names, shape=features.frozen_features(None, [some]).rows[0].shape)
""",
        recipe,
        cache=tmp_path / "cache",
    )
    assert [name == "lite" for name in found["names"]] == [True, True, False, True]
    assert found["shape"] == [8, 256]
