"""Print in the terminal without obeying what stands in class names, ids and file names."""

from typing import Any

from rich.console import Console
from rich.text import Text

from kcomp.system.printable import printable


class PlainConsole(Console):
    """A rich console that prints texts as they are: without rich's markup such as `[red]`, and without emoji codes.

    Control characters are replaced by their escapes. The arguments are those of `rich.console.Console`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a text to a `rich.text.Text`. rich calls it for lines and for cells of tables."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})
