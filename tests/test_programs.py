"""JAX's programs: what an equal network has computed before is not traced again, and nothing else is taken for it."""

import importlib.util
import json

import numpy as np
import pytest
from conftest import in_backend

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")

HEAD = """
    import sys
    from kcomp.system.backends import prepare_backend
    prepare_backend("jax")
    import keras, numpy as np
    from kcomp.prediction.forward import compile_forward
    from kcomp import schedules
    from kcomp.jax_programs import network_key as description, store as programs
    from kcomp.engine import initial_weights as start
    from kcomp.jax_programs import step_key as step
    from kcomp.targets import OneOf
    from kcomp.training.mixed import Mixed
    from kcomp.jax_programs.step_key import cache_key_of_step

    def network(seed=0, units=8, rate=0.2, name=None, **options):
        with start.draw_weights_on_host(seed):
            images = keras.Input((6, 6, 3))
            found = keras.layers.Conv2D(4, 3, activation="relu", name=name, **options)(images)
            found = keras.layers.BatchNormalization()(found)
            found = keras.layers.GlobalAveragePooling2D()(found)
            found = keras.layers.Dropout(rate, seed=1)(keras.layers.Dense(units)(found))
            return keras.Model(images, keras.layers.Dense(3)(found))

    def model(seed=0, smoothing=0.0, weights=None, optimizer=None, frozen=(), thin=False, loss=None, layers=(), **rest):
        made = network(seed, **rest)
        for number in frozen:
            made.layers[number].trainable = False
        found = Mixed(made, layers, weights, target=OneOf(("a", "b", "c")))
        loss = loss or keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        optimizer = optimizer or keras.optimizers.AdamW(1e-2)
        if thin:
            optimizer.exclude_from_weight_decay(var_list=[v for v in made.trainable_variables if len(v.shape) == 1])
        found.compile(optimizer, loss, metrics=[keras.metrics.CategoricalAccuracy(name="a")])
        with start.draw_weights_on_host(seed):
            found.optimizer.build(found.trainable_variables)
        return found

    draws = np.random.default_rng(0)
    batch = {"images": draws.uniform(0, 1, (4, 6, 6, 3)).astype("float32"), "labels": np.eye(3, dtype="float32")[[0, 1, 2, 0]]}

    def trained(found, updates=3):
        found.fit(((batch,) for _ in range(updates)), steps_per_epoch=updates, verbose=0, shuffle=False)
        return [np.asarray(w).tolist() for w in found.network.get_weights()]
"""

FORBIDDEN = """
    def never(*arguments, **keywords):
        raise AssertionError("this was traced")
    if "untraced" in sys.argv:
        Mixed.call = never
        keras.Model.__call__ = never
"""


def started(code, cache, *arguments):
    return in_backend("jax", code, *arguments, cache=cache)


TRAINED_AND_ASKED = (
    HEAD
    + """
    one = model()
    run = compile_forward(one.network)
"""
    + FORBIDDEN
    + """
    give(weights=trained(one), logits=run(batch["images"]).tolist())
"""
)


def test_another_process_traces_nothing_and_gives_the_same(tmp_path):
    first = started(TRAINED_AND_ASKED, tmp_path)
    assert len(list((tmp_path / "programs").iterdir())) == 2
    assert started(TRAINED_AND_ASKED, tmp_path, "untraced") == first


def test_a_damaged_file_and_a_folder_that_cannot_be_written_cost_a_trace_alone(tmp_path):
    first = started(TRAINED_AND_ASKED, tmp_path)
    kept = sorted((tmp_path / "programs").iterdir())
    whole = [path.read_bytes() for path in kept]
    for path, content in zip(kept, (b"", whole[1][:-9] + b"x" * 9), strict=True):
        path.write_bytes(content)
    assert started(TRAINED_AND_ASKED, tmp_path) == first
    assert [path.stat().st_size for path in kept] == [len(content) for content in whole]
    (tmp_path / "file").touch()
    assert started(TRAINED_AND_ASKED, tmp_path / "file") == first


def test_a_kept_program_computes_what_keras_would(tmp_path):
    found = started(
        HEAD
        + """
    trained(model(seed=0)); before = trained(model(seed=1, smoothing=0.0))
    kept = trained(model(seed=2))  # the third network of one program
    count = len(programs._programs)
    step.cache_key_of_step = lambda model: None
    plain = trained(model(seed=2))
    gap = max(float(np.abs(np.array(a) - np.array(b)).max()) for a, b in zip(kept, plain))
    apart = max(float(np.abs(np.array(a) - np.array(b)).max()) for a, b in zip(kept, before))
    give(gap=gap, apart=apart, count=count)
""",
        tmp_path,
    )
    assert found["count"] == 1
    assert found["gap"] < 1e-6 < 0.1 < found["apart"]


def test_what_changes_a_step_changes_its_description_and_nothing_else_does():
    found = in_backend(
        "jax",
        HEAD
        + """
    cosine = lambda steps: keras.optimizers.AdamW(schedules.WarmupCosine(1e-2, 1, steps_per_epoch=steps))
    adam = keras.optimizers.AdamW
    base = cache_key_of_step(model())
    same = [model(seed=5), model(name="other"), model(optimizer=adam(3e-4))]
    others = [model(units=9), model(rate=0.3), model(smoothing=0.1), model(weights=np.array([1, 2, 3], "float32")),
              model(frozen=[1]), model(frozen=[2]), model(thin=True), model(optimizer=cosine(10)), model(optimizer=cosine(11)),
              model(optimizer=adam(1e-2, weight_decay=0.1)), model(optimizer=adam(1e-2, global_clipnorm=1.0)),
              model(kernel_regularizer=keras.regularizers.L2(1e-3)), model(kernel_constraint=keras.constraints.MaxNorm(2.0))]
    give(base=base, same=[cache_key_of_step(one) == base for one in same], others=[cache_key_of_step(one) for one in others])
""",
    )
    assert found["base"] and all(found["same"])
    assert None not in found["others"]
    assert len({found["base"], *found["others"]}) == len(found["others"]) + 1


def test_what_is_not_keras_own_has_no_description():
    found = in_backend(
        "jax",
        HEAD
        + """
    class Own(keras.regularizers.Regularizer):
        def __call__(self, weights): return keras.ops.sum(weights)
        def get_config(self): return {}
    class OwnLoss(keras.losses.CategoricalCrossentropy): pass
    class OwnRate(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step): return 1e-3
        def get_config(self): return {}
    class OwnLayer(keras.layers.Layer):
        def draw(self, *arguments): return {}
        def call(self, batch, plan=None): return batch
    def loss(true, found): return keras.losses.categorical_crossentropy(true, found, from_logits=True)
    adam = keras.optimizers.AdamW
    give(none=[cache_key_of_step(model(kernel_regularizer=Own())), cache_key_of_step(model(loss=OwnLoss(from_logits=True))),
               cache_key_of_step(model(loss=loss)), cache_key_of_step(model(optimizer=adam(OwnRate()))), cache_key_of_step(model(layers=[OwnLayer()])),
               cache_key_of_step(model(kernel_initializer=lambda shape, dtype=None: keras.ops.ones(shape)))])
""",
    )
    assert found["none"] == [None] * 6


def test_one_layer_called_twice_is_not_two_layers_and_variables_tell_their_order():
    found = in_backend(
        "jax",
        HEAD
        + """
    def tower(shared):
        images = keras.Input((4,))
        one = keras.layers.Dense(4)
        other = one if shared else keras.layers.Dense(4)
        return keras.Model(images, other(one(images)))
    def ends(first):
        images = keras.Input((4,))
        a, b = keras.layers.Dense(4)(images), keras.layers.Dense(4)(images)
        return keras.Model(images, keras.layers.Subtract()([a, b] if first else [b, a]))
    turned = network()
    words = description.describe_variables(turned, turned.variables), description.describe_variables(turned, turned.variables[::-1])
    values = [np.random.default_rng(i).normal(size=shape).astype("float32") for i, shape in enumerate(((4, 4), (4,)) * 2)]
    pair = [ends(first) for first in (True, False)]
    for one in pair:
        one.set_weights(values)
    gap = float(np.abs(pair[0](np.ones((1, 4))) - pair[1](np.ones((1, 4)))).max())
    give(towers=[description.cache_key_of_inference(tower(s)) for s in (True, False, False)], turned=words[0] != words[1],
         gap=gap, equal=description.cache_key_of_inference(pair[0]) == description.cache_key_of_inference(pair[1]))
""",
    )
    assert found["towers"][0] != found["towers"][1] == found["towers"][2]
    assert not found["equal"] or found["gap"] == 0  # where the words are equal, so is what is computed
    assert found["turned"]


SETTINGS = {  # pairs of models that compute different things although most of what Keras tells of them is equal
    "an own activation with one of Keras's names": "model(activation='gelu'), model(activation=gelu)",
    "a wrapper of one": "model(activation='relu'), model(activation=wrapped)",
    "a variable's regularizer": "model(), changed(lambda layer: setattr(layer.kernel, 'regularizer', L2(1.0)))",
    "a layer's regularizer that is never used": "model(kernel_regularizer=L2(1.0)), changed(lambda layer: setattr(layer, 'kernel_regularizer', L2(1.0)))",
    "a variable's constraint": "model(), changed(lambda layer: setattr(layer.kernel, 'constraint', keras.constraints.MaxNorm(0.1)))",
    "a loss's argument": "model(loss=keras.losses.Huber(delta=1.0)), model(loss=keras.losses.Huber(delta=0.1))",
    "an argument of kcomp's loss": "model(loss=losses.Focal(1.0, target=ABC)), model(loss=losses.Focal(2.0, target=ABC))",
    "a loss's type": "model(), model(loss=keras.losses.CategoricalCrossentropy(from_logits=True, dtype='float16'))",
    "a layer's own call": "model(), changed(lambda layer: setattr(layer, 'call', lambda x, call=layer.call: -call(x)))",
    "statistics in a layer": "adapted(0), adapted(3)",
    "a constant's type": "scaled('float32'), scaled('float16')",
    "an optimizer's own update": "model(), patched()",
    "no automatic casts": "model(), model(autocast=False)",
    "a subclass of the training model": "model(), model(kind=type('Doubled', (Mixed,), {}))",
}


def test_what_a_configuration_leaves_out_is_told_or_nothing_is():
    """Each was once taken for the other: found by a reader who trained the second with the first one's program."""
    found = in_backend(
        "jax",
        HEAD.replace('activation="relu", ', "activation=activation, ")
        .replace("name=None, **options", 'name=None, activation="relu", **options')
        .replace("loss=None, layers=()", "loss=None, layers=(), kind=Mixed")
        .replace("found = Mixed(made", "found = kind(made")
        + """
    from keras.regularizers import L2
    import functools
    from kcomp import losses
    ABC = OneOf(("a", "b", "c"))
    def gelu(x): return 0.1 * x
    @functools.wraps(keras.activations.relu)
    def wrapped(x, *arguments): return 0.1 * x
    def patched():
        optimizer = keras.optimizers.AdamW(1e-2)
        optimizer.update_step = lambda gradient, variable, rate: None
        return model(optimizer=optimizer)
    def changed(change):
        found = model()
        change(found.network.layers[1])
        return found
    def whole(images, outputs):
        found = Mixed(keras.Model(images, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(outputs))), [])
        found.compile(keras.optimizers.AdamW(1e-2), keras.losses.CategoricalCrossentropy(from_logits=True))
        found.optimizer.build(found.trainable_variables)
        return found
    def adapted(seed):
        layer, images = keras.layers.Normalization(), keras.Input((6, 6, 3))
        layer.adapt(np.random.default_rng(seed).normal(seed, 1 + seed, (8, 6, 6, 3)).astype("float32"))
        return whole(images, layer(images))
    def scaled(dtype):
        images = keras.Input((6, 6, 3))
        return whole(images, images * np.array([1.0, 2.0, 3.0], dtype))
    pairs = {name: [cache_key_of_step(one) for one in eval(pair)] for name, pair in json.loads(sys.argv[1]).items()}
    call = keras.layers.Dense.call
    keras.layers.Dense.call = lambda self, inputs, training=None: -call(self, inputs)
    replaced = cache_key_of_step(model())
    keras.layers.Dense.call = call
    keras.config.set_dtype_policy("mixed_float16")
    give(replaced=replaced, pairs=pairs, scaled_loss=cache_key_of_step(model()))
""",
        json.dumps(SETTINGS),
    )
    assert {name for name, (one, other) in found["pairs"].items() if one == other and one is not None} == set()
    assert [name for name, (one, _) in found["pairs"].items() if one is None] == []
    assert found["replaced"] is None
    assert found["scaled_loss"] is None  # the optimizer inside the one that scales may decay other weights


def test_a_large_program_is_compiled_by_another_process_and_loaded(tmp_path):
    code = (
        HEAD
        + """
    import collections, os, jax
    from kcomp.jax_programs import compile as compiling
    compiling.LARGE = int(sys.argv[1])
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"  # the other process keeps what it compiles
    seen = collections.Counter()
    jax.monitoring.register_event_listener(lambda event, **_: seen.update([event.rpartition("/")[2]]))
    weights = trained(model())
    give(weights=weights, hits=seen["cache_hits"])
"""
    )
    beside, here = started(code, tmp_path / "one", "1"), started(code, tmp_path / "other", str(10**9))
    assert beside["weights"] == here["weights"]
    assert beside["hits"] >= 1
    assert [len(list((tmp_path / name / "jax").glob("kcomp-*"))) for name in ("one", "other")] == [1, 0]
    next((tmp_path / "one" / "jax").glob("kcomp-*")).unlink()  # as where the first compilation was killed
    for path in (tmp_path / "one" / "jax").glob("*-cache"):
        path.unlink()
    assert started(code, tmp_path / "one", "1")["hits"] >= 1


def test_xla_is_told_what_helps_a_cpu_and_one_that_knows_none_of_it_compiles_as_it_is(tmp_path, monkeypatch):
    code = (
        HEAD
        + """
    from kcomp.jax_programs import compile as compiling
    if sys.argv[1] == "unknown":
        compiling.SETTINGS = {"xla_no_such_setting": 1}
    found = model()
    trained(found)
    logits = compile_forward(found.network)(batch["images"])
    give(logits=logits.tolist(), seen=[compiling.settings(True), compiling.settings(False)])
"""
    )
    known, unknown = started(code, tmp_path / "one", "known"), started(code, tmp_path / "other", "unknown")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=256")
    theirs = started(code, tmp_path / "one", "known")
    width, product = {"xla_cpu_prefer_vector_width": 512}, {"xla_cpu_experimental_ynn_fusion_type": ""}
    assert [found["seen"] for found in (known, unknown, theirs)] == [
        [width, width | product],
        [{}, product],
        [{}, product],
    ]
    assert max(np.abs(np.array(known["logits"]) - other["logits"]).max() for other in (unknown, theirs)) < 1e-5


def test_a_change_at_the_last_moment_counts():
    found = in_backend(
        "jax",
        HEAD
        + """
    class Drops(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.network.layers[5].rate = 0.0
    def first_loss(**options):
        found = model()
        return found.fit(((batch,) for _ in range(1)), steps_per_epoch=1, verbose=0, shuffle=False, **options).history["loss"]
    give(losses=[first_loss(callbacks=[Drops()]), first_loss(), first_loss(callbacks=[Drops()])], count=len(programs._programs))
""",
    )
    one, other, again = found["losses"]
    assert one == again != other
    assert found["count"] == 2


def test_a_process_compiles_again_for_other_xla_settings():
    found = in_backend(
        "jax",
        HEAD
        + """
    from unittest import mock
    from kcomp.fast import install
    from kcomp.jax_programs import compile as compiling
    counts = []
    for turned_off in ((), ("jax-xla-settings",), ()):
        with mock.patch.object(install, "_turned_off", set(turned_off)):
            forward = compile_forward(network())
            forward(batch["images"])
            counts.append([len(programs._programs), len(compiling.settings(False))])
    give(counts=counts)
""",
    )
    assert [programs for programs, _ in found["counts"]] == [1, 2, 2]
    assert found["counts"][1][1] == 0  # without the patch, XLA runs with its defaults


def test_settings_and_an_edit_of_kcomp_change_the_program():
    found = in_backend(
        "jax",
        HEAD
        + """
    import jax
    from kcomp.fast.install import patched
    import os
    seen = [programs.environment_key()]
    os.environ["XLA_FLAGS"] = "--xla_cpu_enable_fast_math=false"
    seen.append(programs.environment_key())
    with patched(True):
        seen.append(programs.environment_key())
    jax.config.update("jax_default_matmul_precision", "float32")
    seen.append(programs.environment_key())
    jax.config.update("jax_default_matmul_precision", None)
    programs.code_version = lambda: "edited"
    seen.append(programs.environment_key())
    give(seen=seen)
""",
    )
    assert len({json.dumps(one) for one in found["seen"]}) == 5


def test_random_image_layers_are_compiled_with_the_step():
    """Keras would train a network with some of them uncompiled; the draws of both are the same."""
    found = in_backend(
        "jax",
        HEAD
        + """
    import warnings
    warnings.simplefilter("error", UserWarning)
    traced = []
    class Counted(keras.layers.Layer):
        def call(self, inputs):
            traced.append(1)
            return inputs + 0
    def augmented(eagerly, other=None):
        keras.utils.set_random_seed(3)
        images = found = keras.Input((6, 6, 3))
        given = {None: [0.2], "RandomCrop": [5, 5], "AugMix": []}[other]
        first = getattr(keras.layers, other or "RandomRotation")(*given)
        rest = (keras.layers.RandomZoom(0.2), keras.layers.RandomTranslation(0.2, 0.2), keras.layers.RandomFlip(),
                keras.layers.RandomShear(0.2, 0.2), keras.layers.RandomPerspective())
        for layer in (Counted(), first, *(() if other else rest)):
            found = layer(found)
        with start.draw_weights_on_host(0):
            whole = Mixed(keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(found))), [])
        whole.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(from_logits=True), run_eagerly=eagerly)
        traced.clear()
        return trained(whole, 4), len(traced)
    (ours, once), (plain, each) = augmented(False), augmented(True)
    cropped, chosen = augmented(False, "RandomCrop")[1], augmented(False, "AugMix")[1]
    off = max(float(np.abs(np.subtract(a, b)).max()) for a, b in zip(ours, plain))
    give(off=off, once=once, each=each, cropped=cropped, chosen=chosen, moved=float(np.abs(np.subtract(ours[-1], 0)).max()))
""",
    )
    assert found["off"] < 1e-5 < 1e-3 < found["moved"] and found["once"] < 4 <= min(
        found["each"], found["cropped"], found["chosen"]
    )
