"""Views of an image for test-time augmentation; predictions are averaged over them.

A recipe's `views` gives a list such as `[views.plain, views.left_right, *views.random(8)]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """One way to look at an image: through the training pipeline as draw number `draw` (None: through the validation
    pipeline), then turned over along `flips`, axes of (height, width): 0 is upside down, 1 left to right."""

    draw: int | None = None
    flips: tuple[int, ...] = ()


plain = View()
left_right = View(flips=(1,))
upside_down = View(flips=(0,))
half_turn = View(flips=(0, 1))


def random(count: int) -> list[View]:
    """`count` views of the training pipeline (without mixing), each drawn once for each image."""
    if count < 0:
        raise ValueError(f"the number of views must be at least 0; received {count}")
    return [View(draw=number) for number in range(count)]


def with_plain(chosen: Sequence[View]) -> list[View]:
    """The views, each once, with the plain one first: it is always among them."""
    for view in chosen:
        if not isinstance(view, View):
            raise TypeError(f"a recipe's views must be of kcomp.views; received {view!r}")
    return list(dict.fromkeys([plain, *chosen]))
