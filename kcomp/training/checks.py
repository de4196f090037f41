"""Whether a recipe's functions returned what they must, before hours are spent on it."""

from typing import Any

import keras

from kcomp.recipe import Stage


def returned(kind: type, name: str, value: Any) -> Any:
    """`value`, if the recipe's function `name` returned what it must; a forgotten `return` is a TypeError here."""
    if not isinstance(value, kind):
        raise ValueError(f"the recipe's {name}() must return a {kind.__name__}; it returned {type(value).__name__}")
    return value


def check_output(network: keras.Model, classes: tuple[str, ...]) -> None:
    if tuple(network.output_shape) != (None, len(classes)):
        raise ValueError(
            f"the recipe's model must give logits of shape (batch, {len(classes)}), one for each of "
            f"{list(classes)}; it gives {network.output_shape}"
        )


def check_loss(stage: Stage) -> None:
    """The classifier gives logits and the labels are one-hot: a loss that expects otherwise would train, wrongly."""
    config = stage.loss.get_config() if isinstance(stage.loss, keras.losses.Loss) else {"from_logits": False}
    if config.get("from_logits") is False or isinstance(stage.loss, keras.losses.SparseCategoricalCrossentropy):
        raise ValueError(
            f"stage {stage.name!r}: the loss must take logits and one-hot labels, such as "
            f"keras.losses.CategoricalCrossentropy(from_logits=True); received {type(stage.loss).__name__}"
        )
