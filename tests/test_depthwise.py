"""kcomp's loops for depthwise convolutions on PyTorch, against float64, and what they leave to PyTorch."""

import importlib.util
import sys

import pytest
from conftest import in_backend

pytest.importorskip("torch")

needs_loops = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("numba") is None, reason="needs numba and GNU's OpenMP"
)

HEAD = """
    import torch
    from torch.nn import functional
    from kcomp.fast.torch import depthwise as depthwise_torch
    torch.manual_seed(0)
    far = lambda one, other: float((one.double() - other).abs().max() / other.abs().max())
    exactly = lambda values: [value.detach().double().requires_grad_() for value in values]

    def by_torch(images, kernel, stride, padding):
        (top, bottom), (left, right) = padding
        padded = functional.pad(images.permute(0, 3, 1, 2), (left, right, top, bottom))
        return functional.conv2d(padded, kernel.permute(2, 0, 1)[:, None], None, stride, groups=kernel.shape[2]).permute(0, 2, 3, 1)

    def second(function, *values):
        [first] = torch.autograd.grad(function(*values).sin().sum(), values[:1], create_graph=True)
        return torch.autograd.grad(first.square().sum(), values)
"""


@needs_loops
def test_convolutions_and_their_gradients_are_right_to_the_last_digits():
    """Kernels of 2 to 7, strides of 1 to 4, zeros that differ on each side, pixels that no output sees, rows shorter
    than what is computed at once."""
    found = in_backend(
        "torch",
        HEAD
        + """
    cases = [(4, 64, 33, 32, 3, 1, ((1, 1), (1, 1))), (4, 65, 31, 48, 3, 2, ((0, 1), (1, 0))), (4, 32, 40, 48, 5, 2, ((1, 2), (1, 2))),
             (4, 32, 40, 48, 5, 3, ((1, 2), (0, 4))), (3, 37, 41, 64, 2, 3, ((0, 0), (0, 0))), (4, 40, 40, 32, 7, 4, ((0, 0), (3, 3))),
             (4, 40, 40, 32, 4, 2, ((0, 1), (2, 1))), (2, 5, 1700, 16, 3, 3, ((2, 2), (0, 0))), (90, 5, 3, 112, 5, 1, ((2, 2), (2, 2)))]

    def errors_of(count, height, width, channels, size, stride, padding):
        values = [torch.randn(count, height, width, channels, requires_grad=True), torch.randn(size, size, channels, requires_grad=True)]
        exact = exactly(values)
        assert depthwise_torch.suits(*values, (stride, stride), padding)
        theirs = by_torch(*exact, stride, padding)
        weights = torch.randn(theirs.shape)
        expected = torch.autograd.grad(theirs, exact, weights.double())
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            ours = depthwise_torch.depthwise(*values, stride, padding)
            alone = depthwise_torch.correlate(values[0].detach(), values[1].detach(), padding, stride=stride)
            gradients = torch.autograd.grad(ours, values, weights.permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3))
            yield from (far(ours, theirs), far(alone, theirs), *map(far, gradients, expected))
        [only] = torch.autograd.grad(depthwise_torch.depthwise(values[0].detach(), values[1], stride, padding), values[1:], weights)
        yield far(only, expected[1])
        twice = second(lambda *values: depthwise_torch.depthwise(*values, stride, padding), *values)
        yield from map(far, twice, second(lambda *values: by_torch(*values, stride, padding), *exact))

    give(found=[list(errors_of(*case)) for case in cases])
""",
    )["found"]
    assert all(len(errors) == 15 and max(errors) < 5e-6 for errors in found), found


@needs_loops
def test_what_the_loops_do_not_cover_goes_to_pytorch():
    found = in_backend(
        "torch",
        HEAD
        + """
    def suits(channels=32, rows=3, columns=3, strides=(1, 1), padding=((0, 1), (0, 1)), learns=True, pixels=80, dtype=torch.float32):
        images = torch.empty(2, pixels, pixels, channels, dtype=dtype)
        return depthwise_torch.suits(images, torch.empty(rows, columns, channels, dtype=dtype, requires_grad=learns), strides, padding)
    even = ((1, 1), (1, 1))
    give(covered=[suits(), suits(learns=False), suits(padding=even), suits(columns=3, strides=(3, 3))],
         left=[suits(channels=24), suits(columns=5), suits(rows=1, columns=1), suits(strides=(1, 2)), suits(padding=((3, 0), (0, 0))),
               suits(padding=even, learns=False), suits(pixels=40), suits(dtype=torch.float64)])
""",
    )
    assert all(found["covered"]) and not any(found["left"])


NETWORK = (
    HEAD
    + """
    import keras, numpy as np
    from keras import layers
    from kcomp.fast.torch import loop_arguments as loops_torch
    from kcomp.fast.install import patched
    from kcomp.prediction.forward import compile_forward

    def network():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((64, 64, 3))
        x = layers.Conv2D(32, 3, padding="same")(inputs)
        x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        x = layers.DepthwiseConv2D(3, strides=2, padding="valid", use_bias=False)(x)
        x = layers.DepthwiseConv2D(5, strides=2, padding="same")(x)
        s = layers.Reshape((1, 1, 32))(layers.GlobalAveragePooling2D()(x))
        s = layers.Conv2D(32, 1, activation="sigmoid")(layers.Conv2D(8, 1, activation="silu")(s))
        x = layers.Add()([layers.Multiply()([x, s]), x])
        x = layers.Conv2D(16, 1)(layers.ZeroPadding2D(1)(x))
        x = layers.Conv2D(16, 1, use_bias=False)(layers.ZeroPadding2D(((2, 0), (0, 1)))(x))
        x = layers.DepthwiseConv2D(3, padding="valid")(layers.ZeroPadding2D(((4, 0), (0, 1)))(x))
        return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))

    images = torch.randn(32, 64, 64, 3)

    def step(context):
        model = network()
        with context:
            logits = model(images, training=True)
            (logits * torch.arange(96.0).reshape(32, 3).sin()).sum().backward()
            outputs = compile_forward(model)(images.numpy())
        return [logits.detach().numpy(), outputs, *(v.value.grad.numpy() for v in model.trainable_variables)]
    distance = lambda these, those: max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in zip(these, those))
"""
)


@needs_loops
def test_a_network_learns_and_predicts_as_plain_keras_does():
    """Zeros before a convolution in one step with it, also where the loops cannot have it, and before 1 x 1 ones."""
    found = in_backend(
        "torch",
        NETWORK
        + """
    code, called = loops_torch.loops("depthwise"), []
    run = code.run
    code.run = lambda loop, *arguments: called.append("correlate" if loop is code.correlate else "weights") or run(loop, *arguments)
    fast, plain = step(patched(True)), step(patched(False))
    loops_torch.loops = lambda name="silu": None
    without = step(patched(True))
    give(distance=[distance(fast, plain), distance(without, plain)], called=called)
""",
    )
    assert max(found["distance"]) < 1e-4
    # forward with zeros on one side, backward for the weights and images of both
    assert found["called"] == ["correlate", "correlate", "correlate", "weights", "correlate", "weights"]
