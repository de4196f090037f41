"""Compute the factor of each class in the loss of a stage (part of a training)."""

import numpy as np

from kcomp.data.tables import Table
from kcomp.recipe import Stage


def class_weights(stage: Stage, table: Table) -> np.ndarray | None:
    """Return the factor of each class in a stage's loss, or None if the stage sets none.

    The factors are float32 (classes,), in the order of the target's classes. With class_weights="balanced", they are
    factor[c] = sum(counts) / (classes * counts[c]), where counts[c] is how many training rows have class c.

    Raises:
        ValueError: If the target has no classes, or the weights do not name each class once.
    """
    if stage.class_weights is None:
        return None
    target = table.required_target
    if not target.class_names:
        raise ValueError(f"stage {stage.name!r}: class_weights need classes; the target is {target.name}")
    if isinstance(stage.class_weights, str):
        counts = target.class_counts(table.labels)
        return (counts.sum() / (len(counts) * np.maximum(counts, 1e-9))).astype(np.float32)
    names = set(target.class_names)
    if set(stage.class_weights) != names:
        raise ValueError(
            f"stage {stage.name!r}: class_weights must name each class once; missing "
            f"{sorted(names - set(stage.class_weights))}, unknown {sorted(set(stage.class_weights) - names)}"
        )
    return np.array([stage.class_weights[name] for name in target.class_names], np.float32)
