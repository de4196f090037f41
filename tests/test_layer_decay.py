"""Learning rates that fall from the head to the first layers: the blocks of networks, and updates worked out by hand."""

import random

import conftest
import numpy as np
import pandas as pd
import pytest

DEPTHS = """
import keras
from keras import layers
from kcomp import models
from kcomp.models.depth import BLOCK, weight_depths
def depths(network, *names):
    found = weight_depths(network)
    return [found[id(next(w for w in network.weights if w.path == name))] for name in names]
def head(inputs, x, name="head"): return keras.Model(inputs, layers.Dense(2, name=name)(layers.GlobalAveragePooling2D()(x)))

def plain():
    "Convolutions without names of blocks, and one residual block."
    x = inputs = keras.Input((16, 16, 3))
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="one")(x))
    y = layers.Conv2D(4, 3, padding="same", name="two")(x)
    y = layers.Conv2D(4, 3, padding="same", name="three")(layers.LayerNormalization(name="ln")(y))
    return head(inputs, layers.Conv2D(4, 1, name="four")(layers.Add()([x, y])))

def inner(name):
    x = keras.Input((16, 16, 3))
    y = layers.Conv2D(4, 3, name="block1_b")(layers.Conv2D(4, 3, name="block1_a")(layers.Conv2D(4, 3, name="stem")(x)))
    y = layers.BatchNormalization(name="last_bn")(layers.Conv2D(4, 3, name="block2_a")(y))
    return keras.Model(x, y, name=name)

class Encoder(layers.Layer):
    "A layer that contains several blocks."
    def build(self, shape):
        self.parts = [layers.Dense(4, name=f"layer_{number}") for number in range(2)]
        for part in self.parts: part.build((*shape[:-1], 4))
    def call(self, x): return self.parts[1](self.parts[0](x))

def nested():
    inputs = keras.Input((16, 16, 3))
    return head(inputs, inner("backbone")(inputs))

def encoder():
    inputs = keras.Input((8, 8, 4))
    return head(inputs, Encoder(name="encoder")(inputs), "logits")

give(plain=depths(plain(), "one/kernel", "bn/gamma", "two/kernel", "ln/gamma", "three/bias", "four/kernel", "head/bias"),
     nested=depths(nested(), "stem/kernel", "block1_a/bias", "block1_b/kernel", "block2_a/kernel", "last_bn/beta", "head/kernel"),
     encoder=depths(encoder(), "encoder/layer_0/kernel", "encoder/layer_1/bias", "logits/kernel"),
     names=[BLOCK.search(name)[0] if BLOCK.search(name) else None for name in sys.argv[1:]])
"""

STEP = """
import keras
import numpy as np
from keras import layers
from kcomp.recipe import Stage
from kcomp.training.layer_rates import rate_range
from kcomp.training.optimizer import compile_for_stage
from kcomp import optimizers, schedules

def network():
    x = inputs = keras.Input((3,))
    for name in ("block1_dense", "block2_dense", "head"):
        x = layers.Dense(3, use_bias=False, kernel_initializer=keras.initializers.RandomUniform(-1, 1, seed=7), name=name)(x)
    return keras.Model(inputs, x)

def loss(labels, outputs): return keras.ops.mean(keras.ops.square(labels - outputs))

def path(optimizer, decay, steps=1):
    "The weights before and after the steps, as (steps + 1, layers, 3, 3)."
    model = network()
    compile_for_stage(model, Stage("all", 1, "all", optimizer, loss, layer_decay=decay), model, steps=1, seed=0)
    weights = [[layer.kernel.numpy().tolist() for layer in model.layers[1:]]]
    draws = np.random.default_rng(0)
    for _ in range(steps):
        model.fit(draws.normal(size=(4, 3)).astype("float32"), draws.normal(size=(4, 3)).astype("float32"), verbose=0, shuffle=False)
        weights.append([layer.kernel.numpy().tolist() for layer in model.layers[1:]])
    return weights, model

sgd = lambda **options: keras.optimizers.SGD(0.25, **options)
adam = lambda: keras.optimizers.AdamW(schedules.Step(0.1, every=1), weight_decay=0.5)
multi = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(sgd(), {"head/.*": keras.optimizers.SGD(0.5)}))
averaged, model = path(sgd(use_ema=True, ema_momentum=0.5), 0.5)
give(plain=path(sgd(), 1.0)[0], decayed=path(sgd(), 0.5)[0], accumulated=path(sgd(gradient_accumulation_steps=2), 0.5, 2)[0],
     with_decay=path(sgd(weight_decay=0.4), 0.5)[0], multi=path(multi, 0.5)[0], text=rate_range(model, 0.5),
     adam=path(adam(), 0.5, 2)[0], plain_adam=path(adam(), 1.0, 2)[0], lookahead=path(optimizers.Lookahead(sgd(), 1, 1.0), 0.5)[0],
     lion=path(keras.optimizers.Lion(0.1), 0.5)[0], averaged=averaged,
     averages=[variable.numpy().tolist() for variable in model.optimizer._model_variables_moving_average])
"""


NAMES = {  # of weights in keras.applications, zeromodels and keras-hub
    "block2a_expand_conv/kernel": "block2a",
    "conv2_block1_1_conv/kernel": "conv2_block1",
    "block_13_depthwise/kernel": "block_13",
    "expanded_conv_3_squeeze_excite/kernel": "expanded_conv_3",
    "convnext_tiny_stage_0_block_2_layer_scale/gamma": "convnext_tiny_stage_0_block_2",
    "vi_t_multi_head_self_attention_6/blocks_6_attn_qkv/kernel": "blocks_6",
    "blocks_4_3_batchnorm3/beta": "blocks_4_3",
    "layers_1_blocks_0_mlp_dense_1/bias": "layers_1_blocks_0",
    "resnet_layer3_1_conv1/kernel": "resnet_layer3_1",
    "stages_0_0_ir_conv_1/kernel": "stages_0_0",
    "Mixed_6c_branch1x1_batchnorm/gamma": "Mixed_6c",
    "stage_1/block_0/dense/kernel": "stage_1/block_0",
    "vit_encoder/tranformer_block_1/mlp/kernel": "tranformer_block_1",
    "stem_conv/kernel": None,
    "layernorm_1/gamma": None,
    "conv2d_3/kernel": None,
}


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_depth_counts_blocks_from_the_head(backend):
    measured = conftest.in_backend(backend, DEPTHS, *NAMES)
    assert measured["plain"] == [3, 3, 2, 2, 2, 1, 0]  # bn has no matrix; the residual block is one block
    assert measured["nested"] == [3, 2, 2, 1, 1, 0]
    assert measured["encoder"] == [2, 1, 0]
    assert dict(zip(NAMES, measured["names"])) == NAMES


@pytest.mark.parametrize("backend", conftest.backends())
def test_the_first_step_is_rate_times_factor_times_gradient(backend):
    measured = {name: np.array(value) for name, value in conftest.in_backend(backend, STEP).items()}
    start = measured["plain"][0]
    gradients = (start - measured["plain"][1]) / 0.25
    factors = np.array([0.25, 0.5, 1.0]).reshape(3, 1, 1)

    def check(name, expected):
        np.testing.assert_allclose(measured[name][-1], expected, rtol=1e-5, atol=1e-6)

    assert np.abs(gradients).min() > 1e-4
    check("decayed", start - 0.25 * factors * gradients)
    check("lookahead", start - 0.25 * factors * gradients)
    check("with_decay", start - 0.25 * factors * (gradients + 0.4 * start))
    check("multi", start - np.array([0.25, 0.25, 0.5]).reshape(3, 1, 1) * factors * gradients)
    check("lion", start - 0.1 * factors * np.sign(gradients))
    check("averaged", start - 0.25 * factors * gradients)
    np.testing.assert_allclose(measured["averages"], measured["averaged"][-1])  # Keras's average starts at step 1
    assert (measured["accumulated"][1] == start).all() and (measured["accumulated"][2] != start).all()
    # Adam's first step is the rate times the sign of the gradient
    signs = np.sign(gradients)
    np.testing.assert_allclose(measured["adam"][1], start - 0.1 * factors * (signs + 0.5 * start), rtol=1e-4, atol=1e-5)
    assert (measured["adam"][2] != measured["plain_adam"][2]).all()
    assert str(measured["text"]) == ", learning rates x 0.25 to x 1"


RECIPE = """
from dataclasses import dataclass
import os, time
import keras
import numpy as np
from kcomp import data, models, schedules
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    decay: float = 0.5

def table(config): return data.stratified_folds(data.sklearn_digits().rows(np.arange(80)), 4, seed=0)
def batches(config, rows, training, seed): return data.Batches(rows, 8, batch_size=16, training=training, seed=seed)

def model(config, target):
    x = inputs = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Conv2D(8, 3, activation="relu", name="block1_conv")(keras.layers.Rescaling(1 / 255)(x))
    x = keras.layers.Conv2D(8, 3, activation="relu", name="block2_conv")(x)
    return models.classifier(keras.Model(inputs, x, name="small"), target, dropout=0.3)

class Pause(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None): time.sleep(float(os.environ.get("PAUSE", 0)))

def stages(config):
    optimizer = keras.optimizers.AdamW(schedules.Step(1e-2, every=1), weight_decay=0.1, gradient_accumulation_steps=2)
    return [Stage("all", 3, "all", optimizer, layer_decay=config.decay)]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, callbacks=lambda config: [Pause()])
"""


@pytest.mark.parametrize("backend", conftest.one_slow())
def test_a_killed_run_continues_with_the_same_rates(backend, tmp_path):
    (tmp_path / "small.py").write_text(RECIPE)
    train = ("train", "small.py", "-o")
    whole = conftest.kcomp(*train, "whole", backend=backend, cwd=tmp_path)
    assert "learning rates x 0.25 to x 1" in whole.stdout
    conftest.killed_after(random.randint(1, 2), tmp_path / "run", (*train, "run"), backend=backend, cwd=tmp_path)
    conftest.kcomp(*train, "run", backend=backend, cwd=tmp_path)
    ours, theirs = (pd.read_csv(tmp_path / name / "log.csv") for name in ("run", "whole"))
    pd.testing.assert_frame_equal(ours[["epoch", "rate", "loss"]], theirs[["epoch", "rate", "loss"]])
    assert (tmp_path / "run" / "oof.csv").read_bytes() == (tmp_path / "whole" / "oof.csv").read_bytes()
    conftest.kcomp("train", "small.py", "--set", "decay=1.0", "-o", "plain", backend=backend, cwd=tmp_path)
    plain = pd.read_csv(tmp_path / "plain" / "log.csv")
    assert (plain.rate == theirs.rate).all() and plain.loss.iloc[-1] != theirs.loss.iloc[-1]


def test_layers_prints_the_factor_of_each_layer(tmp_path):
    (tmp_path / "small.py").write_text(RECIPE)
    backend = conftest.backends()[-1].values[0]
    lines = conftest.kcomp("layers", "small.py", backend=backend, cwd=tmp_path).stdout.splitlines()
    assert "all rate" in next(line for line in lines if "weights  " in line)
    factors = {line.split()[0]: line.split()[-2:] for line in lines if "_conv" in line or "head" in line}
    assert factors == {"block1_conv": ["x", "0.25"], "block2_conv": ["x", "0.5"], "head": ["x", "1"]}
    wrong = conftest.kcomp("layers", "small.py", "--set", "decay=1.5", backend=backend, cwd=tmp_path, check=False)
    assert wrong.returncode == 1 and "layer_decay must be above 0 and at most 1; received 1.5" in wrong.stderr
