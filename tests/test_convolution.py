"""The faster convolutions give Keras's results, on each backend, against NumPy in 64 bits and plain Keras.

KERAS_BACKEND=jax python tests/test_convolution.py      # every measurement of one backend, as JSON
"""

import contextlib
import functools
import importlib.util
import json
import os
from pathlib import Path
from unittest import mock

import conftest
import numpy as np
import pytest

BACKENDS = ["jax", "torch"]
PLACES = [("same", (7, 8)), ("same", (8, 13)), ("valid", (8, 13))]
DEPTHWISE = [(kernel, stride, *place) for kernel in (3, 5) for stride in (1, 2) for place in PLACES]
PLAIN = ["dilation", "groups", "depth_multiplier", "subclass", "channels_first", "renorm", "mask", "axis"]


@functools.cache
def measured(backend):
    """Return what `measure` finds in a child process that runs `backend`: {name: number, list or text}."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    code = f"import runpy, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code += f"runpy.run_path({__file__!r}, run_name='__main__')"
    child = conftest.run_process(backend, [], code=code, env=conftest.environment(backend))
    if child.returncode:
        pytest.fail(child.stderr[-3000:])
    return json.loads(child.stdout.splitlines()[-1])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", DEPTHWISE, ids=str)
def test_depthwise_convolution_and_its_gradients_equal_numpy(backend, case):
    assert measured(backend)[f"depthwise {case}"] < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "case", ["1x1", "1x1 stride 2", "3x3 stride 2", "as many groups as channels", "depthwise 1x1 stride 2"]
)
def test_other_convolutions_and_their_gradients_equal_numpy(backend, case):
    assert measured(backend)[case] < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", ["inference", "frozen", "training", "no gamma, no beta", "two axes", "one value"])
def test_batch_normalisation_and_its_gradients_equal_plain_keras(backend, case):
    assert measured(backend)[f"normalisation {case}"] < 1e-5


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("bfloat16", 0.02), ("float16", 0.002)])
def test_silu_and_its_gradient_equal_numpy_from_minus_200_to_200(dtype, tolerance):
    assert measured("jax")[f"silu {dtype}"] < tolerance
    assert measured("jax")[f"silu gradient {dtype}"] < tolerance


@pytest.mark.parametrize("height", [9, 17])  # blocks of 5 and 4 rows, of 6, 6 and 5
def test_depthwise_gradients_of_blocks_that_do_not_divide_the_rows_equal_numpy(height):
    assert measured("jax")[f"depthwise blocks {height}"] < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_moving_statistics_after_three_updates_equal_the_definition(backend):
    statistics = measured(backend)[
        "moving statistics"
    ]  # of a channel whose batches are (1, 3), (2, 6), (3, 9); momentum 0.5
    assert statistics[0] == pytest.approx(0.125 * 0 + 0.125 * 2 + 0.25 * 4 + 0.5 * 6, rel=1e-6)
    assert statistics[1] == pytest.approx(0.125 * 1 + 0.125 * 1 + 0.25 * 4 + 0.5 * 9, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_gives_the_same_logits_gradients_and_losses(backend):
    found = measured(backend)
    assert found["model logits"] < 1e-4
    assert found["model gradients"] < 1e-4
    assert found["model losses"][0] == pytest.approx(found["model losses"][1], rel=1e-4)
    assert found["model losses"][0][0] != found["model losses"][0][1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_sixteen_bits_stay_sixteen_bits(backend):
    found = measured(backend)
    assert found["mixed dtypes 1"] == found["mixed dtypes 2"] == ["bfloat16"] * 3
    assert found["mixed"] < 0.02  # bfloat16 holds 8 bits


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", PLAIN)
def test_what_is_not_covered_runs_plain_keras(backend, case):
    assert measured(backend)[f"plain {case}"] == [0.0, 1]  # difference, calls of Keras's own


def test_an_activation_other_than_silu_runs_plain_keras():
    assert measured("jax")["plain activation"] == [0.0, 1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_covered_does_not_run_plain_keras(backend):
    assert measured(backend)["calls of Keras's own"] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_classes_are_restored(backend):
    assert measured(backend)["restored"] == ["changed", "nested", "same", "same after an exception"]


# What follows runs in the child.


def reference(images, kernel, stride, padding, cotangent):
    """Return the convolution in 64 bits and its gradients for images, kernel and bias; a 3-D kernel is depthwise."""
    images, kernel = images.astype("float64"), kernel.astype("float64")
    high, wide = kernel.shape[:2]
    lengths = [
        -(-size // stride) if padding == "same" else (size - k) // stride + 1
        for size, k in zip(images.shape[1:3], (high, wide), strict=True)
    ]
    missing = [
        max((length - 1) * stride + k - size, 0) if padding == "same" else 0
        for length, size, k in zip(lengths, images.shape[1:3], (high, wide), strict=True)
    ]
    before = [total // 2 for total in missing]
    padded = np.pad(images, ((0, 0), *((b, total - b) for b, total in zip(before, missing, strict=True)), (0, 0)))
    taps, channels = ("abc", "c") if kernel.ndim == 3 else ("abcf", "f")
    outputs = np.zeros((len(images), *lengths, kernel.shape[-1]))
    to_padded, to_kernel = np.zeros_like(padded), np.zeros_like(kernel)
    for row in range(lengths[0]):
        for column in range(lengths[1]):
            place = np.s_[:, row * stride : row * stride + high, column * stride : column * stride + wide]
            outputs[:, row, column] = np.einsum(f"nabc,{taps}->n{channels}", padded[place], kernel)
            to_kernel += np.einsum(f"nabc,n{channels}->{taps}", padded[place], cotangent[:, row, column])
            to_padded[place] += np.einsum(f"n{channels},{taps}->nabc", cotangent[:, row, column], kernel)
    to_images = to_padded[:, before[0] : before[0] + images.shape[1], before[1] : before[1] + images.shape[2]]
    return outputs, to_images, to_kernel, cotangent.sum((0, 1, 2))


def differentiate(layer, inputs, cotangent, **keywords):
    """Return outputs and the gradients of sum(outputs * cotangent) for inputs and each trainable variable, in NumPy."""
    return differentiator(layer, cotangent, **keywords)(inputs)


def differentiator(layer, cotangent, **keywords):
    """Return `differentiate` as a function of the inputs, which JAX compiles once."""
    import keras

    if keras.backend.backend() == "torch":
        return functools.partial(differentiate_torch, layer, cotangent, keywords)
    import jax

    @jax.jit
    def run(inputs, values, state):
        def outputs_and_state(inputs, values):
            return layer.stateless_call(values, state, inputs, **keywords)

        outputs, pull, after = jax.vjp(outputs_and_state, inputs, values, has_aux=True)
        return outputs, *pull(cotangent.astype(outputs.dtype)), after

    def differentiate_jax(inputs):
        values = [
            [variable.value for variable in group]
            for group in (layer.trainable_variables, layer.non_trainable_variables)
        ]
        outputs, to_inputs, to_values, after = run(inputs, *values)
        for variable, value in zip(layer.non_trainable_variables, after, strict=True):
            variable.assign(value)
        return [np.asarray(array) for array in (outputs, to_inputs, *to_values)]

    return differentiate_jax


def differentiate_torch(layer, cotangent, keywords, inputs):
    import keras
    import torch

    inputs = torch.tensor(inputs, requires_grad=True)
    values = [inputs, *(variable.value for variable in layer.trainable_variables)]
    outputs = layer(inputs, **keywords)
    gradients = torch.autograd.grad(outputs, values, torch.tensor(cotangent, dtype=outputs.dtype))
    return [keras.ops.convert_to_numpy(array.detach()) for array in (outputs, *gradients)]


def difference(first, second):
    """Return the largest difference of two lists of arrays, relative to the largest entry of each."""
    assert [np.shape(array) for array in first] == [np.shape(array) for array in second]
    return max(
        float(np.abs(np.float64(a) - b).max() / (np.abs(b).max() + 1e-6))
        for a, b in zip(first, map(np.float64, second), strict=True)
    )


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


def build(layer, shape):
    """Build a layer; JAX would compile a program for the shape of each weight."""
    from kcomp.engine.initial_weights import draw_weights_on_host

    with draw_weights_on_host(0):
        layer.build(shape)


def compare_with_numpy(layer, size, stride, padding, channels=6):
    """Return the relative error of a convolution layer inside the context, its outputs and all its gradients."""
    from kcomp.fast.install import patched

    images = normal(2, *size, channels)
    build(layer, images.shape)
    layer.bias.assign(normal(*layer.bias.shape))
    kernel = np.array(layer.kernel)
    if "Depthwise" in type(layer).__name__:
        kernel = kernel[..., 0]
    elif layer.groups > 1:
        kernel = kernel[:, :, 0]
    cotangent = normal(*layer.compute_output_shape(images.shape), seed=1)
    with patched(True):
        found = differentiate(layer, images, cotangent)
    expected = list(reference(images, kernel, stride, padding, cotangent))
    expected[0] = expected[0] + np.array(layer.bias)
    found[2] = found[2].reshape(kernel.shape)
    return difference(found, expected)


def measure_convolutions():
    from keras.layers import Conv2D, DepthwiseConv2D

    for kernel, stride, padding, size in DEPTHWISE:
        layer = DepthwiseConv2D(kernel, strides=stride, padding=padding)
        yield f"depthwise {(kernel, stride, padding, size)}", compare_with_numpy(layer, size, stride, padding)
    depthwise = DepthwiseConv2D(1, strides=2)
    yield "depthwise 1x1 stride 2", compare_with_numpy(depthwise, (8, 13), 2, "valid")
    yield "1x1", compare_with_numpy(Conv2D(5, 1), (7, 8), 1, "valid")
    yield "1x1 stride 2", compare_with_numpy(Conv2D(5, 1, strides=2, padding="same"), (7, 8), 2, "same")
    yield "3x3 stride 2", compare_with_numpy(Conv2D(5, 3, strides=2, padding="same"), (7, 8), 2, "same")
    grouped = Conv2D(6, 7, padding="same", groups=6)
    yield "as many groups as channels", compare_with_numpy(grouped, (7, 8), 1, "same")


def measure_silu():
    import keras

    from kcomp.fast.install import patched

    if keras.backend.backend() != "jax":
        return
    inputs = np.concatenate([np.linspace(-200, 200, 801), np.linspace(-9, 9, 181)])[:, None]
    inputs = inputs.astype("float16").astype("float64")
    sigmoid = np.exp(-np.logaddexp(0, -inputs))
    slope = sigmoid * (1 + inputs * (1 - sigmoid))
    for dtype in ("float32", "bfloat16", "float16"):
        values = np.asarray(keras.ops.cast(inputs, dtype))
        with patched(True):
            layer = keras.layers.Activation("silu", dtype=dtype)
            outputs, gradient = differentiate(layer, values, np.ones_like(values))
        assert outputs.dtype == gradient.dtype == values.dtype
        yield f"silu {dtype}", difference([outputs[801:]], [inputs[801:] * sigmoid[801:]])
        yield f"silu gradient {dtype}", float(np.abs(np.float64(gradient) - slope).max())


def measure_blocks():
    from keras.layers import DepthwiseConv2D

    for height in (9, 17):
        layer = DepthwiseConv2D(3, strides=2, padding="same")
        yield f"depthwise blocks {height}", compare_with_numpy(layer, (2 * height, 5), 2, "same", channels=2)


def with_and_without(make, inputs, updates=1, **keywords):
    """Return [outputs, gradients, non-trainable variables] of equal layers, inside and outside the context."""
    from kcomp.fast.install import patched

    results = []
    for on in (True, False):
        layer = make()
        build(layer, inputs.shape)
        for index, variable in enumerate(layer.variables):
            if np.issubdtype(np.dtype(variable.dtype), np.floating):
                variable.assign(0.5 + np.abs(normal(*variable.shape, seed=index)))
        with patched(on):
            run = differentiator(layer, normal(*layer.compute_output_shape(inputs.shape), seed=1), **keywords)
            for update in range(updates):
                arrays = run(inputs + np.float32(update))
        results.append(arrays + [np.array(variable) for variable in layer.non_trainable_variables])
    return results


def measure_normalisation():
    import keras
    from keras.layers import BatchNormalization

    images = 3 * normal(4, 5, 6, 7) + 1
    cases = {
        "inference": ({}, images, {"training": False}),
        "frozen": ({"trainable": False}, images, {"training": True}),
        "training": ({"momentum": 0.7}, images, {"training": True}),
        "no gamma, no beta": ({"center": False, "scale": False}, images, {"training": True}),
        "two axes": ({}, images[:, 0, 0], {"training": True}),
        "one value": ({}, images[:1, :1, :1], {"training": True}),
    }
    for name, (options, inputs, keywords) in cases.items():
        make = functools.partial(BatchNormalization, **options)
        yield f"normalisation {name}", difference(*with_and_without(make, inputs, updates=3, **keywords))

    from kcomp.fast.install import patched

    layer = BatchNormalization(momentum=0.5)
    with patched(True):
        for batch in ((1.0, 3.0), (2.0, 6.0), (3.0, 9.0)):
            layer(np.reshape(np.float32(batch), (1, 1, 2, 1)), training=True)
    yield "moving statistics", [float(keras.ops.squeeze(v)) for v in (layer.moving_mean, layer.moving_variance)]


def small_network():
    """Return a network of EfficientNet's parts and a convolution of ConvNeXt's, with statistics of no special value."""
    from keras import layers

    from kcomp.engine.initial_weights import draw_weights_on_host

    def convolve(x, layer):
        return layers.Activation("silu")(layers.BatchNormalization()(layer(x)))

    with draw_weights_on_host(1):
        model = stacked(convolve)
    for index, variable in enumerate(v for v in model.variables if "moving" in v.path):
        variable.assign(variable + 0.3 * np.abs(normal(*variable.shape, seed=index)))
    return model


def stacked(convolve):
    import keras
    from keras import layers

    inputs = keras.Input((33, 32, 3))
    x = convolve(inputs, layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False))
    for kernel, stride in ((5, 2), (3, 1)):
        skip = x
        x = convolve(x, layers.Conv2D(16, 1, use_bias=False))
        x = convolve(x, layers.DepthwiseConv2D(kernel, strides=stride, padding="same", use_bias=False))
        gate = layers.Reshape((1, 1, 16))(layers.GlobalAveragePooling2D()(x))
        gate = layers.Conv2D(16, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="silu")(gate))
        x = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(layers.Multiply()([x, gate])))
        x = layers.Add()([x, skip]) if stride == 1 else x
    x = layers.Conv2D(8, 7, padding="same", groups=8)(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def measure_model():
    import keras

    from kcomp.fast.install import patched

    images, labels = normal(8, 33, 32, 3), np.arange(8) % 3
    logits, gradients, losses = [], [], []
    for on in (True, False):
        with patched(on):
            model = small_network()
            logits.append([model.predict(images, verbose=0)])
            gradients.append(differentiate(model, images, normal(8, 3), training=True))
            model = small_network()
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
            history = model.fit(images, labels, batch_size=8, epochs=2, shuffle=False, verbose=0)
            losses.append(history.history["loss"])
    yield "model logits", difference(*logits)
    yield "model gradients", difference(*gradients)
    yield "model losses", losses


def measure_mixed():
    import keras
    from keras.layers import BatchNormalization, Conv2D, DepthwiseConv2D

    from kcomp.fast.install import patched

    layers = [
        make(dtype="mixed_bfloat16")
        for make in (functools.partial(DepthwiseConv2D, 5), functools.partial(Conv2D, 4, 1), BatchNormalization)
    ]
    images = normal(2, 8, 8, 6)
    for layer in layers:
        build(layer, images.shape)
    results = []
    for on in (True, False):
        with patched(on):  # batch normalisation takes the batch's statistics, so the order does not matter
            outputs = [
                layer(images, **keywords) for layer, keywords in zip(layers, ({}, {}, {"training": True}), strict=True)
            ]
        results.append([keras.ops.convert_to_numpy(output).astype("float32") for output in outputs])
        dtypes = [keras.backend.standardize_dtype(output.dtype) for output in outputs]
        yield f"mixed dtypes {len(results)}", dtypes
    yield "mixed", difference(*results)


def run_compiled(layer, inputs, keywords):
    """Return the outputs of a built layer; JAX would compile each operation by itself otherwise."""
    import keras

    if keras.backend.backend() == "torch" or keywords.get("training"):  # statistics leave no compiled function
        return keras.ops.convert_to_numpy(layer(inputs, **keywords))
    import jax

    return np.asarray(jax.jit(lambda values: layer(values, **keywords))(inputs))


def calls_and_outputs(layer, inputs, keywords):
    """Return how often Keras's own `call` of a layer ran inside the context, and the outputs inside and outside."""
    from kcomp.fast.install import patched

    own = next(
        c
        for c in type(layer).__mro__
        if c.__module__.startswith("keras")
        and c.__name__ in ("Conv2D", "DepthwiseConv2D", "BatchNormalization", "Activation")
    )
    build(layer, inputs.shape)
    outside = run_compiled(layer, inputs, keywords)
    with mock.patch.object(own, "call", autospec=True, side_effect=own.call) as spy, patched(True):
        inside = run_compiled(layer, inputs, keywords)
    return spy.call_count, inside, outside


def measure_calls():
    import keras
    from keras.layers import BatchNormalization, Conv2D, DepthwiseConv2D

    class Doubled(Conv2D):
        def convolution_op(self, inputs, kernel):
            return 2 * super().convolution_op(inputs, kernel)

    images, mask = normal(2, 8, 8, 6), np.ones((2, 8, 8), bool)
    plain = {
        "dilation": (Conv2D(4, 3, dilation_rate=2), {}),
        "groups": (Conv2D(4, 3, groups=2), {}),
        "depth_multiplier": (DepthwiseConv2D(3, depth_multiplier=2), {}),
        "subclass": (Doubled(4, 1), {}),
        "channels_first": (Conv2D(4, 3, data_format="channels_first"), {}),
        "renorm": (BatchNormalization(renorm=True), {"training": False}),
        "mask": (BatchNormalization(), {"training": False, "mask": keras.ops.convert_to_tensor(mask)}),
        "axis": (BatchNormalization(axis=1), {"training": False}),
    }
    if keras.backend.backend() == "jax":
        plain["activation"] = (keras.layers.Activation("gelu"), {})
    for name, (layer, keywords) in plain.items():
        calls, inside, outside = calls_and_outputs(layer, images, keywords)
        yield f"plain {name}", [float(np.abs(inside - outside).max()), calls]
    covered = [Conv2D(4, 1), Conv2D(6, 3, groups=6), DepthwiseConv2D(3, strides=2, padding="same")]
    calls = [calls_and_outputs(layer, images, {})[0] for layer in covered]
    calls.append(calls_and_outputs(BatchNormalization(), images, {"training": True})[0])
    if keras.backend.backend() == "jax":
        calls.append(calls_and_outputs(keras.layers.Activation("silu"), images, {})[0])
    yield "calls of Keras's own", sum(calls)


def measure_restored():
    import keras
    from keras.layers import Activation, BatchNormalization, Conv2D, DepthwiseConv2D

    from kcomp.fast.install import patched

    def now():
        classes = [Conv2D, DepthwiseConv2D, BatchNormalization]
        classes += [Activation] if keras.backend.backend() == "jax" else []
        return [(c.call, vars(c).get("call")) for c in classes]

    before, found = now(), []
    with patched(True):
        outer = now()
        found.append("changed" if all(a[0] is not b[0] for a, b in zip(outer, before, strict=True)) else "unchanged")
        with patched(True):
            pass
        found.append("nested" if now() == outer else "lost")
    found.append("same" if now() == before else "other")
    with contextlib.suppress(KeyError), patched(True):
        raise KeyError
    found.append("same after an exception" if now() == before else "other after an exception")
    yield "restored", found


def measure():
    parts = [measure_convolutions, measure_silu, measure_blocks, measure_normalisation]
    parts += [measure_model, measure_mixed, measure_calls, measure_restored]
    return {name: value for part in parts for name, value in part()}


if __name__ == "__main__":
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        jax.config.update("jax_platforms", "cpu")
    print(json.dumps(measure()))
