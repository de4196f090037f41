"""Search for pairs of images that may show the same picture, by perceptual hashes and by frozen features."""

import numpy as np

BITS = 64
CHANCE = 0.1  # so many pairs of unrelated images per image may pass the comparison of hashes
BLOCK = 256  # rows that are compared with all others at a time
NEIGHBOURS = 32  # most similar rows that are looked at for each row


def largest_distance(rows: int) -> int:
    """Return the largest Hamming distance of two perceptual hashes at which the pixels of the images are compared.

    Among `rows` unrelated images, an image has on average at most `CHANCE` others within this distance.
    """
    from scipy import stats

    chances = stats.binom.cdf(np.arange(BITS // 2), BITS, 0.5)
    return int(np.searchsorted(chances, CHANCE * 2 / (8 * max(rows, 2)), side="right")) - 1


def hash_pairs(hashes: np.ndarray, most: int) -> np.ndarray:
    """Return pairs of rows with similar perceptual hashes, the most similar first.

    Args:
        hashes: The hashes of the 8 rotations and mirror images of each image, uint64 (rows, 8).
        most: The largest number of pairs to return.

    Returns:
        Row numbers in `hashes`, int (pairs, 2). The first of a pair is smaller than the second.

    References:
        Zauner 2010, Implementation and benchmarking of perceptual image hash functions.
    """
    limit = largest_distance(len(hashes))
    own = hashes[:, 0].copy()
    turned = np.ascontiguousarray(hashes.T)
    parts, distances = [], []
    for start in range(0, len(hashes), BLOCK):
        block = own[start : start + BLOCK, None]
        distance = np.full((len(block), len(hashes) - start), BITS, np.uint8)
        for column in turned:
            np.minimum(distance, np.bitwise_count(block ^ column[None, start:]), out=distance)
        first, second = np.nonzero(distance <= limit)
        later = second > first
        first, second = first[later], second[later]
        parts.append(np.stack([first, second], 1) + start)
        distances.append(distance[first, second])
        if sum(map(len, parts)) > 4 * most:  # keep the memory bounded
            parts, distances = closest(parts, distances, most)
    parts, _ = closest(parts, distances, most)
    return parts[0]


def feature_pairs(features: np.ndarray, positions: np.ndarray, most: int) -> np.ndarray:
    """Return pairs of rows whose features have the largest cosine similarity, the most similar first.

    Args:
        features: The features of all rows, float32 (rows, dimensions).
        positions: Positions of the rows to compare.
        most: The largest number of pairs to return.

    Returns:
        Indices of `positions`, int (pairs, 2). The first of a pair is smaller than the second.

    References:
        Barz and Denzler 2020, Do we train on test data? Purging CIFAR of near-duplicates.
    """
    from sklearn.neighbors import NearestNeighbors

    usable = np.flatnonzero(np.isfinite(features).all(1)[positions])
    if len(usable) < 2:
        return np.zeros((0, 2), int)
    unit = features[positions[usable]].astype(np.float32, copy=False)  # one copy, changed in place
    unit -= unit.mean(0)  # what all images have in common says nothing
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    count = min(NEIGHBOURS, len(usable) - 1)
    distances, nearest = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(unit).kneighbors()
    pairs = np.stack([np.repeat(np.arange(len(unit)), count), nearest.ravel()], 1)
    # the nearest neighbour of every row comes before the second of any row; distances are at most 2
    order = np.argsort((np.arange(count) + distances / 4).ravel(), kind="stable")
    joined = usable[np.sort(pairs[order], 1)]
    _, first = np.unique(joined, axis=0, return_index=True)
    return joined[np.sort(first)][:most]


def closest(pairs: list[np.ndarray], distances: list[np.ndarray], most: int) -> tuple[list, list]:
    """Return the `most` pairs with the smallest distances, sorted by distance, and their distances.

    Each result is a list with a single array, so that it can be an argument of the next call.
    """
    if not pairs:
        return [np.zeros((0, 2), int)], [np.zeros(0, np.uint8)]
    distance = np.concatenate(distances)
    order = np.argsort(distance, kind="stable")[:most]
    return [np.concatenate(pairs)[order]], [distance[order]]
