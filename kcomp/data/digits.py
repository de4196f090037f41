"""The handwritten digits that scikit-learn ships."""

import numpy as np
import pandas as pd

from kcomp.data.tables import Table, with_class_names


def sklearn_digits() -> Table:
    """Load the 1,797 handwritten digits that scikit-learn ships (UCI optical recognition of handwritten digits).

    Returns:
        Labelled rows. Images are uint8 arrays of 8 x 8 pixels. The classes are "0" to "9".

    Examples:
        >>> from kcomp import data
        >>> digits = data.sklearn_digits()
        >>> len(digits), digits.images[0].shape
        (1797, (8, 8))
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    frame = pd.DataFrame({"image_id": [f"digit-{row:04d}" for row in range(len(digits.target))]}, dtype=object)
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    frame["image"] = pd.Series(list(pixels), dtype=object)
    return with_class_names(frame, [str(target) for target in digits.target])
