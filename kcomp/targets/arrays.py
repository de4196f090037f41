"""Functions of arrays and names that several targets use."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

SMALLEST = float(np.finfo(np.float64).eps)  # smallest probability in a geometric mean; smaller ones are replaced by it
TOLERANCE = 1e-3  # how far the sum of a row of probabilities may be from 1
WIDTH = 100  # characters of a list of classes; longer lists are summarized


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, in float64."""
    from scipy import special

    probabilities: np.ndarray = special.softmax(logits.astype(np.float64), axis=-1)
    return probabilities


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-logits)), in float64."""
    from scipy import special

    probabilities: np.ndarray = special.expit(logits.astype(np.float64))
    return probabilities


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)). p and 1 - p are at least `SMALLEST`."""
    return np.log(np.clip(probabilities, SMALLEST, 1)) - np.log(np.clip(1 - probabilities, SMALLEST, 1))


def mean(predictions: Sequence[np.ndarray]) -> np.ndarray:
    """Return the arithmetic mean of several arrays, in float64."""
    total = np.zeros(predictions[0].shape, np.float64)
    for values in predictions:
        total += values
    return total / len(predictions)


def mean_rank(predictions: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of the ranks of several predictions. A value's rank among all rows of its column is from 1."""
    from scipy import stats

    ranks = np.zeros(predictions[0].shape, np.float64)
    for values in predictions:
        ranks += stats.rankdata(values, axis=0)
    return ranks / len(predictions)


def first_row(rule: str, valid: np.ndarray, values: np.ndarray, ids: Sequence[str]) -> str:
    """Return a line with a rule, the number of rows that break it, and the first such row.

    Args:
        rule: The rule in words.
        valid: Whether each row meets the rule, bool (rows,).
        values: (rows, columns).
        ids: The image ids.
    """
    invalid = np.flatnonzero(~valid)
    count = "1 row is not" if len(invalid) == 1 else f"{len(invalid)} rows are not"
    return f"{rule}; {count}, first {ids[invalid[0]]!r} with {values[invalid[0]].tolist()}"


def problems(rules: Sequence[tuple[str, np.ndarray]], values: np.ndarray, ids: Sequence[str]) -> list[str]:
    """Return a line about each rule that at least one row breaks, as `first_row` makes it."""
    return [first_row(rule, valid, values, ids) for rule, valid in rules if not valid.all()]


def in_range(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return whether all values of each row lie between `low` and `high`, bool (rows,). NaN is outside."""
    valid: np.ndarray = np.all((values >= low) & (values <= high), axis=1)
    return valid


def check_names(names: Sequence[str], least: int, kind: str) -> None:
    """Raise ValueError unless `names` are at least `least` different texts. `kind` describes them in the message."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"a target takes a tuple of names; received {names!r}")
    if len(names) < least:
        raise ValueError(f"a target needs at least {kind}; received {list(names)}")
    repeated = [name for position, name in enumerate(names) if name in names[:position]]
    if repeated:
        raise ValueError(f"the names of a target must be unique; {repeated[0]!r} is repeated")


def list_counts(names: Sequence[str], counts: np.ndarray) -> str:
    """Return each name with its number of rows. Of many names, return only the rarest and the most frequent."""
    text = ", ".join(f"{name} ({count:g})" for name, count in zip(names, counts, strict=True))
    if len(text) > WIDTH:
        rarest, commonest = int(counts.argmin()), int(counts.argmax())
        text = (
            f"from {counts[rarest]:g} ({shorten(names[rarest])}) to {counts[commonest]:g} ({shorten(names[commonest])})"
        )
    return text


def shorten(name: str, length: int = 30) -> str:
    return name if len(name) <= length else f"{name[: length - 3]}..."


def list_names(names: Sequence[str], count: int = 3) -> str:
    """Return the first names, quoted, and the number of the others."""
    listed = ", ".join(repr(shorten(name)) for name in names[:count])
    return listed if len(names) <= count else f"{listed} and {len(names) - count} more"


def warn_similar(names: Sequence[str]) -> list[str]:
    """Return a warning if class names differ only in case, spaces or Unicode form."""
    groups: dict[str, list[str]] = {}
    for name in names:
        plain = unicodedata.normalize("NFKC", name).casefold()
        groups.setdefault("".join(plain.split()), []).append(name)
    similar = [same for same in groups.values() if len(same) > 1]
    if not similar:
        return []
    more = f", and {len(similar) - 1} more such groups" if len(similar) > 1 else ""
    return [
        f"warning: {list_names(similar[0])} are different classes, but only differ in case, spaces or Unicode form"
        + more
    ]


def as_lists(value: Any) -> Any:
    return [as_lists(part) for part in value] if isinstance(value, tuple) else value


def as_tuples(value: Any) -> Any:
    return tuple(as_tuples(part) for part in value) if isinstance(value, list) else value
