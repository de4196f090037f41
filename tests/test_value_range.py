"""Images of more than eight bits a channel: never black, and scaled alike in train and test."""

import io

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import in_backend
from PIL import Image

from kcomp import data
from kcomp.data.damage import FileCheck
from kcomp.data.value_range import measure_range, to_eight_bits
from kcomp.system.notices import Notice

RAMP = np.linspace(0, 1, 48 * 40).reshape(48, 40)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))


def write(path, pixels):
    """Write grey pixels, or RGB ones."""
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), pixels[:, :, ::-1] if pixels.ndim == 3 else pixels)


def read(folder, names, **options):
    return data.read_csv(pd.DataFrame({"image_id": names}), folder, **options)


@pytest.mark.parametrize(
    ("ending", "kind", "high", "measured"),
    [
        (".png", np.uint16, 4095, (0, 4095)),
        (".png", np.uint16, 3000, (0, 4095)),
        (".tif", np.uint16, 60000, (0, 65535)),
        (".tif", np.float32, 1, (0, 1)),
        (".tif", np.float32, 200, (0, 255)),
        (".tif", np.float32, 5000, (0, 5000)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_range_is_measured_over_the_table(tmp_path, ending, kind, high, measured, channels):
    pixels = (RAMP * high).astype(kind)
    pixels = (
        pixels if channels == 1 else np.stack([pixels, pixels // 2 if kind == np.uint16 else pixels / 2, 0 * pixels], 2)
    )
    write(tmp_path / "images" / f"a{ending}", pixels)
    write(tmp_path / "images" / f"b{ending}", pixels // 4 if kind == np.uint16 else pixels / 4)
    with pytest.warns(Notice, match="2 of 2 images have more than 8 bits: values from 0 to"):
        table = read(tmp_path / "images", ["a", "b"])
    assert table.value_range == measured
    expected = pixels.astype(float) * 255 / measured[1]
    batch = data.Batches(table, 48, batch_size=2, images=data.Images(None, cache_bytes=0))
    batch.shape = (48, 40, 3)  # Images(None) keeps the size
    loaded = batch.image(0), batch.image(1)
    for image, factor in zip(loaded, (1, 0.25)):
        assert np.abs(image - (expected * factor if channels == 3 else expected[:, :, None] * factor)).max() <= 0.75


def test_a_declared_range_wins(tmp_path):
    write(tmp_path / "images" / "a.png", (RAMP * 4095).astype(np.uint16))
    images = data.Images(None, value_range=(1000, 2000))
    pixels = images.load("a", tmp_path / "images" / "a.png")
    assert pixels.min() == 0 and pixels.max() == 255 and 400 < (pixels == 0).sum() / 3 < 500
    assert images.with_range((0, 4095)) is images
    with pytest.raises(
        ValueError, match=r"`value_range` must be a low and a higher number, or None; received \(5, 5\)"
    ):
        data.Images(None, value_range=(5, 5))


def test_without_a_range_deep_images_are_refused(tmp_path):
    write(tmp_path / "a.png", (RAMP * 4095).astype(np.uint16))
    with pytest.raises(ValueError, match=r"uint16 pixels need a range, such as .*; these are from 0 to 4095"):
        data.Images(None).load("a", tmp_path / "a.png")


def test_the_cache_knows_the_range(tmp_path):
    write(tmp_path / "a.png", (RAMP * 4095).astype(np.uint16))
    sums = [data.Images(40, value_range=(0, high)).load("a", tmp_path / "a.png").sum() for high in (4095, 8190, 4095)]
    assert sums[0] == sums[2] and abs(sums[1] / sums[0] - 0.5) < 0.01


def test_images_of_eight_bits_are_not_scaled(tmp_path):
    write(tmp_path / "images" / "a.png", (RAMP * 100).astype(np.uint8))
    assert read(tmp_path / "images", ["a"]).value_range is None
    write(tmp_path / "images" / "b.png", (RAMP * 1000).astype(np.uint16))
    with pytest.warns(Notice, match="1 of 2 images have more than 8 bits"):
        table = read(tmp_path / "images", ["a", "b"])
    images = data.Images(None).with_range(table.value_range)
    assert [images.load("x", image).max() for image in table.images] == [100, 249]


def test_pixels_in_modes_of_pillow(tmp_path):
    for name, pixels in (("F", RAMP.astype(np.float32)), ("I", (RAMP * 4000).astype(np.int32))):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "TIFF")
        loaded = data.Images(None, value_range=(0, float(pixels.max()))).load(name, file.getvalue())
        assert np.abs(loaded[:, :, 0] - RAMP * 255).max() <= 0.6


def test_ranges_of_other_values():
    def measured(*values, kind="float32"):
        return measure_range([FileCheck(), *(FileCheck(None, kind, low, high) for low, high in values)])

    assert measured() is None
    assert measured((-2, 3), (-1, 7)) == (-2, 7) and measured((5, 500)) == (5, 500) and measured((-1, -1)) == (-1, 0)
    assert measured((0, 0), kind="uint16") == (0, 1) and measured((-4, 900), kind="int16") == (-4, 900)
    assert to_eight_bits(np.array([[-5.0, 0.5, 2]]), (0, 1)).tolist() == [[0, 128, 255]]


def test_pixels_that_are_not_numbers_are_a_problem(tmp_path):
    write(tmp_path / "images" / "a.tif", np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32))
    with pytest.raises(ValueError, match=r"1 of 1 images are damaged: .*some pixels are not finite numbers"):
        read(tmp_path / "images", ["a"])


def test_test_rows_get_the_range_of_the_labelled_rows(tmp_path):
    """Their own range differs: they are darker."""
    for name, high in (("a", 4095), ("b", 100)):
        write(tmp_path / name / f"{name}.png", (RAMP * high).astype(np.uint16))
    code = """
    import sys, warnings
    from pathlib import Path
    from types import SimpleNamespace
    from kcomp import data
    from kcomp.prediction.runs import test_rows

    warnings.simplefilter("ignore")
    manifest = {"value_range": [0, 4095], "image_pattern": "", "id_column": "image_id"}
    table = test_rows(SimpleNamespace(manifest=manifest), None, Path(sys.argv[1]))
    batches = data.Batches(table, 48, batch_size=1, images=data.Images(48, cache_bytes=0))
    give(own=data.read_images(sys.argv[1]).value_range, range=table.value_range, brightest=int(batches.image(0).max()))
    """
    assert in_backend("jax", code, tmp_path / "b") == {"own": [0, 127], "range": [0, 4095], "brightest": 6}
