"""List the submissions to write from one set of predictions, such as with and without smoothing."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from kcomp.ensembles.corrections.apply import Corrections


def variants_of(
    predictions: pd.DataFrame | dict[str, pd.DataFrame], corrections: Corrections, output: Path
) -> list[tuple[Path, pd.DataFrame, Corrections]]:
    """Return three things for each submission to write: its file, its predictions, and the corrections to apply.

    Args:
        predictions: One table makes one submission. A dict of tables makes two submissions of each table: without
            smoothing and, if `corrections` smooths, with it.
        corrections: The corrections chosen on the command line.
        output: The file of the one submission, or the folder of several.
    """
    if isinstance(predictions, pd.DataFrame):
        return [(output, predictions, corrections)]
    variants = []
    for name, frame in predictions.items():
        variants.append((output / f"{name}.csv", frame, replace(corrections, smooth=None)))
        if corrections.smooth is not None:
            variants.append((output / f"{name}-smoothed.csv", frame, corrections))
    return variants
