"""Write a number and its noun, in the singular or plural."""


def quantity(count: int, noun: str) -> str:
    """Return a number with its noun, such as "1 run" or "3,000 runs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
