"""Give each weight of a network its own learning rate: the rate of the optimizer times a factor.

Keras's optimizers have one learning rate for all weights. Keras's MultiOptimizer has no learning rate that callbacks
can read. Here, the optimizer of a stage updates its weights in groups, one group for each factor. This works with each
optimizer, because it only changes the learning rate and the weight decay of an update. Keras clips and accumulates
gradients before these updates, and updates averages of weights (`use_ema`) after them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import keras

from kcomp.models.depth import weight_depths
from kcomp.training.rates import parts_of

Factors = Mapping[int, float]  # by the id of a weight


def rate_factors(network: keras.Model, decay: float) -> dict[int, float]:
    """Return {id of a weight: factor of its learning rate}, which is decay ** depth. See `weight_depths`.

    decay: `Stage.layer_decay`. With 1, the result is empty: all factors are 1.
    """
    return {} if decay == 1 else {weight: decay**depth for weight, depth in weight_depths(network).items()}


def rate_range(network: keras.Model, decay: float) -> str:
    """Return a text with the lowest and the highest factor of the trained weights. Empty if all factors are 1."""
    if decay == 1:
        return ""
    depths = weight_depths(network)
    chosen = [depths.get(id(weight), 0) for weight in network.trainable_weights]
    return f", learning rates x {decay ** max(chosen):.3g} to x {decay ** min(chosen):.3g}"


def scale_rates(optimizer: keras.optimizers.Optimizer, factors: Factors) -> None:
    """Multiply the learning rate of each weight by its factor in all updates of an optimizer.

    Weight decay is proportional to the learning rate, so it is multiplied by the same factor.

    Args:
        optimizer: An optimizer that is not built, or one that combines several.
        factors: Factors by the id of a weight. If it is empty, the optimizer does not change.

    References:
        Clark et al. 2020, ELECTRA, table 6; Bao et al. 2021, BEiT, appendix.
    """
    if not factors:
        return
    for part in parts_of(optimizer):
        part.rate_factors = factors  # also read by kcomp.jax_programs.step_key: a compiled step contains the factors
        # Not public. Keras calls these two with all weights, after it has clipped or accumulated their gradients.
        part._backend_update_step = partial(update, part._backend_update_step, factors)
        part._apply_weight_decay = partial(decay_weights, part, part._apply_weight_decay, factors)


def update(
    keras_update: Callable[..., None], factors: Factors, gradients: Sequence[Any], weights: Sequence[Any], rate: Any
) -> None:
    """Update weights by Keras's function, which gets the weights of one factor at a time."""
    pairs = {id(weight): (gradient, weight) for gradient, weight in zip(gradients, weights, strict=True)}
    for factor, group in by_factor(weights, factors).items():
        chosen = [pairs[id(weight)] for weight in group]
        keras_update([gradient for gradient, _ in chosen], [weight for _, weight in chosen], rate * factor)


def decay_weights(
    optimizer: Any, keras_decay: Callable[[Sequence[Any]], None], factors: Factors, weights: Sequence[Any]
) -> None:
    """Apply weight decay by Keras's function, which multiplies `optimizer.weight_decay` by the learning rate."""
    decay = optimizer.weight_decay
    if decay is None:
        return
    decayed = [weight for weight in weights if optimizer._use_weight_decay(weight)]  # not public; used by Keras too
    try:
        for factor, group in by_factor(decayed, factors).items():
            optimizer.weight_decay = decay * factor
            keras_decay(group)
    finally:
        optimizer.weight_decay = decay


def by_factor(weights: Sequence[Any], factors: Factors) -> dict[float, list[Any]]:
    """Return {factor: the weights that have it}. A weight without a factor has the factor 1."""
    groups: dict[float, list[Any]] = {}
    for weight in weights:
        groups.setdefault(factors.get(id(weight), 1.0), []).append(weight)
    return groups
