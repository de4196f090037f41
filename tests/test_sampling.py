"""Sampling of rows: counts worked out by hand, equal draws on both backends, and what is refused."""

import importlib.util

import conftest
import numpy as np
import pandas as pd
import pytest

from kcomp import data, targets
from kcomp.data.sampling import copy_numbers, draw_rows, sampling_weights


def rows_of(counts, **columns):
    """Return a table with counts[c] rows of class c. Each image has another grey level."""
    classes = np.repeat(np.arange(len(counts)), counts)
    frame = pd.DataFrame({"image_id": [f"row{number:03}" for number in range(len(classes))]}, dtype=object)
    frame["image"] = pd.Series([np.full((8, 8, 3), number, np.uint8) for number in range(len(classes))], dtype=object)
    names = tuple(f"class {number}" for number in range(len(counts)))
    labels = pd.DataFrame(np.eye(len(counts), dtype=np.float32)[classes], columns=names)
    return data.Table(pd.concat([frame, labels, pd.DataFrame(columns)], axis=1), targets.OneOf(names))


def batches(table, sampling, seed=0, **options):
    return data.Batches(table, 8, batch_size=8, training=True, seed=seed, sampling=sampling, **options)


def test_balanced_sampling_draws_each_class_equally_often():
    table = rows_of([60, 15, 5])  # 80 rows: each class is expected 80 / 3 times, a row of class 2 thus 5.33 times
    made = batches(table, "balanced")
    assert len(made) == 10
    for epoch in range(20):
        counts = np.bincount(made.order(epoch), minlength=80)
        assert counts.sum() == 80 and set(counts[75:]) <= {5, 6}
        assert all(abs(counts[part].sum() - 80 / 3) < 6 for part in (slice(60), slice(60, 75), slice(75, 80)))
    orders = [made.order(epoch) for epoch in range(20)]
    classes = np.searchsorted([60, 75], np.concatenate(orders), side="right")
    np.testing.assert_allclose(np.bincount(classes) / 1600, [1 / 3] * 3, atol=0.01)
    assert not np.array_equal(orders[0], orders[1])


def test_a_row_is_drawn_its_expected_count_rounded():
    weights = np.array([0.0, 1, 1, 6, 0])  # of 5 rows: 0, 0.625, 0.625, 3.75 and 0
    draws = np.random.default_rng(0)
    counts = np.array([np.bincount(draw_rows(draws, weights), minlength=5) for _ in range(4000)])
    assert (counts >= [0, 0, 0, 3, 0]).all() and (counts <= [0, 1, 1, 4, 0]).all()
    np.testing.assert_allclose(counts.mean(0), 5 * weights / 8, atol=0.03)
    assert sorted(draw_rows(draws, np.full(50, 0.3))) == list(range(50))  # equal weights: each row once


def test_a_column_of_weights():
    for name in ("weight", "csv:weight"):  # read_csv writes csv: before the names of columns that it does not use
        table = rows_of([4, 4], **{name: ["0"] * 7 + ["2.5"]})
        assert set(batches(table, "weight").order(0)) == {7}


def test_the_order_of_the_table_does_not_matter():
    table = rows_of([20, 4])
    shuffled = table.rows(np.random.default_rng(1).permutation(24))
    ids = [
        [made.table.ids[row] for row in made.order(3)]
        for made in (batches(table, "balanced"), batches(shuffled, "balanced"))
    ]
    assert ids[0] == ids[1]


def test_copies_are_numbered_and_augmented_differently():
    np.testing.assert_array_equal(copy_numbers(np.array([3, 1, 3, 3, 0, 1])), [0, 0, 1, 2, 0, 1])
    import albumentations as A

    noise = A.Compose([A.GaussNoise(p=1.0, strict=True)])
    made = batches(rows_of([15, 1]), "balanced", transform=noise)
    rare = [image for batch in made.epochs(0) for image, label in zip(batch["images"], batch["labels"]) if label[1]]
    assert len(rare) >= 7 and len({image.tobytes() for image in rare}) == len(rare)
    np.testing.assert_array_equal(
        made.load(0, 1)["images"], batches(made.table, "balanced", transform=noise).load(0, 1)["images"]
    )


def test_prediction_batches_have_each_row_once():
    made = data.Batches(rows_of([6, 2]), 8, batch_size=8, sampling="balanced")
    np.testing.assert_array_equal(made.order(0), np.arange(8))


@pytest.mark.parametrize(
    ("sampling", "columns", "message"),
    [
        ("weight", {}, "'balanced' or a column of weights; the table has no column 'weight'"),
        ("w", {"w": [1, 1, -1, 1]}, "a weight must be a number from 0; row 'row002' has -1.0 in 'w'"),
        ("w", {"w": [1, 1, np.nan, 1]}, "row 'row002' has nan"),
        ("w", {"w": [0, 0, 0, 0]}, "at least one weight must be above 0; all 4 in column 'w' are 0"),
        ("w", {"w": ["1", "2", "heavy", "1"]}, "the weights in column 'w' must be numbers"),
    ],
)
def test_wrong_weights(sampling, columns, message):
    with pytest.raises(ValueError, match=message):
        batches(rows_of([2, 2], **columns), sampling)


def test_several_labels_cannot_be_balanced():
    frame = rows_of([2, 2]).frame
    table = data.Table(frame, targets.AnyOf(("class 0", "class 1")))
    with pytest.raises(ValueError, match="needs one class for each row; the target is"):
        sampling_weights(table, "balanced")


def test_both_backends_draw_the_same_batches():
    code = """
    import hashlib
    import numpy as np
    import albumentations as A
    from kcomp import data
    rows = data.sklearn_digits()
    kept = rows.rows(np.flatnonzero((rows.labels[:, 0] == 1) | (np.arange(len(rows)) % 9 == 0))[:60])
    made = data.Batches(kept, 8, batch_size=16, training=True, seed=4, sampling="balanced",
                        transform=A.Compose([A.GaussNoise(p=1.0)]))
    give(sha=[hashlib.sha256(b["images"].tobytes() + b["labels"].tobytes()).hexdigest() for b in made.epochs(0, 2)])
    """
    installed = [backend for backend in ("jax", "torch") if importlib.util.find_spec(backend)]
    results = [conftest.in_backend(backend, code)["sha"] for backend in installed]
    assert len(set(results[0])) == 6 and all(result == results[0] for result in results)
