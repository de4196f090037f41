"""Decoding, resizing and the bounded cache."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from kcomp import data
from kcomp.data.images import decode

DRAWS = np.random.default_rng(0)
PICTURE = cv2.GaussianBlur(DRAWS.integers(0, 255, (60, 80, 3), np.uint8), (0, 0), 4)


def encoded(format, pixels=PICTURE, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def test_png_comes_back_exactly_and_in_rgb():
    np.testing.assert_array_equal(decode(encoded("PNG")), PICTURE)


def test_jpeg_equals_pillows_decoder():
    theirs = np.asarray(Image.open(io.BytesIO(encoded("JPEG", quality=95))))
    assert np.abs(decode(encoded("JPEG", quality=95)).astype(int) - theirs).max() <= 3


def test_what_opencv_cannot_read_pillow_does():
    np.testing.assert_array_equal(decode(encoded("PPM")), PICTURE)
    assert decode(encoded("TGA")).shape == PICTURE.shape  # OpenCV has no TGA


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    assert decode(encoded("JPEG", exif=exif)).shape == (80, 60, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_mode_becomes_rgb(mode, tmp_path):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(PICTURE).convert(mode).save(path)
    assert decode(path).shape == PICTURE.shape and decode(path).dtype == np.uint8


def test_arrays_and_functions_are_images_too():
    np.testing.assert_array_equal(decode(lambda: encoded("PNG")), PICTURE)
    np.testing.assert_array_equal(decode(PICTURE[:, :, 0]), np.repeat(PICTURE[:, :, :1], 3, axis=2))
    with pytest.raises(ValueError, match="uint8"):
        decode(PICTURE.astype(float))


@pytest.mark.parametrize("content", [b"", b"not an image", encoded("JPEG")[:600], encoded("PNG")[:-200]])
def test_a_broken_file_is_named_with_its_row(content, tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"row 'x17' cannot be read \(.*broken\.jpg\)"):
        data.Images(32).load("x17", str(path))


@pytest.mark.parametrize(("fit", "shape"), [("stretch", (30, 30, 3)), ("shorter", (30, 40, 3)), ("crop", (30, 30, 3))])
def test_fits(fit, shape):
    assert data.Images(30, fit=fit).load("a", PICTURE).shape == shape


def test_area_resampling_is_the_mean_of_the_blocks():
    blocks = PICTURE.reshape(30, 2, 40, 2, 3).mean((1, 3))
    assert np.abs(data.Images(30, fit="shorter").load("a", PICTURE) - blocks).max() <= 0.51


def test_crop_is_the_centre():
    np.testing.assert_array_equal(data.Images(60, fit="crop").load("a", PICTURE), PICTURE[:, 10:70])


def test_the_cache_is_bounded_and_keeps_what_it_has():
    images = data.Images(10, cache_bytes=700)  # 300 bytes an image
    for name in "abcab":
        images.load(name, PICTURE)
    assert images.cached_bytes == 600
    first = images.load("a", lambda: pytest.fail("cached images are not decoded again"))
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1
    images.load("c", PICTURE)
    assert images.cached_bytes == 600


def test_wrong_settings():
    with pytest.raises(ValueError, match="stretch, shorter, crop; received 'pad'"):
        data.Images(10, fit="pad")
    with pytest.raises(ValueError, match="at least 1"):
        data.Images(0)
