"""Views: their pixels, networks at other sizes, and weights that are fitted to held-out rows."""

import json

import conftest
import numpy as np
import pandas as pd
import pytest

from kcomp import data, views
from kcomp.prediction.view_pixels import check_square, look, show

IMAGE = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3)


def test_the_eight_symmetries_are_numpys_turns_and_mirror_images():
    """Each equals a different one of the turns of the image and of its mirror image."""
    turns = [np.rot90(image, turn) for image in (IMAGE, IMAGE[:, ::-1]) for turn in range(4)]
    shown = [show(view, IMAGE[None])[0] for view in views.symmetries()]
    matches = [[int((a == b).all()) for b in turns] for a in shown]
    assert np.sum(matches, 0).tolist() == np.sum(matches, 1).tolist() == [1] * 8
    np.testing.assert_array_equal(shown[4], IMAGE.transpose(1, 0, 2))
    np.testing.assert_array_equal(shown[1], IMAGE[:, ::-1])


def test_a_transposed_view_needs_square_images():
    check_square(views.symmetries(), (4, 4, 3))
    check_square([views.left_right], (4, 6, 3))
    with pytest.raises(ValueError, match=r"square images; the images have 4 x 6 pixels.*'transposed'"):
        check_square(views.symmetries(), (4, 6, 3))


def bilinear(image, height, width):
    """Resize by linear interpolation between pixel centres, in float64."""

    def weights(old, new):
        places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.minimum(places.astype(int), old - 2)
        matrix = np.zeros((new, old))
        matrix[np.arange(new), low] = 1 - (places - low)
        matrix[np.arange(new), low + 1] += places - low
        return matrix

    return np.einsum("ay,bx,yxc->abc", weights(image.shape[0], height), weights(image.shape[1], width), image)


def test_crops_are_cut_by_hand_and_enlarged_linearly():
    """Of 6 pixels, a share of 2 / 3 keeps 4: rows 0 to 3 at the top, 1 to 4 in the centre, 2 to 5 at the bottom."""
    parts = [IMAGE[1:5, 1:5], IMAGE[:4, :4], IMAGE[:4, 2:], IMAGE[2:, :4], IMAGE[2:, 2:]]
    shown = [show(view, IMAGE[None].astype(np.float32))[0] for view in views.ten_crops(2 / 3)]
    for crop, mirrored, part in zip(shown[:5], shown[5:], parts):
        np.testing.assert_allclose(crop, bilinear(part, 6, 6), atol=1e-4)
        np.testing.assert_array_equal(mirrored, crop[:, ::-1])
    whole = show(views.five_crops(2 / 3)[1], IMAGE[None])[0]
    assert whole.dtype == np.uint8
    np.testing.assert_allclose(whole, bilinear(IMAGE[:4, :4], 6, 6), atol=1)


def test_a_scale_resizes_the_image():
    assert show(views.View(scale=0.5), IMAGE[None]).shape == (1, 3, 3, 3)
    halved = IMAGE.reshape(3, 2, 3, 2, 3).mean((1, 3))
    np.testing.assert_allclose(show(views.View(scale=0.5), IMAGE[None])[0], halved, atol=1)
    large = show(views.View(scale=1.5), IMAGE[None].astype(np.float32))[0]
    np.testing.assert_allclose(large, bilinear(IMAGE, 9, 9), atol=1e-4)


def test_an_image_is_loaded_once_for_all_views():
    rows = data.Batches(data.sklearn_digits().rows(np.arange(3)), 8, batch_size=3)
    loads, load = [], rows.images.load
    rows.images.load = lambda *arguments: loads.append(1) or load(*arguments)
    assert look(views.symmetries(), rows, None, np.arange(3)).shape == (24, 8, 8, 3)
    assert len(loads) == 3


def test_names_and_wrong_views():
    names = [view.name for view in [*views.symmetries(), *views.ten_crops(0.9), *views.scales(0.5), *views.random(2)]]
    assert len(set(names)) == 8 + 10 + 1 + 2
    assert views.View(share=0.5, position=(0.0, 0.25)).name == "crop 0.5 at 0 0.25"
    for wrong, message in (
        ({"draw": -1}, "draw must be at least 0"),
        ({"share": 0.0}, "share must be above 0 and at most 1; received 0.0"),
        ({"position": (0.0, 1.5)}, "position must be two numbers from 0 to 1"),
        ({"scale": float("nan")}, "scale must be above 0"),
        ({"flips": (2,)}, r"flips must be one of .*; received \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            views.View(**wrong)
    with pytest.raises(ValueError, match="above 0 and below 1; received 1"):
        views.five_crops(1)
    assert views.check_views([views.left_right, views.left_right]) == [views.left_right]  # plain is not added
    with pytest.raises(ValueError, match=r"at least one view.*received none"):
        views.check_views([])
    with pytest.raises(TypeError, match=r"kcomp\.views"):
        views.check_views(["flip"])


SCALED = """
import keras, numpy as np
from keras import layers
from kcomp import data, models, targets, views
from kcomp.prediction.forward import compile_forward, predict_views
from kcomp.prediction.resized import resize_network
keras.utils.set_random_seed(0)

def inner(size):
    x = inputs = keras.Input((size, size, 8))
    return keras.Model(inputs, layers.Conv2D(8, 3, padding="same", activation="relu", name="in")(x), name="inner")

def build(size, flat=False):
    x = inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(8, 3, 2, padding="same", name="a")(layers.Rescaling(1 / 255)(x))
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Add()([x, inner((size + 1) // 2)(x)])
    x = layers.Flatten()(x) if flat else layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x), name="tiny")

rng = np.random.default_rng(0)
network, large = build(8), build(12)
network.set_weights([rng.normal(0, 0.3, weight.shape) ** 2 + 0.1 for weight in network.get_weights()])
large.set_weights(network.get_weights())
images = rng.integers(0, 256, (5, 12, 12, 3)).astype("uint8")
resized = resize_network(network, 12, 12)
same = bool(np.allclose(compile_forward(resized)(images), compile_forward(large)(images), atol=1e-5))
shared = all(a is b for a, b in zip(network.weights, resized.weights))
try:
    resize_network(build(8, flat=True), 12, 12); message = ""
except ValueError as error:
    message = str(error)
rows = data.Batches(data.sklearn_digits().rows(np.arange(11)), 8, batch_size=8)
chosen = [views.plain, *views.scales(1.5, 0.5), views.transposed, *views.five_crops(0.8)]
target = targets.OneOf(("a", "b"))
size = lambda height, width: compile_forward(resize_network(network, height, width))
by_view = predict_views(compile_forward(network), rows, target, views=chosen, forward_of_size=size)
alone = [predict_views(compile_forward(network), rows, target, views=[view], forward_of_size=size)[0] for view in chosen]
network.summary(print_fn=lambda text: None)
give(same=same, shared=shared, message=message, by_view=by_view.tolist(), alone=[each.tolist() for each in alone])
"""


def test_networks_at_other_sizes_on_both_backends():
    """A network for 8 pixels, resized to 12, computes what the network with the same weights for 12 pixels does."""
    results = [conftest.in_backend(mark.values[0], SCALED) for mark in conftest.backends() if not mark.marks[0].args[0]]
    for result in results:
        assert result["same"] and result["shared"]
        assert (
            "needs a network of convolutions and global pooling; 'tiny' does not accept images of 12 x 12"
            in result["message"]
        )
        assert "\n" not in result["message"] and len(result["message"]) < 500
        np.testing.assert_allclose(result["by_view"], result["alone"], atol=1e-6)
        np.testing.assert_allclose(result["by_view"], results[0]["by_view"], atol=1e-5)
        assert np.ptp(np.array(result["by_view"]), axis=0).max() > 1e-4  # the views do differ


RECIPE = """
from dataclasses import dataclass
import albumentations as A, keras, numpy as np
from keras import layers
from kcomp import data, models, views
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    epochs: int = 2

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(120)), 2, seed=0)

def batches(config, rows, training, seed):
    turn = A.Compose([A.Affine(rotate=(-40, 40), p=1.0)]) if training else None
    return data.Batches(rows, 8, batch_size=30, training=training, seed=seed, transform=turn)

def model(config, target):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.GlobalMaxPooling2D()(layers.Conv2D(16, 5, activation="relu")(layers.Rescaling(1 / 255)(x)))
    return keras.Model(inputs, layers.Dense(target.outputs, name="head")(x))

def stages(config):
    return [Stage("all", config.epochs, "all", keras.optimizers.Adam(0.02))]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="last",
                views=lambda config: VIEWS, test=lambda config: data.sklearn_digits().rows(np.arange(200, 220)))
"""


@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
def test_fitted_weights_are_stored_and_used(backend, tmp_path):
    """The views of the recipe have no plain view. `submit` predicts with the weights that --fit-views stored."""
    chosen = "[*views.random(1), views.half_turn, *views.scales(1.5)]"
    (tmp_path / "tiny.py").write_text(RECIPE.replace("VIEWS", chosen))
    conftest.kcomp("train", "tiny.py", "--fold", "all", backend=backend, cwd=tmp_path)
    first, second = sorted(tmp_path.glob("runs/tiny/*/*-fold*"))
    done = conftest.kcomp("predict", "runs", "--fit-views", backend=backend, cwd=tmp_path)
    assert "20 rows, 3 views with fitted weights" in done.stdout
    assert "nested cross-validation over 2 parts (the folds of the runs)" in done.stdout.replace("\n", " ")
    stored = json.loads((first / "views.json").read_text())
    assert stored == json.loads((second / "views.json").read_text())
    assert stored["views"] == ["random 0", "half_turn", "scale 1.5"] and stored["metric"] == "log_loss"
    weights = np.array(stored["weights"])
    assert (weights >= 0).all() and abs(weights.sum() - 1) < 1e-9
    weighted = pd.read_csv(first / "test.csv").iloc[:, 1:].to_numpy()
    alone = []
    for number in range(3):  # the mean of one view of weight 1 is this view
        ones = [float(number == place) for place in range(3)]
        (first / "views.json").write_text(json.dumps({**stored, "weights": ones}))
        conftest.kcomp("predict", first, backend=backend, cwd=tmp_path)
        alone.append(pd.read_csv(first / "test.csv").iloc[:, 1:].to_numpy())
    np.testing.assert_allclose(weighted, np.tensordot(weights, alone, 1), atol=1e-6)
    (first / "views.json").unlink()
    done = conftest.kcomp("predict", first, backend=backend, cwd=tmp_path)
    assert "20 rows, 3 views  accuracy" in done.stdout or "20 rows, 3 views  log_loss" in done.stdout
    np.testing.assert_allclose(pd.read_csv(first / "test.csv").iloc[:, 1:], np.mean(alone, 0), atol=1e-6)
    (first / "views.json").write_text(json.dumps({**stored, "views": ["plain"], "weights": [1.0]}))
    wrong = [("predict", first), ("predict", first, "--fit-views", "--views", "3")]
    for call, message in zip(wrong, ("fit again with `kcomp predict --fit-views`", "leave out --views")):
        done = conftest.kcomp(*call, backend=backend, cwd=tmp_path, check=False)
        assert done.returncode and message in done.stderr and done.stderr.count("\n") == 1
