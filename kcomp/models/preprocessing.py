"""How the images of a pretrained network are prepared."""

from dataclasses import dataclass

from kcomp.data.images import Images
from kcomp.data.transforms import Transform


@dataclass(frozen=True)
class Preprocessing:
    """What `data.Batches` needs to prepare images as for the training of a pretrained network.

    Attributes:
        image_size: Height and width of the network's images in pixels.
        images: Decodes images and scales them.
        transform: Cuts out the centre. For batches outside of training. None if `images` does it.
    """

    image_size: tuple[int, int]
    images: Images
    transform: Transform | None
