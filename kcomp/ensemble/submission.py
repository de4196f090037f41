"""Write a submission in the shape of the competition's sample, or say exactly what differs. Imports no Keras."""

from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.runs.probabilities import read_probabilities


def read_predictions(path: Path) -> pd.DataFrame:
    """Probabilities from a CSV: `image_id` and one column a class; the index of the result is the image id."""
    if not path.is_file():
        raise FileNotFoundError(f"no predictions at {path}; run kcomp predict first, or name a CSV of probabilities")
    return read_probabilities(path)


def like_sample(predictions: pd.DataFrame, sample_path: Path) -> pd.DataFrame:
    """Bring predictions into the sample's ids, order and columns.

    A sample of the id and one column that is no class takes the name of the likeliest class. Raises ValueError for
    missing or surplus ids, columns that are no class, NaN, or probabilities that do not sum to 1 (within 1e-3).
    """
    if not sample_path.is_file():
        raise FileNotFoundError(f"no sample submission at {sample_path}")
    sample = pd.read_csv(sample_path, dtype=str, keep_default_na=False)
    key, *columns = sample.columns
    ids = sample[key]
    if ids.duplicated().any():
        raise ValueError(f"{sample_path} has the id {ids[ids.duplicated()].iloc[0]!r} twice")
    problems = id_problems(set(ids), set(predictions.index)) + value_problems(predictions)
    by_name = len(columns) == 1 and columns[0] not in predictions.columns
    if by_name:
        problems += name_problems(columns[0], set(sample[columns[0]]), list(predictions.columns))
    else:
        problems += column_problems(columns, list(predictions.columns))
    if problems:
        raise ValueError(f"the predictions do not fit {sample_path}: {'; '.join(problems)}")
    ordered = predictions.loc[ids]
    if by_name:
        names = np.array(predictions.columns)[ordered.to_numpy().argmax(1)]
        return pd.DataFrame({key: ids.to_numpy(), columns[0]: names})
    return ordered[columns].rename_axis(key).reset_index()


def id_problems(wanted: set[str], given: set[str]) -> list[str]:
    found = []
    for word, ids in (("missing", wanted - given), ("surplus", given - wanted)):
        if ids:
            found.append(f"{len(ids)} {word} ids, first {sorted(ids)[:3]}")
    return found


def column_problems(wanted: list[str], given: list[str]) -> list[str]:
    if set(wanted) == set(given):
        return []
    return [f"the sample's columns are {wanted}, the predictions' classes {given}"]


def name_problems(column: str, values: set[str], classes: list[str]) -> list[str]:
    """The one column must hold class names; a number may mean the probability of a class, but not of which."""
    odd = sorted(values - set(classes))
    if not odd:
        return []
    return [f"the sample's column {column!r} holds {odd[:3]}, which are not of the classes {classes}"]


def value_problems(predictions: pd.DataFrame) -> list[str]:
    values = predictions.to_numpy(np.float64)
    outside = predictions.index[np.flatnonzero(((values < 0) | (values > 1)).any(1))]
    off = predictions.index[np.flatnonzero(np.abs(values.sum(1) - 1) > 1e-3)]
    found = [f"{len(outside)} rows have values outside 0..1, first {outside[0]!r}"] if len(outside) else []
    return found + ([f"{len(off)} rows do not sum to 1, first {off[0]!r}"] if len(off) else [])
