"""Make texts from data safe to print in a terminal."""

import re

# control characters except tab and line feed, and characters that change the direction of the text after them
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text whose control characters are replaced by their escapes, such as ``\x1b``.

    A terminal would obey them: it could change colors or its title, or hide a line.
    """
    return UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)
