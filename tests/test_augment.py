"""Mixing: the distributions of the plans, timm's formulas on the same plan, and both backends on the same pixels."""

import importlib.util
import sys
from pathlib import Path

import conftest
import numpy as np
import pytest
from scipy import stats

from kcomp.data.plans import MixPlan
from kcomp.system.backends import choose_backend, prepare_backend

DRAW = """
import hashlib, numpy as np
from kcomp import augment
draws = np.random.default_rng(0)
images = draws.uniform(0, 255, (8, 20, 30, 3)).astype("float32")
labels = np.eye(4, dtype="float32")[draws.integers(0, 4, 8)]
batch = {"images": images, "labels": labels}
"""

# ----------------------------------------------------------------------------------------------- plans, on the host


@pytest.fixture(scope="module")
def augment():
    """In this process, on whichever backend there is."""
    prepare_backend(choose_backend(None))
    from kcomp import augment

    return augment


def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_weights_are_beta(augment, alpha):
    plan = augment.MixUp(alpha).draw(rng(), (20_000, 8, 8))
    grid = np.linspace(0.02, 0.98, 25)  # float32 rounds what is nearest to 1
    below = (plan.weight[:, None] < grid).mean(0)
    np.testing.assert_allclose(below, stats.beta(alpha, alpha).cdf(grid), atol=0.012)
    np.testing.assert_array_equal(plan.weight, plan.blend)
    assert sorted(plan.partner) == list(range(20_000))


def test_cutmix_with_alpha_1_cuts_uniform_shares(augment):
    """Boxes that the border does not clip have a share 1 - w with w uniform."""
    plan = augment.CutMix(1.0).draw(rng(), (40_000, 400, 400))
    top, bottom, left, right = plan.box.T
    inside = (top > 0) & (left > 0) & (bottom < 400) & (right < 400)
    share = ((bottom - top) * (right - left))[inside] / 160_000
    small = share[share < 0.04]  # small boxes are clipped least, and uniform shares are uniform there too
    assert stats.kstest(small, stats.uniform(0, 0.04).cdf).statistic < 0.1
    # E[side/400] of uniform shares is the mean of sqrt(u), 2/3; clipping a centred box keeps 1 - side/4 of each side
    sides = np.sqrt(rng().random(200_000))
    assert (bottom - top).mean() / 400 == pytest.approx((sides * (1 - sides / 4)).mean(), abs=0.01)


def test_cutmix_weight_is_the_area_that_stays(augment):
    plan = augment.CutMix(1.0).draw(rng(), (500, 23, 41))
    for (top, bottom, left, right), weight in zip(plan.box, plan.weight, strict=True):
        mask = np.zeros((23, 41))
        mask[top:bottom, left:right] = 1
        assert weight == pytest.approx(1 - mask.mean(), abs=1e-6)
        assert 0 <= top <= bottom <= 23 and 0 <= left <= right <= 41


def test_probability_and_switch_are_true(augment):
    count = 20_000
    mixed = augment.MixUp(1.0, probability=0.3).draw(rng(), (count, 8, 8)).weight < 1
    assert mixed.mean() == pytest.approx(0.3, abs=0.01)
    plan = augment.Switch(augment.MixUp(1.0), augment.CutMix(1.0), first=0.7).draw(rng(), (count, 64, 64))
    assert (plan.blend < 1).mean() == pytest.approx(0.7, abs=0.01)
    assert not ((plan.blend < 1) & (plan.box.any(1))).any()  # one or the other, never both


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_stop_epoch(augment, kind):
    layer = getattr(augment, kind)(1.0, stop_epoch=3)
    assert (layer.draw(rng(), (50, 8, 8), 2).weight < 1).any()
    assert (layer.draw(rng(), (50, 8, 8), 3).weight == 1).all()


def test_erasing_has_a_true_probability_share_and_aspect(augment):
    plan = augment.RandomErasing(0.4, share=(0.02, 0.3), aspect=0.5).draw(rng(), (20_000, 200, 300))
    top, bottom, left, right = plan.box.T
    erased = bottom > top
    assert erased.mean() == pytest.approx(0.4, abs=0.012)
    share = ((bottom - top) * (right - left) / 60_000)[erased]
    assert stats.kstest(share, stats.uniform(0.02, 0.28).cdf).statistic < 0.03
    ratio = np.log((bottom - top)[erased] / (right - left)[erased])
    assert abs(ratio.mean()) < 0.03 and np.abs(ratio).max() < np.log(2) + 0.1
    assert (bottom <= 200).all() and (right <= 300).all() and (left >= 0).all()


def test_alpha_0_turns_mixing_off(augment):
    for kind in (augment.MixUp, augment.CutMix):
        plan = kind(0).draw(rng(), (50, 8, 8))
        assert (plan.weight == 1).all() and (plan.blend == 1).all() and (plan.box[:, 0] == plan.box[:, 1]).all()


def test_wrong_settings(augment):
    for wrong in (lambda: augment.MixUp(-0.1), lambda: augment.CutMix(-1), lambda: augment.MixUp(1, probability=1.1)):
        with pytest.raises(ValueError, match="received"):
            wrong()


def test_mosaic_weights_are_the_areas(augment):
    plan = augment.Mosaic(0.4).draw(rng(), (5000, 40, 80))
    mixed = plan.weights[:, 0] < 1
    assert mixed.mean() == pytest.approx(0.4, abs=0.02)
    rows, columns = plan.corner[mixed].T
    assert rows.min() == 10 and rows.max() == 30 and columns.min() == 20 and columns.max() == 60
    expected = np.stack([rows * columns, rows * (80 - columns), (40 - rows) * columns, (40 - rows) * (80 - columns)], 1)
    np.testing.assert_allclose(plan.weights[mixed], expected / 3200, rtol=1e-6)
    assert all(sorted(plan.partners[:, part]) == list(range(5000)) for part in range(3))
    assert (augment.Mosaic(1.0, stop_epoch=2).draw(rng(), (9, 4, 4), epoch=2).weights == [1, 0, 0, 0]).all()


# -------------------------------------------------------------------------------------- what is done, on each backend


@pytest.mark.parametrize("backend", conftest.backends())
def test_mosaic_by_hand(backend):
    """Four grey images; the first is divided after row 1 and column 2 of a 2 x 4 image, the second does not change."""
    result = conftest.in_backend(
        backend,
        """
        import numpy as np, keras
        from kcomp import augment
        from kcomp.data.plans import MosaicPlan
        images = np.stack([np.full((2, 4, 1), value, "float32") for value in (10, 20, 30, 40)])
        labels = np.eye(4, dtype="float32")
        labels[3] = np.nan
        plan = MosaicPlan(np.array([[1, 2, 0], [3, 3, 3], [0, 0, 0], [0, 0, 0]], "int32"),
                          np.array([[1, 2], [2, 4], [2, 4], [2, 4]], "int32"),
                          np.array([[0.25] * 4, [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], "float32"))
        mixed = augment.Mosaic(1.0)({"images": images, "labels": labels}, plan=plan)
        give(images=keras.ops.convert_to_numpy(mixed["images"])[:2, ..., 0].tolist(),
             labels=keras.ops.convert_to_numpy(mixed["labels"])[:2].tolist())
        """,
    )
    assert result["images"] == [[[10, 10, 20, 20], [30, 30, 10, 10]], [[20] * 4] * 2]
    assert result["labels"] == [[0.5, 0.25, 0.25, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize("backend", conftest.backends())
def test_mixing_by_hand(backend):
    found = conftest.in_backend(
        backend,
        """
        import numpy as np, keras
        from kcomp import augment
        from kcomp.data import plans
        images = np.stack([np.full((2, 3, 1), value, "float32") for value in (100, 200)])
        batch = {"images": images, "labels": np.eye(2, dtype="float32")}
        plan = plans.MixPlan(np.array([1, 0], "int32"), np.array([0.25, 1], "float32"),
                               np.array([[0, 0, 0, 0], [1, 2, 0, 2]], "int32"), np.array([0.25, 2 / 3], "float32"))
        mixed = augment.MixUp(1.0)(batch, plan=plan)
        give(images=keras.ops.convert_to_numpy(mixed["images"])[..., 0].tolist(),
             labels=keras.ops.convert_to_numpy(mixed["labels"]).tolist())
        """,
    )
    assert found["images"] == [[[175] * 3] * 2, [[200] * 3, [100, 100, 200]]]
    np.testing.assert_allclose(found["labels"], [[0.25, 0.75], [1 / 3, 2 / 3]], rtol=1e-6)


@pytest.mark.parametrize("backend", conftest.backends())
def test_a_missing_label_stays_missing_only_in_the_samples_that_it_is_mixed_into(backend):
    """Rows: unmixed, mixed with the missing label, the row with it mixed away, and half of two known labels."""
    found = conftest.in_backend(
        backend,
        """
        import numpy as np, keras
        from kcomp import augment
        from kcomp.data import plans
        batch = {"images": np.zeros((4, 2, 2, 1), "float32"), "labels": np.array([[8], [2], [np.nan], [4]], "float32")}
        weight = np.array([1, 0.5, 0, 0.5], "float32")
        plan = plans.MixPlan(np.array([2, 2, 3, 1], "int32"), weight, np.zeros((4, 4), "int32"), weight)
        mixed = keras.ops.convert_to_numpy(augment.MixUp(1.0)(batch, plan=plan)["labels"])
        give(labels=np.where(np.isnan(mixed), -1, mixed).tolist())
        """,
    )
    assert found["labels"] == [[8], [-1], [4], [3]]


@pytest.mark.parametrize("backend", conftest.backends())
def test_class_numbers_are_refused_and_the_caller_keeps_its_images(backend):
    found = conftest.in_backend(
        backend,
        DRAW
        + """
before = images.copy()
for layer in (augment.MixUp(1.0), augment.CutMix(1.0), augment.RandomErasing(1.0)):
    layer(batch, seed=1)
messages = []
for wrong in (np.arange(8), np.arange(8)[:, None], np.eye(4, dtype="int32")[[0] * 8]):
    try: augment.MixUp(1.0)({"images": images, "labels": wrong}, seed=1)
    except ValueError as error: messages.append(str(error))
try: augment.CutMix(1.0)(batch)
except ValueError as error: messages.append(str(error))
give(same=bool((before == images).all()), messages=messages)
""",
    )
    assert found["same"] and len(found["messages"]) == 4
    assert all("one-hot or soft" in message for message in found["messages"][:3])
    assert "seed=1" in found["messages"][3]


def test_both_backends_mix_to_the_same_pixels():
    code = (
        DRAW
        + """
import keras
found = {}
for name, layer in {"mixup": augment.MixUp(0.2), "cutmix": augment.CutMix(1.0), "erase": augment.RandomErasing(1.0),
                    "switch": augment.Switch(augment.MixUp(0.2), augment.CutMix(1.0))}.items():
    mixed = layer(batch, seed=3)
    arrays = [keras.ops.convert_to_numpy(mixed[key]).astype("float64") for key in ("images", "labels")]
    assert (arrays[0] != images).any(), name
    found[name] = [array.ravel()[::7].tolist() for array in arrays]
give(**found)
"""
    )
    jax, torch = (conftest.in_backend(backend, code) for backend in ("jax", "torch"))
    for name in jax:
        for one, other in zip(jax[name], torch[name], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-4)


def as_numpy(values):
    import keras

    return keras.ops.convert_to_numpy(values)


def timms_mixup():
    """timm's module without timm: the package imports torchvision, which does not load beside a CPU torch."""
    found = importlib.util.find_spec("timm")
    if found is None:
        pytest.skip("timm is not installed; it is the peer here")
    pytest.importorskip("torch")
    path = Path(found.submodule_search_locations[0]) / "data" / "mixup.py"
    spec = importlib.util.spec_from_file_location("timm_mixup", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["timm_mixup"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_same_plan_gives_what_timm_gives(augment, kind, monkeypatch):
    """timm mixes each sample with the one at the mirrored place; its draws are recorded and put into a plan."""
    import torch

    timm = timms_mixup()
    boxes = []
    original = timm.cutmix_bbox_and_lam

    def recorded(*arguments, **options):
        box, weight = original(*arguments, **options)
        boxes.append((*box, weight))
        return box, weight

    monkeypatch.setattr(timm, "cutmix_bbox_and_lam", recorded)
    draws = np.random.default_rng(1)
    images = draws.uniform(0, 255, (6, 16, 24, 3)).astype(np.float32)
    truth = draws.integers(0, 4, 6)
    alphas = {"mixup_alpha": 1.0, "cutmix_alpha": 0.0} if kind == "mixup" else {"mixup_alpha": 0.0, "cutmix_alpha": 1.0}
    peer = timm.Mixup(**alphas, prob=1.0, mode="elem", label_smoothing=0.0, num_classes=4)
    np.random.seed(3)
    weights, _ = peer._params_per_elem(6)
    np.random.seed(3)
    theirs, labels = peer(torch.tensor(images.transpose(0, 3, 1, 2)), torch.tensor(truth))
    box = np.array([b[:4] for b in boxes], np.int32) if boxes else np.zeros((6, 4), np.int32)
    weight = np.array([b[4] for b in boxes], np.float32) if boxes else weights.astype(np.float32)
    blend = np.ones(6, np.float32) if boxes else weight
    plan = MixPlan(np.arange(6)[::-1].astype(np.int32), blend, box, weight)
    mixed = augment.MixUp(1.0)({"images": images, "labels": np.eye(4, dtype=np.float32)[truth]}, plan=plan)
    np.testing.assert_allclose(theirs.numpy().transpose(0, 2, 3, 1), as_numpy(mixed["images"]), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(labels.numpy(), as_numpy(mixed["labels"]), rtol=1e-5, atol=1e-6)
