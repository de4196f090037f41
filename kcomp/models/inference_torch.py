"""A network's inference on PyTorch: batch normalisation folded into the convolution before it, activations in place."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import torch
from torch.nn import functional

from kcomp.models import convolution_torch
from kcomp.models.convolution import covers_convolution, is_depthwise, padding_of
from kcomp.models.straight import Plan, Step, plan_of, with_last_uses


def inference_of(network: keras.Model) -> Callable[[Any], Any]:
    """A function of images (batch, height, width, channels) that gives what `network(images, training=False)` gives.

    It takes the weights as they are at the call; folded ones are made again after an update.
    """
    variables = list(network.variables)
    kept: dict[str, Any] = {"versions": None, "plan": None}

    def run(images: Any) -> Any:
        versions = [(id(variable.value), variable.value._version) for variable in variables]  # PyTorch counts updates
        with torch.inference_mode():
            if versions != kept["versions"]:
                plan = plan_of(network)
                kept.update(versions=versions, plan=None if plan is None else folded(plan))
            outputs = kept["plan"] and kept["plan"].run(images, training=False)
            return network(images, training=False) if outputs is None else outputs

    return run


def folded(plan: Plan) -> Plan:
    """The plan with each convolution, the batch normalisation after it and the activation after that in one step."""
    return dataclasses.replace(plan, steps=tuple(with_last_uses(list(joined(plan)), plan.result)))


def joined(plan: Plan) -> Iterator[Step]:
    readers: dict[int, list[int]] = {plan.result: [-1]}
    for number, step in enumerate(plan.steps):
        for slot in step.reads:
            readers.setdefault(slot, []).append(number)

    def next_alone(number: int) -> int:
        """The number of the step that alone reads what step `number` gives, or -1."""
        found = readers.get(plan.steps[number].outputs[0], [])
        return found[0] if len(found) == 1 else -1

    taken = set()
    for number, step in enumerate(plan.steps):
        if number in taken:
            continue
        normalisation = activation = None
        last = number
        if step.direct and is_plain_convolution(step.operation):
            if (after := next_alone(last)) >= 0 and is_plain_normalisation(plan.steps[after]):
                normalisation, last = plan.steps[after].operation, after
                taken.add(after)
            if (after := next_alone(last)) >= 0 and (activation := in_place(plan.steps[after].operation)):
                last = after
                taken.add(after)
        if last == number:
            yield step
        else:
            call = Folded(step.operation, normalisation, activation)
            yield dataclasses.replace(step, operation=call, outputs=plan.steps[last].outputs, training=False)


def is_plain_convolution(layer: Any) -> bool:
    return covers_convolution(layer) and layer.activation in (None, keras.activations.linear)


def is_plain_normalisation(step: Step) -> bool:
    layer = step.operation
    return (
        step.direct
        and type(layer) is keras.layers.BatchNormalization
        and not layer.renorm
        and layer.axis in (-1, 3)
        and step.source is not None
    )


def in_place(layer: Any) -> Callable[[Any], Any] | None:
    """A function that does in place what an activation layer does, for those that EfficientNets use; else None."""
    if type(layer) is keras.layers.Activation and layer.activation is keras.activations.silu:
        return lambda values: functional.silu(values, inplace=True)
    if type(layer) is keras.layers.Activation and layer.activation is keras.activations.relu:
        return torch.relu_
    if type(layer) is keras.layers.ReLU and layer.negative_slope == layer.threshold == 0:
        ceiling = layer.max_value
        return lambda values: values.clamp_(0.0, ceiling)
    return None


class Folded:
    """A convolution with the normalisation after it in its weights: gamma / sqrt(variance + epsilon) scales each filter
    and the rest becomes the bias (Jacob et al. 2018, Quantization and training of neural networks, section 3.2)."""

    def __init__(self, layer: Any, normalisation: Any, activation: Callable[[Any], Any] | None) -> None:
        self.layer, self.activation = layer, activation
        self.depthwise = is_depthwise(layer)
        kernel = layer.kernel.value
        if self.depthwise:
            kernel = kernel.reshape(*kernel.shape[:2], -1)
        self.kernel, self.bias = kernel, layer.bias.value if layer.use_bias else None
        if normalisation is not None:
            variance, mean = normalisation.moving_variance.value, normalisation.moving_mean.value
            scale = torch.rsqrt(variance + normalisation.epsilon)
            scale = scale if normalisation.gamma is None else scale * normalisation.gamma.value
            shift = -mean * scale if self.bias is None else (self.bias - mean) * scale
            self.bias = shift if normalisation.beta is None else shift + normalisation.beta.value
            self.kernel = self.kernel * scale

    def call(self, images: Any) -> Any:
        function = convolution_torch.depthwise if self.depthwise else convolution_torch.dense
        padding = padding_of(self.layer, images)
        outputs = function(images, self.kernel, self.bias, self.layer.strides, padding)
        return outputs if self.activation is None else self.activation(outputs)
