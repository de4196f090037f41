"""What a pretrained network says about the layers after its features."""

from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class PretrainedHead:
    """What a backbone's checkpoint says about the layers after it. `classifier` reads it.

    Attributes:
        first_tokens: How many tokens at the front belong to no part of the image, such as the class token.
        after_pooling: Layers that the pretrained network applies to pooled features, before its head.
    """

    first_tokens: int
    after_pooling: tuple[keras.layers.Layer, ...] = ()
