"""Files of timm without a head, such as those of self-supervised training."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kcomp.models.checkpoints.known import Checkpoint


def count_classes(checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray]) -> int:
    """Return the number of classes of a file, from its head's bias, or 0 if the file has no head."""
    bias = arrays.get(f"{checkpoint.heads[0]}.bias")
    return 0 if bias is None else int(bias.size)


def with_head(checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray], network: keras.Model) -> dict[str, np.ndarray]:
    """Return a file's arrays with a head of zeros for the logits of a network.

    Files of ConvNeXtV2's masked autoencoder (fcmae) also lack the normalisation of the pooled features. As in timm, it
    then has the scale 1 and the offset 0.

    Args:
        checkpoint: Which network.
        arrays: The arrays of a file without a head.
        network: The network that the arrays are for.
    """
    logits = logit_layers(network)[0]
    features, classes = logits.kernel.shape
    completed = dict(arrays)
    for head in checkpoint.heads:
        completed |= {
            f"{head}.weight": np.zeros((classes, features), np.float32),
            f"{head}.bias": np.zeros(classes, np.float32),
        }
    if checkpoint.heads[0] == "head.fc" and checkpoint.family.startswith("convnext"):
        completed.setdefault("head.norm.weight", np.ones(features, np.float32))
        completed.setdefault("head.norm.bias", np.zeros(features, np.float32))
    return completed


def pooled_features(network: keras.Model) -> Any:
    """Return the tensor (batch, channels) that a network's head takes. After a distillation token, a mean of two."""
    vectors = [layer.input for layer in logit_layers(network)]
    return vectors[0] if len(vectors) == 1 else keras.ops.mean(keras.ops.stack(vectors), axis=0)


def logit_layers(network: keras.Model) -> list[keras.layers.Dense]:
    """Return the dense layers that are the last of a network: one, or two whose logits are averaged."""
    tensors, dense = list(network.outputs), []
    while tensors:
        operation, node, _ = tensors.pop()._keras_history
        if isinstance(operation, keras.layers.Dense):
            dense.append(operation)
        else:
            tensors += operation._inbound_nodes[node].input_tensors
    return dense[::-1]
