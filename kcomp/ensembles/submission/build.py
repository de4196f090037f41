"""Make a submission from the predictions of runs, or from a CSV of predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp import metrics
from kcomp.ensembles.decisions import ScoredDecisions, score_decisions
from kcomp.ensembles.joins import join_held_out
from kcomp.ensembles.members import build_members
from kcomp.ensembles.reading import read_checked, read_prediction_file
from kcomp.ensembles.submission.cells import Choices, fill
from kcomp.ensembles.submission.match import find_rows, id_problems, shared_ids
from kcomp.ensembles.submission.sample import Sample
from kcomp.metrics.scores import Scorer
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import read_probabilities
from kcomp.targets import Target
from kcomp.targets.guess import guess_target


@dataclass(frozen=True)
class Submission:
    """A submission as a table, and a line `note` that says what its cells contain."""

    frame: pd.DataFrame
    note: str


def like_sample(predictions: pd.DataFrame, target: Target, sample: Sample, choices: Choices) -> Submission:
    """Return a submission with the same ids, row order, columns and cell format as the sample submission.

    Args:
        predictions: One row for each image id (the index), with the prediction columns of the target.
        target: The target of the predictions.
        sample: The sample submission.
        choices: Settings that the sample does not show.

    Raises:
        ValueError: If ids, columns or values do not fit. The message lists every problem, with counts and examples.
    """
    ids, names = list(predictions.index), list(target.prediction_columns)
    problems = id_problems(sample.ids, ids)
    problems += target.prediction_problems(predictions[names].to_numpy(np.float64), ids)
    positions = np.maximum(find_rows(sample.ids, ids), 0)  # missing ids are in `problems` already
    cells = None
    try:
        cells = fill(sample, predictions[names].to_numpy(np.float64)[positions], target, choices)
    except ValueError as error:
        problems.append(str(error))
    if problems or cells is None:
        raise ValueError(f"the predictions do not fit {sample.path}: {'; '.join(problems)}")
    return Submission(sample.frame.assign(**cells.columns), cells.note)


def read_predictions(path: Path) -> tuple[pd.DataFrame, Target]:
    """Return two things: the predictions of a CSV with the column `image_id`, and a target guessed from the values."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of predictions at {path}; name a CSV of predictions, or run folders")
    frame = read_probabilities(path)
    return frame, guess_target([str(name) for name in frame.columns], frame.to_numpy())


def average_runs(runs: Sequence[Run], folder: Path | None = None) -> pd.DataFrame:
    """Return the mean of several models' test predictions for the ids that every run has predicted.

    A model is a group of runs that differ only in their fold. First the runs of each model are averaged, then the
    models.

    Args:
        runs: Complete runs of one target.
        folder: A folder with a file of predictions for each run, as `kcomp predict -o` writes them. None reads test.csv
            in the run folders.

    Raises:
        ValueError: If the runs have no id in common, or a file has invalid predictions.
    """
    target, members = runs[0].target, build_members(runs)
    columns = list(target.prediction_columns)
    frames = [[read_test(run, folder)[columns] for run in member.runs] for member in members]
    ids = shared_ids([list(frame.index) for of_member in frames for frame in of_member])
    means = [target.average([rows_of(frame, ids) for frame in of_member]) for of_member in frames]
    return pd.DataFrame(target.average(means), ids, columns)


def read_test(run: Run, folder: Path | None) -> pd.DataFrame:
    if folder is None:
        return read_checked(run, "test")
    return read_prediction_file(folder / f"{run.name}.csv", run.target)


def rows_of(frame: pd.DataFrame, ids: Sequence[str]) -> np.ndarray:
    """Return the values of the rows `ids` of a table, an array (ids, columns).

    The ids may be spelled differently in the table; see `find_rows`.
    """
    values = frame.to_numpy(np.float64)
    return values if list(frame.index) == list(ids) else values[find_rows(ids, list(frame.index))]


def with_decisions(choices: Choices, runs: Sequence[Run]) -> tuple[Choices, str]:
    """Add fitted thresholds or cut points to `choices`, if the metric and the target need them.

    Returns:
        Two things: the new choices, and a sentence with the score by nested cross-validation. It is empty if nothing
        was added.
    """
    target, name = runs[0].target, runs[0].manifest["metric"]
    if len(runs) == 1 and (stored := runs[0].result.get("decisions")):
        scored = ScoredDecisions.from_json(stored)
        return replace(choices, metric_on="decisions", decisions=scored.decisions), scored.describe()
    try:
        metric = metrics.get(name)
    except ValueError:  # the metric is a function in the recipe, and has no known name
        return choices, ""
    choices = replace(choices, metric_on=metric.on)
    rows = join_held_out(build_members(runs), partial=True) if metric.on == "decisions" else None
    if rows is None:
        return choices, ""
    order = [list(rows.target.columns).index(column) for column in target.prediction_columns]
    predictions = target.average(list(rows.values))[:, order]
    fitted = score_decisions(Scorer(metric, target), rows.labels[:, order], predictions, rows.parts)
    return (choices, "") if fitted is None else (replace(choices, decisions=fitted.decisions), fitted.describe())
