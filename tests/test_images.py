"""Decoding, resizing, and what the cache of decoded images keeps and when it decodes again."""

import functools
import io
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import SHARED, environment
from PIL import Image

from kcomp import data
from kcomp.data import images as images_module
from kcomp.data.decoding import decode
from kcomp.image_files.sides import Sides, jpeg_sides

DRAWS = np.random.default_rng(0)
PICTURE = cv2.GaussianBlur(DRAWS.integers(0, 255, (60, 80, 3), np.uint8), (0, 0), 4)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of decoded images, new for each test."""
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def decodings(monkeypatch):
    """What was decoded, a list that grows."""
    made = []

    def counting(image, *options):
        made.append(image)
        return decode(image, *options)

    monkeypatch.setattr(images_module, "decode", counting)
    return made


def encoded(format, pixels=PICTURE, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def turned():
    """EXIF data that ask for a turn by 90 degrees clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def test_png_comes_back_exactly_and_in_rgb():
    np.testing.assert_array_equal(decode(encoded("PNG")), PICTURE)


def test_jpeg_equals_pillows_decoder():
    theirs = np.asarray(Image.open(io.BytesIO(encoded("JPEG", quality=95))))
    assert np.abs(decode(encoded("JPEG", quality=95)).astype(int) - theirs).max() <= 3


def test_what_opencv_cannot_read_pillow_does():
    np.testing.assert_array_equal(decode(encoded("PPM")), PICTURE)
    assert decode(encoded("TGA")).shape == PICTURE.shape  # OpenCV has no TGA


def test_exif_orientation_is_applied():
    assert decode(encoded("JPEG", exif=turned())).shape == (80, 60, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_mode_becomes_rgb(mode, tmp_path):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(PICTURE).convert(mode).save(path)
    assert decode(path).shape == PICTURE.shape and decode(path).dtype == np.uint8


def test_arrays_and_functions_are_images_too():
    np.testing.assert_array_equal(decode(lambda: encoded("PNG")), PICTURE)
    np.testing.assert_array_equal(decode(PICTURE[:, :, 0]), np.repeat(PICTURE[:, :, :1], 3, axis=2))
    with pytest.raises(ValueError, match="float64 pixels need a range"):
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


def test_a_file_is_decoded_once_for_every_reader_of_the_same_settings(tmp_path, cache, decodings):
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG"))
    first = data.Images(30).load("a", path)
    again = data.Images(30).load("another id", str(path))
    assert len(decodings) == 1 and len(list(cache.iterdir())) == 1
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(again, cv2.resize(PICTURE, (30, 30), interpolation=cv2.INTER_AREA))
    for pixels in (first, again):
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0] = 1


def test_other_settings_are_other_images(tmp_path, decodings):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded("JPEG"))
    variants = [{}, {"fit": "crop"}, {"fit": "shorter"}, {"resampling": "linear"}, {"reduced": True}]
    found = [data.Images(30, **options).load("a", path) for options in variants] + [data.Images(None).load("a", path)]
    assert len(decodings) == 6 and found[-1].shape == PICTURE.shape
    for options, pixels in zip(variants, found):
        np.testing.assert_array_equal(data.Images(30, **options).load("a", path), pixels)
    assert len(decodings) == 6


def test_a_changed_file_is_decoded_again(tmp_path):
    """Neither the size (both are BMP) nor the time alone tells."""
    path, images = tmp_path / "a.bmp", data.Images(None)
    for pixels, time in ((PICTURE, 10**18), (255 - PICTURE, 10**18 + 1), (PICTURE[:50], 10**18 + 1)):
        path.write_bytes(encoded("BMP", pixels))
        os.utime(path, ns=(time, time))
        np.testing.assert_array_equal(images.load("a", path), pixels)


def test_encoded_bytes_are_known_by_their_content(decodings):
    images = data.Images(30)
    one, other = encoded("PNG"), encoded("PNG", 255 - PICTURE)
    assert (images.load("a", one) != images.load("a", other)).any()
    np.testing.assert_array_equal(images.load("b", bytes(bytearray(one))), images.load("a", one))
    assert len(decodings) == 2


def test_a_function_is_kept_only_where_it_has_an_identity(cache, decodings):
    class Named:
        def __init__(self, identity):
            self.identity = identity

        def __call__(self):
            return PICTURE if self.identity == "one" else 255 - PICTURE

    images = data.Images(30)
    for image in (lambda: PICTURE, PICTURE, Named(None)):
        images.load("a", image)
    assert not cache.exists()
    assert (images.load("a", Named("one")) != images.load("a", Named("two"))).any()
    images.load("a", Named("one"))
    assert len(decodings) == 5


def test_what_is_decoded_faster_than_read_gets_no_file(cache):
    data.Images(64).load("a", encoded("PNG", PICTURE[:32, :32]))
    assert not list(cache.glob("*"))
    data.Images(64).load("a", encoded("PNG", PICTURE[:32, :33]))
    assert len(list(cache.glob("*"))) == 1


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:-8], lambda c: c[:1000] + b"\xff" + c[1001:]])
def test_a_damaged_entry_is_decoded_again_and_repaired(damage, cache, decodings):
    good = data.Images(30).load("a", encoded("PNG"))
    (entry,) = cache.iterdir()
    content = entry.read_bytes()
    entry.write_bytes(damage(content))
    np.testing.assert_array_equal(data.Images(30).load("a", encoded("PNG")), good)
    assert entry.read_bytes() == content and len(decodings) == 2


def test_without_a_cache_nothing_is_written(cache, decodings):
    images = data.Images(30, cache_bytes=0)
    for _ in range(2):
        images.load("a", encoded("PNG"))
    assert len(decodings) == 2 and not cache.exists()


def test_a_full_disk_does_not_stop_the_reading(tmp_path, cache):
    """The limit on a file's size stands for the disk: a write fails in the middle, as it does there."""
    code = """
import resource, sys
from kcomp import data
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
images = data.Images(30)
content = sys.stdin.buffer.read()
for _ in range(2): print(int(images.load("a", content).sum()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], input=encoded("PNG"), env=environment("jax"), capture_output=True, check=True
    )
    expected = data.Images(30, cache_bytes=0).load("a", encoded("PNG")).sum()
    assert done.stdout.split() == [str(expected).encode()] * 2
    assert done.stderr.count(b"cannot be written (File too large)") == 1
    assert list(cache.iterdir()) == []


@functools.cache
def large(**options):
    """A JPEG of 1200 x 1600 with detail at every scale."""
    draws, pixels = np.random.default_rng(0), np.zeros((1200, 1600, 3), np.float32)
    for cells in (4, 16, 64, 256):
        noise = draws.uniform(-1, 1, (cells * 3 // 4, cells, 3)).astype(np.float32)
        pixels += cv2.resize(noise, (1600, 1200), interpolation=cv2.INTER_CUBIC) * 200 / cells**0.5
    return encoded("JPEG", np.clip(pixels + 128, 0, 255).astype(np.uint8), quality=90, **options)


@pytest.mark.parametrize(("size", "factor"), [(301, 1), (300, 2), (151, 2), (150, 4), (76, 4), (75, 8), (10, 8)])
def test_a_reduced_jpeg_is_at_least_twice_the_size(size, factor):
    assert decode(large(), size).shape == (1200 // factor, 1600 // factor, 3)


@pytest.mark.parametrize("size", [300, 150, 75])
@pytest.mark.parametrize("fit", data.images.FITS)
def test_reduced_pixels_are_near_the_mean_of_the_blocks(size, fit):
    full, fast = (data.Images(size, fit=fit, reduced=reduced).load("a", large()) for reduced in (False, True))
    difference = fast.astype(int) - full
    assert fast.shape == full.shape and 0 < np.abs(difference).mean() < 1 and abs(difference.mean()) < 0.2


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs photographs")
def test_reduced_photographs_are_near_the_full_ones():
    paths = sorted((SHARED / "ants-bees" / "images").glob("*.jpg"))[:16]
    full, fast = (
        np.stack([data.Images(60, reduced=reduced).load("a", path) for path in paths]) for reduced in (False, True)
    )
    assert 0 < np.abs(fast.astype(int) - full).mean() < 2


def test_a_reduced_jpeg_stands_upright():
    upright = decode(large(exif=turned()), 300)
    np.testing.assert_array_equal(upright, np.rot90(decode(large(), 300), -1))
    assert upright.shape == (800, 600, 3)


def test_only_large_jpegs_with_a_size_are_reduced(tmp_path):
    assert data.Images(None, reduced=True).load("a", large()).shape == (1200, 1600, 3)
    assert decode(encoded("PPM", decode(large())), 75).shape == (1200, 1600, 3)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"comment": b"\xff\xc0" * 20}, {"exif": b"Exif\0\0" + encoded("JPEG")}]
)
def test_the_sides_are_read_from_the_header(options):
    """Neither a comment that looks like a frame nor the picture within the EXIF data is taken for the frame."""
    assert jpeg_sides(encoded("JPEG", PICTURE[:50], **options)) == Sides(80, 50)


def test_tables_and_fill_bytes_before_the_frame_are_passed_over():
    tables = b"\xff\xc4\0\4\1\1" + b"\xff\xff\xcc\0\4\2\2"
    assert jpeg_sides(b"\xff\xd8" + tables + b"\xff\xc2\0\x11\x08\0\x32\1\0\3") == Sides(256, 50)


def test_a_header_that_is_cut_off_has_no_sides():
    whole = encoded("JPEG")
    found = {jpeg_sides(whole[:length]) for length in range(len(whole))}
    assert found == {None, Sides(80, 60)}


def test_wrong_settings():
    with pytest.raises(ValueError, match="stretch, shorter, crop; received 'pad'"):
        data.Images(10, fit="pad")
    with pytest.raises(ValueError, match="from 1, or"):
        data.Images(0)
    with pytest.raises(ValueError, match="at least 0; received -1"):
        data.Images(10, cache_bytes=-1)
