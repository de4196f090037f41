"""Check whether test images differ from training images, and whether classes occur at different rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from kcomp.check.data_set import DataSet
from kcomp.check.pictures import picture_of
from kcomp.check.shift.class_shift import Shift, estimate_shift
from kcomp.check.shift.nearest import unlike_gallery
from kcomp.check.shortcuts.outcome import Outcome
from kcomp.check.shortcuts.permutation import LARGE_AUC, LEVEL, Tested, run_tests
from kcomp.check.shortcuts.properties import properties_of
from kcomp.data.splits.rows import TOGETHER
from kcomp.data.tables import Table
from kcomp.probe.folds import FOLDS, stratified
from kcomp.report.finding import Finding, messages
from kcomp.report.page import PageTable, Picture, Section
from kcomp.report.part import Part
from kcomp.report.text import percent

MOST_ROWS = 2500  # of each side
LEAST_ROWS = 20
COMPONENTS = 32
SHOWN = 12  # pictures of a gallery


@dataclass(frozen=True)
class Difference:
    """How well features of a frozen network distinguish test rows from training rows.

    Attributes:
        area: The area under the ROC curve, with test rows as positives.
        low: The lower end of its 95 % interval (DeLong et al. 1988).
        high: The upper end of this interval.
        p_value: The probability that chance gives at least this area.
        train_scores: How much each chosen training row looks like a test row, (training rows,).
        test_scores: How much each chosen test row looks like a test row, (test rows,).
        train: Positions of the chosen training rows, (training rows,).
        test: Positions of the chosen test rows, (test rows,).
    """

    area: float
    low: float
    high: float
    p_value: float
    train_scores: np.ndarray
    test_scores: np.ndarray
    train: np.ndarray
    test: np.ndarray


def check_train_test(data_set: DataSet) -> Part:
    """Return the part of the report that compares test rows with labelled rows."""
    section = Section("Train against test", "There are no test rows to compare with.")
    if data_set.test is None or data_set.test_facts is None or not len(data_set.test):
        return Part("train_test", section)
    random = np.random.default_rng([data_set.seed, 10])
    train = sample_positions(data_set.table, data_set.facts.readable, random)
    test = sample_positions(data_set.test, data_set.test_facts.readable, random)
    if min(len(train), len(test)) < LEAST_ROWS:
        section.verdict = f"At least {LEAST_ROWS} rows of each are needed; there are {len(train)} and {len(test)}."
        return Part("train_test", section)
    tested = compare_properties(data_set, train, test)
    difference = compare_features(data_set, random)
    shift = None
    if data_set.features is not None and data_set.test_features is not None:
        shift = estimate_shift(data_set.table, data_set.features, data_set.test_features, data_set.seed)
    findings = findings_of(tested, difference, shift)
    show(section, tested, difference, shift)
    section.galleries.append(unlike_gallery(data_set))
    if difference is not None and is_large(difference):  # without a difference, the model's order is chance
        section.galleries.append(most_alike(data_set, difference))
    section.good = not findings
    section.verdict = "Test images look like training images." if not findings else messages(findings)
    return Part("train_test", section, numbers_of(tested, difference, shift), tuple(findings))


def sample_positions(table: Table, usable: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the sorted positions of at most 2,500 random rows among the usable ones.

    At most one row of each `group` and of each `item` is chosen.
    """
    order = random.permutation(np.flatnonzero(usable))
    for name in TOGETHER:
        if name in table.frame:
            order = order[~table.frame[name].iloc[order].duplicated().to_numpy()]
    return np.sort(order[:MOST_ROWS])


def compare_properties(data_set: DataSet, train: np.ndarray, test: np.ndarray) -> list[Tested]:
    """Return how well each property of the images distinguishes test rows from training rows."""
    assert data_set.test is not None and data_set.test_facts is not None
    facts = data_set.facts.rows(train).joined(data_set.test_facts.rows(test))
    properties = properties_of(facts, data_set.table.rows(train).ids + data_set.test.rows(test).ids)
    varying = [each for each in properties if not each.is_constant and each.name != "position in the table"]
    is_test = np.repeat([0, 1], [len(train), len(test)])
    outcome = Outcome(is_test[:, None].astype(np.float64), ("test",), is_class=True)
    return run_tests(varying, outcome, stratified(is_test, None, FOLDS, data_set.seed), data_set.seed)


def compare_features(data_set: DataSet, random: np.random.Generator) -> Difference | None:
    """Return how well features distinguish test rows from training rows. None without features or with too few rows.

    The scores are held-out predictions of a logistic regression on at most 32 principal components.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, test_features = data_set.features, data_set.test_features
    if features is None or test_features is None or data_set.test is None:
        return None
    train = sample_positions(data_set.table, np.isfinite(features).all(1), random)
    test = sample_positions(data_set.test, np.isfinite(test_features).all(1), random)
    if min(len(train), len(test)) < LEAST_ROWS:
        return None
    inputs = np.concatenate([features[train], test_features[test]])
    labels = np.repeat([0, 1], [len(train), len(test)])
    folds, scores = stratified(labels, None, FOLDS, data_set.seed), np.zeros(len(labels))
    for fold in range(FOLDS):
        rest = folds != fold
        components = min(COMPONENTS, inputs.shape[1], int(rest.sum()) // 10)
        model = make_pipeline(
            StandardScaler(), PCA(components, random_state=data_set.seed), LogisticRegression(max_iter=500)
        )
        model.fit(inputs[rest], labels[rest])
        scores[~rest] = model.decision_function(inputs[~rest])
    area, deviation = delong(scores[labels == 1], scores[labels == 0])
    p_value = float(special.ndtr((0.5 - area) / chance_deviation(len(train), len(test))))
    low, high = max(area - 1.96 * deviation, 0.0), min(area + 1.96 * deviation, 1.0)
    return Difference(area, low, high, p_value, scores[labels == 0], scores[labels == 1], train, test)


def delong(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, float]:
    """Return the area under the ROC curve and its standard deviation (DeLong et al. 1988).

    The arguments are the scores of the positive rows and of the negative rows.

    Examples:
        >>> import numpy as np
        >>> from kcomp.check.shift.train_test import delong
        >>> delong(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
        (1.0, 0.0)
    """
    from scipy import stats

    first, second = len(positives), len(negatives)
    ranks = stats.rankdata(np.concatenate([positives, negatives]))
    of_positives = (ranks[:first] - stats.rankdata(positives)) / second
    of_negatives = 1 - (ranks[first:] - stats.rankdata(negatives)) / first
    variance = of_positives.var(ddof=1) / first + of_negatives.var(ddof=1) / second
    return float(of_positives.mean()), float(np.sqrt(variance))


def chance_deviation(first: int, second: int) -> float:
    """Return the standard deviation of the area under the ROC curve of random scores.

    `first` and `second` are the numbers of rows of the two classes.
    """
    return float(np.sqrt((first + second + 1) / (12 * first * second)))


def findings_of(tested: Sequence[Tested], difference: Difference | None, shift: Shift | None) -> list[Finding]:
    """Return at most two warnings: one about differences of the images, and one about rates of the classes."""
    findings = []
    texts = [
        f"{each.measured.name} ({each.association.score:.2f})"
        for each in sorted(tested, key=lambda each: -np.nan_to_num(each.association.score))
        if each.is_large and each.measured.role != "order"
    ]
    if difference is not None and is_large(difference):
        texts.insert(0, f"content, by frozen features ({difference.area:.2f})")
    if texts:
        message = f"test images differ from training images (ROC AUC, 0.5 is chance): {', '.join(texts)}"
        findings.append(Finding("train-test-shift", "warning", message))
    if shift is not None and shift.large.any():
        classes = np.flatnonzero(shift.large)
        names = [
            f"{shift.names[place]!r} {percent(shift.train[place])} (test rows: {percent(shift.test[place])})"
            for place in classes[:5]
        ]
        more = f", and {len(classes) - 5} more" if len(classes) > 5 else ""
        message = f"classes seem to occur at other rates in the test rows: {', '.join(names)}{more}"
        findings.append(Finding("class-shift", "warning", message))
    return findings


def is_large(difference: Difference) -> bool:
    return difference.area >= LARGE_AUC and difference.p_value < LEVEL


def show(section: Section, tested: Sequence[Tested], difference: Difference | None, shift: Shift | None) -> None:
    section.paragraphs.append(
        "A model predicts whether a row is a test row. The score is the ROC AUC on held-out rows. It is 0.5 if test "
        "and training images are alike, and 1 if they differ completely. A warning needs a score of at least "
        f"{LARGE_AUC} (a large effect by Cohen 1988) that chance reaches with a probability below {LEVEL}. If test "
        "images differ, the held-out score predicts the score in the competition less well. Look for an augmentation "
        "that covers the difference."
    )
    rows, marked = [], []
    if difference is not None:
        text = f"95 % interval {difference.low:.3f} to {difference.high:.3f}"
        rows.append(["content (frozen features)", f"{difference.area:.3f}", text, f"{difference.p_value:.2g}"])
        marked += [0] if is_large(difference) else []
    for each in sorted(tested, key=lambda each: -np.nan_to_num(each.association.score)):
        low, high = each.association.chance_interval
        if each.is_large and each.measured.role != "order":
            marked.append(len(rows))
        text = f"by chance {low:.3f} to {high:.3f}"
        rows.append([each.measured.name, f"{each.association.score:.3f}", text, f"{each.p_values[0]:.2g}"])
    header = ["What differs", "Score", "Interval", "p-value"]
    section.tables.append(("How well test rows can be told from training rows", PageTable(header, rows, tuple(marked))))
    if shift is not None:
        section.paragraphs.append(
            "The rates of the classes in the test rows are estimated from a probe on frozen features (Saerens et al. "
            "2002). This assumes that the images of each class look alike in both. The interval holds for all classes "
            "together with a probability of 99.9 %."
        )
        section.tables.append(("Rates of the classes", shift_table(shift)))


def shift_table(shift: Shift) -> PageTable:
    rows = [
        [name, percent(train), percent(test), f"{percent(low)} to {percent(high)}", f"{p_value:.2g}"]
        for name, train, test, low, high, p_value in zip(
            shift.names, shift.train, shift.test, shift.low, shift.high, shift.p_values, strict=True
        )
    ]
    header = ["Class", "In the table", "In the test rows (estimated)", "Interval", "p-value (corrected)"]
    return PageTable(header, rows, tuple(np.flatnonzero(shift.large).tolist()))


def most_alike(data_set: DataSet, difference: Difference) -> tuple[str, Sequence[Picture]]:
    """Return a caption and thumbnails of the training images that the model takes most surely for test images."""
    best = difference.train[np.argsort(-difference.train_scores, kind="stable")[:SHOWN]]
    return "Training images that are most like test images", thumbnails(data_set.table, best)


def thumbnails(table: Table, rows: np.ndarray) -> list[Picture]:
    """Return thumbnails of the images at these rows. Images that cannot be read are left out."""
    ids, images = table.ids, table.images
    shown = (picture_of(images[row], table.value_range, (ids[row],)) for row in rows)
    return [picture for picture in shown if picture is not None]


def numbers_of(tested: Sequence[Tested], difference: Difference | None, shift: Shift | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "properties": {each.measured.name: each.association.score for each in tested},
    }
    if difference is not None:
        result["features"] = {"score": difference.area, "interval": [difference.low, difference.high]}
    if shift is not None:
        result["class_rates"] = {
            name: {"train": float(train), "test": float(test), "interval": [float(low), float(high)]}
            for name, train, test, low, high in zip(
                shift.names, shift.train, shift.test, shift.low, shift.high, strict=True
            )
        }
    return result
