"""A Keras model whose training step mixes the images of a batch (MixUp, CutMix), then trains a network."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kcomp.fast.install import install, is_enabled
from kcomp.jax_programs.step_key import cache_key_within_fit
from kcomp.models.sample_dropout import repeat_rows
from kcomp.prediction.forward import as_float
from kcomp.targets import Target
from kcomp.training.averages.stage_average import StageAverage

# Keras marks these layers as not compilable. That is true on TensorFlow, but JAX can compile them.
COMPILABLE_ON_JAX = ("RandomPerspective", "RandomRotation", "RandomShear", "RandomTranslation", "RandomZoom")
# Keras does not mark these layers, but JAX cannot compile them. AugMix draws Python's random numbers, which a compiled
# step would repeat. RandomElasticTransform needs concrete values where JAX has traced values.
NOT_COMPILABLE_ON_JAX = ("AugMix", "RandomElasticTransform")


class Mixed(keras.Model):
    """Apply batch layers such as MixUp, then the network, in one training step.

    The input is a batch of kcomp.data.Batches: a dict of `images`, `labels` and `plans` (the random choices of each
    batch layer). If the images are mixed already, the dict also has `mixed`, the mixed labels.

    The loss uses the labels after mixing, and the metrics use the labels before mixing.

    Args:
        network: The network, which returns logits.
        layers: Batch layers. Layers without a method `draw` are ignored, because `Batches` applies them.
        class_weights: Factor of each class in the loss, float32 (classes,), or None.
        stage_average: An object that averages weights inside the step, or None.
        target: What the network predicts. None is allowed without class weights.

    Raises:
        ValueError: If there are class weights without a target.
    """

    def __init__(
        self,
        network: keras.Model,
        layers: Sequence[Any],
        class_weights: np.ndarray | None = None,
        stage_average: StageAverage | None = None,
        target: Target | None = None,
    ) -> None:
        if class_weights is not None and target is None:
            raise ValueError("class weights need the target of the labels: Mixed(..., target=target)")
        install()
        super().__init__(name="mixed", autocast=False)  # each layer casts its inputs; pixels and labels stay float32
        self.network, self.class_weights, self.target = network, class_weights, target
        self.stage_average, self.averages = stage_average, list(stage_average.compiled) if stage_average else []
        self.planned = planned_layers(layers)

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        if training and self.stage_average is not None:
            self.stage_average.in_step()
        batch = apply_plans(self.planned, inputs)
        logits = self.network(batch["images"], training=training)
        return {"logits": logits, "labels": repeat_rows(batch["labels"], logits)}  # see MultiSampleDropout

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Compile as Keras does, and mark everything as built, so that `fit` does not trace the network again."""
        super().compile(*arguments, **options)
        inside = (part for layer in self.planned for part in layer._flatten_layers())
        for part in (self, *inside):  # neither the layers nor this model create weights when they are built
            part.built = True
        rows = keras.KerasTensor((None, None))
        for part in ("_compile_loss", "_compile_metrics"):  # private in Keras; without them `fit` traces the network
            if (container := getattr(self, part, None)) is not None:
                container.build(rows, rows)

    @property
    def jit_compile(self) -> bool:
        """Whether Keras compiles the training step. True on JAX, if JAX can compile every layer."""
        return keras.backend.backend() == "jax" and not self.uncompiled()

    @jit_compile.setter
    def jit_compile(self, value: Any) -> None:
        """Ignore the value that Keras's `compile` sets for TensorFlow."""

    def uncompiled(self) -> list[str]:
        compilable = [getattr(keras.layers, name) for name in COMPILABLE_ON_JAX]
        not_compilable = [getattr(keras.layers, name) for name in NOT_COMPILABLE_ON_JAX]
        return [
            layer.name
            for layer in self._flatten_layers()
            if type(layer) in not_compilable or (not layer.supports_jit and type(layer) not in compilable)
        ]

    def make_train_function(self, force: bool = False) -> None:
        """Create the train function as Keras does. On JAX, use a compiled program from kcomp's cache if it has one."""
        plain = self.run_eagerly or not self.jit_compile or self.steps_per_execution > 1
        if plain or keras.distribution.distribution() is not None or not is_enabled("jax-program-store"):
            super().make_train_function(force)
        elif force or getattr(self, "train_function", None) is None:
            from kcomp.jax_programs.store import cached_jit

            step = cached_jit(self.train_step, lambda state: cache_key_within_fit(self, state), donate=True)
            self.train_function = lambda state, batches: step(state, next(batches))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        labels = y_pred["labels"]
        weights = None
        if self.class_weights is not None and self.target is not None:
            weights = self.target.row_weights(labels, ops.convert_to_tensor(self.class_weights))
        return super().compute_loss(x, labels, y_pred["logits"], weights, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        return super().compute_metrics(x, x["labels"], y_pred["logits"][: x["labels"].shape[0]])


def planned_layers(layers: Sequence[Any]) -> list[Any]:
    """Return the batch layers that have a method `draw`, which makes the random choices for each batch."""
    return [layer for layer in layers if hasattr(layer, "draw")]


def apply_plans(layers: Sequence[Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Apply batch layers such as MixUp to a batch.

    Args:
        layers: The layers, as `planned_layers` returns them.
        inputs: A batch of kcomp.data.Batches; see `Mixed`.

    Returns:
        A batch with `images` (floats) and `labels`, both after mixing.
    """
    batch = {"images": as_float(inputs["images"]), "labels": inputs.get("mixed", inputs["labels"])}
    for layer, plan in zip(layers, inputs.get("plans", ()) if layers else (), strict=True):
        batch = layer(batch, plan=plan)
    return batch
