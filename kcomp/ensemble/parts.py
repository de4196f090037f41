"""Parts of the rows for cross-validation, the same whatever the order of files."""

import numpy as np


def stratified(labels: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """A part number for each row (rows,) of `labels` (rows, classes): equal sizes, classes in equal shares.

    Rows of a class that is rarer than `count` are spread over some of the parts. There are fewer parts where there are
    fewer rows.
    """
    truth = labels.argmax(1)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(truth)), truth))
    numbers = np.empty(len(truth), np.int64)
    numbers[order] = np.arange(len(truth)) % count
    return numbers
