"""Average the predictions of all images that show the same item, such as a patient or a product."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from kcomp.data.tables import Table
from kcomp.targets import Target


def per_item(table: Table, values: np.ndarray, target: Target) -> tuple[list[str], np.ndarray]:
    """Average predictions or labels over the images that show the same item, such as a product.

    Args:
        table: The images. A column `item` says which item an image shows.
        values: Predictions or labels of the images, shape (images, columns).
        target: The target. It makes averages valid: `OneOf` makes each row sum to 1.

    Returns:
        Two things: the name of each item, and the averages of shape (items, columns). Without a column `item`, they are
            the image ids and `values`.
    """
    if "item" not in table.frame:
        return table.ids, values
    items = [str(item) for item in table.frame["item"]]
    names, averaged = average_items(table.ids, items, values, table.item_average)
    return names, target.normalized(averaged).astype(values.dtype)


def average_items(
    ids: Sequence[str], items: Sequence[str], predictions: np.ndarray, how: Literal["mean", "max"] = "mean"
) -> tuple[list[str], np.ndarray]:
    """Return one prediction for each item: the mean or the maximum over its images.

    Args:
        ids: The image ids, unique.
        items: The item that each image shows, such as a patient or a product.
        predictions: Predictions of shape (images, columns).
        how: "mean" or "max".

    Returns:
        Two things: the items, in the order of their first image; and predictions, float64 of shape (items, columns).

    Raises:
        ValueError: If the lengths differ, an id is repeated, an image has no item, or `how` is unknown.

    Examples:
        >>> import numpy as np
        >>> from kcomp import data
        >>> items, means = data.average_items(["a1", "b1", "a2"], ["a", "b", "a"], np.array([[0.2], [0.5], [0.6]]))
        >>> items, means.round(6).tolist()
        (['a', 'b'], [[0.4], [0.5]])
    """
    predictions = np.asarray(predictions, np.float64)
    if how not in ("mean", "max"):
        raise ValueError(f"`how` must be 'mean' or 'max'; received {how!r}")
    if predictions.ndim != 2 or not len(ids) == len(items) == len(predictions):
        raise ValueError(
            f"ids, items and predictions must have one row per image; received {len(ids)} ids, {len(items)} items and "
            f"predictions of shape {predictions.shape}"
        )
    if len(set(ids)) < len(ids):
        raise ValueError(f"image ids must be unique; {len(ids) - len(set(ids))} are repeated")
    numbers, names = pd.factorize(np.array(items, dtype=object))
    if (numbers < 0).any():
        raise ValueError(f"each image needs an item; {int((numbers < 0).sum())} have none")
    groups = pd.DataFrame(predictions).groupby(numbers, sort=True)
    averaged = groups.mean() if how == "mean" else groups.max()
    return list(names), averaged.to_numpy(np.float64)
