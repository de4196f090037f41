"""Optimizers that Keras lacks, or computes wrongly on PyTorch. They work like Keras's own, on both backends."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

__all__ = ["Lookahead", "ScheduleFreeAdamW"]


class Lookahead(keras.optimizers.Optimizer):
    """Pull the weights towards a slow copy of them after every few updates of another optimizer.

    With fast weights f, slow weights s, k = `period` and a = `share`, each update of `inner` changes f. After updates
    k, 2k, 3k, ..., the slow weights move, and the fast weights continue from there:

        s = s + a * (f - s)
        f = s

    Between these updates, the network has the fast weights.

    Args:
        inner: The optimizer that updates the fast weights, such as AdamW. It must not be built yet. Its learning rate,
            weight decay, clipping and gradient accumulation apply. It may not combine several optimizers.
        period: Updates between two moves of the slow weights, from 1.
        share: How far the slow weights move, above 0 and at most 1.
        name: Name of the optimizer.

    Raises:
        ValueError: If an argument is out of range, or `inner` combines several optimizers.

    References:
        Zhang et al. 2019, Lookahead optimizer: k steps forward, 1 step back, algorithm 1.

    Examples:
        >>> import keras
        >>> from kcomp import optimizers
        >>> optimizer = optimizers.Lookahead(keras.optimizers.SGD(0.5), period=2)
        >>> weight = keras.Variable([8.0])
        >>> for step in range(2):
        ...     optimizer.apply([keras.ops.ones(1)], [weight])  # fast weights 7.5, then 7
        >>> float(weight.numpy()[0])
        7.5
    """

    def __init__(
        self, inner: keras.optimizers.Optimizer, period: int = 6, share: float = 0.5, *, name: str = "lookahead"
    ) -> None:
        if hasattr(inner, "optimizers"):
            raise ValueError(f"Lookahead needs a single optimizer; received {type(inner).__name__}")
        if period < 1 or not 0 < share <= 1:
            raise ValueError(
                f"period must be at least 1 update, share above 0 and at most 1; received {period} and {share}"
            )
        super().__init__(learning_rate=0.0, name=name)
        self.optimizers = [inner]  # as in MultiOptimizer, so that callbacks find the learning rate
        self.period, self.share = period, share

    @property
    def inner(self) -> keras.optimizers.Optimizer:
        return self.optimizers[0]

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the slow weights, with the values of the network's weights, and the variables of `inner`."""
        if self.built:
            return
        self.inner.build(variables)
        self.slow = self.add_optimizer_variables(variables, "slow")
        for slow, variable in zip(self.slow, variables, strict=True):
            slow.assign(ops.copy(variable.value))  # JAX cannot donate one buffer twice
        super().build(variables)

    @property
    def variables(self) -> list[keras.Variable]:
        return [*self._variables, *self.inner.variables]

    @property
    def learning_rate(self) -> Any:
        return self.inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        return self.inner.iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        """Update the weights by `inner`. After every `period` updates, move the slow weights.

        Args:
            grads: The gradient of each weight. None for a weight that the loss does not use.
            trainable_variables: The weights. None for those of `build`.
        """
        if not self.built:
            self.build(list(trainable_variables or ()))
        self.inner.apply(grads, trainable_variables)
        self._iterations.assign_add(1)
        batches = self.period * (self.inner.gradient_accumulation_steps or 1)
        moves = ops.equal(ops.mod(self._iterations.value, batches), 0)
        for slow, variable in zip(self.slow, self._trainable_variables, strict=True):
            moved = slow.value + self.share * (variable.value - slow.value)
            slow.assign(ops.where(moves, moved, slow.value))
            variable.assign(ops.where(moves, moved, variable.value))

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Finish the weights as `inner` does after the last update.

        With `use_ema`, each weight becomes its moving average.
        """
        self.inner.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.inner)
        return {"inner": inner, "period": self.period, "share": self.share, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Lookahead":
        inner = keras.saving.deserialize_keras_object(config["inner"], custom_objects=custom_objects)
        return cls(**{**config, "inner": inner})


class ScheduleFreeAdamW(keras.optimizers.ScheduleFreeAdamW):
    """AdamW without a schedule: gradients are computed near an average of the weights.

    With b = `beta_1`, z the weights that Adam updates and x their average, both equal at the start, step t = 1, 2, ...
    computes the gradient at the weights y of the network, and then

        z = z - rate * Adam's direction at y
        x = x + (z - x) / t
        y = (1 - b) * z + b * x

    The arguments are those of `keras.optimizers.ScheduleFreeAdamW`, such as `learning_rate`, `warmup_steps` and
    `weight_decay`. Keras 3.15's own class is wrong on PyTorch. The network predicts with y. The paper predicts with x.

    References:
        Defazio et al. 2024, The road less scheduled, algorithm 1.

    Examples:
        >>> import keras
        >>> from kcomp import optimizers
        >>> optimizer = optimizers.ScheduleFreeAdamW(0.5)
        >>> weight = keras.Variable([8.0])
        >>> for step in range(2):
        ...     optimizer.apply([keras.ops.ones(1)], [weight])
        >>> round(float(weight.numpy()[0]), 3)  # z is 7, x is 7.25
        7.225
    """

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Update one weight, and the optimizer's two variables for this weight."""
        # On PyTorch, Keras 3.15 computes x from the new z in place of the old.
        index = self._get_variable_index(variable)
        z, second = self._momentums[index], self._velocities[index]
        gradient, rate = ops.cast(gradient, variable.dtype), ops.cast(learning_rate, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        if self.warmup_steps > 0:
            rate = rate * ops.minimum(step / self.warmup_steps, 1.0)
        x = (variable - (1.0 - self.beta_1) * z) / self.beta_1  # before z changes: PyTorch changes it in place
        self.assign(second, second + (1.0 - self.beta_2) * (gradient * gradient - second))
        self.assign(z, z - rate * gradient / (ops.sqrt(second / (1.0 - ops.power(self.beta_2, step))) + self.epsilon))
        x = x + (z - x) / step
        self.assign(variable, (1.0 - self.beta_1) * z + self.beta_1 * x)
