"""Duplicates, and leaks between folds and into the test rows (kcomp/check/duplicates*.py)."""

import dataclasses

import check_data
import cv2
import numpy as np
import pandas as pd
import pytest
from damage_here import no_process  # noqa: F401

from kcomp import data
from kcomp.check.duplicates.part import check_duplicates, exact_findings
from kcomp.check.duplicates.pixels import SIDE, describe_change, is_same
from kcomp.check.duplicates.search import feature_pairs, hash_pairs, largest_distance
from kcomp.check.duplicates.windows import PLACES, place_pairs, turn_image, window_pairs, windows
from kcomp.measurements.measure import measure
from kcomp.report.page import Section
from kcomp.report.part import Part

SIZES = ((120, 160), (160, 120), (144, 144))
LABELS = {
    "one class": ([[1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0.7, 0.3, 0]]),  # two that contradict, two that do not
    "several labels": ([[1, 0, 1], [1, 1, np.nan]], [[1, 0, np.nan], [1, np.nan, 1]]),
    "numbers": ([[10, 1], [20, 1]], [[10, 1], [10.5, np.nan]]),
    "grades": ([[0], [1]], [[1], [1.25]]),
}


def photograph(seed):
    """A picture with smooth noise of several scales, and shapes, RGB uint8."""
    random = np.random.default_rng([20, seed])
    height, width = SIZES[seed % len(SIZES)]
    pixels = np.zeros((height, width, 3), np.float32)
    for cells, strength in ((3, 60), (8, 35), (24, 20), (60, 10)):
        noise = random.normal(size=(cells, cells, 3)).astype(np.float32)
        pixels += strength * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels += random.uniform(90, 160)
    for _ in range(6):
        centre = (int(random.integers(0, width)), int(random.integers(0, height)))
        axes = (int(random.integers(6, 40)), int(random.integers(6, 40)))
        colour = random.integers(0, 256, 3).tolist()
        cv2.ellipse(pixels, centre, axes, float(random.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def drawing(seed):
    """A filled circle or square on white, as drawn data sets have."""
    random = np.random.default_rng([21, seed])
    pixels = np.full((96, 96, 3), 255, np.uint8)
    left, top = random.integers(24, 72, 2).tolist()
    colour = random.integers(0, 200, 3).tolist()
    if seed % 2:
        cv2.circle(pixels, (left, top), 14, colour, -1, cv2.LINE_AA)
    else:
        cv2.rectangle(pixels, (left - 13, top - 13), (left + 13, top + 13), colour, -1)
    return pixels


def resized(pixels, factor):
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=interpolation)


def cropped(pixels, x, y):
    """80 % of the sides; x and y say where, from 0 to 1."""
    height, width = (round(0.8 * side) for side in pixels.shape[:2])
    top, left = round(y * (pixels.shape[0] - height)), round(x * (pixels.shape[1] - width))
    return pixels[top : top + height, left : left + width]


def with_text(pixels, strength):
    marked = np.ascontiguousarray(pixels.copy())
    cv2.putText(marked, "photo 24", (8, len(pixels) - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1)
    return cv2.addWeighted(marked, strength, np.ascontiguousarray(pixels), 1 - strength, 0)


def scaled(pixels, factor):
    return np.clip(np.rint(pixels.astype(np.float32) * factor), 0, 255).astype(np.uint8)


CHANGES = {
    "quality 60": lambda pixels: pixels,
    "half size": lambda pixels: resized(pixels, 0.5),
    "double size": lambda pixels: resized(pixels, 2),
    "mirrored": lambda pixels: pixels[:, ::-1],
    "upside down": lambda pixels: pixels[::-1],
    "90 degrees": lambda pixels: np.rot90(pixels),
    "180 degrees": lambda pixels: np.rot90(pixels, 2),
    "270 degrees": lambda pixels: np.rot90(pixels, 3),
    "crop of the centre": lambda pixels: cropped(pixels, 0.5, 0.5),
    "crop of a corner": lambda pixels: cropped(pixels, 0, 1),
    "brighter": lambda pixels: scaled(pixels, 1.15),
    "darker": lambda pixels: scaled(pixels, 0.85),
    "caption": lambda pixels: with_text(pixels, 1.0),
    "watermark": lambda pixels: with_text(pixels, 0.4),
}


def jpeg(pixels, quality=90):
    bgr = np.ascontiguousarray(pixels[:, :, ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def pixel_features(images):
    """A small stand-in for frozen features: the coarse colours of the centre, which a crop changes little."""
    centres = [cv2.resize(image[len(image) // 4 : -len(image) // 4], (4, 4)) for image in images]
    return np.stack(centres).reshape(len(images), -1).astype(np.float32)


def image_set(encoded, *, folds=None, labels=None, target=check_data.ONE_OF, test=0, features=None):
    """A data set of encoded images, of which the last `test` are test rows."""
    count = len(encoded) - test
    images = pd.Series(list(encoded), dtype=object)
    table = check_data.labelled_table(target, count, folds=0, labels=labels)
    table = dataclasses.replace(table, frame=table.frame.assign(image=images[:count]))
    if folds is not None:
        table = dataclasses.replace(table, frame=table.frame.assign(fold=folds))
    parts = {}
    if test:
        test_table = data.Table(
            pd.DataFrame({"image_id": [f"test{n}" for n in range(test)], "image": list(images[count:])})
        )
        parts = {"test": test_table, "test_facts": measure(test_table)}
    if features is not None:
        parts |= {"features": features[:count], "test_features": features[count:] if test else None}
    return check_data.data_set(table, facts=measure(table), **parts)


def check_exact(data_set):
    return Part("exact", Section("", ""), findings=tuple(exact_findings(data_set)))


def kinds(part, severities=("error", "warning", "note")):
    return sorted((finding.kind, finding.severity) for finding in part.findings if finding.severity in severities)


@pytest.fixture(scope="module")
def photographs():
    return [photograph(seed) for seed in range(60)]


def test_clean_photographs_have_no_findings(photographs):
    clean = image_set([jpeg(pixels) for pixels in photographs], test=20, features=pixel_features(photographs))
    assert exact_findings(clean) == []
    part = check_duplicates(clean)
    assert part.findings == ()
    assert part.section.good is True
    assert part.section.verdict == "60 images have no duplicates, and no group crosses folds."


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found(photographs, change):
    rows, originals = [4, 15, 26], photographs[:30]  # one photograph of each size
    copies = [CHANGES[change](originals[row]) for row in rows]
    quality = 60 if change == "quality 60" else 90
    encoded = [jpeg(pixels) for pixels in originals] + [jpeg(pixels, quality) for pixels in copies]
    features = pixel_features([*originals, *copies])
    part = check_duplicates(
        image_set(encoded, folds=np.zeros(len(encoded), int), labels=np.eye(3)[[0] * len(encoded)], features=features)
    )
    expected = {(f"row{row:05d}", f"row{30 + place:05d}") for place, row in enumerate(rows)}
    assert {finding.image_ids for finding in part.findings} == expected
    assert {finding.kind for finding in part.findings} == {"near-duplicate"}


@pytest.mark.parametrize("number", range(8))
def test_turns_are_undone(photographs, number):
    square = cv2.resize(photographs[0], (SIDE, SIDE))
    turned = turn_image(square, number)
    small = np.stack([cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (32, 32)) for pixels in (square, turned)])
    (place,) = place_pairs(small, np.array([[0, 1]]))
    words = describe_change(square, turned, place)
    expected = "copy mirrored mirrored turned-180 mirrored-and-turned turned-90 turned-90 mirrored-and-turned".split()[
        number
    ]
    assert words.replace("by ", "").replace(" degrees", "").replace(" ", "-") == expected


def test_another_object_before_the_same_ground_is_another_picture(photographs):
    ground, card = photographs[2], photographs[5]
    other = ground.copy()
    other[50:95, 50:95] = card[50:95, 50:95]
    assert check_duplicates(image_set([jpeg(ground), jpeg(other)])).findings == ()


def test_tiles_decide_by_hand():
    tiles = np.full((5, 5), 0.95)
    assert is_same(tiles)
    tiles[0] = 0.0  # a caption in 5 of 25 tiles
    assert is_same(tiles)
    tiles[4, :3] = 0.0  # 8 of 25: more than a quarter
    assert not is_same(tiles)
    inner = np.full((5, 5), 0.95)
    inner[2, 2] = 0.59
    assert is_same(inner)
    inner[2, 3] = 0.59
    assert not is_same(inner)
    assert not is_same(np.full((5, 5), np.nan))


def test_drawings_on_white_are_near_duplicates_only_if_their_pixels_agree():
    drawings = [drawing(seed) for seed in range(9)]
    assert check_duplicates(image_set([jpeg(pixels) for pixels in drawings])).findings == ()
    encoded = [jpeg(pixels) for pixels in [*drawings, drawings[3]]]
    encoded[-1] = jpeg(drawings[3], 75)
    assert [f.image_ids for f in check_duplicates(image_set(encoded)).findings if f.kind == "near-duplicate"] == [
        ("row00003", "row00009")
    ]


def test_equal_files_and_equal_pixels_are_told_from_each_other(photographs):
    first, second, third = (jpeg(pixels) for pixels in photographs[:3])
    png = cv2.imencode(".png", cv2.imdecode(np.frombuffer(second, np.uint8), cv2.IMREAD_COLOR))[1].tobytes()
    part = check_exact(image_set([first, second, third, first, png, first], labels=np.eye(3)[[0] * 6]))
    assert [(finding.kind, finding.severity, finding.image_ids) for finding in part.findings] == [
        ("equal-bytes", "warning", ("row00000", "row00003", "row00005")),
        ("equal-pixels", "warning", ("row00001", "row00004")),
    ]


def test_copies_in_several_folds_are_an_error(photographs):
    encoded = [jpeg(pixels) for pixels in [*photographs[:8], photographs[2], photographs[5]]]
    folds = [0, 1, 2, 3, 4, 0, 1, 2, 3, 0]  # row 8 copies row 2, of fold 2; row 9 copies row 5, of the same fold
    part = check_exact(image_set(encoded, folds=folds, labels=np.eye(3)[[0] * 10]))
    assert kinds(part) == [("equal-bytes", "note"), ("equal-bytes", "warning"), ("fold-leak", "error")]
    (leak,) = (finding for finding in part.findings if finding.kind == "fold-leak")
    assert leak.image_ids == ("row00002", "row00008")
    assert "folds 2 and 3" in leak.message
    assert "scores are too good" in leak.message


def test_rows_that_are_never_held_out_leak_too(photographs):
    encoded = [jpeg(pixels) for pixels in [*photographs[:4], photographs[0]]]
    part = check_exact(image_set(encoded, folds=[0, 0, -1, -1, -1], labels=np.eye(3)[[0] * 5]))
    assert ("fold-leak", "error") in kinds(part)


def test_every_repeat_of_the_folds_counts(photographs):
    encoded = [jpeg(pixels) for pixels in [*photographs[:4], photographs[0]]]
    base = image_set(encoded, folds=[0, 0, 1, 1, 0], labels=np.eye(3)[[0] * 5])
    assert ("fold-leak", "error") not in kinds(check_exact(base))
    table = dataclasses.replace(base.table, frame=base.table.frame.assign(fold_1=[2, 2, 3, 3, 3]))
    assert ("fold-leak", "error") in kinds(check_exact(dataclasses.replace(base, table=table)))


def test_copies_in_the_test_rows(photographs):
    encoded = [jpeg(pixels) for pixels in [*photographs[:6], photographs[1], photographs[7], photographs[7]]]
    part = check_exact(image_set(encoded, test=3))
    assert kinds(part) == [("equal-bytes", "note"), ("equal-bytes", "note"), ("test-leak", "warning")]
    (leak,) = (finding for finding in part.findings if finding.kind == "test-leak")
    assert leak.image_ids == ("row00001", "test0")


@pytest.mark.parametrize("target", check_data.EVERY_TARGET, ids=lambda target: target.name)
def test_labels_of_one_picture_must_agree(photographs, target):
    encoded = [jpeg(pixels) for pixels in [*photographs[:5], photographs[0]]]
    for labels, contradicts in zip(LABELS[target.name], (True, False), strict=True):
        rows = np.resize(np.array(labels, float), (6, len(target.columns)))
        rows[5] = labels[1]  # row 5 is a copy of row 0
        if target.name == "numbers":
            rows[1:5] = [[0, 1], [30, 2], [5, 3], [25, 0]]  # so 10 is about one standard deviation
        part = check_exact(image_set(encoded, labels=rows, target=target))
        assert (("contradicting-labels", "error") in kinds(part)) is contradicts
    near = [*encoded[:5], jpeg(photographs[0], 50)]
    rows[5] = LABELS[target.name][0][1]
    rows[0] = LABELS[target.name][0][0]
    assert ("contradicting-labels", "warning") in kinds(check_duplicates(image_set(near, labels=rows, target=target)))


def test_a_column_without_labels_has_no_contradictions(photographs):
    encoded = [jpeg(photographs[0]), jpeg(photographs[0]), jpeg(photographs[1])]
    labels = [[1, np.nan], [1, np.nan], [2, np.nan]]
    part = check_exact(image_set(encoded, labels=labels, target=check_data.NUMBERS))
    assert kinds(part) == [("equal-bytes", "warning")]


def test_rows_of_one_group_must_share_a_fold():
    table = check_data.labelled_table(check_data.ONE_OF, 6, folds=0, group=["a", "a", "b", "b", "c", None])
    table = dataclasses.replace(table, frame=table.frame.assign(fold=[0, 1, 1, 1, 0, 1]))
    part = check_exact(check_data.data_set(table))
    assert kinds(part) == [("group-leak", "error")]
    assert part.findings[0].image_ids == ("row00000", "row00001")
    assert "1 of 3 groups, such as a in the folds 0 and 1" in part.findings[0].message


def test_copies_of_one_group_are_no_alarm(photographs):
    encoded = [jpeg(pixels) for pixels in [*photographs[:3], photographs[0]]]
    base = image_set(encoded, folds=[0, 1, 1, 0], labels=np.eye(3)[[0] * 4])
    table = dataclasses.replace(base.table, frame=base.table.frame.assign(group=["p", "q", "r", "p"]))
    assert kinds(check_exact(dataclasses.replace(base, table=table))) == [("equal-bytes", "note")]


def test_images_that_cannot_be_decoded_are_left_out(photographs):
    good = image_set([jpeg(pixels) for pixels in photographs[:4]])
    table = check_data.labelled_table(check_data.ONE_OF, 4, folds=0)  # files that do not exist
    assert check_duplicates(dataclasses.replace(good, table=table)).findings == ()
    bad = dataclasses.replace(good.facts, pixels_hash=np.full(4, "", object), hashes=np.zeros((4, 8), np.uint64))
    assert check_duplicates(dataclasses.replace(good, facts=bad)).findings == ()


def test_a_part_has_pictures_and_numbers(photographs):
    encoded = [jpeg(pixels) for pixels in [*photographs[:4], photographs[0][:, ::-1]]]
    part = check_duplicates(image_set(encoded, folds=[0, 0, 1, 1, 1], labels=np.eye(3)[[0, 1, 2, 0, 0]]))
    assert part.section.good is False
    ((caption, pictures),) = part.section.galleries
    assert caption == "Group 1: near-duplicate, mirrored, folds 0 and 1"
    assert [picture.lines for picture in pictures] == [
        ["row00000", "fold 0", "cat"],
        ["row00004", "fold 1", "cat"],
    ]
    assert part.numbers["groups"] == [
        {
            "kind": "near-duplicate",
            "image_ids": ["row00000", "row00004"],
            "changes": ["mirrored"],
            "folds": [0, 1],
            "labels": [],
            "in_test": False,
        }
    ]


def test_an_exact_check_decodes_no_image(photographs, monkeypatch):
    copies = image_set([jpeg(photographs[0])] * 2)
    monkeypatch.setattr("kcomp.check.pooled.picture_of", None)
    assert len(check_exact(copies).findings) == 2


def test_features_find_crops_where_there_are_too_many_images_to_compare_all(photographs, monkeypatch):
    images = [*photographs, cropped(photographs[7], 0, 0), cropped(photographs[30], 1, 0.5)]
    encoded = [jpeg(pixels) for pixels in images]
    monkeypatch.setattr("kcomp.check.duplicates.part.EXHAUSTIVE", 0)
    monkeypatch.setattr("kcomp.check.duplicates.near.EXHAUSTIVE", 0)
    copies = {finding.image_ids for finding in check_duplicates(image_set(encoded)).findings}
    assert copies == set()
    found_copies = check_duplicates(image_set(encoded, features=pixel_features(images)))
    near = {finding.image_ids for finding in found_copies.findings if finding.kind == "near-duplicate"}
    assert near == {("row00007", "row00060"), ("row00030", "row00061")}
    assert "features of a pretrained network" in found_copies.section.paragraphs[-1]


def test_windows_by_hand():
    random = np.random.default_rng(3)
    small = random.integers(0, 256, (2, 32, 32)).astype(np.uint8)
    small[1] = 77  # flat
    values = windows(small)
    assert values.shape == (2, 1 + 4 + 9 + 16 + 25 + 36 + 49, 144)
    assert not values[1].any()
    # the upper right window of three quarters of the side is pixels 0 to 23 and 8 to 31, means of 2 x 2 pixels
    (place,) = np.flatnonzero((PLACES.round(6) == [0.75, 0.25, 0]).all(1))
    means = small[0, :24, 8:].astype(float).reshape(12, 2, 12, 2).mean((1, 3)).ravel()
    means -= means.mean()
    np.testing.assert_allclose(values[0, place], means / np.linalg.norm(means), atol=1e-6)


def test_window_pairs_by_hand():
    random = np.random.default_rng(4)
    large = random.normal(128, 40, (3, 8, 8)).astype(np.float32)
    small = np.stack([cv2.resize(image, (32, 32), interpolation=cv2.INTER_CUBIC) for image in large])
    small = np.clip(small, 0, 255).astype(np.uint8)
    crop = cv2.resize(small[0][:24, 8:], (32, 32), interpolation=cv2.INTER_AREA)[:, ::-1]
    assert window_pairs(np.concatenate([small, crop[None]]), 0.9, 10).tolist() == [[0, 3]]


def test_distance_of_hashes_by_chance():
    # 2 images: 1 pair, 8 turns. P(distance <= 18) = 0.00031 and P(distance <= 21) = 0.0041, P(<= 22) = 0.0084, and
    # 8 * P <= 0.1 means P <= 0.0125: 22 is allowed, and 23 with P = 0.0164 is not.
    assert largest_distance(2) == 22
    assert largest_distance(10_000) < largest_distance(100) < 22


def test_hash_pairs_by_hand():
    hashes = np.random.default_rng(0).integers(0, 2**64 - 1, (600, 8), np.uint64)
    hashes[500, 5] = hashes[3, 0] ^ np.uint64(0b111)  # 3 bits: row 3 is a turned copy of row 500
    hashes[7] = hashes[300]
    pairs = hash_pairs(hashes, 100).tolist()
    assert pairs[0] == [7, 300]
    assert pairs[1] == [3, 500]
    assert hash_pairs(hashes, 1).tolist() == [[7, 300]]


def test_feature_pairs_by_hand():
    features = np.array([[1, 0], [0, 1], [np.nan, 0], [-1, -1], [0.95, 0.05]], np.float32)
    pairs = feature_pairs(features, np.arange(5), 10).tolist()
    assert pairs[0] == [0, 4]
    assert not any(2 in pair for pair in pairs)
    assert len(pairs) == 6  # all pairs of four rows, each once
    assert feature_pairs(features, np.array([1, 2, 4]), 10).tolist() == [[0, 2]]
    np.testing.assert_array_equal(features[0], [1, 0])  # the features do not change
