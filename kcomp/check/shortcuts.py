"""Check whether properties of the image files, such as the JPEG quality, predict the labels."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.check.association import Association, associate, holm, permuted_within
from kcomp.check.data_set import DataSet
from kcomp.check.outcome import Outcome, outcome_of, sample_rows, stratified_numbers
from kcomp.check.properties import Property, properties_of
from kcomp.metrics.ranking import column_auc
from kcomp.metrics.regression import column_spearman
from kcomp.report.finding import Finding
from kcomp.report.page import PageTable, Section
from kcomp.report.part import Part

MOST_ROWS = 5000
FOREST_ROWS = 2000
FOREST_COLUMNS = 10  # the most frequent classes
FOREST_PERMUTATIONS = 50
LEAST_ROWS = 20
LEVEL = 0.001  # probability of a false alarm in all tests together
# A large effect (Cohen 1988), as a ROC AUC and as a correlation (Rice and Harris 2005, table 1).
LARGE_AUC = 0.714
LARGE_CORRELATION = 0.371
ROLES = {
    "trace": "leaves traces in the pixels",
    "content": "may follow from what the images show",
    "order": "no network sees it",
}
MOST_CLASSES = 20  # of the table of medians


@dataclass(frozen=True)
class Tested:
    """A property with how well it predicts the labels.

    Attributes:
        measured: The property.
        association: The scores.
        p_values: For each column, its p-value after correction for all columns and properties.
        large: Whether each column is predicted with a large effect and beyond chance.
    """

    measured: Property
    association: Association
    p_values: np.ndarray
    large: np.ndarray

    @property
    def is_large(self) -> bool:
        return bool(self.large.any())

    @property
    def strongest(self) -> int:
        """The position of the column with the highest score, among the large ones if there are any."""
        scores = np.nan_to_num(self.association.scores, nan=-1.0)
        return int(np.argmax(np.where(self.large, scores + 2, scores)))


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


def run_tests(properties: Sequence[Property], outcome: Outcome, folds: np.ndarray, seed: int) -> list[Tested]:
    """Test each property, and correct the p-values for all properties and columns (Holm 1979)."""
    if not properties:
        return []
    values = [each.values for each in properties]
    associations = associate(values, outcome.values, folds, is_class=outcome.is_class, seed=seed)
    p_values = np.stack([each.p_values for each in associations])
    defined = ~np.isnan(p_values)
    p_values[defined] = holm(p_values[defined])
    least = least_score(outcome)
    return [
        Tested(
            each, association, row, (np.nan_to_num(association.scores) >= least) & (np.nan_to_num(row, nan=1) < LEVEL)
        )
        for each, association, row in zip(properties, associations, p_values, strict=True)
    ]


def least_score(outcome: Outcome) -> float:
    return LARGE_AUC if outcome.is_class else LARGE_CORRELATION


def forest(
    properties: Sequence[Property], outcome: Outcome, folds: np.ndarray, seed: int
) -> tuple[float, tuple[float, float]] | None:
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


def show(
    tested: Sequence[Tested], joint: tuple[float, tuple[float, float]] | None, outcome: Outcome, constant: Sequence[str]
) -> Section:
    """Return the section of the page."""
    alarms = [each for each in tested if each.is_large and each.measured.role == "trace"]
    others = [each for each in tested if each.is_large and each.measured.role != "trace"]
    verdict = "No property of the image files predicts the labels well."
    if alarms:
        names = ", ".join(each.measured.name for each in alarms)
        verdict = (
            f"Labels can be predicted without looking at the images, from: {names}. A network may learn this instead."
        )
    elif others:
        names = ", ".join(each.measured.name for each in others)
        verdict = f"No property of the files is a shortcut. The labels are related to: {names}; see the table."
    score = outcome.score_name
    section = Section("Shortcuts", verdict, good=not alarms)
    section.paragraphs += [
        f"Each property alone predicts the labels of held-out rows. The score is the {score}: {outcome.no_skill:g} is "
        "chance and 1 is perfect. The range by chance comes from 200 permutations of the labels. A score is large "
        f"from {least_score(outcome)} (a large effect by Cohen 1988), if chance reaches it in any test with a "
        f"probability below {LEVEL}.",
        "A large score of a property that leaves traces in the pixels is a warning. File size and colour often follow "
        "from what the images show, such as grass or sand, so they are no warning by themselves. The order of the rows "
        "is no warning either: kcomp shuffles the rows in every epoch, and a network sees neither order nor names.",
    ]
    if tested:
        section.tables.append(
            (f"How well each property predicts the labels ({score})", table_of(tested, joint, outcome))
        )
    if constant:
        section.paragraphs.append(f"The same in all images: {', '.join(constant)}.")
    if alarms and outcome.is_class:
        section.tables.append(("Median of the property by class", medians(alarms, outcome)))
    return section


def table_of(tested: Sequence[Tested], joint: tuple[float, tuple[float, float]] | None, outcome: Outcome) -> PageTable:
    header = ["Property", "Kind", "Score", "By chance", "Best predicted", "Its score", "p-value (corrected)"]
    rows: list[list[str]] = []
    marked: list[int] = []
    for each in sorted(tested, key=lambda each: -np.nan_to_num(np.nanmax(each.association.scores))):
        low, high = each.association.chance_interval
        best = each.strongest
        if each.is_large and each.measured.role == "trace":
            marked.append(len(rows))
        rows.append(
            [
                each.measured.name,
                ROLES[each.measured.role],
                f"{each.association.score:.3f}",
                f"{low:.3f} to {high:.3f}",
                outcome.names[best],
                f"{each.association.scores[best]:.3f}",
                f"{each.p_values[best]:.2g}",
            ]
        )
    if joint is not None:
        score, (low, high) = joint
        text = "all that leave traces, together (random forest)"
        rows.append([text, ROLES["trace"], f"{score:.3f}", f"{low:.3f} to {high:.3f}", "", "", ""])
    return PageTable(header, rows, tuple(marked))


def medians(alarms: Sequence[Tested], outcome: Outcome) -> PageTable:
    """Return a table with the median of each property in each class."""
    rows: list[list[str]] = []
    for column in range(min(len(outcome.names), MOST_CLASSES)):
        members = outcome.values[:, column] == 1
        values = [each.measured.values[members] for each in alarms]
        known = [value[~np.isnan(value)] for value in values]
        cells = [f"{np.median(value):.6g}" if len(value) else "none" for value in known]
        rows.append([outcome.names[column], str(int(members.sum())), *cells])
    return PageTable(["Class", "Rows", *(each.measured.name for each in alarms)], rows)


def numbers_of(
    tested: Sequence[Tested], joint: tuple[float, tuple[float, float]] | None, outcome: Outcome
) -> dict[str, Any]:
    result: dict[str, Any] = {"score": outcome.score_name, "properties": []}
    for each in tested:
        best = each.strongest
        result["properties"].append(
            {
                "name": each.measured.name,
                "kind": each.measured.role,
                "score": each.association.score,
                "chance": list(each.association.chance_interval),
                "best": outcome.names[best],
                "best_score": float(each.association.scores[best]),
                "p_value": float(each.p_values[best]),
                "is_large": each.is_large,
            }
        )
    if joint is not None:
        result["together"] = {"score": joint[0], "chance": list(joint[1])}
    return result


def findings_of(tested: Sequence[Tested], outcome: Outcome) -> list[Finding]:
    """Return one warning for all properties that leave traces, and one note for the number in the file name."""
    findings = []
    for role, severity in (("trace", "warning"), ("order", "note")):
        large = [each for each in tested if each.is_large and each.measured.role == role]
        large = [each for each in large if each.measured.name != "position in the table"]
        if not large:
            continue
        texts = [
            f"{each.measured.name} alone predicts {outcome.names[each.strongest]!r} with a {outcome.score_name} of "
            f"{each.association.scores[each.strongest]:.2f} (chance {outcome.no_skill:g})"
            for each in sorted(large, key=lambda each: -np.nanmax(each.association.scores))
        ]
        advice = (
            "a network may learn it instead of the content; make the files alike"
            if role == "trace"
            else "networks do not see it, but test rows may follow the same order"
        )
        weight = max(float(np.nanmax(each.association.scores)) for each in large)
        findings.append(Finding("shortcut", severity, f"{'; '.join(texts)}: {advice}", (), weight))  # type: ignore[arg-type]
    return findings
