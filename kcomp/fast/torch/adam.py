"""Adam's and AdamW's update on PyTorch in one pass over the weights and moments, on a CPU."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import torch
from keras.src.backend.common.stateless_scope import in_stateless_scope


def use_fused_update(optimizer: Any) -> None:
    """Let Keras's own Adam or AdamW update by PyTorch's fused operation where that can be.

    Keras 3.15 takes a dozen passes, each over all weights: eight times as long. Results are the same, to rounding.
    """
    for one in getattr(optimizer, "optimizers", [optimizer]):
        own = isinstance(one, keras.optimizers.Adam) and type(one).__module__.startswith("keras.")
        # not public, like the names below; where they are missing, Keras's own way remains
        known = hasattr(one, "_parallel_update_step") and hasattr(torch, "_fused_adam_")
        if own and known and not isinstance(one._parallel_update_step, functools.partial):  # nor compiled before
            one._parallel_update_step = functools.partial(_update, one, one._parallel_update_step)


def _update(optimizer: Any, otherwise: Any, gradients: Sequence[Any], variables: Sequence[Any], rate: Any) -> None:
    """Kingma and Ba (2015), in the order at the end of their section 2: epsilon is added to the uncorrected moment's
    root, where PyTorch adds it to the corrected one's."""
    other = optimizer.amsgrad or optimizer.beta_2 >= 1.0
    if other or in_stateless_scope() or variables[0].value.device.type != "cpu":
        otherwise(gradients, variables, rate)
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
        otherwise(gradients, variables, rate)
        return
    lists[1][:] = [gradient.contiguous() for gradient in gradients]  # the operation reads memory, not strides
    number = int(optimizer.iterations) + 1
    torch._fused_adam_(
        *lists,
        [],
        [torch.tensor(float(number))] * len(lists[0]),
        lr=float(rate),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        weight_decay=0.0,  # Keras does that before
        eps=optimizer.epsilon / math.sqrt(1 - optimizer.beta_2**number),
        amsgrad=False,
        maximize=False,
    )
    for values in (lists[0], *lists[2:]):  # the operation does not; who keeps what follows from weights asks for it
        torch.autograd.graph.increment_version(values)
