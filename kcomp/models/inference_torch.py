"""A network's inference on PyTorch: convolutions take in the layers around them, activations overwrite their input."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import torch
from torch.nn import functional

from kcomp.models.convolution import covers_convolution, is_depthwise, padding_of, value_of
from kcomp.models.convolve_torch import convolve, convolve_packed, exported, packed
from kcomp.models.silu_torch import silu_in_place, silu_with_means
from kcomp.models.straight import NormalisedSilu, Pair, Plan, Step, plan_of, sole_readers, with_last_uses

Padding = tuple[tuple[int, int], tuple[int, int]]


def inference_of(network: keras.Model, *, fold: bool = True) -> Callable[[Any], Any]:
    """A function of images (batch, height, width, channels) that gives what `network(images, training=False)` gives.

    It takes the weights as they are at the call; with `fold`, what is folded is made again after the variables it had
    when this was called were assigned, loaded or trained.
    """
    if not fold:
        return torch.inference_mode()(lambda images: network(images, training=False))

    tensors = [variable.value for variable in network.variables]
    kept: dict[str, Any] = {"versions": None, "plan": None}

    def run(images: Any) -> Any:
        versions = [tensor._version for tensor in tensors]  # PyTorch counts updates
        with torch.inference_mode():
            if versions != kept["versions"]:
                plan = plan_of(network)
                kept.update(versions=versions, plan=None if plan is None else folded(plan))
            outputs = kept["plan"] and kept["plan"].run(images, training=False)
            return network(images, training=False) if outputs is None else outputs

    return run


def folded(plan: Plan) -> Plan:
    """The plan with each convolution, the zeros put around it, its normalisation and its activation in one step."""
    return dataclasses.replace(plan, steps=tuple(with_last_uses(list(joined(plan)), plan.result)))


def joined(plan: Plan) -> Iterator[Step]:
    alone = sole_readers(list(plan.steps), plan.result)

    def next_alone(number: int) -> Step | None:
        """The step that alone reads what step `number` gives, where nothing else of Keras's call matters to it."""
        step = plan.steps[alone[number]] if number in alone else None
        return step if step is not None and step.direct and step.source is not None else None

    places = {id(step): number for number, step in enumerate(plan.steps)}
    taken: set[int] = set()
    fresh: set[int] = set()  # what convolutions give, in memory of its own
    for number, first in enumerate(plan.steps):
        if number in taken:
            continue
        group = group_from(first, lambda step: next_alone(places[id(step)]))
        taken |= {places[id(step)] for step in group}
        if not group:
            yield overwriting(number, plan, fresh)
            continue
        operation: Any = Folded([layer for step in group for layer in layers_of(step)])
        outputs = group[-1].outputs
        fresh |= set(outputs)
        pooling = None if operation.activation is not silu_in_place else averages(outputs[0], plan)
        if pooling is not None:
            operation, outputs = (
                WithMeans(operation, plan.steps[pooling].operation),
                outputs + plan.steps[pooling].outputs,
            )
            taken.add(pooling)
        yield dataclasses.replace(first, operation=operation, outputs=outputs, training=False)


def group_from(first: Step, after: Callable[[Step], Step | None]) -> list[Step]:
    """The steps that one convolution takes the place of, in order: zeros around it, itself, normalisation, activation
    and dropout, where they are there; empty where `first` does not begin such a group."""
    group, layer = [first], layers_of(first)[-1]
    if first.source is None or not first.direct or not covers_convolution(layer):
        return []
    if layer.activation is not keras.activations.linear:
        return group
    if (step := after(group[-1])) is not None and is_plain_normalisation(layers_of(step)[0]):
        group.append(step)
    activated = type(group[-1].operation) is NormalisedSilu
    if not activated and (step := after(group[-1])) is not None and in_place(step.operation) is not None:
        group.append(step)
    if (step := after(group[-1])) is not None and type(step.operation) is keras.layers.Dropout:
        group.append(step)
    return group


def averages(slot: int, plan: Plan) -> int | None:
    """The number of a step that averages a value over height and width; None where there is none."""
    for number, step in enumerate(plan.steps):
        own = (
            type(step.operation) is keras.layers.GlobalAveragePooling2D
            and step.operation.data_format == "channels_last"
        )
        if own and step.direct and step.source == slot:
            return number
    return None


def overwriting(number: int, plan: Plan, fresh: set[int]) -> Step:
    """Step `number`, or for a product or sum one that writes over its first value, where this is a convolution's and
    read by nothing else but averages before."""
    step = plan.steps[number]
    change = {keras.layers.Multiply: torch.Tensor.mul_, keras.layers.Add: torch.Tensor.add_}.get(type(step.operation))
    if change is None or not step.direct or step.reads[0] not in fresh - {plan.result}:
        return step
    readers = [
        (place, other) for place, other in enumerate(plan.steps) for slot in other.reads if slot == step.reads[0]
    ]
    *before, (last, _) = readers
    averaged = all(type(other.operation) is keras.layers.GlobalAveragePooling2D for _, other in before)
    return (
        dataclasses.replace(step, operation=Overwriting(step.operation, change))
        if averaged and last == number
        else step
    )


def spreads(shape: Any, over: Any) -> bool:
    """Whether a tensor of that shape has a value for each one of the other shape, its sides of 1 repeated."""
    return len(shape) == len(over) and all(size in (1, wanted) for size, wanted in zip(shape, over, strict=True))


class Overwriting:
    """A layer that merges tensors, done in the memory of the first where the result has its shape."""

    def __init__(self, layer: Any, change: Callable[[Any, Any], Any]) -> None:
        self.layer, self.change = layer, change

    def call(self, values: Any) -> Any:
        first, *others = values
        if not all(spreads(other.shape, first.shape) for other in others):
            return self.layer.call(values)
        return functools.reduce(self.change, others, first)


def layers_of(step: Step) -> list[Any]:
    return list(step.operation.layers) if isinstance(step.operation, Pair) else [step.operation]


def is_plain_normalisation(layer: Any) -> bool:
    return type(layer) is keras.layers.BatchNormalization and not layer.renorm and layer.axis in (-1, 3)


def in_place(layer: Any) -> Callable[[Any], Any] | None:
    """A function that does in place what an activation layer does, for those that EfficientNets use; else None."""
    if type(layer) is keras.layers.Activation and layer.activation is keras.activations.silu:
        return silu_in_place
    if type(layer) is keras.layers.Activation and layer.activation is keras.activations.relu:
        return torch.relu_
    if type(layer) is keras.layers.ReLU and layer.negative_slope == layer.threshold == 0:
        ceiling = layer.max_value
        return lambda values: values.clamp_(0.0, ceiling)
    return None


class Folded:
    """One convolution in place of layers: zeros around it, itself, batch normalisation and an activation.

    gamma / sqrt(variance + epsilon) scales each filter, and the rest of the normalisation becomes the bias (Jacob et
    al. 2018, Quantization and training of neural networks, section 3.2). The values are those of its making.
    """

    def __init__(self, layers: list[Any]) -> None:
        zeros = layers.pop(0).padding if type(layers[0]) is keras.layers.ZeroPadding2D else ((0, 0), (0, 0))
        self.layer, *others = layers
        self.zeros: Padding = zeros
        linear = self.layer.activation is keras.activations.linear
        self.activation = None if linear else self.layer.activation
        kernel, self.groups = value_of(self.layer.kernel), 1
        self.bias = value_of(self.layer.bias)
        if is_depthwise(self.layer):
            kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
            self.groups = kernel.shape[-1]
        for layer in others:
            if type(layer) is keras.layers.BatchNormalization:
                kernel = kernel * self.take(layer)
            elif type(layer) is not keras.layers.Dropout:
                self.activation = in_place(layer)
        self.kernel = kernel.permute(3, 2, 0, 1).contiguous()  # once, not at every call
        self.prepared: dict[tuple[int, int, bool], Callable[[Any], Any]] = {}

    def take(self, normalisation: Any) -> Any:
        """Take a normalisation into the bias; what is left is a factor (F,) for the kernel."""
        variance, mean = normalisation.moving_variance.value, normalisation.moving_mean.value
        scale = torch.rsqrt(variance + normalisation.epsilon)
        scale = scale if normalisation.gamma is None else scale * normalisation.gamma.value
        shift = -mean * scale if self.bias is None else (self.bias - mean) * scale
        self.bias = shift if normalisation.beta is None else shift + normalisation.beta.value
        return scale

    def call(self, images: Any) -> Any:
        outputs = self.convolved(images)
        return outputs if self.activation is None else self.activation(outputs)

    def convolved(self, images: Any) -> Any:
        """What the activation is to be given."""
        size = images.shape[1], images.shape[2], exported()
        if size not in self.prepared:
            self.prepared[size] = self.prepare(images)
        return self.prepared[size](images)

    def prepare(self, images: Any) -> Callable[[Any], Any]:
        """The convolution of images of this size."""
        strides, groups, bias = self.layer.strides, self.groups, self.bias
        rows, columns = padding_of(self.layer, images)
        padding = added(self.zeros[0], rows), added(self.zeros[1], columns)
        if self.kernel.shape[2:] == images.shape[1:3] == (1, 1) and bias is not None and not any(map(any, padding)):
            matrix = self.kernel[:, :, 0, 0].t()  # a pooled vector, for which a convolution only prepares longer
            return lambda images: torch.addmm(bias, images.reshape(len(images), -1), matrix)[:, None, None]
        kernel, padding = grown(self.kernel, padding) if groups > 1 else (self.kernel, padding)
        ordered = packed(kernel, images, strides, padding, groups)
        if ordered is None:
            return lambda images: convolve(images, kernel, bias, strides, padding, groups)
        return lambda images: convolve_packed(images, ordered, bias, strides, padding, groups)


class WithMeans:
    """A folded convolution that ends in silu, and the averages of what it gives."""

    def __init__(self, folded: Folded, pooling: Any) -> None:
        self.folded, self.pooling = folded, pooling

    def call(self, images: Any) -> tuple[Any, Any]:
        outputs = self.folded.convolved(images)
        means = silu_with_means(outputs)
        if means is None:
            outputs = silu_in_place(outputs)
            return outputs, self.pooling.call(outputs)
        return outputs, means[:, None, None] if self.pooling.keepdims else means


def added(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def grown(kernel: Any, padding: Padding) -> tuple[Any, Padding]:
    """A depthwise kernel (C, 1, height, width) with zero rows above and columns to its left, and the padding that then
    is the same on both sides: PyTorch pads both sides alike, and would have to copy the images otherwise.

    With m zeros before the kernel and m more pixels of padding before the images, every product stays what it was.
    """
    (top, bottom), (left, right) = padding
    above, before = max(bottom - top, 0), max(right - left, 0)
    kernel = functional.pad(kernel, (before, 0, above, 0))
    return kernel, ((top + above, bottom), (left + before, right))
