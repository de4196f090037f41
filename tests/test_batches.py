"""Batches: the same for any number of workers and any order of rows; every epoch drawn anew."""

import hashlib

import albumentations as A
import cv2
import numpy as np
import pytest

from kcomp import data
from kcomp.data.batches import ahead
from kcomp.data.draws import Purpose, generator, item_of

DIGITS = data.sklearn_digits().rows(np.arange(50))


def batches(table=DIGITS, **options):
    options = {"batch_size": 8, "training": True, "seed": 5} | options
    transform = A.Compose([A.Affine(rotate=(-30, 30), p=1.0), A.RandomBrightnessContrast(p=0.5)])
    return data.Batches(table, 16, transform=transform, **options)


def digest(found):
    sha = hashlib.sha256()
    for batch in found:
        for name in sorted(batch):
            sha.update(np.ascontiguousarray(batch[name]).tobytes())
    return sha.hexdigest()


def by_pixels(found):
    """Every image of these batches, whatever their order."""
    return sorted(image.tobytes() for batch in found for image in batch["images"])


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_workers_do_not_matter(workers):
    several = batches()
    several.workers = workers
    assert digest(several.epochs(2, 2)) == digest(batches().load(epoch, i) for epoch in (2, 3) for i in range(6))


def test_the_order_of_the_rows_does_not_matter():
    turned = DIGITS.rows(np.arange(50)[::-1])
    assert digest(batches().epochs(1)) == digest(batches(turned).epochs(1))


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Forty files of 60 x 80 pixels in two classes; the cache is empty."""
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))
    draws = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "rows" / name).mkdir(parents=True)
        for number in range(20):
            pixels = draws.integers(0, 256, (60, 80, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "rows" / name / f"{number}.jpg"), pixels)
    return data.read_folders(tmp_path / "rows")


@pytest.mark.parametrize("workers", [1, 4])
def test_batches_are_the_same_decoded_or_from_the_cache(workers, photographs, monkeypatch):
    def decode_nothing(*_):
        raise ValueError("there is nothing left to decode")

    def read(cache_bytes):
        several = batches(photographs, images=data.Images(16, cache_bytes=cache_bytes))
        several.workers = workers
        return digest(several.epochs(0, 2))

    decoded = read(0)
    assert read(10**6) == decoded  # fills the cache in epoch 0 and reads it in epoch 1
    monkeypatch.setattr("kcomp.data.images.decode", decode_nothing)
    assert read(10**6) == decoded
    with pytest.raises(ValueError, match="nothing left"):
        read(0)


def test_folds_share_decoded_images(photographs, tmp_path):
    train, held_out = data.split(data.stratified_folds(photographs, 4, seed=0), 0)
    for rows in (train, held_out, photographs):
        list(data.Batches(rows, 16, batch_size=8).epochs(0))
    assert len(list((tmp_path / "cache" / "decoded").iterdir())) == 40


def test_a_full_cache_changes_no_batch(photographs):
    decoded = digest(batches(photographs, images=data.Images(16, cache_bytes=0)).epochs(0, 2))
    with pytest.warns(RuntimeWarning, match="is full"):
        assert digest(batches(photographs, images=data.Images(16, cache_bytes=10_000)).epochs(0, 2)) == decoded


def test_epochs_and_seeds_differ():
    found = {digest(batches(seed=seed).epochs(epoch)) for seed in (5, 6) for epoch in (0, 1)}
    assert len(found) == 4


def test_an_image_keeps_its_draw_in_another_table():
    """A row's augmentation hangs on seed, epoch and id, so a fold's other rows cannot change it."""
    whole, part = batches(), batches(DIGITS.rows(np.array([7, 30])))
    np.testing.assert_array_equal(whole.image(30, epoch=4), part.image(1, epoch=4))
    assert (whole.image(30, epoch=4) != whole.image(30, epoch=5)).any()


def test_each_row_comes_at_most_once_an_epoch_and_labels_follow():
    plain = data.Batches(DIGITS, 8, batch_size=8, training=True, seed=1)
    found = list(plain.epochs(0))
    assert len(found) == len(plain) == 6
    pictures = {image.tobytes(): label for image, label in zip(DIGITS.images, DIGITS.labels.argmax(1), strict=True)}
    seen = []
    for batch in found:
        for image, label in zip(batch["images"], batch["labels"], strict=True):
            seen.append(image[:, :, 0].astype(np.uint8).tobytes())
            assert pictures[seen[-1]] == label.argmax()
    assert len(set(seen)) == 48


def test_validation_keeps_order_and_shape():
    plain = data.Batches(DIGITS, 8, batch_size=16)
    found = list(plain.epochs(0))
    assert [len(batch["images"]) for batch in found] == [16, 16, 16, 16]
    np.testing.assert_array_equal(found[3]["images"][1], found[3]["images"][15])  # filled with the last row
    np.testing.assert_array_equal(np.concatenate([b["labels"] for b in found])[:50], DIGITS.labels)


def test_a_batch_can_be_looked_at():
    several = batches()
    assert digest([several[2]]) == digest([several.load(0, 2)]) and len(list(several)) == len(several)
    with pytest.raises(IndexError, match="0 to 5; received 6"):
        several[6]


def test_range_and_type():
    images = batches().load(0, 0)["images"]
    assert images.dtype == np.uint8 and images.min() >= 0 and images.max() <= 255 and images.max() > 100


def test_a_transform_that_leaves_the_wrong_shape_is_named():
    wrong = data.Batches(DIGITS, 16, batch_size=4, transform=A.Compose([A.Resize(8, 9)]))
    with pytest.raises(ValueError, match=r"shape \(16, 16, 3\); row 'digit-0000' has \(8, 9, 3\)"):
        wrong.load(0, 0)


def test_a_broken_image_stops_the_reader_and_its_threads():
    frame = DIGITS.frame.copy()
    frame.at[frame.index[20], "image"] = b"broken"
    broken = data.Batches(data.Table(frame, DIGITS.target), 16, batch_size=8)
    with pytest.raises(ValueError, match="digit-0020"):
        list(broken.epochs(0))


def test_reading_ahead_is_bounded_and_ordered():
    started = []

    def load(number):
        started.append(number)
        return number

    reader = ahead(load, ((n,) for n in range(100)), 3)
    assert [next(reader) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert max(started) <= 5 + 3
    reader.close()


def test_layers_that_draw_for_themselves_come_first():
    class Planned:
        def draw(self, *arguments): ...

    with pytest.raises(ValueError, match="must come after all other layers"):
        data.Batches(DIGITS, 8, batch_size=4, training=True, layers=[Planned(), object()])


def test_streams_do_not_overlap():
    def numbers(*key):
        return generator(*key).integers(2**63, size=1000).tolist()

    keys = [(s, p, e, i) for s in (0, 1) for p in (Purpose.ORDER, Purpose.MIX) for e in (0, 1) for i in (0, 1)]
    assert len({number for key in keys for number in numbers(*key)}) == 16_000
    assert numbers(3, Purpose.MIX, 2, 1) == numbers(3, Purpose.MIX, 2, 1)


def test_draws_are_the_same_on_every_machine():
    """Philox is specified, and so is the hash: these numbers may never change without notice."""
    assert item_of("digit-0000") == 14841242245216926244
    assert generator(1, Purpose.ORDER, 2, 3).permutation(5).tolist() == [4, 2, 3, 1, 0]
    assert generator(1, Purpose.MIX, 2, 3).integers(2**32) == 1008212312
