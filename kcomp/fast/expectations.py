"""The parts of Keras that kcomp's patches use, and a check of the installed Keras."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Expected:
    """What a patch uses of a Keras class: one of its methods, and attributes of its objects.

    path:       module and class, such as "keras.layers:Conv2D".
    method:     name of the method.
    parameters: names of the method's parameters, in order. None if the patch does not use the method.
    attributes: names of the attributes.
    make:       function that makes an object of the class, to check its attributes. If None, the class itself must
                have the attributes.
    """

    path: str
    method: str = "call"
    parameters: tuple[str, ...] | None = ("self", "inputs")
    attributes: tuple[str, ...] = ()
    make: Callable[[Any], Any] | None = None


def find_difference(expected: Expected) -> str | None:
    module, _, name = expected.path.partition(":")
    try:
        owner = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return f"Keras has no {module}.{name}"
    if expected.parameters is not None:
        method = getattr(owner, expected.method, None)
        if method is None:
            return f"{name} has no method {expected.method!r}"
        parameters = tuple(inspect.signature(method).parameters)
        if parameters != expected.parameters:
            return f"{name}.{expected.method} takes ({', '.join(parameters)})"
    try:
        sample = owner if expected.make is None else expected.make(owner)
    except (AttributeError, TypeError, ValueError) as error:
        return f"{name} cannot be made: {error}"
    missing = [attribute for attribute in expected.attributes if not hasattr(sample, attribute)]
    return f"{name} has no attribute {missing[0]!r}" if missing else None


def built_convolution(layer_class: Any) -> Any:
    """Return a built convolution layer with a 1 x 1 kernel of zeros."""
    zeros = (
        {"kernel_initializer": "zeros"} if layer_class is keras.layers.Conv2D else {"depthwise_initializer": "zeros"}
    )
    size = (1, 1) if layer_class is keras.layers.Conv2D else (1,)
    layer = layer_class(*size, **zeros, name="sample")
    layer.build((None, 1, 1, 1))
    return layer


SHARED = "kernel", "bias", "activation", "strides", "padding", "kernel_size", "data_format", "dilation_rate"
CONVOLUTIONS = (
    Expected("keras.layers:Conv2D", attributes=(*SHARED, "groups", "filters"), make=built_convolution),
    Expected("keras.layers:DepthwiseConv2D", attributes=(*SHARED, "depth_multiplier"), make=built_convolution),
)
NORMALISATION = Expected(
    "keras.layers:BatchNormalization",
    parameters=("self", "inputs", "training", "mask"),
    attributes=(
        *("gamma", "beta", "moving_mean", "moving_variance", "momentum", "epsilon"),
        *("axis", "renorm", "synchronized", "compute_dtype"),
    ),
    make=lambda layer_class: layer_class(name="sample"),
)
ACTIVATION = Expected(
    "keras.layers:Activation",
    attributes=("activation",),
    make=lambda layer_class: layer_class("silu", name="sample"),
)
POOLING = Expected(
    "keras.layers:GlobalAveragePooling2D",
    attributes=("data_format", "keepdims"),
    make=lambda layer_class: layer_class(name="sample"),
)
RESHAPE = Expected(
    "keras.layers:Reshape",
    attributes=("target_shape",),
    make=lambda layer_class: layer_class((1,), name="sample"),
)
MERGING = (Expected("keras.layers:Multiply"), Expected("keras.layers:Add"))
ZERO_PADDING = Expected(
    "keras.layers:ZeroPadding2D",
    attributes=("padding", "data_format"),
    make=lambda layer_class: layer_class(name="sample"),
)
STRAIGHT = (
    Expected("keras.src.models.functional:Functional", parameters=("self", "inputs", "training", "mask", "kwargs")),
    Expected("keras.src.backend:AutocastScope", parameters=None),
    Expected(
        "keras.layers:Activation",
        attributes=(
            *("_call_has_training_arg", "_flatten_layers", "input_dtype", "quantization_mode", "built"),
            *("activity_regularizer", "compute_dtype", "variable_dtype", "autocast"),
        ),
        make=lambda layer_class: layer_class("silu", name="sample"),
    ),
    Expected("keras.src.ops.node:Node", "__init__", ("self", "operation", "call_args", "call_kwargs", "outputs")),
)
ADAM = Expected(
    "keras.src.backend.torch.optimizers.torch_adam:Adam",
    "_parallel_update_step",
    ("self", "grads", "variables", "learning_rate"),
    ("amsgrad", "beta_1", "beta_2", "epsilon", "iterations", "_get_variable_index"),
    make=lambda _: keras.optimizers.Adam(name="sample"),
)
TRAIN_STEP = (
    Expected("keras:Model", "make_train_function", ("self", "force")),
    Expected("keras:Model", "train_step", ("self", "state", "data")),
)
