"""`kcomp layers`: paths, shapes and weights of a network worked out by hand."""

import conftest
import pytest

RECIPE = """
import dataclasses
import keras
from kcomp import data, models
from kcomp.recipe import Recipe, Stage

@dataclasses.dataclass(frozen=True)
class Config:
    train: str = "head"

def table(config): return data.stratified_folds(data.sklearn_digits(), 5)
def batches(config, rows, training, seed): return data.Batches(rows, 8, batch_size=8, training=training, seed=seed)

def model(config, target):
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, strides=2, name="conv"),
                              keras.layers.BatchNormalization(name="norm")], name="inner")
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(inner(inputs))
    return keras.Model(inputs, keras.layers.Dense(target.outputs, name="head")(x))

def stages(config):
    return [Stage("first", 1, config.train, keras.optimizers.SGD(0.1)),
            Stage("second", 1, ["inner", "head"], keras.optimizers.SGD(0.1)),
            Stage("third", 1, "all", keras.optimizers.SGD(0.1), train_batch_norm=True)]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages)
"""


@pytest.mark.parametrize("backend", conftest.backends())
def test_layers_are_printed_with_the_weights_of_each_stage(backend, tmp_path):
    (tmp_path / "recipe.py").write_text(RECIPE)
    lines = conftest.kcomp("layers", "recipe.py", backend=backend, cwd=tmp_path).stdout.splitlines()
    cells = [line.replace(" x ", "x").split() for line in lines if line.strip()]
    assert cells[-5:-4] == [["layer", "type", "output", "weights", "first", "second", "third"]]
    assert cells[-4:-1] == [
        ["inner/conv", "Conv2D", "3x3x4", "112", "0", "112", "112"],  # 3 * 3 * 3 * 4 + 4
        ["inner/norm", "BatchNormalization", "3x3x4", "16", "0", "0", "8"],  # scale and shift of 4 channels
        ["head", "Dense", "10", "50", "50", "50", "50"],
    ]
    assert cells[-1] == ["total", "178", "50", "162", "170"]


def test_a_wrong_name_gets_the_nearest(tmp_path):
    (tmp_path / "recipe.py").write_text(RECIPE)
    backend = conftest.backends()[-1].values[0]
    done = conftest.kcomp("layers", "recipe.py", "--set", "train=haed", backend=backend, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "train='haed' matches no layer; did you mean 'head'?" in done.stderr
