"""Estimate how often each class occurs among the test images."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import special

from kcomp.data.splits.rows import TOGETHER
from kcomp.data.tables import Table, fold_columns
from kcomp.metrics.significance import holm
from kcomp.probe.linear import fit_probe, out_of_fold
from kcomp.targets import OneOf

LEVEL = 0.001  # probability of a false alarm for all classes together
MEDIUM_EFFECT = 0.5  # difference of arcsine-transformed rates (Cohen 1988, chapter 6: h)
STEPS = 200  # of EM at most
RESAMPLES = 100
MOST_CLASSES = 50  # of the estimate; further classes are left out
LEAST_ROWS = 20


@dataclass(frozen=True)
class Shift:
    """The rate of each class in the labelled rows, and its estimated rate in the test rows.

    Attributes:
        names: The names of the classes.
        train: The share of each class in the labelled rows, (classes,).
        test: The estimated share of each class in the test rows, (classes,).
        low: The lower end of the interval of `test`, (classes,). All intervals together hold with 99.9 % probability.
        high: The upper end of the interval, (classes,).
        p_values: The p-value of each class, corrected for all classes (Holm 1979), (classes,). The null hypothesis is
            that the class is predicted equally often in test rows and held-out rows.
    """

    names: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_values: np.ndarray

    @property
    def large(self) -> np.ndarray:
        """Whether the rate of each class in the test rows differs beyond chance and by a medium effect, (classes,)."""
        effect = np.abs(2 * np.arcsin(np.sqrt(self.test)) - 2 * np.arcsin(np.sqrt(self.train)))
        outside = (self.train < self.low) | (self.train > self.high)
        result: np.ndarray = (effect >= MEDIUM_EFFECT) & outside & (self.p_values < LEVEL)
        return result


def estimate_shift(table: Table, features: np.ndarray, test_features: np.ndarray, seed: int) -> Shift | None:
    """Estimate the rate of each class in the test rows. Return None for few rows, or without classes.

    A linear probe on the features predicts the test rows. The rates maximise the likelihood of the predicted
    probabilities (EM algorithm of Saerens, Latinne and Decaestecker 2002). Fisher's exact test compares how often each
    class is predicted in test rows and in held-out labelled rows (Lipton, Wang and Smola 2018).
    """
    table = with_class_columns(table)
    usable, test_usable = np.isfinite(features).all(1), np.isfinite(test_features).all(1)
    if not table.columns or min(usable.sum(), test_usable.sum()) < LEAST_ROWS:
        return None
    rows, known = table.rows(usable), features[usable]
    target, labels = table.required_target, rows.labels.astype(np.float64)
    counts = np.nansum(target.hardened(np.nan_to_num(labels)), 0)
    if (counts > 0).sum() < 2 and target.stacker == "multinomial":
        return None
    held_out = out_of_fold(known, rows, seed)
    predicted = fit_probe(known, labels, target, seed)(test_features[test_usable])
    predictable = np.isfinite(held_out).all(1)
    held_out, labels = held_out[predictable], labels[predictable]
    exclusive = target.stacker == "multinomial"
    chosen = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])
    chosen = chosen[counts[chosen] > 0]
    if exclusive:
        train = counts[chosen] / counts[chosen].sum()
        held_out, predicted = held_out[:, chosen], normalized(predicted[:, chosen])
        test, deviation = rates_with_deviation(predicted, train, seed)
        decided = [np.eye(len(chosen))[values.argmax(1)] for values in (held_out, predicted)]
    else:
        known_labels = np.maximum((~np.isnan(labels[:, chosen])).sum(0), 1)
        train = np.nansum(labels[:, chosen] > 0.5, 0) / known_labels
        pairs = [
            rates_with_deviation(
                np.stack([1 - predicted[:, place], predicted[:, place]], 1), np.array([1 - rate, rate]), seed
            )
            for place, rate in zip(chosen, train, strict=True)
        ]
        test, deviation = (np.array([pair[part][1] for pair in pairs]) for part in (0, 1))
        decided = [(values[:, chosen] > 0.5).astype(float) for values in (held_out, predicted)]
    width = special.ndtri(1 - LEVEL / 2 / len(chosen)) * deviation
    names = tuple(table.columns[place] for place in chosen)
    return Shift(names, train, test, np.maximum(test - width, 0), np.minimum(test + width, 1), class_p_values(*decided))


def with_class_columns(table: Table) -> Table:
    """Return the table with one label column for each class or grade. Regression targets are removed."""
    target = table.required_target
    if target.class_names == target.columns:
        return table
    frame = table.frame.drop(columns=list(target.columns))
    if not target.class_names:
        return replace(table, frame=frame, target=None, pseudo=None)
    names = [f"level {name}" for name in target.class_names]
    hot = np.eye(len(names))[target.decide(table.labels.astype(np.float64))]
    columns = ["image_id", "image", *fold_columns(frame), *(name for name in TOGETHER if name in frame)]
    labels = pd.DataFrame(hot, frame.index, names)
    return Table(pd.concat([frame[columns], labels], axis=1), OneOf(tuple(names)), folds_in_order=table.folds_in_order)


def normalized(probabilities: np.ndarray) -> np.ndarray:
    result: np.ndarray = probabilities / np.maximum(probabilities.sum(1, keepdims=True), 1e-12)
    return result


def class_rates(probabilities: np.ndarray, train: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Estimate the rate of each class in some rows, (classes,), by the EM algorithm of Saerens et al. 2002.

    Args:
        probabilities: Predictions for these rows by a model that was fitted to other rows, (rows, classes).
        train: The rate of each class in the rows to which the model was fitted, (classes,), above 0.
        weights: How often each row counts, (rows,).

    Examples:
        >>> import numpy as np
        >>> from kcomp.check.shift.class_shift import class_rates
        >>> certain = np.repeat(np.eye(2), [30, 10], axis=0)
        >>> class_rates(certain, np.array([0.5, 0.5]), np.ones(40)).tolist()
        [0.75, 0.25]
    """
    rates = train
    for _ in range(STEPS):
        posterior = normalized(probabilities * (rates / train))
        new = weights @ posterior / weights.sum()
        change = float(np.abs(new - rates).max())
        rates = new
        if change < 1e-6:
            break
    return rates


def rates_with_deviation(probabilities: np.ndarray, train: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays (classes,): the result of `class_rates`, and its standard deviation by bootstrap."""
    random, rows = np.random.default_rng([seed, 9]), len(probabilities)
    train = np.clip(train, 1e-6, 1)
    train = train / train.sum()
    rates = class_rates(probabilities, train, np.ones(rows))
    draws = [
        class_rates(probabilities, train, random.multinomial(rows, np.full(rows, 1 / rows)).astype(float))
        for _ in range(RESAMPLES if rows * len(train) < 200_000 else RESAMPLES // 4)
    ]
    return rates, np.std(draws, 0, ddof=1)


def class_p_values(held_out: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return a corrected p-value for each class, (classes,), by Fisher's exact test.

    The null hypothesis is that the class is predicted equally often in both groups of rows. Both arguments are 1 where
    a class is predicted, else 0, (rows, classes).
    """
    from scipy import stats

    tables = [
        [[first, len(held_out) - first], [second, len(predicted) - second]]
        for first, second in zip(held_out.sum(0).astype(int), predicted.sum(0).astype(int), strict=True)
    ]
    return holm([float(stats.fisher_exact(table).pvalue) for table in tables])
