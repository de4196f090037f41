"""Views (variants of an image) for test-time augmentation. The predictions of all views of an image are averaged.

A recipe's `views` function returns a list such as `[views.plain, views.left_right, *views.random(8)]`. `plain` is the
image without random augmentation, as in validation. `left_right`, `upside_down` and `half_turn` flip this image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["View", "half_turn", "left_right", "plain", "random", "upside_down", "with_plain"]


@dataclass(frozen=True)
class View:
    """One variant of an image: augmented at random or not, and flipped or not.

    Args:
        draw: None for the image as in validation. A whole number from 0 for the image with the random augmentation of
            training; each number selects other random numbers.
        flips: Axes to flip afterwards. 0 turns the image upside down, and 1 swaps left and right.

    Examples:
        >>> from kcomp import views
        >>> views.left_right == views.View(flips=(1,))
        True
    """

    draw: int | None = None
    flips: tuple[int, ...] = ()


plain = View()
left_right = View(flips=(1,))
upside_down = View(flips=(0,))
half_turn = View(flips=(0, 1))


def random(count: int) -> list[View]:
    """Return `count` views. Each applies the training augmentation to the image, with other random numbers.

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


def with_plain(chosen: Sequence[View]) -> list[View]:
    """Return a list of `plain` and then the views in `chosen`, without duplicates.

    Args:
        chosen: The views of a recipe.

    Raises:
        TypeError: If an element of `chosen` is not a View.

    Examples:
        >>> from kcomp import views
        >>> views.with_plain([views.left_right, views.left_right]) == [views.plain, views.left_right]
        True
    """
    for view in chosen:
        if not isinstance(view, View):
            raise TypeError(f"a recipe's views must be of kcomp.views; received {view!r}")
    return list(dict.fromkeys([plain, *chosen]))
