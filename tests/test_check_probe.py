"""Out-of-fold predictions of probes on frozen features: against scikit-learn, for one class and several labels."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from kcomp import data
from kcomp.data.tables import Table
from kcomp.probe import linear as probe
from kcomp.probe.folds import group_numbers, probe_folds
from kcomp.targets import AnyOf, OneOf


def table_of(labels, target, **columns):
    frame = pd.DataFrame({"image_id": [f"{row:04d}" for row in range(len(labels))], "image": "x.jpg"})
    labels = pd.DataFrame(np.asarray(labels, np.float64).reshape(len(frame), -1), columns=list(target.columns))
    return Table(pd.concat([frame, labels], axis=1).assign(**columns), target)


def blobs(rows=200, classes=4, dimensions=6, *, seed=0, distance=3.0):
    """Features around a centre for each class, and the class numbers."""
    random = np.random.default_rng(seed)
    numbers = np.arange(rows) % classes
    features = random.normal(size=(rows, dimensions))
    features[np.arange(rows), numbers] += distance
    return features.astype(np.float32), numbers


def classes_table(numbers, count, **columns):
    return table_of(np.eye(count)[numbers], OneOf(tuple(f"c{number}" for number in range(count))), **columns)


def test_one_class_agrees_with_scikit_learn(monkeypatch):
    features, numbers = blobs(distance=1.5)
    folds = np.arange(200) // 4 % 5
    monkeypatch.setattr(probe, "PENALTIES", (1e-3,))
    values = probe.out_of_fold(features, classes_table(numbers, 4, fold=folds))
    # scikit-learn's loss is a sum over rows, and its features are scaled like the probe's by one number
    scale = np.sqrt(np.square(features - features.mean(0)).mean())
    regression = LogisticRegression(C=1 / (160 * 1e-3), max_iter=1000, tol=1e-8)
    expected = cross_val_predict(
        regression, features / scale, numbers, cv=PredefinedSplit(folds), method="predict_proba"
    )
    assert np.abs(values - expected).max() < 0.01  # the scale is that of each fold's training rows
    assert values.sum(1) == pytest.approx(1)


def test_several_labels_agree_with_one_regression_a_label(monkeypatch):
    random = np.random.default_rng(1)
    features = random.normal(size=(300, 5)).astype(np.float32)
    labels = (features[:, :3] + random.normal(size=(300, 3)) > [0, 0.5, 1]).astype(float)
    folds = np.arange(300) % 5
    monkeypatch.setattr(probe, "PENALTIES", (1e-3,))
    values = probe.out_of_fold(features, table_of(labels, AnyOf(("a", "b", "c")), fold=folds))
    for column in range(3):
        regression = LogisticRegression(C=1 / (240 * 1e-3), max_iter=1000, tol=1e-8)
        expected = cross_val_predict(
            regression, features, labels[:, column], cv=PredefinedSplit(folds), method="predict_proba"
        )
        assert np.abs(values[:, column] - expected[:, 1]).max() < 0.01


def test_missing_labels_are_left_out():
    random = np.random.default_rng(5)
    features = random.normal(size=(200, 2)).astype(np.float32)
    labels = (features > 0).astype(float)
    labels[::3, 0] = np.nan
    values = probe.out_of_fold(features, table_of(labels, AnyOf(("a", "b"))))
    assert ((values > 0.5) == (features > 0)).mean() > 0.95


def test_rows_without_features_are_not_predicted():
    features, numbers = blobs()
    features[7], features[9, 2] = np.nan, np.nan
    values = probe.out_of_fold(features, classes_table(numbers, 4))
    assert np.flatnonzero(np.isnan(values).any(1)).tolist() == [7, 9]
    assert np.isnan(probe.out_of_fold(np.full((200, 3), np.nan), classes_table(numbers, 4))).all()
    assert np.isnan(probe.out_of_fold(features[:1], classes_table(numbers[:1], 4))).all()


def test_a_class_with_one_row_and_a_single_class():
    features, numbers = blobs()
    numbers[0] = 4
    values = probe.out_of_fold(features, classes_table(numbers, 6))
    assert np.isfinite(values).all() and values[0, 4] < 0.1
    assert probe.out_of_fold(features, classes_table(np.zeros(200, int), 2))[:, 0].min() > 0.9


def test_soft_labels_are_learned():
    features, numbers = blobs(classes=2)
    soft = np.where(np.eye(2)[numbers] == 1, 0.8, 0.2)
    values = probe.out_of_fold(features, table_of(soft, OneOf(("a", "b"))))
    assert values[numbers == 0].mean(0) == pytest.approx([0.8, 0.2], abs=0.05)


def test_folds_are_those_of_the_table_or_new():
    _, numbers = blobs(60)
    table = classes_table(numbers, 4)
    own = data.stratified_folds(table, 3)
    assert (probe_folds(own, 0) == own.frame["fold"]).all()
    new = probe_folds(table, 0)
    assert np.bincount(new).tolist() == [12] * 5
    held_in = dataclasses.replace(own, frame=own.frame.assign(fold=np.where(np.arange(60) < 5, -1, own.frame["fold"])))
    assert set(probe_folds(held_in, 0)) == {0, 1, 2, 3, 4}


def test_groups_and_duplicates_share_a_fold():
    _, numbers = blobs(60)
    table = classes_table(numbers, 4, group=[f"g{row // 3}" for row in range(60)])
    together = np.arange(60)
    together[10] = together[40]
    folds = probe_folds(table, 0, together=together)
    assert pd.Series(folds).groupby(table.frame["group"].to_numpy()).nunique().max() == 1
    assert folds[10] == folds[40] == folds[9] == folds[41]
    own = data.folds(classes_table(numbers, 4), 3)
    crossing = np.arange(60)
    fold = own.frame["fold"].to_numpy()
    first, second = np.flatnonzero(fold == 0)[0], np.flatnonzero(fold == 1)[0]
    crossing[first] = crossing[second]
    folds = probe_folds(own, 0, together=crossing)
    assert folds[first] == folds[second] and len(set(folds)) == 5


def test_a_row_without_a_group_is_alone():
    table = classes_table(np.arange(6), 6, group=["a", None, "a", None, "b", "b"], item=["p", "p", "q", "r", "r", None])
    groups = group_numbers(table)
    assert [sorted(np.flatnonzero(groups == number)) for number in dict.fromkeys(groups)] == [[0, 1, 2], [3, 4, 5]]
    alone = group_numbers(classes_table(np.arange(3), 3, group=["a", np.nan, np.nan]))
    assert len(set(alone)) == 3
    assert group_numbers(classes_table(np.arange(3), 3)) is None
    folds = probe_folds(classes_table(np.arange(60) % 4, 4, group=["a", "a", *[None] * 58]), 0)
    assert folds[0] == folds[1] and set(folds) == {0, 1, 2, 3, 4}


@pytest.mark.slow
def test_ten_thousand_rows_of_a_hundred_classes_take_less_than_a_minute():
    import time

    features, numbers = blobs(10_000, 100, 256, distance=4.0)
    started = time.perf_counter()
    values = probe.out_of_fold(features, classes_table(numbers, 100))
    assert time.perf_counter() - started < 60
    assert (values.argmax(1) == numbers).mean() > 0.8
