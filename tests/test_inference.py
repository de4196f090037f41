"""The straight run and the folded inference of PyTorch give what Keras gives."""

import importlib.util
import sys

import pytest
from conftest import backends, in_backend

pytest.importorskip("torch")

HAS_LOOPS = sys.platform == "linux" and importlib.util.find_spec("numba") is not None

NETWORK = """
import keras, numpy as np
from keras import layers
from kcomp.prediction.forward import compile_forward
from kcomp.fast.install import patched

def network(activation="silu", seed=0):
    images = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 255.0)(images)
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = start = layers.Activation(activation)(x)
    x = layers.DepthwiseConv2D(5, padding="same")(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.ReLU(6.0)(x)
    share = layers.GlobalAveragePooling2D(keepdims=True)(x)
    share = layers.Conv2D(2, 1, activation=activation)(share)
    share = layers.Conv2D(8, 1, activation="sigmoid")(share)
    x = layers.Multiply()([x, share])
    x = layers.Conv2D(8, 1, use_bias=False)(x)
    x = layers.BatchNormalization(center=False)(x)
    x = layers.Add()([layers.Dropout(0.2)(x), start])  # the normalised values are read twice when training is False
    x = layers.Conv2D(8, 3, padding="valid", groups=8)(x)
    x = layers.BatchNormalization()(x) * 2.0
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(3)(x))
    draws = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" not in variable.path:
            variable.assign(draws.uniform(0.2, 1.0, variable.shape))
    return model

images = np.random.default_rng(1).uniform(0, 255, (5, 16, 16, 3)).astype("float32")
far = lambda one, other: float(np.abs(np.asarray(one) - np.asarray(other)).max() / np.abs(np.asarray(other)).max())
"""


@pytest.mark.parametrize("backend", backends())
def test_inference_is_keras_own_and_follows_the_weights(backend):
    found = in_backend(
        backend,
        NETWORK
        + """
model = network()
plain = lambda: keras.ops.convert_to_numpy(model(images, training=False))
with patched(True):
    forward = compile_forward(model)
    first = forward(images)
    one = forward(images[:1])
before = plain()
model.layers[3].moving_variance.assign(model.layers[3].moving_variance * 3)
model.trainable = False
with patched(True):
    second = forward(images)
give(first=far(first, before), one=far(one, before[:1]), second=far(second, plain()), moved=far(before, plain()),
     dtype=str(first.dtype))
""",
    )
    assert max(found["first"], found["one"], found["second"]) < 1e-5
    assert found["moved"] > 1e-3 and found["dtype"] == "float32"


def test_folding_joins_what_it_may_and_nothing_else():
    found = in_backend(
        "torch",
        NETWORK
        + """
from kcomp.fast.torch.folding import Folded
from kcomp.fast.torch.inference import fold_plan
from kcomp.fast.straight import plan_of
plan = plan_of(network())
steps = fold_plan(plan).steps
joined = [step.operation for step in steps if isinstance(step.operation, Folded)]
give(before=len(plan.steps), after=len(steps), joined=[(one.layer.name, bool(one.activation)) for one in joined])
""",
    )
    # stem, depthwise, the two of squeeze and excitation, projection, grouped convolution; four with a normalisation, the
    # first two with an activation layer as well, the third with dropout
    assert [activation for _, activation in found["joined"]] == [True, True, True, True, False, False]
    assert found["before"] - found["after"] == 6  # the stem's normalisation and activation were one step before


def test_training_runs_straight_with_the_same_loss_gradients_and_statistics():
    found = in_backend(
        "torch",
        NETWORK
        + """
import torch
from kcomp.fast import straight
labels = np.eye(3, dtype="float32")[[0, 1, 2, 1, 0]]

def step(fast):
    model = network()
    model.layers[-1].trainable = False
    calls = []
    original = straight.Plan.run
    straight.Plan.run = lambda *arguments, **options: calls.append(1) or original(*arguments, **options)
    torch.manual_seed(0)
    with patched(fast):
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)(labels, model(images, training=True))
        loss.backward()
    straight.Plan.run = original
    grads = np.concatenate([v.value.grad.numpy().ravel() for v in model.trainable_variables])
    statistics = np.concatenate([v.numpy().ravel() for v in model.non_trainable_variables if "moving" in v.path])
    return float(loss), grads, statistics, len(calls)

fast, plain = step(True), step(False)
give(loss=abs(fast[0] - plain[0]), gradients=far(fast[1], plain[1]), statistics=far(fast[2], plain[2]),
     calls=[fast[3], plain[3]])
""",
    )
    assert found["calls"] == [1, 0]
    assert found["loss"] < 1e-5 and found["gradients"] < 1e-4 and found["statistics"] < 1e-6


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_runs_straight_and_rounds_as_keras_does(policy):
    """A layer that keeps float32 is called by Keras, which casts for it; weights and their gradients stay float32."""
    found = in_backend(
        "torch",
        NETWORK.replace("layers.Dense(3)", 'layers.Dense(3, dtype="float32", name="logits")')
        + """
import torch
from kcomp.fast.straight import plan_of
labels = np.eye(3, dtype="float32")[[0, 1, 2, 1, 0]]
images = images / 255

def run(policy, fast):
    keras.config.set_dtype_policy(policy)
    model = network()
    model.layers[1].scale = 1.0
    model.layers[[type(layer).__name__ for layer in model.layers].index("Dropout")].rate = 0.0
    for variable in model.trainable_variables:
        variable.assign(variable * 0.3)
    with patched(fast):
        logits = compile_forward(model)(images) if fast else keras.ops.convert_to_numpy(model(images, training=False))
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)(labels, model(images, training=True))
        loss.backward()
    grads = [v.value.grad for v in model.trainable_variables]
    return model, logits, float(loss.detach()), torch.cat([g.ravel() for g in grads]).numpy(), {str(g.dtype) for g in grads}

exact, plain, fast = run("float32", False), run(sys.argv[1], False), run(sys.argv[1], True)
steps = plan_of(fast[0]).steps
give(keras=[step.operation.name for step in steps if not step.direct], types=[str(fast[1].dtype), *fast[4]],
     logits=[far(fast[1], plain[1]), far(plain[1], exact[1])], loss=[abs(fast[2] - plain[2]), abs(plain[2] - exact[2])],
     gradients=[far(fast[3], plain[3]), far(plain[3], exact[3])])
""",
        policy,
    )
    assert found["types"] == ["float32", "torch.float32"]
    assert found["keras"][-1] == "logits" and len(found["keras"]) == 2  # and the first, to which float32 comes
    for name in ("logits", "loss", "gradients"):
        ours, rounding = found[name]
        assert ours < 0.02 and ours <= 4 * rounding + 1e-4, (name, ours, rounding)


def test_what_needs_keras_own_call_gets_it():
    """Masks, several inputs, mixed precision and layers with layers inside."""
    found = in_backend(
        "torch",
        """
import keras, numpy as np
from keras import layers
from kcomp.fast.install import patched
from kcomp.fast.torch.inference import inference_of
from kcomp.fast.straight import plan_of

def same(model, *values):
    values = list(values) if len(values) > 1 else values[0]
    plain = keras.ops.convert_to_numpy(model(values, training=False))
    with patched(True):
        fast = keras.ops.convert_to_numpy(model(values, training=False))
    return bool((plain == fast).all()), plan_of(model) is not None

words = keras.Input((4,), dtype="int32")
masked = keras.Model(words, layers.LSTM(3)(layers.Embedding(5, 2, mask_zero=True)(words)))
one, two = keras.Input((4,)), keras.Input((4,))
twofold = keras.Model([one, two], layers.Add()([layers.Dense(3)(one), layers.Dense(3)(two)]))

class Wrapped(layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner = layers.Dropout(0.5)

    def call(self, values, training=None):
        return self.inner(values, training=training) + (1.0 if training else 0.0)

nested = keras.Model(one, Wrapped()(keras.Sequential([layers.Dense(3)])(one)))
named = keras.Input((8, 8, 4))
normed = keras.Model(named, layers.LayerNormalization()(layers.Conv2D(4, 3)(named)))
normed = all(step.direct for step in plan_of(normed).steps)
keras.config.set_dtype_policy("mixed_bfloat16")
shifted = layers.Add()([layers.Conv2D(4, 3)(named), np.ones((1, 6, 6, 4), "float32")])
constant = keras.Model(named, layers.Conv2D(4, 3)(shifted))
pixels = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
with patched(True):
    constant = str(constant(pixels, training=True).dtype)
    small = keras.Model(one, layers.Dense(3)(layers.Dense(3)(one)))  # the second is called directly, without Keras's casts
    casts = [str(inference_of(small)(np.ones((2, 4), "float32")).dtype), plan_of(small).steps[1].direct]
keras.config.set_dtype_policy("float32")
with_dtype = keras.Model(one, layers.Dense(3, dtype="mixed_bfloat16")(one))
x = np.ones((2, 4), "float32")
hidden = keras.Sequential([keras.Input((4,)), layers.Reshape((2, 2)), layers.Masking()])
hidden = plan_of(keras.Model(one, layers.GlobalAveragePooling1D()(hidden(one)))) is None
changed = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(3)])
forward, others = inference_of(changed), []
for _ in range(2):
    others.append([float(np.abs(run(x).numpy() - keras.ops.convert_to_numpy(changed(x))).max()) for run in (forward, inference_of(changed))])
    changed.pop()
    changed.add(layers.Dense(5))
with patched(True):
    noisy = keras.ops.convert_to_numpy(nested(x, training=True)) - keras.ops.convert_to_numpy(nested(x, training=False))
give(masked=same(masked, np.array([[1, 2, 0, 0]])), twofold=same(twofold, x, x), nested=same(nested, x),
     precision=same(with_dtype, x), training=bool(np.abs(noisy).max() >= 0.5),
     normed=normed, constant=constant, casts=casts, changed=others, hidden=hidden)
""",
    )
    assert found["masked"] == [True, False]
    assert all(off < 1e-6 for pair in found["changed"] for off in pair) and found["hidden"]
    assert found["twofold"] == [True, False]
    assert found["nested"] == [True, True]
    assert found["precision"] == [True, True]
    assert found["training"] and found["normed"] and found["constant"] == "torch.bfloat16"
    assert found["casts"] == ["torch.bfloat16", True]


def test_folding_keeps_what_two_layers_share_and_pads_as_keras_does():
    """Zeros around strided depthwise convolutions, a layer used twice, a model inside, an optimizer's update."""
    found = in_backend(
        "torch",
        NETWORK
        + """
import torch
images = np.random.default_rng(1).uniform(0, 1, (5, 15, 16, 3)).astype("float32")
inputs = keras.Input((15, 16, 3))
x = layers.ZeroPadding2D(((0, 1), (1, 2)))(inputs)
x = layers.DepthwiseConv2D(3, 2, padding="valid")(x)
x = layers.BatchNormalization()(x)
x = layers.DepthwiseConv2D(5, 2, padding="same")(x)
x = layers.Activation("silu")(x)
convolution, normalisation = layers.Conv2D(3, 1), layers.BatchNormalization()
x = normalisation(convolution(normalisation(convolution(x))))
inner = keras.Input((4, 5, 3))
x = keras.Model(inner, layers.BatchNormalization()(layers.Conv2D(4, 3)(inner)))(x)
x = layers.Dropout(0.5)(x)
x = layers.Multiply()([x, layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(x))])
model = keras.Model(inputs, layers.Dense(3)(layers.GlobalMaxPooling2D()(x)))
draws = np.random.default_rng(0)
for variable in model.variables:
    if "seed" not in variable.path:
        variable.assign(draws.uniform(0.2, 1.0, variable.shape))
model.compile(keras.optimizers.SGD(0.1), "mse")
plain = lambda: keras.ops.convert_to_numpy(model(images, training=False))
with patched(True):
    forward = compile_forward(model)
    first = forward(images)
before = plain()
model.train_on_batch(images, np.ones((5, 3), "float32"))
with patched(True):
    second = forward(images)
give(first=far(first, before), second=far(second, plain()), moved=far(before, plain()))
""",
    )
    assert max(found["first"], found["second"]) < 1e-5 and found["moved"] > 1e-3


def test_a_model_with_a_call_of_its_own_keeps_it():
    found = in_backend(
        "torch",
        NETWORK
        + """
from kcomp.fast.straight import plan_of

class Scaled(type(network())):
    def call(self, inputs, training=None, mask=None):
        return 2.0 * super().call(inputs, training=training, mask=mask)

plain = network()
scaled = Scaled(plain.inputs, plain.outputs)
named = keras.Model(plain.input, {"logits": plain.output})
with patched(True):
    one, two = compile_forward(plain)(images), compile_forward(scaled)(images)
    names = list(named(images))
keras.config.set_dtype_policy("mixed_bfloat16")
inputs = keras.Input((4,))
x = layers.Dense(64, dtype="float32")(inputs)
model = keras.Model(inputs, layers.Dense(3, dtype="float32")(x))
rows = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
exact = keras.ops.convert_to_numpy(model(rows, training=False))
with patched(True):
    fast = keras.ops.convert_to_numpy(model(rows, training=False))
give(twice=far(two, 2 * one), names=names, plan=plan_of(scaled) is None, mixed=far(fast, exact))
""",
    )
    assert found["twice"] < 1e-6 and found["names"] == ["logits"] and found["plan"]
    assert found["mixed"] == 0.0


def test_kernels_are_ordered_once_and_values_written_over_where_nothing_else_reads_them():
    """Products and sums in place; not where the value is read elsewhere or is the result, nor for other shapes."""
    found = in_backend(
        "torch",
        """
import keras, numpy as np, torch
from keras import layers
from kcomp.fast.torch import folding as folding_torch
from kcomp.fast.install import patched
from kcomp.fast.torch.inference import fold_plan, inference_of
from kcomp.fast.straight import plan_of

def network(kind):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64, 64, 3))
    start = layers.Conv2D(16, 3, padding="same")(inputs)
    x = layers.Activation("silu")(layers.Conv2D(16, 3, padding="same")(start))
    if kind == "squeezed":
        share = layers.GlobalAveragePooling2D()(x)
        share = layers.Conv2D(16, 1, activation="sigmoid")(layers.Reshape((1, 1, 16))(share))
        x = layers.Conv2D(16, 1)(layers.Multiply()([x, share]))
        return keras.Model(inputs, layers.Add()([layers.Dropout(0.1)(x), start]))
    if kind == "read after":
        y = layers.Conv2D(16, 1)(x)
        product = layers.Multiply()([y, x])
        return keras.Model(inputs, layers.Add()([layers.Conv2D(16, 1)(y), product]))
    if kind == "read before":
        y = layers.Conv2D(16, 1)(x)
        flat = layers.Reshape((64 * 64, 16))(y)
        return keras.Model(inputs, layers.Add()([layers.Reshape((64 * 64, 16))(layers.Add()([y, x])), flat]))
    if kind == "wider":
        share = layers.Conv2D(16, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
        return keras.Model(inputs, layers.Multiply()([share, x]))
    return keras.Model(inputs, layers.Multiply()([x, x]))

def far(kind):
    model, images = network(kind), np.random.default_rng(0).normal(size=(12, 64, 64, 3)).astype("float32")
    plain, steps = keras.ops.convert_to_numpy(model(images, training=False)), fold_plan(plan_of(model)).steps
    names = [type(step.operation).__name__ for step in steps]
    forward, errors = inference_of(model), []
    with patched(True):
        for batch in (images, images, images[:1]):
            errors.append(np.abs(forward(batch).numpy() - plain[: len(batch)]).max() / np.abs(plain).max())
    return float(max(errors)), names.count("Overwriting")

ordered = []
folding_torch.convolve_packed = lambda *given, run=folding_torch.convolve_packed: ordered.append(1) or run(*given)
found = {kind: far(kind) for kind in ("squeezed", "read after", "read before", "wider", "squared")}
give(ordered=len(ordered), found=found)
""",
    )
    assert found["ordered"] in (42, 0)  # 0 for a PyTorch without oneDNN
    errors, overwriting = zip(*found["found"].values())
    assert max(errors) < 1e-5
    # in the third, flat is the same memory as what the inner sum reads; the fourth finds at the call that shapes differ
    assert overwriting == (1, 1, 0, 1, 0)


def test_squeeze_and_excitation_is_one_step_where_it_is_the_usual_one():
    """Averages, two products with silu and sigmoid, the gate; with the weights and activations as they are at the call,
    for kernels that lie in another order, and for batches too small for the loops."""
    found = in_backend(
        "torch",
        """
import keras, numpy as np
from keras import layers
from kcomp.fast.torch import folding as folding_torch
from kcomp.fast.torch.inference import fold_plan, inference_of
from kcomp.fast.straight import plan_of
from kcomp.fast.install import patched

def network(kind):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    x = layers.Activation("silu")(layers.BatchNormalization()(layers.Conv2D(24, 1)(inputs)))
    share = layers.GlobalAveragePooling2D(keepdims=kind == "sides kept")(x)
    share = share if kind == "sides kept" else layers.Reshape((1, 1, -1) if kind == "any size" else (1, 1, 24))(share)
    hidden = layers.Conv2D(30 if kind == "wider inside" else 5, 1, kernel_initializer="orthogonal", activation="relu" if kind == "relu" else "silu", use_bias=kind != "no bias")(share)
    gate = layers.Conv2D(24, 3 if kind == "3 x 3" else 1, padding="same", activation="sigmoid")(hidden)
    if kind == "one gate":
        gate = layers.Conv2D(1, 1, activation="sigmoid")(hidden)
    if kind == "padded":
        gate = layers.Conv2D(24, 3, padding="valid", activation="sigmoid")(layers.ZeroPadding2D(1)(hidden))
    product = layers.Multiply()([gate, x] if kind == "turned" else [x, gate])
    if kind == "read again":
        product = layers.Add()([product, x])
    if kind == "squared":
        return keras.Model(inputs, layers.Multiply()([x, x]))
    if kind == "hidden read":
        return keras.Model(inputs, layers.Add()([layers.Conv2D(5, 1)(product), hidden]))
    return keras.Model(inputs, product)

calls, loop = [], folding_torch.silu_excited
folding_torch.silu_excited = lambda *given: [calls.append(done := loop(*given)), done][1]

def found_of(kind):
    model, images = network(kind), np.random.default_rng(0).normal(size=(12, 32, 32, 3)).astype("float32")
    names = [type(step.operation).__name__ for step in fold_plan(plan_of(model)).steps]
    forward, errors = inference_of(model), []
    calls.clear()
    if kind == "set since":
        model.layers[-3].activation = keras.activations.tanh
    if kind == "first set since":
        model.layers[3].activation = keras.activations.tanh
    for batch in (images, images[:1], images):
        for variable in model.weights:
            variable.assign(variable.value * 1.1)
        plain = keras.ops.convert_to_numpy(model(batch, training=False))
        with patched(True):
            errors.append(float(np.abs(forward(batch).numpy() - plain).max() / np.abs(plain).max()))
    return max(errors), names.count("Excited"), list(calls)

kinds = "usual", "sides kept", "relu", "no bias", "3 x 3", "one gate", "padded", "turned", "read again", "hidden read", "squared", "any size", "wider inside", "set since", "first set since"
give(found={kind: found_of(kind) for kind in kinds})
""",
    )["found"]
    assert max(error for error, *_ in found.values()) < 1e-5, found
    joined = {kind: calls for kind, (_, number, calls) in found.items() if number}
    once = [HAS_LOOPS, False, HAS_LOOPS]
    assert joined == {"usual": once, "sides kept": once, "any size": once, "set since": [], "first set since": []}
    assert found["relu"][2] == []
