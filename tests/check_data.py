"""Data sets for the tests of `kcomp check`: tables of all targets without images, and plausible measurements."""

import dataclasses

import numpy as np
import pandas as pd

from kcomp import data, metrics, targets
from kcomp.check.data_set import DataSet
from kcomp.measurements.facts import Facts

DAY = 86400.0
YEAR_2024 = 1704067200.0
SIZES = np.array([[640, 480], [500, 375], [375, 500], [1024, 768], [800, 600]])  # width, height
QUANTIZATIONS = np.array([7.0, 14.0, 21.0, 29.0])


def plausible_facts(rows, seed=0, **columns):
    """Facts of undamaged JPEG files; no value depends on anything else. `columns` replaces whole columns.

    Hashes of different rows differ by more bits than near-duplicates do.
    """
    random = np.random.default_rng([seed, 20])
    width, height = SIZES[random.integers(0, len(SIZES), rows)].T if rows else np.zeros((2, 0), int)
    brightness = random.normal(120, 25, rows).clip(40, 215)
    contrast = random.uniform(35, 65, rows)
    colours = {name: (brightness + random.normal(0, 8, rows)).clip(0, 255) for name in ("red", "green", "blue")}
    names = np.arange(rows).astype(str).astype(object)
    facts = Facts(
        path=np.array([f"images/{name}.jpg" for name in random.permutation(rows)], object),
        problem=np.full(rows, "", object),
        size_bytes=np.rint(width * height * random.lognormal(np.log(0.2), 0.3, rows)).astype(int),
        modified=YEAR_2024 + random.uniform(0, 100 * DAY, rows),
        width=width,
        height=height,
        format=np.full(rows, "JPEG", object),
        mode=np.full(rows, "RGB", object),
        bits=np.full(rows, 8),
        orientation=np.ones(rows, int),
        photo_time=np.where(random.random(rows) < 0.5, YEAR_2024 + random.uniform(0, 300 * DAY, rows), np.nan),
        frames=np.ones(rows, int),
        quantization=QUANTIZATIONS[random.integers(0, len(QUANTIZATIONS), rows)],
        brightness=brightness,
        contrast=contrast,
        low=(brightness - 1.6 * contrast).clip(0, 255),
        high=(brightness + 1.6 * contrast).clip(0, 255),
        sharpness=random.lognormal(np.log(400), 0.5, rows),
        noise=random.lognormal(np.log(2), 0.4, rows),
        bytes_hash="bytes" + names,
        pixels_hash="pixels" + names,
        hashes=random.integers(0, 2**64, (rows, 8), np.uint64, endpoint=False),
        **colours,
    )
    return dataclasses.replace(facts, **columns)


def label_frame(target, rows, seed=0):
    """Random valid labels of a target, one column for each of its columns."""
    random = np.random.default_rng([seed, 21])
    if isinstance(target, targets.OneOf):
        labels = np.eye(len(target.classes))[random.permutation(rows) % len(target.classes)]
    elif isinstance(target, targets.AnyOf):
        labels = (random.random((rows, len(target.classes))) < 0.3).astype(float)
    elif isinstance(target, targets.Grades):
        labels = (random.permutation(rows) % len(target.levels)).astype(float)[:, None]
    else:
        labels = random.normal(50, 10, (rows, len(target.names)))
    return pd.DataFrame(labels, columns=list(target.columns))


def labelled_table(target, rows, *, folds=5, seed=0, labels=None, **columns):
    """A table of random labels (or `labels`), in random folds (0: none). `columns` are further columns of the frame.

    Ids do not depend on labels. Its images are paths that do not exist.
    """
    ids = [f"row{number:05d}" for number in range(rows)]
    frame = pd.DataFrame({"image_id": pd.Series(ids, dtype=object)})
    frame["image"] = pd.Series([f"images/{image_id}.jpg" for image_id in ids], dtype=object)
    values = label_frame(target, rows, seed)
    if labels is not None:
        values = pd.DataFrame(np.asarray(labels, float).reshape(rows, -1), columns=list(target.columns))
    table = data.Table(pd.concat([frame.assign(**columns), values], axis=1), target)
    return data.folds(table, folds, seed=seed, allow_crossing=True) if folds else table


def data_set(table, *, facts=None, metric=None, seed=0, **parts):
    """A data set of a table, with plausible facts unless they are given."""
    return DataSet(
        table=table,
        facts=plausible_facts(len(table), seed) if facts is None else facts,
        metric=metric or metrics.get(table.target.default_metric),
        seed=seed,
        **parts,
    )


def unlabelled_table(rows):
    """Test rows: ids and images, without labels."""
    ids = pd.Series([f"test{number:05d}" for number in range(rows)], dtype=object)
    return data.Table(pd.DataFrame({"image_id": ids, "image": "images/" + ids + ".jpg"}))


def random_features(rows, dimensions=32, seed=0):
    """Features without structure, float32 (rows, dimensions)."""
    return np.random.default_rng([seed, 22]).normal(size=(rows, dimensions)).astype(np.float32)


ONE_OF = targets.OneOf(("cat", "dog", "owl"))
ANY_OF = targets.AnyOf(("rust", "scab", "spot"))
NUMBERS = targets.Numbers(("grams", "length"))
GRADES = targets.Grades(("none", "mild", "severe"))
EVERY_TARGET = (ONE_OF, ANY_OF, NUMBERS, GRADES)
