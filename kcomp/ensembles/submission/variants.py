"""Name the submissions that one set of predictions makes: with and without views, smoothed and not."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from kcomp.ensembles.corrections.apply import Corrections


def variants_of(
    predictions: pd.DataFrame | dict[str, pd.DataFrame], corrections: Corrections, output: Path
) -> list[tuple[Path, pd.DataFrame, Corrections]]:
    """Return the file, the predictions and the corrections of each submission.

    Args:
        predictions: A table of predictions, which makes one submission. Or several tables by name: each makes one
            submission without smoothing and, if `corrections` smooths, one with it.
        corrections: What the options of the command line correct.
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
