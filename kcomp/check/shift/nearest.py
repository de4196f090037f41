"""Show the test images that are least like any training image, by features of a frozen network."""

from collections.abc import Sequence

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.pictures import picture_of
from kcomp.report.page import Picture

SHOWN = 12  # pictures


def nearest_rows(features: np.ndarray, test_features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two things for each test row: the distance to the nearest training row, and the position of that row.

    The features are first divided by their Euclidean norm (Sun et al. 2022, Out-of-distribution detection with deep
    nearest neighbors). The distance is 0 for a copy of a training image, and at most 2. For a row without features, it
    is NaN and the position is -1.

    Args:
        features: Features of the training rows, (rows, dimensions). Rows without features are NaN.
        test_features: Features of the test rows, (test rows, dimensions).
    """
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import normalize

    distances, positions = np.full(len(test_features), np.nan), np.full(len(test_features), -1)
    usable, test_usable = (np.flatnonzero(np.isfinite(each).all(1)) for each in (features, test_features))
    if len(usable) and len(test_usable):
        search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(normalize(features[usable]))
        own, places = search.kneighbors(normalize(test_features[test_usable]))
        distances[test_usable], positions[test_usable] = own[:, 0], usable[places[:, 0]]
    return distances, positions


def unlike_gallery(data_set: DataSet) -> tuple[str, Sequence[Picture]]:
    """Return a caption and thumbnails of the test images with the largest distances to their nearest training image.

    There are no thumbnails without features. Images that cannot be read are left out.
    """
    caption = "Test images that are least like any training image"
    test = data_set.test
    if test is None or data_set.features is None or data_set.test_features is None:
        return caption, []
    distances, positions = nearest_rows(data_set.features, data_set.test_features)
    order = np.argsort(-np.nan_to_num(distances, nan=-1.0), kind="stable")[:SHOWN]
    ids, images, train_ids = test.ids, test.images, data_set.table.ids
    pictures = []
    for row in order[positions[order] >= 0].tolist():
        lines = [ids[row], f"distance {distances[row]:.2f}", f"from {train_ids[positions[row]]}"]
        pictures.append(picture_of(images[row], test.value_range, lines))
    return caption, [picture for picture in pictures if picture is not None]
