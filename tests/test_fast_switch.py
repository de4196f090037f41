"""KCOMP_FAST=0 runs Keras as it comes, with the same results; a patch that does not fit Keras is left out."""

import textwrap

import numpy as np
import pytest
from conftest import FORGET_LOOPS, backends, in_backend

from kcomp.system.fast_switch import fast_paths_are_on

NETWORK = """
import sys
from kcomp.system.backends import prepare_backend
prepare_backend(sys.argv[1])
import ctypes, keras, numpy as np
from pathlib import Path
from keras import layers
from kcomp import models
from kcomp.engine.initial_weights import draw_weights_on_host
from kcomp.fast.install import installed_names, is_enabled
from kcomp.fast.patches import PATCHES
from kcomp.prediction.forward import compile_forward
from kcomp.training.mixed import Mixed

def backbone():
    inputs = keras.Input((64, 64, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(x)
    x = start = layers.Activation("silu")(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(5, padding="same", use_bias=False)(x)
    x = layers.Activation("silu")(layers.BatchNormalization()(x))
    share = layers.Reshape((1, 1, 16))(layers.GlobalAveragePooling2D()(x))
    share = layers.Conv2D(16, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="silu")(share))
    x = layers.Conv2D(16, 1, use_bias=False)(layers.Multiply()([x, share]))
    return keras.Model(inputs, layers.Add()([layers.BatchNormalization()(x), start]))

with draw_weights_on_host(0):
    network = models.classifier(backbone(), 3, dropout=0.0)
    network.layers[-1].kernel.assign(np.random.default_rng(3).normal(size=(16, 3)))
draws = np.random.default_rng(0)
images = draws.uniform(0, 255, (16, 64, 64, 3)).astype("float32")
labels = np.eye(3, dtype="float32")[draws.integers(0, 3, 16)]

def train():
    model = Mixed(network, [])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True))
    with draw_weights_on_host(0):
        model.optimizer.build(model.trainable_variables)
    history = model.fit((({"images": images, "labels": labels},) for _ in range(3)), epochs=3, steps_per_epoch=1, verbose=0, shuffle=False)
    return history.history["loss"]
"""

RESULTS = (
    NETWORK
    + """
file = Path(sys.argv[2])
if file.exists():
    network.load_weights(file)
else:
    network.save_weights(file)
logits = compile_forward(network)(images)
classes = [layers.Conv2D, layers.BatchNormalization, layers.Activation, type(network)]
give(logits=logits.tolist(), losses=train(), installed=installed_names(),
     enabled=[patch.name for patch in PATCHES if is_enabled(patch.name)],
     wrapped=sorted(name.__name__ for name in classes if hasattr(name.call, "__wrapped__")))
"""
)


@pytest.mark.parametrize("backend", backends())
def test_both_ways_give_the_same_logits_and_losses(backend, tmp_path, monkeypatch):
    weights = tmp_path / "start.weights.h5"
    fast = in_backend(backend, RESULTS, backend, weights, cache=tmp_path / "fast")
    monkeypatch.setenv("KCOMP_FAST", "0")
    plain = in_backend(backend, textwrap.dedent(FORGET_LOOPS) + RESULTS, backend, weights, cache=tmp_path / "plain")
    logits = np.array(fast["logits"]), np.array(plain["logits"])
    assert np.abs(logits[0] - logits[1]).max() < 1e-4 * np.abs(logits[1]).max()
    assert fast["losses"] == pytest.approx(plain["losses"], rel=1e-4)
    assert plain["losses"][-1] < plain["losses"][0]  # three updates changed something
    assert plain["installed"] == plain["enabled"] == plain["wrapped"] == []
    assert len(fast["wrapped"]) == 3 and fast["installed"]
    assert not (tmp_path / "plain" / "programs").exists() and not (tmp_path / "plain" / "numba").exists()


@pytest.mark.parametrize("value", ["", "2", "false"])
def test_another_value_is_an_error_of_one_line(value, monkeypatch):
    monkeypatch.setenv("KCOMP_FAST", value)
    with pytest.raises(ValueError, match=rf"KCOMP_FAST must be 0 .* or 1 .*; received '{value}'$") as error:
        fast_paths_are_on()
    assert "\n" not in str(error.value)


def test_unset_and_one_turn_the_fast_paths_on(monkeypatch):
    monkeypatch.delenv("KCOMP_FAST", raising=False)
    assert fast_paths_are_on()
    monkeypatch.setenv("KCOMP_FAST", "1")
    assert fast_paths_are_on()
    monkeypatch.setenv("KCOMP_FAST", "0")
    assert not fast_paths_are_on()


CHANGES = {  # a change of Keras by name: its code, and the patches of each backend that it excludes
    "a new argument": (
        """
call = layers.Conv2D.__mro__[1].call
def changed(self, inputs, scale=1.0):
    return call(self, inputs)
layers.Conv2D.__mro__[1].call = changed
""",
        {
            "jax": {"jax-convolution"},
            "torch": {"torch-convolution", "torch-padded-convolution", "torch-excitation", "torch-folding"},
        },
    ),
    "a renamed attribute": (
        """
init = layers.BatchNormalization.__init__
def changed(self, *arguments, **options):
    init(self, *arguments, **options)
    self.across_devices = self.synchronized
    del self.synchronized
layers.BatchNormalization.__init__ = changed
call, config = layers.BatchNormalization.call, layers.BatchNormalization.get_config
def called(self, inputs, training=None, mask=None):
    object.__setattr__(self, "synchronized", self.across_devices)
    outputs = call(self, inputs, training=training, mask=mask)
    del self.synchronized
    return outputs
def configured(self):
    object.__setattr__(self, "synchronized", self.across_devices)
    found = config(self)
    del self.synchronized
    return found
layers.BatchNormalization.get_config = configured
layers.BatchNormalization.call = called
""",
        {
            "jax": {"jax-normalisation"},
            "torch": {"torch-normalisation", "torch-normalised-silu", "torch-excitation", "torch-folding"},
        },
    ),
    "another graph": (
        """
from keras.src.models.functional import Functional
call = Functional.call
def changed(self, inputs, training=None, mask=None, context=None, **kwargs):
    return call(self, inputs, training=training, mask=mask, **kwargs)
Functional.call = changed
""",
        {
            "jax": set(),
            "torch": {"torch-straight", "torch-padded-convolution", "torch-normalised-silu", "torch-excitation"}
            | {"torch-folding"},
        },
    ),
    "another update": (
        """
if sys.argv[1] == "torch":
    from keras.src.backend.torch.optimizers.torch_adam import Adam
    update = Adam._parallel_update_step
    def changed(self, grads, variables, learning_rate, scale=None):
        return update(self, grads, variables, learning_rate)
    Adam._parallel_update_step = changed
else:
    make = keras.Model.make_train_function
    keras.Model.make_train_function = lambda self, force=False, donate=True: make(self, force)
""",
        {"jax": {"jax-program-store"}, "torch": {"torch-adam"}},
    ),
}

CHANGED = """
import warnings
seen = []
warnings.showwarning = lambda message, *rest, **options: seen.append(str(message))
warnings.simplefilter("always", RuntimeWarning)
logits = [compile_forward(network)(images).tolist() for _ in range(2)]
give(logits=logits, losses=train(), enabled=[patch.name for patch in PATCHES if is_enabled(patch.name)],
     all=[patch.name for patch in PATCHES if patch.backend in (sys.argv[1], "any")],
     seen=[text for text in seen if "fast path" in text])
"""


@pytest.fixture(scope="module")
def unchanged():
    """Logits and losses of Keras as it comes, on each backend."""
    results = {}

    def of(backend):
        if backend not in results:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("KCOMP_FAST", "0")
                results[backend] = in_backend(backend, NETWORK + CHANGED, backend)
        return results[backend]

    return of


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_keras_excludes_a_patch_with_one_warning(backend, change, unchanged):
    code, excluded = CHANGES[change]
    # the change comes before the network is made
    changed = NETWORK.replace(
        "def backbone():",
        code + "\nimport warnings; seen = []\n"
        "warnings.showwarning = lambda message, *rest, **options: seen.append(str(message))\n"
        'warnings.simplefilter("always", RuntimeWarning)\ndef backbone():',
    )
    found = in_backend(backend, changed + CHANGED.replace("seen = []\n", ""), backend)
    names = set(found["all"])
    assert names - set(found["enabled"]) == excluded[backend]
    for name in names:
        assert sum(repr(name) in text for text in found["seen"]) == (name in excluded[backend]), (name, found["seen"])
    plain = unchanged(backend)
    for logits in found["logits"]:
        np.testing.assert_allclose(logits, plain["logits"][0], atol=1e-4 * np.abs(plain["logits"][0]).max())
    assert found["losses"] == pytest.approx(plain["losses"], rel=1e-4)
