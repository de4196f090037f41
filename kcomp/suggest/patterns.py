"""Write the layers of a stage as a short regular expression."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kcomp.suggest.groups import BlockGroup

HEAD = "head"  # the layer that `models.classifier` adds; its pooling may have weights, and is named head_pool
LONGEST = 120  # characters of a regular expression


def pattern_of(groups: Sequence["BlockGroup"], upper: int) -> str:
    """Return a value for `Stage.train` that trains the head and the last `upper` groups of a backbone.

    It is "all" for all groups, and if the names of the layers are too irregular for a short regular expression.
    """
    if upper >= len(groups):
        return "all"
    others = [path for group in groups[: len(groups) - upper] for path in group.layers]
    chosen = [path for group in groups[len(groups) - upper :] for path in group.layers]
    pattern = "|".join([f"{HEAD}.*", *expressions(chosen, [*others, HEAD])])
    return pattern if len(pattern) <= LONGEST else "all"


def expressions(chosen: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return regular expressions that together match all of `chosen` and none of `others`.

    A word or number at the start of a name is one expression, such as "block6.*". Successive digits are joined, such as
    "block[67].*".
    """
    starts: dict[str, bool] = {}  # whether the text is only the start of a name
    for name in chosen:
        if not any(name.startswith(start) if is_start else name == start for start, is_start in starts.items()):
            start = shortest_start(name, others)
            starts[name if start is None else start] = start is not None
    return join_digits([re.escape(start) + (".*" if is_start else "") for start, is_start in starts.items()])


def shortest_start(name: str, others: Sequence[str]) -> str | None:
    """Return the first words and numbers of a name with which no other name begins. None if there are none."""
    ends = [match.end() for match in re.finditer(r"[A-Za-z]+|\d+|.", name)]
    return next((name[:end] for end in ends if not any(other.startswith(name[:end]) for other in others)), None)


def join_digits(patterns: Sequence[str]) -> list[str]:
    """Join expressions such as "block6.*" and "block7.*", which differ only in successive last digits."""
    runs: list[tuple[str, list[int]]] = []  # the text before the digits, and the digits; none for other expressions
    for pattern in patterns:
        match = re.fullmatch(r"(.*\D)(\d)\.\*", pattern)
        if match is None:
            runs.append((pattern, []))
            continue
        before, digit = match[1], int(match[2])
        run = next((digits for text, digits in runs if text == before and digits[-1:] == [digit - 1]), None)
        if run is None:
            runs.append((before, [digit]))
        else:
            run.append(digit)
    return [before + digit_class(digits) for before, digits in runs]


def digit_class(digits: Sequence[int]) -> str:
    """Return the end of an expression: one of these successive digits, and then any text. Empty without digits."""
    if len(digits) < 2:
        return "".join(f"{digit}.*" for digit in digits)
    first, last = digits[0], digits[-1]
    return f"[{first}{'-' if last - first > 1 else ''}{last}].*"
