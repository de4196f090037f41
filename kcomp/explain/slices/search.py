"""Test in which slices (groups of rows) the models are worse than in the other rows by more than chance.

A slice is all rows with one value of a column. For a column with many different numbers, it is a fifth of the sorted
rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kcomp.metrics.significance import Interval, holm, wilson_interval
from kcomp.report.text import number

FALSE_ALARMS = 0.01  # probability that at least one slice of random rows is called worse
LEAST = 20  # rows that a slice and its rest must have; the normal approximations of ranks and means need about as many
MOST = 100  # values of one column; of more values, the most frequent are slices
QUANTILES = 5  # slices of a column of numbers
FEW = 10  # a column of at most this many different numbers has a slice for each number
Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Slice:
    """A slice, and how much worse it is than the other rows.

    The harm of a row says how bad its prediction is; see `Outcomes.harm`.

    Attributes:
        column: The name of the column.
        value: The value, or the range of numbers, as text.
        rows: Positions of the rows.
        harm: The mean harm in the slice, with its 95 % interval.
        rest: The mean harm in all other rows with a known value.
        expected: The mean harm if each row in the slice had the mean harm of its class. NaN without classes.
        p: The probability that as many random rows have at least this much harm.
        adjusted: `p`, corrected for the number of slices (Holm 1979).
    """

    column: str
    value: str
    rows: np.ndarray
    harm: Interval
    rest: float
    expected: float
    p: float
    adjusted: float

    @property
    def name(self) -> str:
        return f"{self.column}: {self.value}"

    @property
    def is_worse(self) -> bool:
        return self.adjusted <= FALSE_ALARMS


def find_slices(columns: Mapping[str, np.ndarray], harm: np.ndarray, classes: np.ndarray | None = None) -> list[Slice]:
    """Test all slices of some columns. Return them with the lowest p first.

    Harm of 0 and 1 is tested with Fisher's exact test, other harm with the test of Mann and Whitney. Both tests are
    one-sided.

    Args:
        columns: {name: values (rows,)}. The values are numbers or texts. A missing number is NaN, and a missing text
            None.
        harm: How bad the prediction of each row is, (rows,). Rows with NaN are left out.
        classes: The class of each row, (rows,), for `Slice.expected`. None without classes.

    References:
        Fisher 1922; Mann and Whitney 1947; Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    known = ~np.isnan(harm)
    typical = class_means(harm, classes)
    slices = []
    for name, values in columns.items():
        usable = known & ~pd.isna(values)
        for text, inside in slices_of(values, usable):
            outside = usable & ~inside
            if min(inside.sum(), outside.sum()) < LEAST:
                continue
            slices.append(
                Slice(
                    column=name,
                    value=text,
                    rows=np.flatnonzero(inside),
                    harm=mean_interval(harm[inside]),
                    rest=float(harm[outside].mean()),
                    expected=float(typical[inside].mean()),
                    p=worse_by_chance(harm[inside], harm[outside]),
                    adjusted=1.0,
                )
            )
    return correct_p_values(slices)


def class_means(harm: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    """Return for each row the mean harm of all rows of the same class, (rows,). NaN without classes."""
    if classes is None:
        return np.full(len(harm), np.nan)
    return pd.Series(harm).groupby(classes).transform("mean").to_numpy()


def slices_of(values: np.ndarray, usable: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the slices of one column: a text for the value, and whether each row is in the slice, bool (rows,).

    Rows outside of `usable`, bool (rows,), are in no slice.
    """
    distinct, counts = np.unique(values[usable].astype(str), return_counts=True)
    if len(distinct) < 2:
        return
    if is_numeric(values) and len(distinct) > FEW:
        yield from quantile_slices(values.astype(np.float64), usable)
        return
    texts = values.astype(str)
    for text in distinct[np.argsort(-counts, kind="stable")][:MOST]:
        yield str(text), usable & (texts == text)


def is_numeric(values: np.ndarray) -> bool:
    return values.dtype.kind in "iuf"


def quantile_slices(values: np.ndarray, usable: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a slice for each fifth of the usable rows, sorted by `values`. The slices have the form of `slices_of`."""
    edges = np.unique(np.quantile(values[usable], np.linspace(0, 1, QUANTILES + 1)[1:-1]))
    numbers = np.searchsorted(edges, values, side="left")
    for place in range(len(edges) + 1):
        inside = usable & (numbers == place)
        if inside.any():
            yield f"{number(values[inside].min())} to {number(values[inside].max())}", inside


def mean_interval(harm: np.ndarray) -> Interval:
    """Return the mean harm with its 95 % interval. If all harm is 0 or 1, this is Wilson's interval (1927)."""
    if set(np.unique(harm)) <= {0.0, 1.0}:
        return wilson_interval(int(harm.sum()), len(harm))
    mean, half = float(harm.mean()), Z * float(harm.std(ddof=1)) / np.sqrt(len(harm))
    return Interval(mean, mean - half, mean + half, len(harm))


def worse_by_chance(inside: np.ndarray, outside: np.ndarray) -> float:
    """Return the p-value of a slice: the probability of at least as much harm in as many random rows.

    `inside` has the harm of the rows in the slice, and `outside` the harm of the other rows.
    """
    from scipy import stats

    if set(np.unique(np.concatenate([inside, outside]))) <= {0.0, 1.0}:
        total, wrong = len(inside) + len(outside), int(inside.sum() + outside.sum())
        return float(stats.hypergeom.sf(int(inside.sum()) - 1, total, wrong, len(inside)))
    return float(stats.mannwhitneyu(inside, outside, alternative="greater", method="asymptotic").pvalue)


def correct_p_values(slices: Sequence[Slice]) -> list[Slice]:
    """Return the slices sorted by p, with `adjusted` set (Holm 1979)."""
    ordered = sorted(slices, key=lambda each: each.p)
    corrected = holm([each.p for each in ordered]).tolist()
    return [replace(each, adjusted=p) for each, p in zip(ordered, corrected, strict=True)]
