"""Split rows into parts for cross-validation, independently of their order in files."""

import numpy as np

from kcomp.data.splits.stratify import stratify


def stratified_parts(strata: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Return a part number from 0 to count - 1 for each row (rows,).

    strata: the stratum of each row (rows,), or its labels, bool (rows, labels), as `Target.strata` returns them.
    count:  number of parts. If there are fewer rows, there is one part for each row.

    Parts have equal sizes and equal shares of each stratum or label. The rows of a stratum with fewer than `count` rows
    go to different parts.
    """
    count = min(count, len(strata))
    if strata.ndim == 2:
        return stratify(strata, np.full(count, 1 / count), seed=seed)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(strata)), strata))
    numbers = np.empty(len(strata), np.int64)
    numbers[order] = np.arange(len(strata)) % count
    return numbers
