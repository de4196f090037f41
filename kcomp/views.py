"""Views of an image for test-time augmentation. Predictions are averaged over all views of an image.

A recipe's `views` function returns a list such as `[views.plain, views.left_right, *views.random(8)]`. `plain` is the
image as in validation; `left_right`, `upside_down` and `half_turn` are its flips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["View", "half_turn", "left_right", "plain", "random", "upside_down", "with_plain"]


@dataclass(frozen=True)
class View:
    """One variant of an image: augmented at random or not, and flipped or not.

    Args:
        draw: None for the image as in validation. A number from 0 for the image with the random augmentation of
            training; each number gives a different augmentation.
        flips: Axes of (height, width) to flip afterwards: 0 turns the image upside down, 1 swaps left and right.

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
    """Return views with the random augmentation of training, without mixing.

    Predictions repeat exactly, because each image has a fixed augmentation for each view.

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
    """Return the views without repetitions, with `plain` first.

    Args:
        chosen: The views of a recipe.

    Raises:
        TypeError: If an item is not a View.

    Examples:
        >>> from kcomp import views
        >>> views.with_plain([views.left_right, views.left_right]) == [views.plain, views.left_right]
        True
    """
    for view in chosen:
        if not isinstance(view, View):
            raise TypeError(f"a recipe's views must be of kcomp.views; received {view!r}")
    return list(dict.fromkeys([plain, *chosen]))
