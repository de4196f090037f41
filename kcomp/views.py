"""Views of an image for test-time augmentation; predictions are averaged over them.

A recipe's `views` function returns a list such as `[views.plain, views.left_right, *views.random(8)]`. `plain` is the
image as in validation; `left_right`, `upside_down` and `half_turn` are its flips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["View", "half_turn", "left_right", "plain", "random", "upside_down", "with_plain"]


@dataclass(frozen=True)
class View:
    """Describe one way to look at an image.

    Args:
        draw: Number of the random draw, from 0, of the training pipeline. None for the validation pipeline, which draws
            nothing.
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
    """Return random views of the training pipeline, without mixing. Each view is drawn once for each image.

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
    """Return the views without repetitions, with the plain view first.

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
