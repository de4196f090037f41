"""Check whether properties of the image files, such as the JPEG quality, predict the labels."""

import warnings
from collections.abc import Sequence

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.shortcuts.association import permuted_within
from kcomp.check.shortcuts.outcome import Outcome, outcome_of, sample_rows, stratified_numbers
from kcomp.check.shortcuts.permutation import run_tests
from kcomp.check.shortcuts.properties import Property, properties_of
from kcomp.check.shortcuts.section import Joint, findings_of, numbers_of, show
from kcomp.metrics.ranking import column_auc
from kcomp.metrics.regression import column_spearman
from kcomp.report.page import Section
from kcomp.report.part import Part

MOST_ROWS = 5000
FOREST_ROWS = 2000
FOREST_COLUMNS = 10  # the most frequent classes
FOREST_PERMUTATIONS = 50
LEAST_ROWS = 20


def check_shortcuts(data_set: DataSet) -> Part:
    """Measure how well properties of the image files alone predict the labels.

    At most 5,000 rows are used, chosen at random.
    """
    title = "Shortcuts"
    rows = sample_rows(data_set.table, data_set.facts.readable, MOST_ROWS, data_set.seed)
    table = data_set.table.rows(rows)
    if len(rows) < LEAST_ROWS:
        return Part("shortcuts", Section(title, f"At least {LEAST_ROWS} rows are needed; there are {len(rows)}."))
    outcome = outcome_of(table)
    if not any(len(np.unique(column[~np.isnan(column)])) > 1 for column in outcome.values.T):
        return Part("shortcuts", Section(title, "All rows have the same label, so there is nothing to predict."))
    properties = properties_of(data_set.facts.rows(rows), table.ids)
    constant = [each.name for each in properties if each.is_constant]
    varying = [each for each in properties if not each.is_constant]
    folds = stratified_numbers(table, data_set.seed)
    tested = run_tests(varying, outcome, folds, data_set.seed)
    joint = forest([each for each in varying if each.role == "trace"], outcome, folds, data_set.seed)
    section = show(tested, joint, outcome, constant)
    section.title = title
    section.paragraphs.insert(0, f"{len(rows)} of {len(data_set.table)} rows were used.")
    return Part("shortcuts", section, numbers_of(tested, joint, outcome), tuple(findings_of(tested, outcome)))


def forest(properties: Sequence[Property], outcome: Outcome, folds: np.ndarray, seed: int) -> Joint | None:
    """Return how well properties together predict the labels, and the 95 % interval of the score by chance.

    A random forest is cross-validated on at most 2,000 rows. Forests need no scaling, find interactions, accept
    missing values, and are fast for many classes. The interval is that of labels which are permuted within the folds
    while the predictions stay the same. Return None for fewer than two properties.
    """
    if len(properties) < 2:
        return None
    rows = np.arange(len(folds))
    if len(rows) > FOREST_ROWS:
        rows = np.sort(np.random.default_rng([seed, 6]).permutation(rows)[:FOREST_ROWS])
    inputs = np.stack([each.values[rows] for each in properties], 1)
    columns = np.sort(np.argsort(-np.nansum(outcome.values, 0), kind="stable")[:FOREST_COLUMNS])
    labels = outcome.values[np.ix_(rows, columns)]
    known = ~np.isnan(labels).any(1)
    inputs, labels, folds = inputs[known], labels[known], folds[rows][known]
    if len(np.unique(folds)) < 2:
        return None
    predicted = forest_predictions(inputs, labels, folds, is_class=outcome.is_class, seed=seed)
    random = np.random.default_rng([seed, 7])

    def score(order: np.ndarray) -> float:
        function = column_auc if outcome.is_class else column_spearman
        scores = [
            function(labels[order][:, column], predicted[:, column])
            for column in range(labels.shape[1])
            if np.ptp(labels[:, column]) > 0
        ]
        return float(np.nanmean(scores)) if scores else float("nan")

    observed = score(np.arange(len(labels)))
    chance = [score(permuted_within(folds, random)) for _ in range(FOREST_PERMUTATIONS)]
    low, high = np.nanquantile(chance, [0.025, 0.975])
    return observed, (float(low), float(high))


def forest_predictions(
    inputs: np.ndarray, labels: np.ndarray, folds: np.ndarray, *, is_class: bool, seed: int
) -> np.ndarray:
    """Predict each fold by a random forest that is fitted on the others, (rows, columns).

    The forest is a regression also for classes: the mean of 0 and 1 is a probability. The mean prediction of each fold
    is subtracted: it falls when the mean label of the fold rises, which would lower the score.
    """
    from sklearn.ensemble import RandomForestRegressor

    predicted = np.zeros(labels.shape)
    for fold in np.unique(folds):
        model = RandomForestRegressor(50, min_samples_leaf=5, max_features=0.5, random_state=seed)
        train = folds != fold
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(inputs[train], labels[train] if labels.shape[1] > 1 else labels[train][:, 0])
        values = model.predict(inputs[~train]).reshape(-1, labels.shape[1])
        predicted[~train] = values - values.mean(0)
    return predicted
