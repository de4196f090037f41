"""Guess the kind of target from a file of predictions that kcomp did not write."""

from collections.abc import Sequence

import numpy as np

from kcomp.targets.any_of import AnyOf
from kcomp.targets.base import Target
from kcomp.targets.numbers import Numbers
from kcomp.targets.one_of import OneOf


def guess_target(columns: Sequence[str], values: np.ndarray) -> Target:
    """Return a target for which the predictions are valid: the first of OneOf, AnyOf and Numbers that fits.

    Args:
        columns: Names of the prediction columns.
        values: The predictions, (rows, columns).

    Examples:
        >>> import numpy as np
        >>> from kcomp.targets.guess import guess_target
        >>> guess_target(["cat", "dog"], np.array([[0.75, 0.25]])).name
        'one class'
        >>> guess_target(["cat", "dog"], np.array([[0.75, 0.75]])).name
        'several labels'
    """
    names, ids = tuple(columns), [str(row) for row in range(len(values))]
    kinds: list[type[OneOf] | type[AnyOf]] = [OneOf, AnyOf] if len(names) > 1 else []
    for kind in kinds:
        target = kind(names)
        if not target.prediction_problems(values, ids):
            return target
    return Numbers(names)
