"""Transforms of single images: the papers' formulas and tables, torchvision's where it is installed, fixed draws."""

import importlib.util
import random

import albumentations as A
import conftest
import cv2
import numpy as np
import pandas as pd
import pytest

from kcomp import augment, data
from kcomp.augment.augmix import Chains
from kcomp.augment.operations import SIGNED, apply_operation, as_pillow, as_pixels
from kcomp.augment.policies import OPERATIONS
from kcomp.augment.policy_tables import TABLES, magnitude_at, read_table, wide_magnitude_at


def noise(height=31, width=45, channels=3):
    pixels = np.random.default_rng(5).integers(20, 231, (height, width, channels), np.uint8)
    return cv2.GaussianBlur(pixels, (5, 5), 1.0).reshape(pixels.shape)


def operated(name, magnitude, pixels):
    return as_pixels(apply_operation(as_pillow(pixels), name, magnitude)).astype(float)


# ------------------------------------------------------------------------------------------------- operations


def grey(pixels):
    return pixels.astype(float) @ [0.2989, 0.587, 0.114]


def smoothed(pixels):
    """torchvision's sharpness: a 3 x 3 mean in which the centre counts five times; the border stays."""
    kernel, result = np.ones((3, 3)), pixels.astype(float)
    kernel[1, 1] = 5
    result[1:-1, 1:-1] = cv2.filter2D(pixels.astype(float), -1, kernel / 13)[1:-1, 1:-1]
    return np.rint(result)


def equalized(channel):
    """torchvision's formula: the cumulated histogram, in steps of all but the last level's pixels / 255."""
    histogram = np.bincount(channel.ravel(), minlength=256)
    step = (histogram.sum() - histogram[histogram > 0][-1]) // 255
    table = np.concatenate([[0], (np.cumsum(histogram) + step // 2) // step])[:256].clip(0, 255)
    return table[channel]


def stretched(channel):
    low, high = int(channel.min()), int(channel.max())
    return np.floor((channel.astype(float) - low) * 255 / (high - low))


def blend(pixels, other, factor):
    return np.floor((other * (1 - factor) + pixels.astype(float) * factor).clip(0, 255))


def each_channel(function, pixels):
    return np.stack([function(pixels[..., channel]) for channel in range(3)], 2)


@pytest.mark.parametrize(
    ("name", "magnitude", "formula", "tolerance"),
    [
        ("Posterize", 3, lambda pixels: pixels & 0b11100000, 0),
        ("Solarize", 110.5, lambda pixels: np.where(pixels >= 110.5, 255 - pixels, pixels), 0),
        ("Invert", 0, lambda pixels: 255 - pixels, 0),
        ("Equalize", 0, lambda pixels: each_channel(equalized, pixels), 0),
        ("AutoContrast", 0, lambda pixels: each_channel(stretched, pixels), 1),
        ("Brightness", -0.5, lambda pixels: blend(pixels, 0.0, 0.5), 1),
        ("Brightness", 0.9, lambda pixels: blend(pixels, 0.0, 1.9), 1),
        ("Color", -0.9, lambda pixels: blend(pixels, grey(pixels)[..., None], 0.1), 1),
        ("Color", 0.7, lambda pixels: blend(pixels, np.rint(grey(pixels))[..., None], 1.7), 1),
        ("Contrast", 0.6, lambda pixels: blend(pixels, np.rint(grey(pixels).mean()), 1.6), 1),
        ("Sharpness", 0.8, lambda pixels: blend(pixels, smoothed(pixels), 1.8), 1),
        ("Sharpness", -0.8, lambda pixels: blend(pixels, smoothed(pixels), 0.2), 1),
        ("Identity", 0, lambda pixels: pixels, 0),
        ("Rotate", 180, lambda pixels: pixels[::-1, ::-1], 0),
    ],
)
def test_operations_are_torchvisions_formulas(name, magnitude, formula, tolerance):
    pixels = noise(200, 210)
    assert np.abs(operated(name, magnitude, pixels) - formula(pixels)).max() <= tolerance


def test_geometric_operations_by_hand():
    pixels = noise(10, 12)
    right, down = operated("TranslateX", 3.9, pixels), operated("TranslateY", -2, pixels)
    np.testing.assert_array_equal(right[:, 3:], pixels[:, :-3])
    assert (right[:, :3] == 0).all() and (down[-2:] == 0).all()
    np.testing.assert_array_equal(down[:-2], pixels[2:])
    sheared = operated("ShearX", 1.0, pixels)
    for row in range(10):  # column + 0.5 comes from column + 0.5 + row + 0.5, which lies in column + row + 1
        np.testing.assert_array_equal(sheared[row, : 11 - row], pixels[row, row + 1 :])
        assert (sheared[row, 11 - row :] == 0).all()
    np.testing.assert_array_equal(
        operated("ShearY", 0.25, pixels), operated("ShearX", 0.25, pixels.swapaxes(0, 1)).swapaxes(0, 1)
    )
    filled = apply_operation(as_pillow(pixels), "TranslateX", 3, fill=200)
    assert (np.asarray(filled)[:, :3] == 200).all()


def test_grey_images_and_what_is_refused():
    for name in OPERATIONS:
        assert operated(name, 1, noise(channels=1)).shape == (31, 45, 1)
    for wrong in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(ValueError, match="uint8 images with 1 or 3 channels; received"):
            augment.RandAugment()(image=wrong)


# ------------------------------------------------------------------------------------------------------ tables


def test_tables_are_published():
    assert {name: len(read_table(name)) for name in TABLES} == {"imagenet": 25, "cifar10": 25, "svhn": 25}
    assert read_table("imagenet")[0] == (("Posterize", 0.4, 8), ("Rotate", 0.6, 9))
    assert read_table("cifar10")[13] == (("Brightness", 0.9, 6), ("Color", 0.2, 8))
    assert read_table("svhn")[24] == (("ShearX", 0.7, 2), ("Invert", 0.1, None))
    for name in TABLES:
        for operation, probability, level in sum(read_table(name), ()):
            assert operation in (*OPERATIONS, "Invert") and round(probability * 10) == pytest.approx(probability * 10)
            assert (level is None) == (operation in ("AutoContrast", "Equalize", "Invert"))
    with pytest.raises(ValueError, match="policies imagenet, cifar10, svhn; received 'mnist'"):
        augment.AutoAugment("mnist")


def test_magnitudes_are_torchvisions():
    """Ten levels for a width of 331 and a height of 662; and the 31 levels of the wide space."""
    level = {name: [magnitude_at(name, index / 9, 331, 662) for index in range(10)] for name in OPERATIONS}
    np.testing.assert_allclose(level["TranslateX"], np.linspace(0, 150, 10))
    np.testing.assert_allclose(level["TranslateY"], np.linspace(0, 300, 10))
    np.testing.assert_allclose(level["ShearX"], np.linspace(0, 0.3, 10))
    np.testing.assert_allclose(level["Rotate"], np.linspace(0, 30, 10))
    np.testing.assert_allclose(level["Contrast"], np.linspace(0, 0.9, 10))
    np.testing.assert_allclose(level["Solarize"], np.linspace(255, 0, 10))
    assert level["Posterize"] == [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]
    wide = {name: [wide_magnitude_at(name, index / 30) for index in range(31)] for name in OPERATIONS}
    np.testing.assert_allclose(wide["TranslateX"], np.linspace(0, 32, 31))
    np.testing.assert_allclose(wide["ShearY"], np.linspace(0, 0.99, 31))
    np.testing.assert_allclose(wide["Rotate"], np.linspace(0, 135, 31))
    np.testing.assert_allclose(wide["Color"], np.linspace(0, 0.99, 31))
    assert wide["Posterize"] == (8 - np.rint(np.arange(31) / 5)).tolist()


def test_torchvision_has_the_same_tables_and_operations():
    try:
        from torchvision.transforms import InterpolationMode, autoaugment
    except (ImportError, RuntimeError) as error:  # the wheel of PyPI does not fit PyTorch for CPUs
        pytest.skip(f"torchvision cannot be imported: {error}")
    for name in TABLES:
        theirs = autoaugment.AutoAugment(autoaugment.AutoAugmentPolicy(name)).policies
        assert [tuple(map(tuple, line)) for line in read_table(name)] == theirs
    for name in OPERATIONS:
        for magnitude in (2, 5) if name not in SIGNED else (0.3, -0.3, 5.7):
            theirs = autoaugment._apply_op(as_pillow(noise()), name, magnitude, InterpolationMode.NEAREST, None)
            np.testing.assert_array_equal(operated(name, magnitude, noise()), np.asarray(theirs))


# ------------------------------------------------------------------------------------------------------- draws


def drawn(transform, count, seed=0):
    transform.set_random_seed(seed)
    return [transform.draw(331, 331) for _ in range(count)]


def test_auto_augment_draws_each_line_and_applies_its_steps_with_their_probabilities():
    plans = drawn(augment.AutoAugment("cifar10"), 20_000)
    names = [name for plan in plans for name, _ in plan]
    table = sum(read_table("cifar10"), ())
    for name in {step.operation for step in table}:
        expected = sum(step.probability for step in table if step.operation == name) / 25
        assert names.count(name) / 20_000 == pytest.approx(expected, abs=0.02)
    shears = [magnitude for plan in plans for name, magnitude in plan if name == "ShearY"]
    assert {round(abs(shear) * 30) for shear in shears} == {8, 7}  # levels 8 and 7 of 9, in steps of 0.3 / 9
    assert np.mean(np.sign(shears)) == pytest.approx(0, abs=0.06)


def test_rand_augment_draws_operations_uniformly_at_one_strength():
    plans = drawn(augment.RandAugment(2, 15), 14_000)
    names = [name for plan in plans for name, _ in plan]
    assert {len(plan) for plan in plans} == {2} and set(names) == set(OPERATIONS)
    assert all(names.count(name) == pytest.approx(2000, abs=200) for name in OPERATIONS)
    strengths = {(name, magnitude) for plan in plans for name, magnitude in plan}
    assert strengths >= {("Rotate", 15.0), ("Rotate", -15.0), ("Posterize", 6), ("Solarize", 127.5), ("Color", -0.45)}
    assert len(strengths) == 2 * len(SIGNED) + 5
    for wrong in ((0, 9), (2, 31), (2, -1)):
        with pytest.raises(ValueError, match="operations from 1 and a magnitude from 0 to 30; received"):
            augment.RandAugment(*wrong)


def test_trivial_augment_draws_one_operation_at_any_strength():
    plans = drawn(augment.TrivialAugment(), 14_000)
    assert {len(plan) for plan in plans} == {1}
    rotations = [magnitude for ((name, magnitude),) in plans if name == "Rotate"]
    assert len(set(np.abs(rotations).round(6))) == 31 and np.abs(rotations).mean() == pytest.approx(67.5, abs=5)


def test_aug_mix_blends_its_chains():
    chains = Chains([[("Invert", 0)], [("Posterize", 1), ("Invert", 0)]], np.array([0.25, 0.75]), 0.5)
    pixels = np.array([[[200, 100, 0]]], np.uint8)
    # chains: (55, 155, 255) and 255 - (128, 0, 0); their mean (109, 230, 255); half of it and half of the image
    mean = 0.25 * np.array([55, 155, 255]) + 0.75 * np.array([127, 255, 255])
    result = augment.AugMix().apply(pixels, chains)
    np.testing.assert_array_equal(result[0, 0], np.rint(0.5 * mean + 0.5 * pixels[0, 0]))


def test_aug_mix_draws_the_papers_magnitudes():
    plans = drawn(augment.AugMix(3, width=4), 2000)
    assert all(len(plan.chains) == 4 and plan.weights.sum() == pytest.approx(1) for plan in plans)
    assert {len(chain) for plan in plans for chain in plan.chains} == {1, 2, 3}
    assert np.mean([plan.blend for plan in plans]) == pytest.approx(0.5, abs=0.02)
    steps = [step for plan in plans for chain in plan.chains for step in chain]
    assert not {name for name, _ in steps} & {"Color", "Contrast", "Brightness", "Sharpness"}
    for name, low, high in (("Rotate", -9, 9), ("ShearX", -0.09, 0.09), ("Posterize", 3, 4), ("Solarize", 180, 254)):
        values = [magnitude for operation, magnitude in steps if operation == name]
        assert low <= min(values) and max(values) <= high
        assert max(values) - min(values) > 0.8 * (high - low)
    with pytest.raises(ValueError, match="severity above 0 and at most 10"):
        augment.AugMix(11)


# -------------------------------------------------------------------------------------------- warps and presets


def test_local_warp_moves_pixels_by_the_interpolated_grid():
    pixels, warp = noise(40, 60), augment.LocalWarp(p=1.0)
    np.testing.assert_array_equal(warp.apply(pixels, np.zeros((4, 4, 2), np.float32)), pixels)
    moves = np.broadcast_to(np.float32([5 / 60, -3 / 40]), (4, 4, 2))  # 5 columns to the right, 3 rows up
    np.testing.assert_array_equal(warp.apply(pixels, moves)[3:, :-5], pixels[:-3, 5:])
    warp.set_random_seed(1)
    moves = np.stack([warp.get_params()["moves"] for _ in range(500)])
    assert moves.std() == pytest.approx(0.03, rel=0.03)
    with pytest.raises(ValueError, match=r"a scale from 0 to 0\.2 and a grid from 2 to 32; received 0\.5"):
        augment.LocalWarp(0.5)


def test_pca_colour_shifts_along_the_components():
    """Colours on a line of direction (2, 2, 1) / 3, with a variance that is known."""
    steps = np.linspace(-90, 90, 100)
    pixels = np.rint(120 + steps[:, None] * np.array([2, 2, 1]) / 3).astype(np.uint8)
    image = np.repeat(np.repeat(pixels.reshape(10, 10, 3), 64, 0), 64, 1)
    frame = pd.DataFrame({"image_id": ["a", "b"], "image": [image, image]})
    variances, directions = augment.colour_components(data.Table(frame))
    np.testing.assert_allclose(directions[0], np.array([2, 2, 1]) / 3, atol=0.01)
    assert variances[0] == pytest.approx(steps.var() / 255**2, rel=0.03) and max(variances[1:]) < 1e-4
    transform = augment.PCAColour(variances, directions, scale=0.5)
    shifted = transform.apply(np.full((2, 2, 3), 120, np.uint8), np.array([0.7, 0.0, 0.0]))
    np.testing.assert_array_equal(shifted[0, 0], np.rint(120 + 255 * 0.7 * variances[0] * np.array(directions[0])))
    transform.set_random_seed(0)
    assert np.std([transform.get_params()["amounts"] for _ in range(1000)]) == pytest.approx(0.5, rel=0.04)
    with pytest.raises(ValueError, match="needs uint8 images with 3 channels; received float32"):
        transform(image=np.zeros((2, 2, 3), np.float32))
    with pytest.raises(ValueError, match=r"received shapes \(2,\) and \(3, 3\)"):
        augment.PCAColour(variances[:2], directions)


def noisy(image):
    """Draw as Augraphy does: from the global generators of Python and NumPy."""
    return image + np.random.randint(0, 9, image.shape).astype(np.uint8) + np.uint8(random.randint(0, 9))


def test_augraphy_is_seeded_and_leaves_the_global_generators_alone():
    transform, image = A.Compose([augment.Augraphy(noisy)]), noise()
    results = []
    for number in range(2):
        random.seed(number)
        np.random.seed(number)
        before = random.getstate(), np.random.get_state()[1].tolist()
        transform.set_random_seed(7)
        results.append(transform(image=image)["image"])
        assert before == (random.getstate(), np.random.get_state()[1].tolist())
    np.testing.assert_array_equal(*results)
    transform.set_random_seed(8)
    assert not np.array_equal(transform(image=image)["image"], results[0])
    grey = augment.Augraphy(lambda pixels: pixels[..., 0])(image=image)["image"]
    np.testing.assert_array_equal(grey, np.repeat(image[..., :1], 3, 2))
    with pytest.raises(ValueError, match=r"changed an image of shape \(31, 45, 3\) to \(30, 45, 3\)"):
        augment.Augraphy(lambda pixels: pixels[1:])(image=image)


def test_a_pipeline_of_augraphy():
    augraphy = pytest.importorskip("augraphy")
    pipeline = augraphy.AugraphyPipeline(ink_phase=[augraphy.InkBleed(p=1)], post_phase=[augraphy.Jpeg(p=1)])
    transform, page = A.Compose([augment.Augraphy(pipeline)]), np.full((64, 80, 3), 255, np.uint8)
    page[20:30, 10:60] = 0
    results = []
    for seed in (1, 1, 2):
        transform.set_random_seed(seed)
        results.append(transform(image=page)["image"])
    np.testing.assert_array_equal(results[0], results[1])
    assert results[0].shape == page.shape and not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("preset", [augment.light, augment.medium, augment.heavy])
def test_presets_keep_size_and_type_and_compose(preset):
    transform = A.Compose([preset((24, 36), mirror=False), A.InvertImg(p=1.0)])
    for seed in range(20):
        transform.set_random_seed(seed)
        result = transform(image=noise(50, 40))["image"]
        assert result.shape == (24, 36, 3) and result.dtype == np.uint8
    names = [type(step).__name__ for step in preset(24)]
    assert "HorizontalFlip" in names and "HorizontalFlip" not in [
        type(step).__name__ for step in preset(24, mirror=False)
    ]


BATCHES = """
import hashlib
import albumentations as A
from kcomp import augment, data
from kcomp.training.frozen.keys import pipeline
rows = data.sklearn_digits().rows(np.arange(24))
steps = [
    A.OneOf([augment.AutoAugment("svhn"), augment.RandAugment(2, 9), augment.TrivialAugment(), augment.AugMix()], p=1.0),
    augment.LocalWarp(p=0.5),
]
def batches(workers, transform):
    made = data.Batches(rows, 16, batch_size=8, training=True, seed=3, transform=transform)
    made.workers = workers
    return made
def sha(made):
    return [hashlib.sha256(batch["images"].tobytes()).hexdigest() for batch in made.epochs(0, 2)]
first = batches(1, A.Compose(steps))
give(one=sha(first), four=sha(batches(4, A.Compose(steps))), heavy=sha(batches(2, augment.heavy(16, mirror=False))),
     key=pipeline(first), later=[sha(first)[3], hashlib.sha256(first.load(1, 2)["images"].tobytes()).hexdigest()])
"""


def test_both_backends_and_any_threads_get_the_same_images():
    installed = [backend for backend in ("jax", "torch") if importlib.util.find_spec(backend)]
    results = [conftest.in_backend(backend, "import numpy as np\n" + BATCHES) for backend in installed]
    for result in results:
        assert result == results[0] and result["one"] == result["four"]
        assert len(set(result["one"] + result["heavy"])) == 12
        assert "kcomp.augment.policies.AutoAugment" in result["key"]  # so recipes share the cached features
