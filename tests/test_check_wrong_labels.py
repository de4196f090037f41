"""Wrong labels and outliers: planted ones are found, and clean data has none; for all targets."""

import numpy as np
import pandas as pd
import pytest
from check_data import ANY_OF, GRADES, NUMBERS, ONE_OF, data_set, labelled_table, plausible_facts, random_features

from kcomp.check.wrong_labels.mixture import class_errors, number_errors
from kcomp.check.wrong_labels.outliers import neighbour_distances, outlier_scores
from kcomp.check.wrong_labels.part import check_wrong_labels
from kcomp.check.wrong_labels.suspects import label_columns, scores_of
from kcomp.probe.kernel import kernel_scores

ROWS = 600


def features_of(labels, seed=0, noise=0.35):
    """Features that tell the labels apart, with noise: a random linear map of the labels."""
    random = np.random.default_rng([seed, 30])
    values = np.asarray(labels, float).reshape(len(labels), -1)
    values = values / np.maximum(np.abs(values - values.mean(0)).max(0), 1e-9)
    directions = random.normal(size=(values.shape[1], 12))
    return (values @ directions * 2 + random.normal(size=(len(values), 12)) * noise).astype(np.float32)


def with_errors(target, labels, seed, share=0.05):
    """Labels of which some rows (the second result) are wrong by much."""
    random = np.random.default_rng([seed, 31])
    wrong = random.choice(len(labels), round(share * len(labels)), replace=False)
    labels = labels.copy()
    if target is ONE_OF:
        labels[wrong] = np.roll(labels[wrong], random.integers(1, 3), axis=1)
    elif target is ANY_OF:
        column = random.integers(0, 3, len(wrong))
        labels[wrong, column] = 1 - labels[wrong, column]
    elif target is GRADES:
        labels[wrong] = (labels[wrong] + random.integers(1, 3, (len(wrong), 1))) % 3
    else:
        labels[wrong, 0] += 45 * random.choice([-1, 1], len(wrong))
    return labels, wrong


def alarms(part):
    return [finding for finding in part.findings if finding.severity != "note"]


@pytest.mark.parametrize("target", [ONE_OF, ANY_OF, NUMBERS, GRADES], ids=lambda target: target.name)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_planted_labels_are_found_and_clean_data_has_none(target, seed):
    clean = labelled_table(target, ROWS, seed=seed).labels.astype(float)
    features = features_of(clean, seed)
    part = check_wrong_labels(data_set(labelled_table(target, ROWS, labels=clean), features=features))
    assert not alarms(part) and part.section.good
    labels, wrong = with_errors(target, clean, seed)
    table = labelled_table(target, ROWS, labels=labels)
    (finding,) = alarms(check_wrong_labels(data_set(table, features=features)))
    assert finding.kind == "wrong-label"
    right = set(finding.image_ids) & {table.ids[row] for row in wrong}
    assert len(right) / len(finding.image_ids) >= (0.75 if target is NUMBERS else 0.9)  # precision
    assert len(right) / len(wrong) >= 0.9  # recall


def test_the_message_and_the_numbers_name_the_likelier_label():
    clean = np.eye(3)[np.arange(300) % 3]
    labels = clean.copy()
    labels[:12] = np.roll(labels[:12], 1, axis=1)
    table = labelled_table(ONE_OF, 300, labels=labels)
    part = check_wrong_labels(data_set(table, features=features_of(clean)))
    suspects = {suspect["image_id"]: suspect for suspect in part.numbers["suspects"]}
    assert (suspects["row00000"]["label"], suspects["row00000"]["likely"]) == ("dog", "cat")
    (finding,) = alarms(part)
    details = dict(zip(finding.image_ids, finding.details, strict=True))
    assert details["row00000"].startswith("labelled dog, predicted cat (wrong with probability 1.00")
    assert details["row00001"].startswith("labelled owl, predicted dog (")
    assert part.numbers["wrong_share"] == pytest.approx(0.04, abs=0.015)
    assert "12 labels of 300 look wrong" in part.findings[0].message
    table = part.section.tables[0][1]
    assert len(table.rows) == 24 and {row[0] for row in table.rows[:12]} == {f"row{row:05d}" for row in range(12)}


def test_predictions_of_runs_come_before_features():
    clean = np.eye(3)[np.arange(300) % 3]
    labels = clean.copy()
    labels[:15] = np.roll(labels[:15], 1, axis=1)
    predictions = ONE_OF.predict(8 * clean + np.random.default_rng(0).normal(size=(300, 3)) / 2)
    predictions[200:210] = np.nan  # never held out
    table = labelled_table(ONE_OF, 300, labels=labels)
    part = check_wrong_labels(data_set(table, predictions=predictions))
    assert set(part.findings[0].image_ids) == {f"row{row:05d}" for row in range(15)}
    assert "runs" in part.numbers["source"]


@pytest.mark.parametrize("target", [ANY_OF, NUMBERS, GRADES], ids=lambda target: target.name)
def test_predictions_of_runs_for_other_targets(target):
    clean = labelled_table(target, 400, seed=1).labels.astype(float)
    labels, wrong = with_errors(target, clean, 1)
    random = np.random.default_rng(1)
    if target is ANY_OF:
        predictions = np.clip(0.9 * clean + 0.1 * random.random(clean.shape), 0, 1)
    else:
        predictions = clean + random.normal(size=clean.shape) * 0.03 * clean.std(0)
    table = labelled_table(target, 400, labels=labels)
    (finding,) = check_wrong_labels(data_set(table, predictions=predictions)).findings
    assert len(set(finding.image_ids) ^ {table.ids[row] for row in wrong}) <= 1


def test_missing_features_and_labels_are_left_out():
    clean = labelled_table(ANY_OF, ROWS).labels.astype(float)
    labels, features = clean.copy(), features_of(clean)
    labels[::5, 1], features[::7] = np.nan, np.nan
    labels[1, 0] = 1 - labels[1, 0]
    part = check_wrong_labels(data_set(labelled_table(ANY_OF, ROWS, labels=labels), features=features))
    assert [suspect["image_id"] for suspect in part.numbers["suspects"]] == ["row00001"]
    assert [finding.severity for finding in part.findings] == ["note"]  # a single one


def test_a_class_with_few_rows_is_not_suspected():
    numbers = np.r_[np.arange(200) % 2, [2] * 4]
    labels = np.eye(3)[numbers]
    part = check_wrong_labels(data_set(labelled_table(ONE_OF, 204, labels=labels), features=random_features(204)))
    assert not part.findings
    part = check_wrong_labels(
        data_set(labelled_table(ONE_OF, 50, labels=np.eye(3)[[0] * 50]), features=random_features(50))
    )
    assert not part.findings and "too few labels" in part.section.verdict


def test_without_features_and_runs_nothing_is_checked():
    part = check_wrong_labels(data_set(labelled_table(ONE_OF, 30)))
    assert part.section.good is None and not part.findings and not part.numbers["checked"]
    nothing = np.full((30, 4), np.nan, np.float32)
    assert not check_wrong_labels(data_set(labelled_table(ONE_OF, 30), features=nothing)).findings
    assert not check_wrong_labels(data_set(labelled_table(ONE_OF, 3, folds=0), features=random_features(3))).findings


def test_random_features_give_no_finding():
    for target in (ONE_OF, ANY_OF, NUMBERS, GRADES):
        part = check_wrong_labels(data_set(labelled_table(target, 300), features=random_features(300)))
        assert not part.findings, target
    rare = np.eye(3)[np.where(np.arange(300) % 10 < 8, 0, np.arange(300) % 3)]
    part = check_wrong_labels(data_set(labelled_table(ONE_OF, 300, labels=rare), features=random_features(300)))
    assert not part.findings


def test_the_pictures_of_suspects_are_shown():
    images = [np.full((20, 30), row % 256, np.uint8) for row in range(300)]
    clean = np.eye(3)[np.arange(300) % 3]
    labels = clean.copy()
    labels[:12] = np.roll(labels[:12], 1, axis=1)
    table = labelled_table(ONE_OF, 300, labels=labels)
    frame = table.frame.assign(image=pd.Series(images, dtype=object))
    frame.at[3, "image"] = "missing.jpg"
    part = check_wrong_labels(data_set(type(table)(frame, ONE_OF), features=features_of(clean)))
    _caption, gallery = part.section.galleries[0]
    assert len(gallery) == 23 and all(picture.image.startswith(b"\xff\xd8") for picture in gallery)


def test_equal_images_share_a_fold():
    """A copy with the same wrong label in another fold would hide that the label is wrong."""
    random = np.random.default_rng(2)
    numbers = np.arange(150) % 3
    features = random.normal(size=(150, 40)).astype(np.float32)
    features[np.arange(150), numbers] += 6
    labels = np.eye(3)[numbers]
    labels[:8] = np.roll(labels[:8], 1, axis=1)
    twice = np.r_[np.arange(150), np.arange(150)]
    facts = plausible_facts(300, pixels_hash=twice.astype(str).astype(object))
    table = labelled_table(ONE_OF, 300, labels=labels[twice], folds=0)
    (finding,) = check_wrong_labels(data_set(table, facts=facts, features=features[twice])).findings
    assert set(finding.image_ids) >= {table.ids[row] for row in [*range(8), *range(150, 158)]}


def test_the_rate_of_random_labels_is_recovered():
    random = np.random.default_rng(0)
    scores = random.normal(size=(4000, 5)) * 3
    q = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    classes = np.array([random.choice(5, p=row) for row in q])
    clean = class_errors(scores, classes)
    assert clean.rate < 0.01 and clean.p_value > 0.01
    assert clean.probabilities == pytest.approx(q, abs=0.05)  # the factor is 1
    wrong = random.random(4000) < 0.1
    classes[wrong] = (classes[wrong] + random.integers(1, 5, wrong.sum())) % 5
    errors = class_errors(scores, classes)
    assert errors.rate == pytest.approx(0.1, abs=0.02) and errors.p_value < 1e-20
    assert errors.wrong.mean() == pytest.approx(errors.rate, abs=0.01)


def test_the_probability_of_a_wrong_label_by_hand():
    """Two classes with q = 0.9 and 0.1, and a rate of 0.2: 0.2 * 0.9 / (0.8 * 0.1 + 0.2 * 0.9) = 0.692."""
    scores = np.log([[0.9, 0.1]] * 1000)
    classes = np.r_[[0] * 740, [1] * 260]  # (1 - 0.2) * 0.9 + 0.2 * 0.1 = 0.74
    errors = class_errors(np.r_[scores, np.log([[0.1, 0.9]] * 1000)], np.r_[classes, 1 - classes])
    q, rate = errors.probabilities[0, 0], errors.rate  # any pair with (1 - rate) * q + rate * (1 - q) = 0.74 fits
    assert (1 - rate) * q + rate * (1 - q) == pytest.approx(0.74, abs=1e-3)
    assert errors.doubt[999] == pytest.approx(np.log(q / (1 - q)), abs=1e-6)
    assert 0 < errors.wrong[999] < rate * q / ((1 - rate) * (1 - q) + rate * q) + 0.01  # a mean over all such pairs


def test_heavy_tails_are_no_wrong_numbers():
    random = np.random.default_rng(3)
    truth = random.normal(50, 10, 800)
    assert number_errors(truth + random.standard_t(4, 800), truth).rate < 0.01
    labels = truth.copy()
    labels[:40] = truth[:40] * 10
    errors = number_errors(truth + random.normal(size=800), labels)
    assert errors.rate == pytest.approx(0.05, abs=0.01) and errors.p_value < 1e-10
    assert (errors.wrong[:40] > 0.9).all() and (errors.wrong[40:] < 0.5).all()


def test_a_kernel_separates_what_no_plane_does():
    random = np.random.default_rng(4)
    features = random.normal(size=(400, 2)).astype(np.float32)
    inside = np.linalg.norm(features, axis=1) < 1.1
    labels = np.eye(3)[inside.astype(int)]
    scores = kernel_scores(features, labels, labelled_table(ONE_OF, 400, labels=labels))
    assert (scores.argmax(1) == inside).mean() > 0.93


def test_scores_and_columns_of_grades():
    columns = label_columns(GRADES, np.array([[0.0], [2.0]]))
    assert columns.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert scores_of(GRADES, np.array([[1.5]])).tolist() == [[-2.25, -0.25, -0.25]]


def test_an_image_unlike_all_others_is_an_outlier():
    features = random_features(500)
    scores, limit = outlier_scores(features)
    assert scores.max() < limit
    features[7] += 30
    part = check_wrong_labels(data_set(labelled_table(ONE_OF, 500), features=features))
    (finding,) = part.findings
    assert (finding.kind, finding.image_ids) == ("outlier", ("row00007",))
    assert finding.details == (
        f"unlike all others: score {part.numbers['outliers'][0]['score']:.1f}, limit {limit:.1f}",
    )
    assert [outlier["image_id"] for outlier in part.numbers["outliers"]] == ["row00007"]


def test_only_extreme_outliers_are_a_warning():
    features = random_features(500)
    features[7] += 30
    features[9] += 2
    part = check_wrong_labels(data_set(labelled_table(ONE_OF, 500), features=features))
    severities = [(finding.severity, finding.image_ids) for finding in part.findings]
    assert severities == [("warning", ("row00007",)), ("note", ("row00009",))]


def test_distances_to_neighbours_by_hand():
    features = np.array([[0.0], [1.0], [3.0]], np.float32)
    assert neighbour_distances(features) == pytest.approx([2.0, 1.5, 2.5])
    assert neighbour_distances(features[:1]).tolist() == [0.0]
