"""Wrong-label suspects of `kcomp explain`: the rule of `kcomp check` on a single set of runs, and columns of errors.csv."""

from dataclasses import replace

import explained
import numpy as np
import pandas as pd
import pytest

from kcomp.data.tables import Table
from kcomp.explain.held_out.rows import collect_rows
from kcomp.explain.wrong_labels import find_wrong_labels
from kcomp.targets import AnyOf, Numbers, OneOf

COUNT = 300
IDS = [f"i{place:03}" for place in range(COUNT)]
PETS = OneOf(("cat", "dog", "fox"))


def rows_of(folder, target, labels, predictions, metric):
    runs = [
        explained.write_run(
            folder / str(fold), target, IDS[fold::2], labels[fold::2], predictions[fold::2], metric=metric, fold=fold
        )
        for fold in (0, 1)
    ]
    return collect_rows(runs)


def pets(folder, wrong=15):
    """Predictions that are nearly certain of the true class. The first labels are wrong: the next class."""
    clean = np.eye(3)[np.arange(COUNT) % 3]
    predictions = PETS.predict(8 * clean + np.random.default_rng(0).normal(size=clean.shape) / 2)
    labels = clean.copy()
    labels[:wrong] = np.roll(labels[:wrong], 1, axis=1)
    return rows_of(folder, PETS, labels, predictions, "accuracy")


def test_one_set_of_runs_has_suspects_and_columns(tmp_path):
    part, columns = find_wrong_labels(pets(tmp_path))
    assert {suspect["image_id"] for suspect in part.numbers["suspects"]} == set(IDS[:15])
    assert [finding.kind for finding in part.findings] == ["wrong-label"]
    assert len(columns) == COUNT and columns["label_error"][:15].min() > 0.9 > 0.1 > columns["label_error"][15:].max()
    assert columns["likely_label"][:3].tolist() == ["cat", "dog", "fox"]


def test_correct_labels_have_no_suspect(tmp_path):
    part, columns = find_wrong_labels(pets(tmp_path, wrong=0))
    assert part.section.good and not part.findings and columns["label_error"].max() < 0.5


def test_the_labels_of_the_runs_count_if_the_table_has_others(tmp_path):
    """The table was corrected after the training, and has a further class."""
    rows = pets(tmp_path)
    target = OneOf(("ant", *PETS.columns))
    clean = np.eye(4)[1 + np.arange(COUNT) % 3]
    images = [np.full((8, 8, 3), 200, np.uint8)] * COUNT
    frame = pd.DataFrame({"image_id": IDS, "image": pd.Series(images, dtype=object)})
    table = Table(frame.assign(**dict(zip(target.columns, clean.T, strict=True))), target)
    part, _ = find_wrong_labels(replace(rows, table=table))
    assert {suspect["image_id"] for suspect in part.numbers["suspects"]} == set(IDS[:15])
    [(_, pictures)] = part.section.galleries
    assert len(pictures) == 24 and pictures[0].lines[-1] in ("fold 0", "fold 1")


@pytest.mark.parametrize("count", [1, 19])
def test_few_rows_are_not_tested(tmp_path, count):
    labels = np.eye(3)[np.arange(count) % 3]
    run = explained.write_run(tmp_path / "run", PETS, IDS[:count], labels, labels, metric="accuracy")
    part, columns = find_wrong_labels(collect_rows([run]))
    assert "too few labels" in part.section.verdict and not part.findings
    assert columns["label_error"].isna().all() and set(columns["likely_label"]) == {""}


def test_several_labels_and_numbers_show_the_most_suspicious_one(tmp_path):
    random = np.random.default_rng(0)
    target = AnyOf(("rust", "scab"))
    clean = (random.random((COUNT, 2)) < 0.4).astype(float)
    labels = clean.copy()
    labels[:10, 1] = 1 - labels[:10, 1]
    rows = rows_of(tmp_path / "any", target, labels, 0.05 + 0.9 * clean, "roc_auc")
    _, columns = find_wrong_labels(rows)
    expected = ["scab" if present else "not scab" for present in clean[:10, 1]]
    assert columns["likely_label"][:10].tolist() == expected and columns["label_error"][:10].min() > 0.8
    numbers = random.normal(size=(COUNT, 2))
    labels = numbers.copy()
    labels[:10, 0] += 8
    predictions = numbers + 0.05 * random.normal(size=numbers.shape)
    rows = rows_of(
        tmp_path / "numbers", Numbers(("grams", "years"), (0.0, 0.0), (1.0, 1.0)), labels, predictions, "mae"
    )
    _, columns = find_wrong_labels(rows)
    assert columns["label_error"][:10].min() > 0.9
    assert columns["likely_label"][0] == f"grams about {predictions[0, 0]:.4g}"
