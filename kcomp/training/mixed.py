"""The thin Keras model that mixes and trains in the compiled step, one source for both backends' train steps."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kcomp.fast.install import install, is_enabled
from kcomp.jax_programs.step_key import cache_key_within_fit
from kcomp.training.averages.stage_average import StageAverage

# layers that Keras takes for what cannot be compiled, which holds for TensorFlow alone; and those that it does not:
# one chooses by Python's random numbers, which a compiled step would keep, one asks for numbers where JAX has names
COMPILED_ON_JAX = ("RandomPerspective", "RandomRotation", "RandomShear", "RandomTranslation", "RandomZoom")
FIXED_ON_JAX = ("AugMix", "RandomElasticTransform")


class Mixed(keras.Model):
    """A classifier with its batch layers in front, while training.

    It takes a batch of data.Batches (`images`, `labels` and the plans), or one whose images and labels are mixed (the
    latter as `mixed`), and overrides only `call`, `compute_loss` and
    `compute_metrics`, so Keras's own train step of each backend stays in force. The loss is taken on the mixed
    labels; metrics compare with the likelier label before mixing. Save the weights of `network`, not of this.

    class_weights: float32 (classes,), or None; a row's loss is multiplied by its mixed labels times these.
    keeper:        what averages weights inside the step; what it sets there becomes this model's, so that Keras on JAX
                   takes it through the compiled step as it does batch normalisation's statistics.
    """

    def __init__(
        self,
        network: keras.Model,
        layers: Sequence[Any],
        class_weights: np.ndarray | None = None,
        keeper: StageAverage | None = None,
    ) -> None:
        install()
        super().__init__(name="mixed", autocast=False)  # layers cast for themselves; pixels and labels keep float32
        self.network, self.class_weights = network, class_weights
        self.keeper, self.averages = keeper, list(keeper.compiled) if keeper else []
        self.planned = planned_layers(layers)

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        if training and self.keeper is not None:
            self.keeper.in_step()
        batch = apply_plans(self.planned, inputs)
        return {"logits": self.network(batch["images"], training=training), "labels": batch["labels"]}

    def compile(self, *arguments: Any, **options: Any) -> None:
        """As Keras does; and nothing is left to be built, for which `fit` would first trace the whole network."""
        super().compile(*arguments, **options)
        inside = (part for layer in self.planned for part in layer._flatten_layers())
        for part in (self, *inside):  # neither they nor this have weights of their own
            part.built = True
        rows = keras.KerasTensor((None, None))
        for part in ("_compile_loss", "_compile_metrics"):  # not public; where they are missing, `fit` traces again
            if (found := getattr(self, part, None)) is not None:
                found.build(rows, rows)

    @property
    def jit_compile(self) -> bool:
        """On JAX, if every layer can be compiled."""
        return keras.backend.backend() == "jax" and not self.uncompiled()

    @jit_compile.setter
    def jit_compile(self, value: Any) -> None:
        """Keras's `compile` sets what it finds, which holds for TensorFlow."""

    def uncompiled(self) -> list[str]:
        """The names of the layers that cannot be compiled on JAX."""
        compiled, fixed = ([getattr(keras.layers, name) for name in names] for names in (COMPILED_ON_JAX, FIXED_ON_JAX))
        return [
            layer.name
            for layer in self._flatten_layers()
            if type(layer) in fixed or (not layer.supports_jit and type(layer) not in compiled)
        ]

    def make_train_function(self, force: bool = False) -> None:
        """As Keras does; on JAX, a step that is known from an earlier network or process is not traced again."""
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
        weights = (
            None if self.class_weights is None else ops.sum(labels * ops.convert_to_tensor(self.class_weights), -1)
        )
        return super().compute_loss(x, labels, y_pred["logits"], weights, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        return super().compute_metrics(x, x["labels"], y_pred["logits"])


def planned_layers(layers: Sequence[Any]) -> list[Any]:
    """Return the batch layers whose plans are drawn with the batches, in their order."""
    return [layer for layer in layers if hasattr(layer, "draw")]


def apply_plans(layers: Sequence[Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Return `images` and `labels` of a batch, mixed by these layers as the batch's `plans` say.

    Labels that are mixed already are read from `mixed`.
    """
    batch = {"images": inputs["images"], "labels": inputs.get("mixed", inputs["labels"])}
    for layer, plan in zip(layers, inputs.get("plans", ()) if layers else (), strict=True):
        batch = layer(batch, plan=plan)
    return batch
