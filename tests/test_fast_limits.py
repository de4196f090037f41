"""What PyTorch's faster ways must leave to Keras and PyTorch, or do as these do: exports, transforms of functions, masks,
empty batches, arguments given in other ways."""

import pytest
from conftest import in_backend

pytest.importorskip("torch")

HEAD = """
    import keras, numpy as np, torch
    from keras import layers
    from kcomp.fast.install import patched
    from kcomp.fast.torch.inference import inference_of
    far = lambda one, other: float(np.abs(np.asarray(one) - np.asarray(other)).max(initial=0.0) / (np.abs(np.asarray(other)).max(initial=0.0) + 1e-9))
    plain = lambda model, *inputs: keras.ops.convert_to_numpy(model(*inputs, training=False))

    def squeezed(size=64, strides=2):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((size, size, 3))
        x = layers.Rescaling(1 / 255.0)(inputs)
        x = layers.Activation("silu")(layers.BatchNormalization()(layers.DepthwiseConv2D(3, strides, "same")(layers.Conv2D(32, 1)(x))))
        share = layers.GlobalAveragePooling2D()(x)
        share = layers.Reshape((1, 1, 32))(share) if size else layers.Lambda(lambda v: v[:, None, None])(share)
        share = layers.Conv2D(32, 1, activation="sigmoid")(layers.Conv2D(8, 1, activation="silu")(share))
        x = layers.Multiply()([x, share])
        return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
"""


def test_exports_keep_their_free_sizes():
    found = in_backend(
        "torch",
        HEAD
        + """
    images = torch.rand(5, 64, 64, 3) * 255
    model, errors = squeezed(), {}
    expected = plain(model, images)
    wrapper = torch.nn.Module()
    wrapper.model = model
    wrapper.forward = lambda images: model(images, training=False)
    with patched(True), torch.no_grad():
        program = torch.export.export(wrapper, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
        errors["exported"] = far(program.module()(images), expected)
        traced = torch.jit.trace(wrapper, (images[:2],), check_trace=False)
        errors["traced"] = far(traced(images), expected)
    forward = inference_of(model)
    folded = torch.nn.Module()
    folded.forward = lambda images: forward(images)
    with patched(True), torch.no_grad():
        errors["before"] = far(forward(images), expected)
        for name in ("once", "twice"):
            errors[name] = far(torch.export.export(folded, (images,)).module()(images), expected)
        errors["after"] = far(forward(images), expected)
    free = squeezed(None, 1)  # what Keras pads before strides hangs on the size that was traced
    with patched(True), torch.no_grad():
        wrapper.model, wrapper.forward = free, lambda images: free(images, training=False)
        traced = torch.jit.trace(wrapper, (images[:2, :32, :32],), check_trace=False)
        errors["other size"] = far(traced(images), plain(free, images))
    give(**errors)
""",
    )
    assert max(found.values()) < 1e-5, found


def test_functions_of_gradients_go_through_pytorchs_own_operations():
    found = in_backend(
        "torch",
        HEAD
        + """
    from torch.autograd import forward_ad
    from torch.nn import functional
    from kcomp.fast.torch import silu as silu_torch, convolution as convolution_torch
    images, kernel = torch.randn(4, 64, 64, 32), torch.randn(3, 3, 32)
    silu = lambda images: silu_torch.silu_in_place(images + 0)
    convolve = lambda images: convolution_torch.depthwise(images, kernel, None, (1, 1), ((1, 1), (1, 1)))
    alone = lambda images: functional.conv2d(images.permute(0, 3, 1, 2), kernel.permute(2, 0, 1)[:, None], None, 1, 1, groups=32).permute(0, 2, 3, 1)
    pairs = {"convolution": (convolve, alone), "silu": (silu, functional.silu)}
    errors = {}
    for name, (ours, theirs) in pairs.items():
        errors[name] = far(*(torch.func.grad(lambda images: function(images).square().sum())(images) for function in (ours, theirs)))
        found = []
        for function in (ours, theirs):
            with forward_ad.dual_level():
                found.append(forward_ad.unpack_dual(function(forward_ad.make_dual(images, images.cos()))).tangent)
        errors[f"{name} forward"] = far(*found)
    errors["vmap"] = far(torch.vmap(silu)(images), functional.silu(images))
    give(**errors)
""",
    )
    assert max(found.values()) < 1e-5, found


def test_keras_own_ways_to_call_layers():
    found = in_backend(
        "torch",
        HEAD
        + """
    def same(model, *inputs, folded=False):
        inputs = inputs[0] if len(inputs) == 1 else list(inputs)
        expected = plain(model, inputs)
        with patched(True):
            found = inference_of(model)(inputs) if folded else plain(model, inputs)
        return far(found, expected)

    draws = np.random.default_rng(0)
    rows, errors = draws.normal(size=(2, 3, 4)).astype("float32"), {}
    first, second = keras.Input((3, 4)), keras.Input((3, 4))
    masked = np.where(np.arange(3)[:, None] == 1, 0, rows).astype("float32")
    model = keras.Model([first, second], layers.LSTM(2)(layers.Multiply()([layers.Masking()(first), second])))
    errors["masks"] = same(model, masked, rows)

    images = draws.uniform(0, 9, (3, 8, 8, 3)).astype("float32")
    inputs = keras.Input((8, 8, 3))
    one, other = (layers.Conv2D(4, 3)(inputs, training=False) for _ in range(2))
    errors["inputs by name"] = same(keras.Model(inputs, layers.Add()(inputs=[one, other])), images, folded=True)
    padded = layers.Conv2D(4, 3)(layers.ZeroPadding2D(1)(inputs, training=False), training=False)
    errors["training given"] = same(keras.Model(inputs, padded), images)
    pooled = layers.DepthwiseConv2D(1)(layers.GlobalAveragePooling2D(keepdims=True)(inputs))
    errors["pooled, depthwise"] = same(keras.Model(inputs, pooled), images, folded=True)
    vector = keras.Input((1, 1, 8))
    errors["empty vector"] = same(keras.Model(vector, layers.Conv2D(4, 1)(vector)), np.zeros((0, 1, 1, 8), "float32"))
    give(**errors)
""",
    )
    assert max(found.values()) < 1e-5, found


def test_kernels_are_kept_for_few_sizes():
    found = in_backend(
        "torch",
        HEAD
        + """
    from kcomp.fast.torch.folding import Folded
    inputs = keras.Input((None, None, 3))
    layer = layers.Conv2D(8, 3)
    model, folded = keras.Model(inputs, layer(inputs)), Folded([layer])
    errors = []
    for size in [*range(8, 20), 8]:
        images = torch.rand(2, size, size, 3)
        with torch.inference_mode():
            errors.append(far(folded.call(images), plain(model, images)))
    give(error=max(errors), kept=len(folded.prepared))
""",
    )
    assert found["error"] < 1e-5 and found["kept"] == 4
