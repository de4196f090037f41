"""Label smoothing that gives similar classes a larger share."""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kcomp.losses.base import TargetLoss, check_share
from kcomp.targets import OneOf, Target


class SimilaritySmoothing(TargetLoss):
    """Cross-entropy with label smoothing that gives a larger share to classes similar to the label's class.

    With a row of labels y and the similarities S, whose rows are divided by their sums, the smoothed labels are

        (1 - share) * y + share * y @ S

    Args:
        share: Share of each label that the other classes get, from 0 to below 1.
        similarity: Numbers of at least 0, (classes, classes): row i and column j has the similarity of class j to class
            i. The order of the classes is that of the target. The diagonal is not used. `class_similarity` computes it.
            Rows of equal numbers give plain label smoothing of share * classes / (classes - 1).
        target: The target of the labels. None in a recipe, where the stage sets it.

    Raises:
        ValueError: If `share` is out of range, a similarity is negative, a row has no other class with a similarity
            above 0, or the loss does not fit the target.

    References:
        Bertinetto et al. 2020, Making better mistakes, section 3.2, for soft labels by the distance of classes. Szegedy
        et al. 2016, section 7, for label smoothing.

    Examples:
        >>> import numpy as np
        >>> from kcomp import losses, targets
        >>> similarity = [[0, 3, 1], [3, 0, 1], [1, 1, 0]]  # of cat, dog, owl
        >>> loss = losses.SimilaritySmoothing(0.2, similarity, target=targets.OneOf(("cat", "dog", "owl")))
        >>> labels = loss.smoothed(np.array([[1.0, 0.0, 0.0]], "float32"))
        >>> [round(float(share), 3) for share in labels[0]]
        [0.8, 0.15, 0.05]
    """

    fits = (OneOf,)

    def __init__(self, share: float, similarity: ArrayLike, *, target: Target | None = None) -> None:
        self.share = check_share("share", share)
        self.similarity = shares_of_others(similarity).tolist()
        super().__init__(target)

    def bind(self, target: Target) -> None:
        super().bind(target)
        if len(self.similarity) != len(target.columns):
            raise ValueError(
                f"similarity must have a row and a column for each of the {len(target.columns)} classes; it has "
                f"{len(self.similarity)}"
            )

    def smoothed(self, labels: Any) -> Any:
        """Return the smoothed labels, a tensor in the type and the shape (rows, classes) of `labels`."""
        labels = ops.convert_to_tensor(labels)
        similarity = ops.convert_to_tensor(self.similarity, dtype=labels.dtype)
        return labels * (1.0 - self.share) + self.share * ops.matmul(labels, similarity)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.categorical_crossentropy(self.smoothed(y_true), y_pred, from_logits=True)


def class_similarity(labels: ArrayLike, predictions: ArrayLike) -> np.ndarray:
    """Return how similar classes are according to predictions of trained networks, for `SimilaritySmoothing`.

    The similarity of class j to class i is the mean predicted probability of class j in the rows of class i. The
    diagonal of the result is then set to 0, and each row is divided by its sum.

    Use out-of-fold predictions, because a network is almost certain of the rows that it was trained on. The result
    summarizes the labels of all rows, so it contains a little information about the labels of held-out rows. To avoid
    this in a training that holds out fold k, leave out the rows of fold k.

    Args:
        labels: Labels of the rows, (rows, classes). Soft labels count in several classes.
        predictions: Predicted probabilities, (rows, classes).

    Returns:
        The similarities, float64 (classes, classes).

    Raises:
        ValueError: If the shapes differ, or a class has no row.

    Examples:
        >>> import numpy as np
        >>> from kcomp import losses
        >>> labels = np.eye(3)[[0, 0, 1, 2]]
        >>> predictions = [[0.6, 0.4, 0.0], [0.8, 0.1, 0.1], [0.5, 0.5, 0.0], [0.2, 0.2, 0.6]]
        >>> losses.class_similarity(labels, predictions).round(3).tolist()
        [[0.0, 0.833, 0.167], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """
    labels, predictions = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if labels.ndim != 2 or labels.shape != predictions.shape:
        raise ValueError(
            f"labels and predictions must both be (rows, classes); received {labels.shape} and {predictions.shape}"
        )
    counts = labels.sum(0)
    if not counts.all():
        raise ValueError(f"each class needs a row; class number {int(counts.argmin())} has none")
    return shares_of_others(labels.T @ predictions / counts[:, None])


def shares_of_others(similarity: ArrayLike) -> np.ndarray:
    """Return similarities (classes, classes) with a diagonal of 0, and each row divided by its sum.

    Raises:
        ValueError: If the shape is wrong, a number is negative or not finite, or a row has no number above 0.
    """
    values = np.array(similarity, np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 2:
        raise ValueError(f"similarity must be (classes, classes), at least two classes; received {values.shape}")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError("each similarity must be a finite number of at least 0")
    np.fill_diagonal(values, 0.0)
    sums = values.sum(1, keepdims=True)
    if not sums.all():
        raise ValueError(
            f"each class needs another class with a similarity above 0; class number {int(sums.argmin())} has none"
        )
    return values / sums
