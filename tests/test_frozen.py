"""On PyTorch, what is frozen below all that learns is folded in training too, and gives what Keras gives."""

import pytest
from conftest import in_backend
from test_inference import NETWORK

pytest.importorskip("torch")

TOOLS = (
    NETWORK
    + """
import contextlib, torch
from kcomp.fast.folding_torch import Excited, Folded
from kcomp.fast import frozen_torch
from kcomp.fast.frozen_torch import frozen_folded
labels = np.eye(3, dtype="float32")[[0, 1, 2, 1, 0]]

def step(model, fast, inputs=images):
    "Loss and gradients of one step."
    torch.manual_seed(0)
    for variable in model.trainable_variables:
        variable.value.grad = None
    with fast_convolutions() if fast else contextlib.nullcontext():
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)(labels, model(inputs, training=True))
        loss.backward()
    grads = [keras.ops.convert_to_numpy(v.value.grad).ravel() for v in model.trainable_variables]
    return float(loss), np.concatenate(grads)

def count(model):
    return sum(isinstance(one.operation, Folded | Excited) for one in frozen_folded(model).steps)

def differs(model):
    fast, plain = step(model, True), step(model, False)
    return max(abs(fast[0] - plain[0]) / abs(plain[0]), far(fast[1], plain[1]))

def named(model, kind):
    return [layer for layer in model.layers if type(layer).__name__ == kind]

def freeze(model, *others):
    "All layers but these."
    for layer in model.layers:
        layer.trainable = layer in others

def flat(x):
    "Convolutions, a product and a sum in place, as a plan has them."
    x = start = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("silu")(x)
    x = layers.Multiply()([layers.Conv2D(4, 1)(x), x])
    return layers.Add()([layers.Conv2D(4, 1)(x), start])

def quiet():
    "The network without noise, so that a step can be compared."
    model = network()
    named(model, "Dropout")[0].rate = 0.0
    return model
"""
)


def test_a_step_follows_what_is_frozen_and_its_weights():
    found = in_backend(
        "torch",
        TOOLS
        + """
model = quiet()
off, folded = {}, {}
def look(name):
    off[name], folded[name] = differs(model), count(model)
look("everything")
freeze(model, model.layers[-1])
look("head")
before = step(model, True)[0]
named(model, "BatchNormalization")[0].moving_variance.assign(np.full(8, 9.0))
look("assigned")
after = step(model, True)[0]
named(model, "Conv2D")[1].trainable = True  # the first of squeeze and excitation
look("upper")
named(model, "ReLU")[0].max_value = 3.0
named(model, "Activation")[0].activation = keras.activations.tanh
look("set")
model.layers[-1].trainable = False
look("middle")
freeze(model, *model.layers)
look("again")
give(off=off, folded=folded, moved=abs(after - before))
""",
    )
    assert max(found["off"].values()) < 1e-5 and found["moved"] > 1e-3
    # the stem, the depthwise convolution, two of squeeze and excitation, projection, grouped convolution
    assert found["folded"] == {"everything": 0, "head": 6, "assigned": 6, "upper": 2, "set": 2, "middle": 2, "again": 0}


def test_training_of_a_frozen_network_folds_and_matches_its_updates():
    """`fit` on what Keras gives it: weights after some updates with frozen layers, then with all."""
    found = in_backend(
        "torch",
        TOOLS
        + """
def weights(fast):
    model = quiet()
    freeze(model, model.layers[-1])
    found = []
    with fast_convolutions() if fast else contextlib.nullcontext():
        for rate in (1e-3, 1e-4):
            model.compile(keras.optimizers.SGD(rate), keras.losses.CategoricalCrossentropy(from_logits=True))
            model.fit(images, labels, batch_size=5, epochs=3, verbose=0)
            freeze(model, *model.layers)
            found.append(np.concatenate([v.numpy().ravel() for v in model.weights if "seed" not in v.path]))
    return found
first = quiet()
before = np.concatenate([v.numpy().ravel() for v in first.weights if "seed" not in v.path])
(one, two), (first, second) = weights(True), weights(False)
give(off=far(one - before, first - before), later=far(two - one, second - first), moved=far(one, before))
""",
    )
    assert found["off"] < 1e-3 and found["later"] < 1e-2 and found["moved"] > 1e-3


def test_noise_and_statistics_that_learn_are_not_folded():
    found = in_backend(
        "torch",
        TOOLS
        + """
model = network()
freeze(model, model.layers[-1])
noisy, logits = count(model), set()
with fast_convolutions():
    for _ in range(3):
        logits.add(float(model(images, training=True)[0, 0]))
rates = named(model, "Dropout")[0]
rates.rate = 0.0
first = named(model, "BatchNormalization")[0]
first.trainable = True  # its statistics, and what comes after them
learning, off = count(model), differs(model)
moved = first.moving_mean.numpy()
step(model, True)
moved = np.abs(first.moving_mean.numpy() - moved).max()
plain = keras.Input((16, 16, 3))
x = layers.BatchNormalization(center=False, scale=False)(layers.Conv2D(4, 3)(plain))  # nothing for a gradient
x = layers.BatchNormalization(trainable=False)(layers.Conv2D(4, 3)(x))
bare = keras.Model(plain, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
bare.layers[1].trainable = bare.layers[2].trainable = bare.layers[3].trainable = False
step(bare, True)
bare.layers[2].trainable = True  # of which no weight tells
give(noisy=noisy, different=len(logits), learning=learning, off=off, moved=float(moved), bare=count(bare),
     bare_off=differs(bare))
""",
    )
    assert found["noisy"] == 6 and found["different"] == 3
    assert found["learning"] == 1 and found["off"] < 1e-5 and found["moved"] > 1e-3  # the stem without its statistics
    assert found["bare"] == 2 and found["bare_off"] < 1e-5


def test_gradients_that_go_through_frozen_layers_are_kept():
    """Gradients of the images, of a layer below frozen ones, of weights in a StatelessScope; a frozen model inside."""
    found = in_backend(
        "torch",
        TOOLS
        + """
model = quiet()
freeze(model)
def saliency(fast):
    values = torch.tensor(images, requires_grad=True)
    with fast_convolutions() if fast else contextlib.nullcontext():
        keras.ops.sum(model(values, training=True)[:, 0]).backward()
    return values.grad.numpy()
pixels = far(saliency(True), saliency(False))
named(model, "Conv2D")[0].trainable = True
below = differs(model)

named(model, "Conv2D")[0].trainable = False
model.layers[-1].trainable = True
step(model, True)
def scoped(fast):
    doubled = [(v, v.value.detach() * 2) for v in model.variables if "seed" not in v.path]
    with fast_convolutions() if fast else contextlib.nullcontext(), keras.StatelessScope(doubled):
        return model(images, training=True).detach().numpy()
scope = far(scoped(True), scoped(False))

inner = quiet()
freeze(inner)
outer = keras.Sequential([inner, layers.Dense(3)])
outer.build((None, 16, 16, 3))
head = differs(outer)

named(inner, "Dropout")[0].rate = 0.5  # moves its seeds at each step
start = keras.Input((16, 16, 3))
x = layers.RandomFlip()(start)
outer = keras.Model(start, layers.Dense(3)(inner(layers.Conv2D(3, 1, trainable=False)(x))))
step(outer, True)
again, original = [], Folded.fold
Folded.fold = lambda self: again.append(1) or original(self)
step(outer, True)
again, Folded.fold = len(again), original

value = keras.Variable(np.full((1, 1, 1, 3), 0.5, "float32"))  # which no layer knows of
start = keras.Input((16, 16, 3))
x = inner(layers.Lambda(lambda x: x * value, output_shape=(16, 16, 3))(start))
named(inner, "Dropout")[0].rate = 0.0
prompted = keras.Model(start, layers.Dense(3)(x))
def prompt(fast):
    value.value.grad = None
    step(prompted, fast)
    return value.value.grad.numpy()
prompts = [far(prompt(True), prompt(False))]
prompted = keras.Model(start, layers.Dense(3)(layers.Flatten()(flat(layers.Lambda(lambda x: x * value)(start)))))
freeze(prompted, prompted.layers[-1])
prompts.append(far(prompt(True), prompt(False)))

pixels_in = torch.from_numpy(images[:2])
def slope(fast):
    with fast_convolutions() if fast else contextlib.nullcontext():
        return torch.func.jvp(lambda x: inner(x, training=True), (pixels_in,), (torch.ones_like(pixels_in),))[1].numpy()
give(again=again, outer=count(outer), prompts=prompts, jvp=far(slope(True), slope(False)), pixels=pixels, below=below, scope=scope, inner=count(inner), head=head)
""",
    )
    assert max(found["pixels"], found["below"], found["scope"], found["head"]) < 1e-5
    assert max(found["prompts"]) < 1e-4 and found["jvp"] < 1e-4
    assert found["inner"] == 6 and found["outer"] == 1 and found["again"] == 0


def test_mixed_precision_notices_what_is_unfrozen_and_assigned():
    """Keras casts weights around the call; their copies would not follow them."""
    found = in_backend(
        "torch",
        TOOLS
        + """
keras.config.set_dtype_policy("mixed_bfloat16")
images = images / 255
model = quiet()
named(model, "Rescaling")[0].scale = 1.0
for variable in model.trainable_variables:
    variable.assign(variable * 0.3)
freeze(model, model.layers[-1])
losses = [step(model, True, images)[0]]
with keras.src.backend.AutocastScope(None):
    first = count(model)
named(model, "Conv2D")[0].kernel.assign(-named(model, "Conv2D")[0].kernel)
losses += [step(model, True, images)[0], step(model, False, images)[0]]
freeze(model, *named(model, "Conv2D"))
unfrozen = [far(one, other) for one, other in zip(*(step(model, fast, images) for fast in (True, False)))]
held = sum(any(tensor is one.value for one in model.variables) for tensor in frozen_torch._known[model].tensors)
last = count(model)
freeze(model, model.layers[-1])
step(model, True, images)
projection = next(one.operation for one in frozen_folded(model).steps if isinstance(one.operation, Folded) and one.operation.normalisation)
projection.layer.kernel.assign(projection.layer.kernel)
step(model, True, images)  # folds again, within Keras's casts
scale = projection.normalisation.gamma.numpy() / np.sqrt(projection.normalisation.moving_variance.numpy() + 1e-3)
wanted = torch.from_numpy(projection.layer.kernel.numpy() * scale).to(torch.bfloat16).permute(3, 2, 0, 1)
kernel = float((projection.kernel != wanted).float().mean())  # rounded twice, a quarter would differ
give(kernel=kernel, losses=losses, first=first, last=last, unfrozen=unfrozen, held=held, all=len(frozen_torch._known[model].tensors))
""",
    )
    before, after, plain = found["losses"]
    assert abs(after - plain) < 0.01 < abs(before - plain)
    assert found["first"] == 6 and found["last"] == 0 and found["kernel"] < 0.05 and found["held"] == found["all"] > 20
    assert found["unfrozen"][0] < 0.01 and found["unfrozen"][1] < 0.05
