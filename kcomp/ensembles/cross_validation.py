"""Split rows into parts for cross-validation, independently of their order in files."""

import numpy as np


def stratified_parts(labels: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Return a part number from 0 to count - 1 for each row (rows,) of `labels` (rows, classes).

    Parts have equal sizes and equal shares of each class. The rows of a class with fewer than `count` rows go to
    different parts. With fewer rows than `count`, there are as many parts as rows.
    """
    truth = labels.argmax(1)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(truth)), truth))
    numbers = np.empty(len(truth), np.int64)
    numbers[order] = np.arange(len(truth)) % count
    return numbers
