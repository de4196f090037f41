"""Differences between test images and training images, and rates of classes."""

import check_data
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from kcomp import data, targets
from kcomp.check.shift.class_shift import class_p_values, class_rates
from kcomp.check.shift.nearest import nearest_rows, unlike_gallery
from kcomp.check.shift.train_test import chance_deviation, check_train_test, delong

TWO = targets.OneOf(("cat", "dog"))


def compared(table, *, facts=None, test_facts=None, features=None, test_features=None, rows=None):
    """The part for a table and as many test rows, without features unless they are passed."""
    rows = len(table) if rows is None else rows
    return check_train_test(
        check_data.data_set(
            table,
            facts=facts,
            test=check_data.unlabelled_table(rows),
            test_facts=check_data.plausible_facts(rows, 1) if test_facts is None else test_facts,
            features=features,
            test_features=test_features,
        )
    )


def separated(labels, seed, distance=4.0):
    """Features whose first column says the class."""
    features = check_data.random_features(len(labels), 8, seed)
    features[:, 0] += distance * np.asarray(labels)
    return features


def test_without_test_rows():
    part = check_train_test(check_data.data_set(check_data.labelled_table(TWO, 40)))
    assert "no test rows" in part.section.verdict and part.findings == ()


@pytest.mark.parametrize("target", check_data.EVERY_TARGET, ids=lambda target: type(target).__name__)
@pytest.mark.parametrize("rows", [1, 60])
def test_equal_distributions(target, rows):
    table = check_data.labelled_table(target, rows, folds=0)
    features = [check_data.random_features(rows, 8, seed) for seed in (1, 2)]
    part = compared(table, features=features[0], test_features=features[1])
    assert part.findings == ()
    assert ("class_rates" in part.numbers) == (rows == 60 and target != check_data.NUMBERS)


def test_rows_without_features_are_left_out():
    table = check_data.labelled_table(TWO, 60, folds=0)
    features = [check_data.random_features(60, 8, seed) for seed in (1, 2)]
    features[0][:10] = features[1][5] = np.nan
    assert compared(table, features=features[0], test_features=features[1]).numbers["features"]["score"] < 0.75
    features[1][:] = np.nan
    assert "features" not in compared(table, features=features[0], test_features=features[1]).numbers


def test_other_images():
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 255, (8, 8, 3), np.uint8) for _ in range(60)]
    table = check_data.labelled_table(TWO, 60, folds=0)
    table = data.Table(table.frame.assign(image=pixels), TWO)
    features = check_data.random_features(60, 8, 1), check_data.random_features(60, 8, 2) + 3
    part = compared(table, features=features[0], test_features=features[1])
    [finding] = [finding for finding in part.findings if finding.kind == "train-test-shift"]
    assert finding.severity == "warning" and "frozen features (1.00)" in finding.message
    shown = dict(part.section.galleries)
    assert [len(pictures) for pictures in shown.values()] == [0, 12]  # the files of test images do not exist
    assert list(shown)[1] == "Training images that are most like test images"
    part = compared(table, features=features[0], test_features=check_data.random_features(60, 8, 2))
    assert len(part.section.galleries) == 1  # no order of training images without a difference


def test_a_copy_is_never_unlike_the_training_images():
    """Test row 0 is a copy of training row 7, and far from all other rows. Row 1 is far from all."""
    random = np.random.default_rng(0)
    features, test_features = random.normal(size=(2, 40, 8)).astype(np.float32)
    features[:, 0] += 10
    test_features[:, 0] += 10
    features[7] = test_features[0] = [0, 50, 0, 0, 0, 0, 0, 0]
    test_features[1] = [0, 0, 0, 0, 30, 0, 0, 0]
    test_features[2] = features[3] = np.nan
    distances, positions = nearest_rows(features, test_features)
    assert distances[0] == pytest.approx(0, abs=1e-6) and positions[0] == 7
    assert np.nanargmax(distances) == 1 and distances[1] > 1 and np.isnan(distances[2]) and positions[2] == -1
    pixels = [random.integers(0, 255, (8, 8, 3), np.uint8) for _ in range(40)]
    table = check_data.labelled_table(TWO, 40, folds=0)
    test = check_data.unlabelled_table(40)
    test = data.Table(test.frame.assign(image=pd.Series(pixels, test.frame.index, dtype=object)))
    caption, pictures = unlike_gallery(
        check_data.data_set(table, test=test, features=features, test_features=test_features)
    )
    assert caption == "Test images that are least like any training image" and len(pictures) == 12
    assert pictures[0].lines[0] == test.ids[1] and test.ids[0] not in [picture.lines[0] for picture in pictures]


def test_distances_to_training_rows_by_hand():
    """The features (3, 4) and (4, 3) have the length 5, so their distance is that of (0.6, 0.8) and (0.8, 0.6)."""
    distances, positions = nearest_rows(np.float32([[0, -1], [4, 3]]), np.float32([[3, 4]]))
    assert distances == pytest.approx([np.sqrt(0.08)]) and positions.tolist() == [1]


def test_other_files():
    table = check_data.labelled_table(TWO, 100)
    test_facts = check_data.plausible_facts(100, 1, width=np.full(100, 333))
    [finding] = compared(table, test_facts=test_facts).findings
    assert (finding.kind, finding.severity) == ("train-test-shift", "warning")
    assert "aspect (width / height) (1.00)" in finding.message
    later = check_data.plausible_facts(100, 1, path=np.array([f"{row + 1000}.jpg" for row in range(100)], object))
    assert compared(table, test_facts=later).findings == ()  # the order of names alone


@pytest.mark.parametrize(("column", "common", "rare"), [("mode", "RGB", "L"), ("path", "a.png", "a.gif")])
def test_single_images_of_another_kind_are_no_shift(column, common, rare):
    table = check_data.labelled_table(TWO, 100)
    values = np.array([rare] + [common] * 99, object)
    facts = check_data.plausible_facts(100, 0, **{column: values})
    test_facts = check_data.plausible_facts(100, 1, **{column: np.full(100, common, object)})
    assert compared(table, facts=facts, test_facts=test_facts).findings == ()


def test_delong_is_that_of_the_paper():
    random = np.random.default_rng(0)
    positives, negatives = random.normal(1, 1, 20), random.normal(0, 1, 30).round(1)
    area, deviation = delong(positives, negatives)
    assert area == pytest.approx(roc_auc_score(np.repeat([1, 0], [20, 30]), np.r_[positives, negatives]))
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    expected = wins.mean(1).var(ddof=1) / 20 + wins.mean(0).var(ddof=1) / 30
    assert deviation**2 == pytest.approx(expected)
    assert chance_deviation(1, 1) == pytest.approx(0.5)  # the area is 0 or 1


def test_rates_of_classes_by_hand():
    train = np.array([0.5, 0.5])
    assert class_rates(np.array([[0.8, 0.2]] * 8 + [[0.2, 0.8]] * 2), train, np.ones(10)) == pytest.approx(
        [1, 0], abs=0.01
    )
    # a classifier that is right in 80 % of each class says class 0 for 0.8 * 0.75 + 0.2 * 0.25 = 65 % of the rows
    rows = np.array([[0.8, 0.2]] * 65 + [[0.2, 0.8]] * 35)
    assert class_rates(rows, train, np.ones(100)) == pytest.approx([0.75, 0.25], abs=1e-3)


def test_equal_counts_are_no_evidence():
    rows = np.eye(2)[[0, 1] * 20]
    assert class_p_values(rows, rows).tolist() == [1.0, 1.0]
    assert (class_p_values(rows, np.eye(2)[[0] * 40]) < 1e-6).all()


@pytest.mark.parametrize("seed", range(5))
def test_classes_at_other_rates(seed):
    labels, test_labels = np.arange(200) % 2, np.arange(200) % 10 == 0
    table = check_data.labelled_table(TWO, 200, labels=np.eye(2)[labels], seed=seed)
    part = compared(
        table, features=separated(labels, seed), test_features=separated(test_labels.astype(int), seed + 50)
    )
    [finding] = [finding for finding in part.findings if finding.kind == "class-shift"]
    assert "'cat' 50.0 % (test rows: " in finding.message
    assert part.numbers["class_rates"]["dog"]["test"] == pytest.approx(0.1, abs=0.05)
    same = compared(table, features=separated(labels, seed), test_features=separated(labels, seed + 50))
    assert same.findings == ()


def test_labels_at_other_rates():
    random = np.random.default_rng(0)
    labels, test_labels = ((random.random((300, 3)) < rate).astype(float) for rate in (0.3, [0.3, 0.3, 0.8]))
    features = [np.float32(each * 4 + random.normal(size=each.shape)) for each in (labels, test_labels)]
    table = check_data.labelled_table(check_data.ANY_OF, 300, labels=labels)
    part = compared(table, features=features[0], test_features=features[1])
    [finding] = [finding for finding in part.findings if finding.kind == "class-shift"]
    assert "'spot'" in finding.message and "'rust'" not in finding.message
