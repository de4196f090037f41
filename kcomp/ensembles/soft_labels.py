"""Make soft labels of training rows: predictions of runs that held out these rows.

They are used to distil several runs into one network. This module does not import Keras.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from kcomp.ensembles.pseudo_labels import mean_of_runs
from kcomp.runs.folder import Run

LEAK = (
    "warning: the runs that predict a training row were trained on the rows that a student holds out. Its score is "
    "too good: compare it only with other students"
)


def label_training_rows(by_fold: Mapping[int, Sequence[Run]], students: Sequence[int]) -> pd.DataFrame:
    """Return the soft labels of training rows for new runs (students). Each student holds out a fold of `students`.

    The label of a row is the mean prediction of the runs that held out the row's fold, so they were not trained on this
    row. A student gets the rows of all folds except the fold that it holds out.

    These runs were trained on the rows that the student holds out. The student's score on these rows is therefore too
    good.

    Args:
        by_fold: {fold: runs that held out this fold}, for all folds; see `group_teachers`.
        students: The folds to make labels for.

    Returns:
        A table with the columns image_id, fold (the fold that the student holds out), and one column for each class. If
        the rows have items, such as patients, the ids are those of the items.

    Raises:
        ValueError: If the runs of a fold predict different rows.
    """
    rule = "the runs that label one fold must predict the same rows"
    predictions = {fold: mean_of_runs(runs, "oof", rule) for fold, runs in by_fold.items()}
    repeats = {fold: runs[0].manifest.get("repeat", 0) for fold, runs in by_fold.items()}
    parts = []
    for student in students:
        others = [fold for fold in by_fold if fold != student and repeats[fold] == repeats[student]]
        rows = pd.concat([predictions[fold] for fold in others]).sort_index()
        parts.append(rows.rename_axis("image_id").reset_index().assign(fold=student))
    return pd.concat(parts, ignore_index=True)
