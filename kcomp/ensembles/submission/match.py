"""Match the ids of a sample submission with the ids of predictions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kcomp.data.lookup import matches
from kcomp.report.text import quantity


def find_rows(sample_ids: Sequence[str], predicted: Sequence[str]) -> np.ndarray:
    """Return the position of each sample id in `predicted`, int (sample ids,). It is -1 for a missing id.

    Case, Unicode form, folder and file ending may differ: "im1" matches "test/IM1.jpg".
    """
    return matches(pd.Series(list(sample_ids), dtype=object), list(predicted))


def id_problems(sample_ids: Sequence[str], predicted: Sequence[str]) -> list[str]:
    """Return sentences that describe how the ids of the sample and the predicted ids differ. Empty if they match."""
    positions = find_rows(sample_ids, predicted)
    missing = [name for name, position in zip(sample_ids, positions, strict=True) if position < 0]
    used = set(positions.tolist())
    surplus = [name for position, name in enumerate(predicted) if position not in used]
    texts = []
    for text, ids in (("not predicted", missing), ("predicted but not in the sample", surplus)):
        if ids:
            texts.append(f"{quantity(len(ids), 'id')} {text}, first {ids[:3]}")
    return texts


def shared_ids(id_lists: Sequence[Sequence[str]]) -> list[str]:
    """Return the ids that are in all lists, spelled and ordered as in the first list.

    Raises:
        ValueError: If no id is in all lists.
    """
    shared = list(id_lists[0])
    for ids in id_lists[1:]:
        if shared != list(ids):
            positions = find_rows(shared, ids)
            shared = [name for name, position in zip(shared, positions, strict=True) if position >= 0]
        if not shared:
            raise ValueError(
                "the runs of a submission must predict the same test rows; two runs have no id in common, such as "
                f"{list(id_lists[0])[:2]} and {list(ids)[:2]}"
            )
    return shared
