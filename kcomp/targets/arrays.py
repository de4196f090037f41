"""Helpers of several targets: softmax, means over models, checks of values and names."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

SMALLEST = float(np.finfo(np.float64).eps)  # probabilities are raised to this before their logarithm is computed
TOLERANCE = 1e-3  # how much the sum of a row of probabilities may differ from 1
WIDTH = 100  # characters that a list of classes may have; longer lists are shortened


def softmax(logits: np.ndarray) -> np.ndarray:
    from scipy import special

    probabilities: np.ndarray = special.softmax(logits.astype(np.float64), axis=-1)
    return probabilities


def sigmoid(logits: np.ndarray) -> np.ndarray:
    from scipy import special

    probabilities: np.ndarray = special.expit(logits.astype(np.float64))
    return probabilities


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)). To avoid infinity, p and 1 - p are first raised to at least `SMALLEST`."""
    return np.log(np.clip(probabilities, SMALLEST, 1)) - np.log(np.clip(1 - probabilities, SMALLEST, 1))


def mean(predictions: Sequence[np.ndarray]) -> np.ndarray:
    total = np.zeros(predictions[0].shape, np.float64)
    for values in predictions:
        total += values
    return total / len(predictions)


def mean_rank(predictions: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean rank of each value over several arrays. Ranks are within a column, and the lowest value has rank
    1.
    """
    from scipy import stats

    ranks = np.zeros(predictions[0].shape, np.float64)
    for values in predictions:
        ranks += stats.rankdata(values, axis=0)
    return ranks / len(predictions)


def broken_rule_text(rule: str, valid: np.ndarray, values: np.ndarray, ids: Sequence[str]) -> str:
    """Return an error text: the rule, how many rows break the rule, and the first such row.

    Args:
        rule: The rule in words.
        valid: Whether each row obeys the rule, bool (rows,). At least one row must break it.
        values: The values of the rows, (rows, columns).
        ids: The image id of each row.
    """
    invalid = np.flatnonzero(~valid)
    count = "1 row is not" if len(invalid) == 1 else f"{len(invalid)} rows are not"
    return f"{rule}; {count}, first {ids[invalid[0]]!r} with {values[invalid[0]].tolist()}"


def problems(rules: Sequence[tuple[str, np.ndarray]], values: np.ndarray, ids: Sequence[str]) -> list[str]:
    """Return one error text, from `broken_rule_text`, for each rule that at least one row breaks.

    Args:
        rules: Pairs of a rule in words and whether each row obeys the rule, bool (rows,).
        values: The values of the rows, (rows, columns).
        ids: The image id of each row.
    """
    return [broken_rule_text(rule, valid, values, ids) for rule, valid in rules if not valid.all()]


def in_range(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return whether all values of each row lie between `low` and `high`, bool (rows,). NaN is outside."""
    valid: np.ndarray = np.all((values >= low) & (values <= high), axis=1)
    return valid


def check_names(names: Sequence[str], least: int, kind: str) -> None:
    """Raise ValueError unless `names` has at least `least` strings, all different.

    `kind` describes the minimum in the message, such as "two classes".
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"a target takes a tuple of names; received {names!r}")
    if len(names) < least:
        raise ValueError(f"a target needs at least {kind}; received {list(names)}")
    repeated = [name for position, name in enumerate(names) if name in names[:position]]
    if repeated:
        raise ValueError(f"the names of a target must be unique; {repeated[0]!r} is repeated")


def list_counts(names: Sequence[str], counts: np.ndarray) -> str:
    """Return a text such as "cat (120), dog (80)". For many names, list only the rarest and the most frequent one."""
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
    """Return the first `count` names, quoted, and how many more there are: "'a', 'b', 'c' and 4 more"."""
    listed = ", ".join(repr(shorten(name)) for name in names[:count])
    return listed if len(names) <= count else f"{listed} and {len(names) - count} more"


def warn_similar(names: Sequence[str]) -> list[str]:
    """Return a list with a warning if class names differ only in case, spaces or Unicode form. Otherwise, the list is
    empty.
    """
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
