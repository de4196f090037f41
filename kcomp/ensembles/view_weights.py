"""Fit the weights of views (variants of an image for test-time augmentation), and store them in the run folders.

The views of a model are weighted like the members of an ensemble. This module does not import Keras.
"""

from collections.abc import Sequence

from kcomp.ensembles.joins import HeldOut
from kcomp.ensembles.scoring.ensemble import EnsembleScores, score_ensemble
from kcomp.metrics.scores import Scorer
from kcomp.runs.folder import Run
from kcomp.system.files import read_json, write_json

FILE = "views.json"  # in a run folder


def fit_view_weights(rows: HeldOut, scorer: Scorer) -> EnsembleScores:
    """Fit the weights of views to the metric, and score them by nested cross-validation.

    Args:
        rows: The held-out rows. `rows.values` has the predictions of each view, (views, rows, columns).
        scorer: The metric and the target.

    Returns:
        Scores in which each view is a member. `fitted.weights` has the weights. They are at least 0 and sum to 1.
    """
    return score_ensemble(rows, scorer, method="search")


def store_weights(runs: Sequence[Run], names: Sequence[str], scores: EnsembleScores) -> None:
    """Write views.json into the folder of each run: the names of the views, their weights, and three scores.

    `equal` is the score with equal weights. `nested` is the score of the fitted weights by nested cross-validation.
    `optimistic` is the score of the fitted weights on the rows that they were fitted on.
    """
    assert scores.fitted.weights is not None
    content = {
        "views": list(names),
        "weights": [float(weight) for weight in scores.fitted.weights],
        "metric": scores.metric,
        "equal": scores.mean[scores.metric],
        "nested": scores.ensemble[scores.metric],
        "optimistic": scores.optimistic,
    }
    for run in runs:
        write_json(run / FILE, content)


def read_weights(run: Run, names: Sequence[str]) -> list[float] | None:
    """Return the weight of each view from views.json in a run folder. Return None if there is no such file.

    Raises:
        ValueError: If the file has weights of other views than `names`.
    """
    if not (run / FILE).is_file():
        return None
    content = read_json(run / FILE)
    stored, weights = content.get("views"), content.get("weights")
    if stored != list(names) or not isinstance(weights, list) or len(weights) != len(stored):
        raise ValueError(
            f"{run / FILE} must have weights of the recipe's views {list(names)}; it has those of {stored}. Remove the "
            "file, or fit again with `kcomp predict --fit-views`"
        )
    numbers = [weight for weight in weights if isinstance(weight, int | float) and 0 <= weight <= 1]
    if len(numbers) < len(weights) or not sum(numbers) > 0:
        raise ValueError(
            f"{run / FILE} must have weights that are numbers from 0 to 1; it has {weights}. Remove the file"
        )
    return [float(weight) for weight in numbers]
