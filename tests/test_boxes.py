"""Images cut at boxes, and predictions averaged over items."""

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import SHARED

from kcomp import data
from kcomp.data.boxes import Crop

PIXELS = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), PIXELS[:, :, ::-1])
    return tmp_path


def read(folder, names, values, box=None, **options):
    frame = pd.DataFrame([["a", *values]], columns=["image_id", *names.split()])
    return data.read_csv(frame, folder / "images", box=box or names.split(), **options)


@pytest.mark.parametrize(
    ("names", "values", "options"),
    [
        ("xmin ymin xmax ymax", (15, 10, 45, 30), {}),
        ("x y width height", (15, 10, 30, 20), {}),
        ("xmin ymin xmax ymax", (0.25, 0.25, 0.75, 0.75), {}),
        ("x y w h", (0.25, 0.25, 0.5, 0.5), {}),
        ("p q r s", (15, 10, 30, 20), {"form": "size"}),
        ("p q r s", (15, 10, 45, 30), {"form": "corners", "unit": "pixels"}),
        ("x y w h", (20, 15, 20, 10), {"margin": 0.25}),
    ],
)
def test_boxes_cut_the_same_part(folder, names, values, options):
    box = data.Box(names.split(), **options) if options else None
    rows = slice(12, 28) if options.get("margin") else slice(10, 30)  # 2.5 more rows on each side touch 3
    table = read(folder, names, values, box)
    np.testing.assert_array_equal(data.Images(None).load("a", table.images[0]), PIXELS[rows, 15:45])


def test_a_box_ends_at_the_edge_of_the_image(folder):
    table = read(folder, "xmin ymin xmax ymax", (-5, 30, 100, 100))
    np.testing.assert_array_equal(data.Images(None).load("a", table.images[0]), PIXELS[30:])
    outside = read(folder, "xmin ymin xmax ymax", (70, 0, 90, 10))
    with pytest.raises(ValueError, match=r"row 'a' cannot be read: the box .* lies outside of the image of 40 x 60"):
        data.Images(None).load("a", outside.images[0])


@pytest.mark.parametrize("values", [(10, 10, 10, 20), (10, 10, 5, 20), (10, "", 20, 20), ("x", 10, 20, 20)])
def test_a_box_without_a_size_is_refused(folder, values):
    with pytest.raises(ValueError, match=r"each box must be four numbers .*; 1 rows are not, first 'a' with"):
        read(folder, "xmin ymin xmax ymax", values)


def test_unclear_boxes_are_refused():
    with pytest.raises(ValueError, match=r"form='corners'\) for right and lower edge, form='size'"):
        data.Box(["p", "q", "r", "s"])
    with pytest.raises(ValueError, match=r"needs four columns"):
        data.Box("bbox")


def test_the_cache_knows_the_box(folder):
    path = str(folder / "images" / "a.png")
    images = data.Images(30)
    crops = [Crop(path, (0, 0, 40, 40), False), Crop(path, (20, 0, 60, 40), False), path]
    first = [images.load("a", image) for image in crops]
    again = [images.load("a", image) for image in crops]
    assert len(list((folder / "cache" / "decoded").iterdir())) == 3
    for before, after, part in zip(first, again, (PIXELS[:, :40], PIXELS[:, 20:], PIXELS)):
        np.testing.assert_array_equal(before, cv2.resize(part, (30, 30), interpolation=cv2.INTER_AREA))
        np.testing.assert_array_equal(after, before)
    assert len({images.load("a", Crop(path, edges, False)).sum() for edges in ((0, 0, 9, 9), (9, 9, 18, 18))}) == 2


def test_crops_of_arrays_are_not_cached():
    crop = Crop(PIXELS, (0, 0, 10, 10), False)
    assert crop.identity is None
    np.testing.assert_array_equal(data.Images(None).load("a", crop), PIXELS[:10, :10])


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the cards of ../shared/data")
def test_cards_are_cut_from_their_photographs():
    names = ["xmin", "ymin", "xmax", "ymax"]
    table = data.read_csv(
        SHARED / "cards" / "boxes.csv", "images", label="rank", box=names, item="image_id", on_bad="ignore"
    )
    assert len(table) == 490 and table.columns == ("ace", "jack", "king", "nine", "queen", "ten")
    assert table.ids[1:3] == ["02a38fdbc6#0", "02a38fdbc6#1"] and table.frame["item"][1] == "02a38fdbc6"
    assert data.Images(None).load("x", table.images[0]).shape == (157 - 37, 242 - 141, 3)


def test_items_average_their_images():
    predictions = np.array([[0.2, 0.8], [0.5, 0.5], [0.6, 0.4]])
    items, means = data.average_items(["a1", "b1", "a2"], ["z", "b", "z"], predictions)
    assert items == ["z", "b"]
    np.testing.assert_allclose(means, [[0.4, 0.6], [0.5, 0.5]])
    np.testing.assert_array_equal(
        data.average_items(["1", "2", "3"], ["z", "b", "z"], predictions, "max")[1], [[0.6, 0.8], [0.5, 0.5]]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a", "a"], ["z", "z"], np.zeros((2, 1))), "image ids must be unique; 1 are repeated"),
        ((["a", "b"], ["z", None], np.zeros((2, 1))), "each image needs an item; 1 have none"),
        ((["a", "b"], ["z", "z"], np.zeros((3, 1))), r"received 2 ids, 2 items and predictions of shape \(3, 1\)"),
        ((["a"], ["z"], np.zeros((1, 1)), "sum"), "`how` must be 'mean' or 'max'; received 'sum'"),
    ],
)
def test_items_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.average_items(*arguments)
