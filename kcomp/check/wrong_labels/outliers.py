"""Find images that are unlike all others, by the distance to their nearest neighbours in feature space."""

import numpy as np

NEIGHBOURS = 10
FALSE_ALARM = 0.001  # probability of an outlier among all rows, if the logarithms of the distances were normal


def neighbour_distances(features: np.ndarray) -> np.ndarray:
    """Return the mean distance between each row and its ten nearest neighbours (Kuan and Mueller 2022), (rows,)."""
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(features) - 1)
    if count < 1:
        return np.zeros(len(features))
    distances, _ = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(features).kneighbors()
    return distances.mean(1)


def outlier_scores(features: np.ndarray) -> tuple[np.ndarray, float]:
    """Return two things: a score of each row, (rows,), and the score above which a row is an outlier.

    The score of a row is (x - median of x) / deviation, where x is the logarithm of its `neighbour_distances`. The
    deviation is that of a normal distribution with the same median and upper quartile.
    """
    from scipy import stats

    logs = np.log(np.maximum(neighbour_distances(features), 1e-12))
    middle, upper = np.quantile(logs, [0.5, 0.75])
    deviation = (upper - middle) / stats.norm.ppf(0.75) or 1.0
    return (logs - middle) / deviation, float(stats.norm.isf(FALSE_ALARM / len(features)))
