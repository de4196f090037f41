"""Squeeze and excitation with the normalisation before it: PyTorch's loops of our own against float64, and what they
leave to Keras."""

import importlib.util
import sys

import pytest
from conftest import in_backend

pytest.importorskip("torch")

needs_loops = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("numba") is None, reason="needs numba and GNU's OpenMP"
)


@needs_loops
def test_outputs_statistics_and_gradients_are_right_to_the_last_digits():
    """Rows that end within an image, channels that fill no register, gates that are shut, frozen weights, and a
    gradient of the gradient."""
    found = in_backend(
        "torch",
        """
    import torch
    from torch.nn import functional
    from kcomp.fast.torch import excitation as excitation_torch
    torch.manual_seed(0)
    far = lambda one, other: float((one.double() - other).abs().max() / other.abs().max())

    def exactly(inputs, gamma, beta, first, first_bias, second, second_bias):
        mean, variance = inputs.mean((0, 1, 2)), inputs.var((0, 1, 2), correction=0)
        z = functional.silu((inputs - mean) / (variance + 1e-3).sqrt() * gamma + beta)
        gate = torch.sigmoid(functional.silu(z.mean((1, 2)) @ first + first_bias) @ second + second_bias)
        return z * gate[:, None, None]

    def ours(inputs, gamma, beta, *weights):
        return excitation_torch.normalised_excited(weights, inputs, gamma, beta, None, None, 1e-3, True)

    def errors_of(count, height, width, channels, hidden, shut=False):
        values = [5 + 2 * torch.randn(count, height, width, channels), torch.rand(channels) + 0.5, torch.randn(channels),
                  torch.randn(channels, hidden) / channels**0.5, torch.randn(hidden), torch.randn(hidden, channels), torch.randn(channels)]
        if shut:
            values[-1][:3] = torch.tensor([-60.0, -88.0, 60.0])
        values = [value.requires_grad_() for value in values]
        exact = [value.detach().double().requires_grad_() for value in values]
        theirs = exactly(*exact)
        weights = torch.randn(count, channels, height, width).permute(0, 2, 3, 1)  # in another order, as pooling gives them
        expected = torch.autograd.grad(theirs, exact, weights.double(), retain_graph=True)
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            outputs, mean, variance = ours(*values)
            gradients = torch.autograd.grad(outputs, values, weights, retain_graph=True)
            some = torch.autograd.grad(outputs, [values[1], values[5]], weights)
            yield from (far(outputs, theirs), far(mean, exact[0].mean((0, 1, 2))), far(variance, exact[0].var((0, 1, 2), correction=0)))
            yield from map(far, gradients, expected)
            yield from map(far, some, (expected[1], expected[5]))
        frozen = [value.detach() if place in (0, 3, 6) else value for place, value in enumerate(values)]
        yield from map(far, torch.autograd.grad(ours(*frozen)[0], [values[1], values[5]], weights), (expected[1], expected[5]))

    def twice(function, values):
        [first] = torch.autograd.grad(function(*values).sin().sum(), values[:1], create_graph=True)
        return torch.autograd.grad(first.square().sum(), values)

    values = [torch.randn(5, 31, 33, 40), torch.rand(40), torch.randn(40), torch.randn(40, 7), torch.randn(7), torch.randn(7, 40), torch.randn(40)]
    exact = [value.double().requires_grad_() for value in values]
    values = [value.requires_grad_() for value in values]
    second = list(map(far, twice(lambda *values: ours(*values)[0], values), twice(exactly, exact)))

    predicted = []
    for channels, hidden in ((40, 1), (24, 6), (1152, 48)):
        weights = [torch.randn(channels, hidden) / channels**0.5, torch.randn(hidden), torch.randn(hidden, channels), torch.randn(channels)]
        for threads in (1, 3):
            torch.set_num_threads(threads)
            images = torch.randn(5, 70, 3, channels) * 3 if channels > 100 else torch.randn(7, 33, 31, channels) * 3
            z = functional.silu(images.double())
            gate = torch.sigmoid(functional.silu(z.mean((1, 2)) @ weights[0].double() + weights[1]) @ weights[2].double() + weights[3])
            assert excitation_torch.silu_excited(images, *weights)
            predicted.append(far(images, z * gate[:, None, None]))
    cases = [(5, 31, 33, 40, 10), (8, 32, 32, 96, 4), (6, 37, 29, 24, 24), (16, 4, 4, 1152, 48)]
    give(errors=[list(errors_of(*case)) for case in cases], shut=list(errors_of(6, 31, 33, 40, 10, True)), second=second, predicted=predicted)
""",
    )
    assert all(len(errors) == 38 and max(errors) < 2e-5 for errors in (*found["errors"], found["shut"])), found
    assert max(*found["second"], *found["predicted"]) < 1e-5, found


NETWORK = """
    import keras, numpy as np
    from keras import layers
    from kcomp.fast.torch import excitation as excitation_torch
    from kcomp.fast.straight import plan_of
    from kcomp.fast.install import patched

    def network(kind=""):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((32, 32, 3))
        x = layers.Activation("silu")(layers.BatchNormalization()(layers.Conv2D(24, 1)(inputs)))
        share = layers.GlobalAveragePooling2D()(x)
        hidden = layers.Conv2D(5, 1, activation="silu", kernel_initializer="orthogonal")(layers.Reshape((1, 1, 24))(share))
        gate = layers.Conv2D(24, 1, activation="sigmoid")(hidden)
        model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Multiply()([x, gate]))))
        if kind == "frozen normalisation":
            model.layers[2].trainable = False
        if kind == "set since":
            model.layers[-5].activation = keras.activations.tanh
        return model

    def step(context, kind="", count=12):
        model, images = network(kind), np.random.default_rng(0).normal(size=(count, 32, 32, 3)).astype("float32")
        labels = np.eye(3, dtype="float32")[np.arange(count) % 3]
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), keras.losses.CategoricalCrossentropy(from_logits=True))
        with context:
            losses = [float(model.train_on_batch(images, labels)) for _ in range(3)]
        return losses, np.concatenate([variable.numpy().ravel() for variable in model.variables if "seed" not in variable.path])

    called, apply = [], excitation_torch.NormalisedExcitation.apply
    excitation_torch.NormalisedExcitation.apply = lambda *given: called.append(1) or apply(*given)

    def distance(kind="", count=12):
        (fast, weights), (plain, exact) = step(patched(True), kind, count), step(patched(False), kind, count)
        return max(float(np.abs(np.array(fast) - plain).max()), float(np.abs(weights - exact).max()))
"""


@needs_loops
def test_a_network_learns_as_plain_keras_does():
    """Weights, moving averages and losses after three updates; with frozen normalisation, another activation and
    batches that have no image for each thread, layer by layer."""
    found = in_backend(
        "torch",
        NETWORK
        + """
    import torch
    torch.set_num_threads(2)
    found = {}
    for kind in ("", "frozen normalisation", "set since"):
        called.clear()
        found[kind] = [distance(kind), len(called)]
    torch.set_num_threads(16)
    called.clear()
    found["threads"] = [distance(), len(called)]
    names = [type(step.operation).__name__ for step in plan_of(network()).steps]
    give(found=found, names=names)
""",
    )
    assert max(distance for distance, _ in found["found"].values()) < 2e-5, found
    assert {kind: calls for kind, (_, calls) in found["found"].items()} == {
        "": 3,
        "frozen normalisation": 0,
        "set since": 0,
        "threads": 0,
    }
    assert found["names"].count("Excitation") == 1 and "Multiply" not in found["names"]
