"""Logarithms of the probabilities that logits stand for, without overflow and without log(0)."""

from typing import Any

from keras import ops


def logsumexp_of_others(logits: Any) -> Any:
    """Return, for each class, log(sum(exp(logits of all other classes))), shape (rows, classes).

    For each class except the most likely one, the function subtracts the class from the sum over all classes. For the
    most likely class, this would subtract two nearly equal numbers, so the function sums over the other classes.
    """
    is_top = ops.one_hot(ops.argmax(logits, -1), logits.shape[-1], dtype="bool")
    total = ops.logsumexp(logits, -1, keepdims=True)
    without_top = ops.logsumexp(ops.where(is_top, -float("inf"), logits), -1, keepdims=True)
    share = ops.where(is_top, 0.0, ops.exp(logits - total))  # at most 1/2 for each class except the top one
    return ops.where(is_top, without_top, total + ops.log1p(-share))


def log_probabilities(logits: Any) -> tuple[Any, Any]:
    """Return log(p) and log(1 - p) of the softmax probabilities p of logits, both (rows, classes)."""
    log_likely = ops.log_softmax(logits, -1)
    return log_likely, logsumexp_of_others(logits) - ops.logsumexp(logits, -1, keepdims=True)


def log_sigmoids(logits: Any) -> tuple[Any, Any]:
    """Return log(p) and log(1 - p) of the sigmoid probabilities p of logits, in the shape of the logits."""
    return -ops.softplus(-logits), -ops.softplus(logits)
