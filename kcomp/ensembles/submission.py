"""Bring predictions into the shape of the competition's sample submission. Imports no Keras."""

from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.runs.probabilities import read_probabilities


def read_predictions(path: Path) -> pd.DataFrame:
    """Read probabilities from a CSV with `image_id` and one column a class; the image id becomes the index."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of predictions at {path}; name a CSV of probabilities, or a run folder")
    return read_probabilities(path)


def like_sample(predictions: pd.DataFrame, sample_path: Path) -> pd.DataFrame:
    """Return predictions with the sample's ids, order and columns.

    When the sample has one column beside the id and it is no class, it gets the name of the likeliest class. Raises
    ValueError for missing or surplus ids, columns that are no class, NaN, or rows that do not sum to 1 (within 1e-3).
    """
    if not sample_path.is_file():
        raise FileNotFoundError(f"no sample submission at {sample_path}")
    sample = pd.read_csv(sample_path, dtype=str, keep_default_na=False)
    key, *columns = sample.columns
    ids = sample[key]
    if ids.duplicated().any():
        raise ValueError(f"{sample_path} has the id {ids[ids.duplicated()].iloc[0]!r} twice")
    problems = find_id_problems(set(ids), set(predictions.index)) + find_value_problems(predictions)
    by_name = len(columns) == 1 and columns[0] not in predictions.columns
    if by_name:
        problems += find_name_problems(columns[0], set(sample[columns[0]]), list(predictions.columns))
    else:
        problems += find_column_problems(columns, list(predictions.columns))
    if problems:
        raise ValueError(f"the predictions do not fit {sample_path}: {'; '.join(problems)}")
    ordered = predictions.loc[ids]
    if by_name:
        names = np.array(predictions.columns)[ordered.to_numpy().argmax(1)]
        return pd.DataFrame({key: ids.to_numpy(), columns[0]: names})
    return ordered[columns].rename_axis(key).reset_index()


def find_id_problems(sample_ids: set[str], predicted_ids: set[str]) -> list[str]:
    problems = []
    for word, ids in (("missing", sample_ids - predicted_ids), ("surplus", predicted_ids - sample_ids)):
        if ids:
            problems.append(f"{len(ids)} {word} ids, first {sorted(ids)[:3]}")
    return problems


def find_column_problems(columns: list[str], classes: list[str]) -> list[str]:
    if set(columns) == set(classes):
        return []
    return [f"the sample's columns are {columns}, the predictions' classes {classes}"]


def find_name_problems(column: str, values: set[str], classes: list[str]) -> list[str]:
    """Return a problem if the column has values that are not class names."""
    unknown = sorted(values - set(classes))
    if not unknown:
        return []
    return [f"the sample's column {column!r} holds {unknown[:3]}, which are not among the classes {classes}"]


def find_value_problems(predictions: pd.DataFrame) -> list[str]:
    values = predictions.to_numpy(np.float64)
    outside = predictions.index[np.flatnonzero(((values < 0) | (values > 1)).any(1))]
    off = predictions.index[np.flatnonzero(np.abs(values.sum(1) - 1) > 1e-3)]
    problems = [f"{len(outside)} rows have values outside 0..1, first {outside[0]!r}"] if len(outside) else []
    return problems + ([f"{len(off)} rows do not sum to 1, first {off[0]!r}"] if len(off) else [])
