"""The head of ArcFace: logits are cosines of the angles between features and the weights of classes."""

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops


@dataclass(frozen=True)
class ArcFaceHead:
    """A head whose logits are scaled cosines, for the loss `kcomp.losses.ArcFace`.

    The logit of a class is scale * max(cos(a_1), ..., cos(a_n)), where a_i is the angle between the features of the
    image and the weights of the class's sub-centre i. Features and weights are normalised, and there is no bias.
    Predictions are softmax(logits), without the margin of the loss.

    Several sub-centres are for wrong labels: images that do not look like their class move to a separate sub-centre
    (Deng et al. 2020).

    Args:
        scale: Factor of the cosines, above 0. It limits the confidence of predictions: with K classes, the highest
            probability is 1 / (1 + (K - 1) * exp(-2 * scale)).
        centres: Sub-centres of each class, from 1.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Deng et al. 2019, ArcFace: additive angular margin loss for deep face recognition; Deng et al. 2020, Sub-center
        ArcFace: boosting face recognition by large-scale noisy web faces.

    Examples:
        >>> from kcomp import models
        >>> backbone = models.efficientnet_lite0(32, weights=None)
        >>> network = models.classifier(backbone, 4, head=models.ArcFaceHead(scale=16, centres=3))
        >>> network.get_layer("head").kernel.shape
        (1280, 3, 4)
    """

    scale: float = 30.0
    centres: int = 1

    def __post_init__(self) -> None:
        if not self.scale > 0 or self.centres < 1:
            raise ValueError(f"scale must be above 0 and centres at least 1; received {self.scale} and {self.centres}")


class CosineLogits(layers.Layer):
    """Compute the logits of `ArcFaceHead`.

    Args:
        outputs: Number of classes, from 1.
        scale: Factor of the cosines.
        centres: Sub-centres of each class, from 1.
        **options: Arguments of a Keras layer, such as its name.
    """

    def __init__(self, outputs: int, scale: float = 30.0, centres: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.outputs, self.scale, self.centres = outputs, float(scale), centres

    def build(self, shape: Any) -> None:
        limit = math.sqrt(6 / (shape[-1] + self.outputs * self.centres))  # as GlorotUniform for a matrix
        self.kernel = self.add_weight(
            (shape[-1], self.centres, self.outputs), keras.initializers.RandomUniform(-limit, limit), name="kernel"
        )

    def call(self, features: Any) -> Any:
        """Return the logits (batch, outputs) of features (batch, features)."""
        kernel = ops.reshape(ops.normalize(self.kernel, 0, 2), (-1, self.centres * self.outputs))
        cosines = ops.matmul(ops.normalize(features, -1, 2), kernel)
        return self.scale * ops.max(ops.reshape(cosines, (-1, self.centres, self.outputs)), 1)

    def compute_output_shape(self, shape: Any) -> tuple[int | None, int]:
        return shape[0], self.outputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "outputs": self.outputs, "scale": self.scale, "centres": self.centres}
