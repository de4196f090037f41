"""Views (variants of an image) for test-time augmentation. The predictions of all views of an image are averaged.

A recipe's `views` function returns a list such as `[views.plain, views.left_right, *views.random(8)]`. `plain` is the
image without random augmentation, as in validation. `left_right`, `upside_down` and `half_turn` flip this image, and
`transposed` swaps its rows and columns. Only the views in the list are predicted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = [
    "View",
    "five_crops",
    "half_turn",
    "left_right",
    "plain",
    "random",
    "scales",
    "symmetries",
    "ten_crops",
    "transposed",
    "upside_down",
]

FLIPS = {(): "", (1,): "left_right", (0,): "upside_down", (0, 1): "half_turn"}
CORNERS = {(0.0, 0.0): "top left", (0.0, 1.0): "top right", (1.0, 0.0): "bottom left", (1.0, 1.0): "bottom right"}
POSITIONS = {**CORNERS, (0.5, 0.5): "centre"}


@dataclass(frozen=True)
class View:
    """One variant of an image. The changes are made in the order of the arguments.

    Args:
        draw: None for the image as in validation. A whole number from 0 for the image with the random augmentation of
            training; each value gives different random numbers.
        share: Share of the height and width that a crop keeps, above 0 and at most 1. The crop is enlarged to the size
            of the image. 1 keeps the whole image.
        position: Where the crop lies, (vertical, horizontal). 0 is the top or the left, 0.5 the centre, and 1 the
            bottom or the right.
        scale: Factor of the image's height and width, above 0. The network predicts an image of the new size, so it
            must accept other sizes: convolutions and global pooling do, a dense layer on a flattened image does not.
        transposed: Whether to swap rows and columns. Needs square images.
        flips: Axes to flip. 0 turns the image upside down, and 1 swaps left and right.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
        >>> from kcomp import views
        >>> views.left_right == views.View(flips=(1,))
        True
        >>> views.View(share=0.8, position=(0.0, 1.0), flips=(1,)).name
        'crop 0.8 top right, left_right'
    """

    draw: int | None = None
    share: float = 1.0
    position: tuple[float, float] = (0.5, 0.5)
    scale: float = 1.0
    transposed: bool = False
    flips: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ValueError(f"a view's {problem}")

    def _problems(self) -> Iterator[str]:
        if self.draw is not None and self.draw < 0:
            yield f"draw must be at least 0, or None; received {self.draw}"
        if not 0 < self.share <= 1:
            yield f"share must be above 0 and at most 1; received {self.share}"
        if len(self.position) != 2 or not all(0 <= value <= 1 for value in self.position):
            yield f"position must be two numbers from 0 to 1; received {self.position}"
        if not 0 < self.scale < float("inf"):
            yield f"scale must be above 0; received {self.scale}"
        if self.flips not in FLIPS:
            yield f"flips must be one of {list(FLIPS)}; received {self.flips}"

    @property
    def name(self) -> str:
        """The name of the view in printed tables and in files, such as "left_right"."""
        parts = [] if self.draw is None else [f"random {self.draw}"]
        if self.share < 1:
            where = POSITIONS.get(self.position) or "at {:g} {:g}".format(*self.position)
            parts.append(f"crop {self.share:g} {where}")
        parts += [f"scale {self.scale:g}"] if self.scale != 1 else []
        parts += ["transposed"] if self.transposed else []
        parts += [FLIPS[self.flips]] if self.flips else []
        return ", ".join(parts) or "plain"


plain = View()
left_right = View(flips=(1,))
upside_down = View(flips=(0,))
half_turn = View(flips=(0, 1))
transposed = View(transposed=True)


def random(count: int) -> list[View]:
    """Return `count` views. Each applies the training augmentation, with different random numbers.

    The augmentation is the `transform` of the training batches. Their `layers`, such as MixUp, are not applied. The
    random numbers depend only on the run's seed, the image's id and the number of the view. Repeated predictions are
    therefore equal.

    Args:
        count: Number of views, from 0.

    Raises:
        ValueError: If `count` is negative.

    Examples:
        >>> from kcomp import views
        >>> [view.draw for view in views.random(3)]
        [0, 1, 2]
    """
    if count < 0:
        raise ValueError(f"the number of views must be at least 0; received {count}")
    return [View(draw=number) for number in range(count)]


def symmetries() -> list[View]:
    """Return the eight symmetries of the square: turns by 0, 90, 180 and 270 degrees, each also mirrored.

    They need square images. For other images, use `[plain, left_right, upside_down, half_turn]`.

    Examples:
        >>> from kcomp import views
        >>> len(views.symmetries())
        8
        >>> views.symmetries()[:4] == [views.plain, views.left_right, views.upside_down, views.half_turn]
        True
    """
    return [View(transposed=swapped, flips=flips) for swapped in (False, True) for flips in FLIPS]


def five_crops(share: float) -> list[View]:
    """Return five crops of the image: the centre and the four corners.

    Args:
        share: Share of the image's height and width that a crop keeps, above 0 and below 1. A crop of 224 pixels from
            an image of 256 pixels is the share 0.875.

    Raises:
        ValueError: If `share` is out of range.

    References:
        Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks, section 4.1.

    Examples:
        >>> from kcomp import views
        >>> [view.name for view in views.five_crops(0.9)][:2]
        ['crop 0.9 centre', 'crop 0.9 top left']
    """
    if not 0 < share < 1:
        raise ValueError(f"the share of a crop must be above 0 and below 1; received {share}")
    return [View(share=share), *(View(share=share, position=corner) for corner in CORNERS)]


def ten_crops(share: float) -> list[View]:
    """Return ten crops of the image: those of `five_crops`, and the mirror image (left and right) of each.

    Args:
        share: Share of the image's height and width that a crop keeps, above 0 and below 1.

    Raises:
        ValueError: If `share` is out of range.

    References:
        Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks, section 4.1.

    Examples:
        >>> from kcomp import views
        >>> len(views.ten_crops(0.875))
        10
    """
    crops = five_crops(share)
    return [*crops, *(View(share=share, position=crop.position, flips=(1,)) for crop in crops)]


def scales(*factors: float) -> list[View]:
    """Return a view for each factor. The network predicts the image at a size that is multiplied by the factor.

    The network must accept other sizes, see `View`. Sizes are rounded to whole pixels.

    Args:
        factors: Factors of the image's height and width, above 0, such as 0.75 or 1.25. The factor 1 is `plain`.

    Raises:
        ValueError: If a factor is not above 0.

    Examples:
        >>> from kcomp import views
        >>> [view.name for view in views.scales(1.0, 1.25)]
        ['plain', 'scale 1.25']
    """
    return [View(scale=factor) for factor in factors]


def check_views(chosen: Sequence[View]) -> list[View]:
    """Return the views of a recipe without duplicates.

    Args:
        chosen: The views that the recipe's function `views` returned.

    Raises:
        TypeError: If an element of `chosen` is not a View.
        ValueError: If `chosen` is empty.
    """
    for view in chosen:
        if not isinstance(view, View):
            raise TypeError(f"a recipe's views must be of kcomp.views; received {view!r}")
    if not chosen:
        raise ValueError("a recipe's views must be at least one view, such as views.plain; received none")
    return list(dict.fromkeys(chosen))
