"""Write the label or the prediction of an image as a short text."""

import math

import numpy as np

from kcomp.targets import Target

PARTS = 3  # how many classes or numbers a text names


def label_text(target: Target, values: np.ndarray) -> str:
    """Return a label or a prediction as text, such as "cat", "0.7 cat + 0.3 dog", "rust + scab" or "weight 12.5".

    Args:
        target: The kind of label.
        values: The label or the prediction, (columns,). NaN is a missing label.
    """
    names = target.class_names
    if names and len(names) == len(values):
        return shares_text(names, values)
    if names:
        return grade_text(target, values)
    texts = [f"{name} {number_text(value)}" for name, value in zip(target.columns, values.tolist(), strict=True)]
    return shorten(texts, ", ")


def shares_text(names: tuple[str, ...], values: np.ndarray) -> str:
    """Return the classes with their shares, the largest first, such as "0.7 cat + 0.3 dog".

    Shares of 0 are left out.
    """
    order = np.argsort(-np.nan_to_num(values), kind="stable")
    shown = [(names[place], float(values[place])) for place in order if values[place] >= 0.005]
    texts = [name if share > 0.995 else f"{share:.2f} {name}" for name, share in shown]
    missing = int(np.isnan(values).sum())
    if missing:
        texts.append(f"{missing} missing")
    return shorten(texts, " + ") or "no class"


def grade_text(target: Target, values: np.ndarray) -> str:
    """Return the name of a grade, such as "mild".

    Return text such as "1.3, near mild" for a value between two grades.
    """
    value = float(values[0])
    if math.isnan(value):
        return "missing"
    name = target.class_names[int(target.decide(values[None])[0])]
    return name if abs(value - round(value)) < 0.005 else f"{value:.2f}, near {name}"


def number_text(value: float) -> str:
    return "missing" if math.isnan(value) else f"{value:.4g}"


def shorten(texts: list[str], separator: str) -> str:
    more = len(texts) - PARTS
    return separator.join(texts[:PARTS]) + (f"{separator}{more} more" if more > 0 else "")
