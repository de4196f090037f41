"""Stress: what each change does to pixels, how changes are ranked, and rotated held-out images end to end."""

from types import SimpleNamespace

import cv2
import explained
import numpy as np
import pytest

from kcomp import data
from kcomp.explain.held_out.outcomes import compute_outcomes
from kcomp.explain.held_out.rows import collect_rows
from kcomp.explain.stress import stages
from kcomp.explain.stress.costs import p_value_of_increase
from kcomp.explain.stress.kinds import (
    KINDS,
    add_noise,
    brighten,
    change_contrast,
    compress,
    mirror,
    occlude,
    rotate,
    shift,
    zoom,
)
from kcomp.explain.stress.part import stress_sentence
from kcomp.explain.stress.predict import change_table, decode_once, sample_rows, shrink
from kcomp.explain.stress.ranking import rank_stress
from kcomp.explain.stress.repairs import OWN, chance_of_at_least
from kcomp.explain.stress.stressed import Stressed
from kcomp.targets import AnyOf, OneOf

DRAWS = np.random.default_rng(0)
RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_every_change_keeps_the_shape_and_changes_more_with_more_strength(kind, channels):
    coarse = np.random.default_rng(0).integers(0, 256, (16, 12, channels), np.uint8)
    picture = cv2.resize(coarse, (180, 240)).reshape(240, 180, channels)
    before = picture.copy()
    distances = []
    for strength in kind.strengths:
        changed = kind.change(picture, strength, np.random.default_rng(1))
        assert changed.shape == picture.shape and changed.dtype == np.uint8
        distances.append(np.abs(changed.astype(float) - picture).mean())
    assert (picture == before).all() and min(distances) > 0
    away = [abs(strength - kind.neutral) for strength in kind.strengths]
    if kind.name not in ("rotation", "mirroring", "shift"):  # moved pixels may be similar by chance
        side = [place for place, strength in enumerate(kind.strengths) if strength > kind.neutral] or range(len(away))
        order = sorted(side, key=away.__getitem__)
        assert [distances[place] for place in order] == sorted(distances[place] for place in order)
    assert set(kind.realistic) <= set(kind.strengths)


def test_changes_by_hand():
    assert (rotate(RAMP, 90, DRAWS) == np.rot90(RAMP)).all()
    assert (rotate(rotate(RAMP, -90, DRAWS), 90, DRAWS) == RAMP).all()
    assert (mirror(RAMP, 1, DRAWS) == RAMP[:, ::-1]).all() and (mirror(RAMP, 2, DRAWS) == RAMP[::-1]).all()
    assert (brighten(np.full((1, 2, 3), 100, np.uint8), 20, DRAWS) == 120).all()
    assert change_contrast(np.array([[[100], [200]]], np.uint8), -20, DRAWS).ravel().tolist() == [110, 190]
    covered = occlude(np.zeros((10, 10, 3), np.uint8), 25, DRAWS)
    assert (covered == 128).all(2).sum() == 25
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert add_noise(grey, 10, DRAWS).std() == pytest.approx(10, rel=0.03)
    assert (compress(grey, 40, DRAWS) == 128).all()
    line = np.zeros((9, 9, 1), np.uint8)
    line[4, 4] = 255
    assert zoom(line, 2, DRAWS)[4, 4, 0] == 255 and shift(line, 30, DRAWS)[4, 4, 0] < 255
    assert shrink(np.zeros((40, 20, 3), np.uint8), 10).shape == (10, 5, 3)


def test_a_changed_table_has_all_strengths_of_the_original_images():
    table = data.sklearn_digits().rows(np.arange(3))
    [brightness] = [kind for kind in KINDS if kind.name == "brightness"]
    decoded = decode_once(table, channels=3, side=64)
    changed = change_table(decoded, brightness)
    assert len(changed) == 18 and changed.ids[:4] == [
        "digit-0000 #0",
        "digit-0001 #0",
        "digit-0002 #0",
        "digit-0000 #1",
    ]
    original = data.Images(None).load("", table.images[1])
    np.testing.assert_array_equal(changed.images[4](), brighten(original, -40, DRAWS))
    [noise] = [kind for kind in KINDS if kind.name == "noise"]
    twice = [change_table(decoded, noise).images[0]() for _ in range(2)]
    assert (twice[0] == twice[1]).all()


def stressed_rows(tmp_path, *, repaired=(), harmed=()):
    """100 rows of two classes, 60 right. In `repaired`, the first strength is all right; in `harmed`, all is wrong."""
    labels = np.eye(2)[np.arange(100) % 2]
    predictions = np.where((np.arange(100) < 60)[:, None], 0.2 + 0.6 * labels, 0.8 - 0.6 * labels)
    ids = [f"i{place:03}" for place in range(100)]
    run = explained.write_run(tmp_path / "run", OneOf(("cat", "dog")), ids, labels, predictions, metric="accuracy")
    rows = collect_rows([run])
    changed = {kind.name: np.stack([predictions] * len(kind.strengths)) for kind in KINDS}
    for name in repaired:
        changed[name][0] = 0.1 + 0.8 * labels
    for name in harmed:
        changed[name][:] = 0.9 - 0.8 * labels
    return rows, stressed_of(predictions, changed)


def stressed_of(untouched, changed):
    count = len(untouched)
    return Stressed(np.arange(count), np.ones(count, bool), 0, untouched, changed, 1.0)


def test_images_that_already_have_a_change_come_first(tmp_path):
    rows, stressed = stressed_rows(tmp_path, repaired=["rotation"], harmed=["blur"])
    first, second, *others = rank_stress(rows, compute_outcomes(rows), stressed)
    assert first.kind.name == "rotation" and first.is_repair and not first.is_harmful
    assert first.repair.gain == pytest.approx(0.4) and first.repair.how == "-150 degrees"
    assert second.kind.name == "blur" and second.is_harmful and second.loss.mean == pytest.approx(0.6)
    assert not any(result.is_repair or result.is_harmful for result in others)
    assert stress_sentence(first, "accuracy") == (
        "The held-out images differ from the training images by rotation: with -150 degrees, accuracy is 1 instead of 0.6."
    )
    assert stress_sentence(second, "accuracy") == (
        "Blur breaks the model: at 1 % of the shorter side, accuracy is 0 instead of 0.6."
    )


def test_each_image_may_need_another_strength(tmp_path):
    """Each wrong image is right and more confident at one of two angles; no single angle is much better."""
    rows, stressed = stressed_rows(tmp_path)
    labels = rows.labels
    for place in range(60, 100):
        stressed.changed["rotation"][place % 13, place] = 0.05 + 0.9 * labels[place]
    first = rank_stress(rows, compute_outcomes(rows), stressed)[0]
    assert first.kind.name == "rotation" and first.is_repair
    assert first.repair.how == "the most confident of each image"
    assert first.repair.score == 1


def test_random_predictions_are_hardly_ever_ranked_as_harmful(tmp_path):
    rows, _ = stressed_rows(tmp_path)
    outcomes, alarms = compute_outcomes(rows), 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        changed = {kind.name: random.dirichlet(np.ones(2), (len(kind.strengths), 100)) for kind in KINDS}
        untouched = random.dirichlet(np.ones(2), 100)
        results = rank_stress(rows, outcomes, stressed_of(untouched, changed))
        alarms += any(result.is_repair for result in results) + any(result.is_harmful for result in results)
    assert alarms <= 5  # of 80, with a probability of 0.01 each: more than 5 in 1 of 1000 trials


def test_the_chance_of_worse_rows_by_hand():
    low, high = np.array([0.0, 0, 0, 1]), np.array([1.0, 1, 1, 1])
    assert p_value_of_increase(low, high) == pytest.approx(1 / 8)
    assert p_value_of_increase(low, low) == 1 and p_value_of_increase(np.zeros(3), np.full(3, 0.5)) == 0


def test_the_sample_has_the_same_share_of_each_class(tmp_path):
    rows, _ = stressed_rows(tmp_path)
    chosen = sample_rows(rows, np.arange(100), 20)
    assert len(chosen) == 20 and rows.labels[chosen].sum(0).tolist() == [10, 10]
    assert len(sample_rows(rows, np.arange(100), 200)) == 100


def test_a_sample_of_several_labels_has_the_asked_size():
    random, target = np.random.default_rng(0), AnyOf(tuple("abcdef"))
    for count in range(1, 16):
        rows = SimpleNamespace(target=target, labels=(random.random((16, 6)) < 0.3).astype(float))
        chosen = sample_rows(rows, np.arange(16), count)
        assert len(set(chosen.tolist())) == count and (np.diff(chosen) > 0).all()


def turned_rows(tmp_path, count=100):
    """Rows of five classes, all predicted with 0.96, the first 60 right. Rotation predicts five random classes, so any
    class with a probability of 1 - 0.8^5 = 0.67."""
    random = np.random.default_rng(0)
    true = np.arange(count) % 5
    labels = np.eye(5)[true]

    def sure(classes):
        return 0.01 + 0.95 * np.eye(5)[classes]

    untouched = sure(np.where(np.arange(count) < 60, true, (true + 1) % 5))
    ids = [f"i{place:03}" for place in range(count)]
    target = OneOf(tuple("abcde"))
    run = explained.write_run(tmp_path / "run", target, ids, labels, untouched, metric="accuracy")
    changed = {kind.name: np.stack([untouched] * len(kind.strengths)) for kind in KINDS}
    others = sure(random.integers(0, 5, (5, count)))
    changed["rotation"] = others[np.arange(13) % 5]
    return collect_rows([run]), untouched, changed, sure(true)


def test_an_overconfident_model_is_repaired_by_the_right_angle_of_each_image(tmp_path):
    """Each wrong row is right at another angle, and as confident at all angles."""
    rows, untouched, changed, right = turned_rows(tmp_path)
    for place in range(60, 100):
        changed["rotation"][place % 13, place] = right[place]
    first = rank_stress(rows, compute_outcomes(rows), stressed_of(untouched, changed))[0]
    assert first.kind.name == "rotation" and first.is_repair
    assert first.repair.how.startswith(f"{OWN} (100% of the wrong rows become right")
    assert first.repair.score == pytest.approx(1)


def test_angles_that_are_right_by_chance_are_no_repair(tmp_path):
    rows, untouched, changed, _ = turned_rows(tmp_path)
    results = rank_stress(rows, compute_outcomes(rows), stressed_of(untouched, changed))
    assert not any(result.is_repair for result in results)


def test_rows_that_any_change_repairs_are_no_repair_by_rotation(tmp_path):
    """Rows near the border of two classes."""
    rows, untouched, changed, right = turned_rows(tmp_path)
    changed["rotation"][0, 60:] = right[60:]
    for name in ("shift", "noise"):
        changed[name][:, 60:] = right[60:]
    results = rank_stress(rows, compute_outcomes(rows), stressed_of(untouched, changed))
    [rotation] = [result for result in results if result.kind.name == "rotation"]
    assert not (rotation.is_repair and rotation.repair.how.startswith(OWN))


def test_the_tail_of_a_sum_by_hand():
    assert chance_of_at_least(np.array([0.5, 0.5]), 1) == pytest.approx(0.75)
    assert (
        chance_of_at_least(np.array([0.1, 0.2]), 2) == pytest.approx(0.02) and chance_of_at_least(np.array([]), 0) == 1
    )


@pytest.mark.parametrize("is_rotated", [True, False])
def test_most_rows_are_predicted_only_where_it_matters(tmp_path, monkeypatch, is_rotated):
    """Of 100 rows, 32 are predicted at all 52 strengths and 68 at the 14 realistic ones, and at promising ones."""
    rows, stressed = stressed_rows(tmp_path, repaired=["rotation"] if is_rotated else [])
    predicted = []

    def predict(rows, place, chosen, strengths, progress):
        every = {"untouched": stressed.untouched[None]} | stressed.changed
        names = {kind.name: kind for kind in KINDS}
        predicted.append({name: len(each) for name, each in strengths.items()})
        places = {name: [0] for name in ("untouched",)}
        places |= {name: [names[name].strengths.index(x) for x in strengths[name]] for name in names}
        progress(len(chosen))
        return {name: every[name][places[name]][:, chosen] for name in every}

    monkeypatch.setattr(stages, "predict_changed", predict)
    outcomes, calls = compute_outcomes(rows), []
    result = stages.predict_stages(rows, outcomes, 0, np.arange(100), lambda *done: calls.append(done))
    assert result.first.sum() == 32 and rows.labels[result.first].sum(0).tolist() == [16, 16]
    assert sum(predicted[0].values()) == 53
    expected = {kind.name: len(kind.realistic) for kind in KINDS} | {"untouched": 1}
    if is_rotated:  # the model is most confident at the first angle, so all angles are promising
        expected["rotation"] = 13
    assert predicted[1] == expected and calls[-1][0] <= calls[-1][1]
    np.testing.assert_array_equal(result.untouched, stressed.untouched)
    assert np.isnan(result.changed["blur"][0, ~result.first]).all()
    ranked = rank_stress(rows, outcomes, result)
    assert ranked[0].is_repair == is_rotated
