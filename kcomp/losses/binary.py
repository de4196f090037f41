"""Binary cross-entropy for single-label or multi-label data, with a threshold for mixed labels."""

from typing import Any

from keras import ops

from kcomp.losses.base import TargetLoss, check_share
from kcomp.targets import AnyOf, OneOf, Target
from kcomp.targets.losses import smooth


class BinaryCrossentropy(TargetLoss):
    """Binary cross-entropy of each label, averaged over the known labels. It also fits `OneOf` targets.

    With a `OneOf` target, the loss treats each class as an independent label, because a mixed image may show two
    classes. Predictions are still the softmax of the logits. The order of the classes in a row is that of the sigmoids,
    but the probabilities are too confident for the log loss. `kcomp ensemble --calibrate` corrects this.

    Args:
        threshold: Labels above it become 1, and others 0, after mixing. From 0 to below 1, such as 0.2. None keeps soft
            labels.
        label_smoothing: Share of each label that is divided equally among the classes (for `AnyOf`: between 1 and 0),
            from 0 to below 1. Not together with a threshold.
        target: The target of the labels. None in a recipe, where the stage sets it.

    Raises:
        ValueError: If an argument is out of range, or the loss does not fit the target.

    References:
        Wightman et al. 2021, ResNet strikes back. Beyer et al. 2020, Are we done with ImageNet?

    Examples:
        >>> import numpy as np
        >>> from kcomp import losses, targets
        >>> loss = losses.BinaryCrossentropy(threshold=0.2, target=targets.OneOf(("cat", "dog", "owl")))
        >>> round(float(loss(np.array([[0.7, 0.3, 0.0]]), np.log([[3.0, 3.0, 1 / 3]]))), 4)  # -log(0.75)
        0.2877
    """

    fits = (OneOf, AnyOf)

    def __init__(
        self, threshold: float | None = None, label_smoothing: float = 0.0, *, target: Target | None = None
    ) -> None:
        if threshold is not None and label_smoothing:
            raise ValueError(f"a threshold undoes label smoothing; received {threshold} and {label_smoothing}")
        self.threshold = None if threshold is None else check_share("threshold", threshold)
        self.label_smoothing = check_share("label_smoothing", label_smoothing)
        super().__init__(target)

    def elements(self, labels: Any, logits: Any) -> Any:
        if self.threshold is not None:
            labels = ops.cast(labels > self.threshold, logits.dtype)
        classes = logits.shape[-1] if isinstance(self.bound_target, OneOf) else 2
        labels = smooth(labels, self.label_smoothing, classes)
        return ops.binary_crossentropy(labels, logits, from_logits=True)
