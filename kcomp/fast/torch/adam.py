"""Faster updates of Adam and AdamW for PyTorch on a CPU, in one pass over the weights."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import torch
from keras.src.backend.common.stateless_scope import in_stateless_scope


def use_fused_update(optimizer: Any) -> None:
    """Make Keras's Adam and AdamW update weights by PyTorch's fused operation, with the same results up to rounding.

    `optimizer` may be a MultiOptimizer. Other optimizers do not change.
    """
    for part in getattr(optimizer, "optimizers", [optimizer]):
        own = isinstance(part, keras.optimizers.Adam) and type(part).__module__.startswith("keras.")
        if not own or not hasattr(torch, "_fused_adam_"):
            continue
        if not isinstance(part._parallel_update_step, functools.partial):  # not replaced by an earlier `compile`
            part._parallel_update_step = functools.partial(_update, part, part._parallel_update_step)


def _update(optimizer: Any, keras_update: Any, gradients: Sequence[Any], variables: Sequence[Any], rate: Any) -> None:
    uncovered = optimizer.amsgrad or optimizer.beta_2 >= 1.0
    if uncovered or in_stateless_scope() or variables[0].value.device.type != "cpu":
        keras_update(gradients, variables, rate)
        return
    indices = [optimizer._get_variable_index(variable) for variable in variables]
    momentums, velocities = optimizer._momentums, optimizer._velocities
    lists = (
        [variable._value.detach() for variable in variables],
        list(gradients),
        [momentums[index]._value.detach() for index in indices],
        [velocities[index]._value.detach() for index in indices],
    )
    plain = all(value.device.type == "cpu" and value.dtype == torch.float32 for values in lists for value in values)
    if not plain or not all(value.is_contiguous() for values in (lists[0], *lists[2:]) for value in values):
        keras_update(gradients, variables, rate)
        return
    lists[1][:] = [gradient.contiguous() for gradient in gradients]  # the operation ignores strides
    # Keras adds epsilon to the root of the uncorrected second moment (Kingma and Ba 2015, end of section 2), PyTorch to
    # that of the corrected one. Hence epsilon / sqrt(1 - beta_2 ** number).
    number = int(optimizer.iterations) + 1
    torch._fused_adam_(
        *lists,
        [],
        [torch.tensor(float(number))] * len(lists[0]),
        lr=float(rate),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        weight_decay=0.0,  # Keras applies weight decay before this update
        eps=optimizer.epsilon / math.sqrt(1 - optimizer.beta_2**number),
        amsgrad=False,
        maximize=False,
    )
    # kcomp.fast.torch.inference detects changed weights by their versions, which the operation does not count.
    for values in (lists[0], *lists[2:]):
        torch.autograd.graph.increment_version(values)
