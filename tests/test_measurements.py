"""Measurements of images: numbers by hand, every kind of image, and the cache of the measurements."""

import dataclasses
import io
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from damage_here import no_process  # noqa: F401
from PIL import Image

from kcomp import data
from kcomp.measurements import Facts, measure, measure_images
from kcomp.measurements.facts import ImageFacts
from kcomp.measurements.pixels import immerkaer, laplacian_variance, measure_pixels, noise_deviation
from kcomp.measurements.store import StoredFacts

measure_module = sys.modules["kcomp.measurements.measure"]
DRAWS = np.random.default_rng(0)
BLOCKS = np.repeat(np.repeat(DRAWS.integers(0, 255, (3, 4, 3), np.uint8), 16, 0), 16, 1)  # 48 x 64 pixels


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))


def encoded(format="PNG", pixels=BLOCKS, mode=None, **options):
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, format, **options)
    return file.getvalue()


def only(image, **options):
    """The measurements of one image, as an object with one value for each attribute."""
    facts = measure_images([image], **options)
    return ImageFacts(**{field.name: getattr(facts, field.name)[0] for field in dataclasses.fields(Facts)})


def exif(orientation=1, time=None):
    tags = Image.Exif()
    tags[0x0112] = orientation
    if time:
        tags.get_ifd(0x8769)[0x9003] = time
    return tags


# ---- numbers


def test_the_laplacian_of_one_bright_pixel():
    """The responses are -40 once, 10 four times and 0 elsewhere; their mean is 0."""
    grey = np.zeros((8, 8), np.uint8)
    grey[4, 4] = 10
    assert laplacian_variance(grey) == pytest.approx((40**2 + 4 * 10**2) / 64)


def test_blur_lowers_the_sharpness_and_size_does_not():
    grey = cv2.resize(DRAWS.integers(0, 255, (64, 64), np.uint8), (256, 256), interpolation=cv2.INTER_NEAREST)
    sharp = measure_pixels(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)).sharpness
    double = measure_pixels(cv2.cvtColor(np.repeat(np.repeat(grey, 2, 0), 2, 1), cv2.COLOR_GRAY2RGB)).sharpness
    blurred = measure_pixels(cv2.cvtColor(cv2.GaussianBlur(grey, (0, 0), 3), cv2.COLOR_GRAY2RGB)).sharpness
    assert double == sharp and blurred < 0.02 * sharp


@pytest.mark.parametrize("sigma", [2, 5, 10, 20])
def test_the_noise_estimate_is_that_of_the_noise(sigma):
    ramp = np.tile(np.linspace(90, 160, 200), (200, 1))
    noisy = np.clip(np.rint(ramp + DRAWS.normal(0, sigma, ramp.shape)), 0, 255).astype(np.uint8)
    assert noise_deviation(noisy) == pytest.approx(sigma, rel=0.1)
    assert immerkaer(noisy) == pytest.approx(sigma, rel=0.1)
    assert noise_deviation(ramp.astype(np.uint8)) < 1 and noise_deviation(np.zeros((2, 9), np.uint8)) == 0


def test_the_response_to_one_bright_pixel_by_hand():
    """The absolute responses are 4, 2 and 1 times 6 at the pixel, its 4 and its 4 diagonal neighbours: 16 x 6 = 96."""
    grey = np.zeros((10, 10), np.uint8)
    grey[5, 5] = 6
    assert immerkaer(grey) == pytest.approx(np.sqrt(np.pi / 2) / 6 * 96 / 64)


def test_texture_is_not_noise():
    grains = np.repeat(np.repeat(DRAWS.integers(60, 200, (80, 80), np.uint8), 2, 0), 2, 1)
    assert immerkaer(grains) > 10 and noise_deviation(grains) == 0


def test_grey_values_and_colours():
    grey = np.repeat(np.arange(100, dtype=np.uint8).reshape(10, 10)[:, :, None], 3, 2)
    facts = measure_pixels(grey)
    assert facts.brightness == pytest.approx(49.5) and facts.contrast == pytest.approx(np.sqrt((100**2 - 1) / 12))
    assert (facts.low, facts.high) == (0, 98)
    facts = measure_pixels(np.full((5, 7, 3), (200, 100, 50), np.uint8))
    assert (facts.red, facts.green, facts.blue, facts.contrast, facts.sharpness) == (200, 100, 50, 0, 0)
    assert facts.brightness == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_hashes_are_those_of_imagehash_for_each_rotation_and_mirror_image():
    imagehash = pytest.importorskip("imagehash")
    pixels = cv2.resize(DRAWS.integers(0, 255, (6, 6), np.uint8), (32, 32), interpolation=cv2.INTER_CUBIC)
    hashes = measure_pixels(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)).hashes
    for number, view in enumerate(
        (pixels, np.rot90(pixels), np.rot90(pixels, 2), np.rot90(pixels, 3), pixels[:, ::-1])
    ):
        assert hashes[number] == int(str(imagehash.phash(Image.fromarray(np.ascontiguousarray(view)))), 16)
    turned = measure_pixels(cv2.cvtColor(np.ascontiguousarray(pixels[::-1]), cv2.COLOR_GRAY2RGB)).hashes
    assert set(turned) == set(hashes) and len(set(hashes)) == 8


def test_without_imagehash_only_the_hashes_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    monkeypatch.setattr(measure_module, "imagehash_version", lambda: "none")
    facts = only(encoded())
    assert facts.hashes.tolist() == [0] * 8 and facts.sharpness > 0


# ---- headers and formats


def test_the_header_of_a_photograph():
    content = encoded("JPEG", quality=50, exif=exif(6, "2021:07:20 12:30:00"))
    facts = only(content)
    assert (facts.width, facts.height, facts.format, facts.mode, facts.bits) == (48, 64, "JPEG", "RGB", 8)
    assert facts.orientation == 6 and facts.photo_time == pd.Timestamp("2021-07-20 12:30:00").timestamp()
    assert facts.quantization == 57.625  # the mean of table K.1 of ITU-T T.81, the luminance table at quality 50
    assert facts.size_bytes == len(content) and facts.problem == "" and facts.path == "" and np.isnan(facts.modified)


@pytest.mark.parametrize("time", ["", "not a time", "0000:00:00 00:00:00", "2021:07:20"])
def test_an_odd_time_is_no_time(time):
    assert np.isnan(only(encoded("JPEG", exif=exif(1, time))).photo_time)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_orientations_of_a_picture_have_equal_pixels(format):
    """Each file stores the pixels so that the EXIF orientation turns them upright."""
    grey = cv2.resize(BLOCKS[:, :, 0], (64, 64), interpolation=cv2.INTER_NEAREST)
    undo = [
        grey, grey[:, ::-1], grey[::-1, ::-1], grey[::-1], grey.T, np.rot90(grey), np.rot90(grey, 2).T, np.rot90(grey, 3),
    ]  # fmt: skip
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(format, {})
    contents = [
        encoded(format, np.ascontiguousarray(stored), exif=exif(orientation), **options)
        for orientation, stored in enumerate(undo, 1)
    ]
    facts = measure_images(contents)
    assert facts.orientation.tolist() == list(range(1, 9))
    if format == "JPEG":  # blocks of 8 x 8 pixels: rounding differs
        assert np.ptp(facts.brightness) < 0.1 and all(
            bin(int(a ^ facts.hashes[0, 0])).count("1") < 5 for a in facts.hashes[:, 0]
        )
    else:
        assert len(set(facts.pixels_hash)) == 1 and len(set(facts.bytes_hash)) == 8


FORMATS = [
    (encoded(), "PNG", "RGB", 8, 1),
    (encoded(mode="L"), "PNG", "L", 8, 1),
    (encoded(mode="P"), "PNG", "P", 8, 1),
    (encoded(mode="1"), "PNG", "1", 1, 1),
    (encoded(mode="RGBA"), "PNG", "RGBA", 8, 1),
    (encoded(mode="LA"), "PNG", "LA", 8, 1),
    (encoded(pixels=BLOCKS[:, :, 0].astype(np.uint16) * 16), "PNG", "I;16", 16, 1),
    (cv2.imencode(".png", BLOCKS.astype(np.uint16) * 16)[1].tobytes(), "PNG", "RGB", 16, 1),
    (cv2.imencode(".tiff", BLOCKS.astype(np.uint16) * 16)[1].tobytes(), "TIFF", "", 16, 1),
    (cv2.imencode(".tiff", BLOCKS[:, :, 0].astype(np.float32))[1].tobytes(), "TIFF", "F", 32, 1),
    (encoded("JPEG", mode="CMYK"), "JPEG", "CMYK", 8, 1),
    (encoded("JPEG", mode="L"), "JPEG", "L", 8, 1),
    (encoded("BMP"), "BMP", "RGB", 8, 1),
    (encoded("GIF"), "GIF", "P", 8, 1),
    (
        encoded("GIF", save_all=True, append_images=[Image.fromarray(255 - BLOCKS), Image.fromarray(BLOCKS // 2)]),
        "GIF",
        "P",
        8,
        3,
    ),
    (encoded("WEBP", save_all=True, append_images=[Image.fromarray(255 - BLOCKS)]), "WEBP", "RGB", 8, 2),
    (encoded("MPO", save_all=True, append_images=[Image.fromarray(255 - BLOCKS)]), "JPEG", "RGB", 8, 1),
]


def test_formats():
    """All in one call, because each call starts a process that looks for damage."""
    contents = [content for content, *_ in FORMATS]
    facts, scaled = measure_images(contents), measure_images(contents, (0, 4095))
    assert set(facts.problem) == {""} and (facts.pixels_hash != "").all()
    assert set(facts.width) == {64} and set(facts.height) == {48}
    for row, (content, format, mode, bits, frames) in enumerate(FORMATS):
        assert (facts.format[row], facts.bits[row], facts.frames[row]) == (format, bits, frames)
        assert mode in ("", facts.mode[row])
        images = data.Images(None, value_range=None if bits < 16 else (0, 4095), cache_bytes=0)
        assert scaled.red[row] == pytest.approx(images.load("x", content)[:, :, 0].mean())


def test_a_deep_image_is_scaled_by_the_range_of_its_table_or_its_own():
    content = encoded(pixels=np.full((9, 9), 1000, np.uint16))
    assert only(content, value_range=(0, 4000)).brightness == round(255 / 4)
    assert only(content).brightness == round(1000 / 1023 * 255)


# ---- kinds of images


def failing():
    raise RuntimeError("no network")


def test_every_kind_of_image_is_measured(tmp_path):
    content = encoded()
    path = tmp_path / "a.png"
    path.write_bytes(content)
    images = [
        path, str(path), content, BLOCKS, BLOCKS[:, :, 0], lambda: content, lambda: BLOCKS, failing,
        np.zeros((8, 8), np.uint8), np.zeros((4, 5, 7), np.uint8), np.zeros((4, 5, 2), np.uint8),
        np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8), tmp_path / "missing.png", b"", b"no image",
    ]  # fmt: skip
    facts = measure_images(images)
    assert facts.problem.tolist() == [""] * 7 + ["no network"] + [""] * 4 + [
        "No such file or directory", "the file is empty", "not an image in a known format",
    ]  # fmt: skip
    assert len(set(facts.pixels_hash[[0, 1, 2, 3, 5, 6]])) == 1 and len(set(facts.bytes_hash[[0, 1, 2, 5]])) == 1
    assert facts.path.tolist() == [str(path)] * 2 + [""] * 10 + [str(tmp_path / "missing.png"), "", ""]
    assert facts.bytes_hash[3] == "" and facts.size_bytes[3] == 0 and facts.mode[3] == "RGB" and facts.bits[11] == 32
    assert facts.readable.tolist() == [True] * 7 + [False] + [True] * 4 + [False] * 3
    assert facts.mode[9] == "7 channels" and (facts.width[9], facts.height[9]) == (5, 4)
    again = measure_images(images)
    for field in dataclasses.fields(Facts):
        np.testing.assert_array_equal(getattr(facts, field.name), getattr(again, field.name))


def test_no_images():
    assert len(measure_images([])) == 0


def test_damaged_images_have_a_problem_and_no_pixels(tmp_path):
    good = encoded("JPEG", cv2.GaussianBlur(DRAWS.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 2), quality=90)
    bad = good[: len(good) // 2] + bytes(300) + good[len(good) // 2 + 300 :]
    for name, content in (("good", good), ("bad", bad), ("cut", good[:-500])):
        (tmp_path / f"{name}.jpg").write_bytes(content)
    paths = [str(tmp_path / f"{name}.jpg") for name in ("good", "bad", "cut")]
    for images in (paths, [good, bad, good[:-500]]):
        for _ in range(2):
            facts = measure_images(images)
            assert (facts.problem != "").tolist() == (~facts.readable).tolist() == [False, True, True]
            assert facts.width.tolist() == [320] * 3 and np.isnan(facts.brightness[1:]).all()
            assert len(set(facts.bytes_hash)) == 3


def test_a_box_is_measured_inside(tmp_path):
    (tmp_path / "images").mkdir()
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:20, 30:50] = 255
    (tmp_path / "images" / "a.png").write_bytes(encoded(pixels=pixels))
    frame = pd.DataFrame(
        {"id": ["a", "a"], "x1": [30, 0], "y1": [10, 0], "xmax": [50, 60], "y2": [20, 40], "label": ["x", "y"]}
    )
    table = data.read_csv(frame, tmp_path / "images", id="id", item="id", label="label", box=("x1", "y1", "xmax", "y2"))
    facts = measure(table)
    assert facts.width.tolist() == [20, 60] and facts.height.tolist() == [10, 40]
    assert facts.brightness.tolist() == [255, pytest.approx(255 / 12)]
    assert len(set(facts.bytes_hash)) == 2 and facts.path.tolist() == [str(tmp_path / "images" / "a.png")] * 2


def test_hostile_file_names(tmp_path):
    names = ["new\nline.png", "'quote\".png", "-rf.png", "%s{0}.png", "잎é.png", " space .png", "a;b|c&d.png", "*.png"]
    paths = [str(tmp_path / name) for name in names] + [os.fsdecode(bytes(tmp_path) + b"/\xff\xfe.png")]
    for path in paths:
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(encoded())
    for _ in range(2):
        facts = measure_images(paths)
        assert facts.problem.tolist() == [""] * len(paths) and facts.path.tolist() == paths


# ---- headers only


def test_without_pixels_only_headers_are_read(tmp_path):
    content = encoded("JPEG", exif=exif(6))
    table = data.Table(pd.DataFrame({"image_id": ["a", "b"], "image": [content, BLOCKS]}))
    facts, whole = measure(table, pixels=False), measure(table)
    for name in ("width", "height", "format", "mode", "orientation", "bytes_hash", "quantization", "problem"):
        assert getattr(facts, name).tolist() == getattr(whole, name).tolist(), name
    assert np.isnan(facts.sharpness).all() and not facts.readable.any() and whole.readable.all()


# ---- the cache


@pytest.fixture
def calls(monkeypatch):
    measured = []
    original = measure_module.measure_image
    monkeypatch.setattr(
        measure_module,
        "measure_image",
        lambda image, *rest, **options: measured.append(image) or original(image, *rest, **options),
    )
    return measured


def write_images(folder, count=3):
    paths = [str(folder / f"{number}.png") for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((6, 6, 3), number, np.uint8)).save(path)
    return paths


def test_images_are_measured_once_until_they_change(tmp_path, calls):
    paths = write_images(tmp_path)
    first = measure_images([*paths, paths[0]])
    assert len(calls) == 3
    again = measure_images(paths[::-1])
    assert len(calls) == 3 and again.pixels_hash.tolist() == first.pixels_hash[2::-1].tolist()
    status = Path(paths[1]).stat()
    Image.fromarray(np.full((6, 6, 3), 9, np.uint8)).save(tmp_path / "new.png")
    (tmp_path / "new.png").rename(paths[1])
    os.utime(paths[1], ns=(status.st_atime_ns, status.st_mtime_ns))  # equal path, size and modification time
    assert Path(paths[1]).stat().st_size == status.st_size
    assert measure_images(paths).brightness.tolist() == [0, 9, 2] and calls[3:] == [paths[1]]
    measure_images(paths, value_range=(0, 4095))
    assert len(calls) == 7


def test_arrays_are_measured_once_too(calls):
    arrays = [np.zeros((8, 8), np.uint8), np.zeros((4, 16), np.uint8), np.zeros((8, 8), np.uint8)]
    measure_images(arrays)
    assert len(calls) == 2
    measure_images(arrays)
    assert len(calls) == 2


def test_missing_files_and_failing_functions_are_tried_again(tmp_path, calls):
    assert measure_images([str(tmp_path / "0.png"), failing]).problem.all()
    paths = write_images(tmp_path, 1)
    assert measure_images([*paths, failing]).problem.tolist() == ["", "no network"] and len(calls) == 4


def database(tmp_path):
    return tmp_path / "cache" / "facts.sqlite"


def test_a_damaged_cache_is_written_again(tmp_path, calls):
    paths = write_images(tmp_path)
    measure_images(paths)
    good = database(tmp_path).read_bytes()
    for content in (b"no database" * 1000, good[: len(good) // 2], good[:100] + b"\xff" * (len(good) - 100)):
        database(tmp_path).write_bytes(content)
        calls.clear()
        assert measure_images(paths).brightness.tolist() == [0, 1, 2] and len(calls) == 3
        measure_images(paths)
        assert measure_images(paths).brightness.tolist() == [0, 1, 2] and len(calls) <= 6
    with sqlite3.connect(database(tmp_path)) as connection:
        connection.execute("UPDATE facts SET content = x'ff00'")
    calls.clear()
    assert measure_images(paths).brightness.tolist() == [0, 1, 2] and len(calls) == 3
    measure_images(paths)
    assert len(calls) == 3


def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path, monkeypatch):
    paths = write_images(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "file"))
    assert measure_images(paths).brightness.tolist() == [0, 1, 2]
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))
    database(tmp_path).mkdir(parents=True)
    assert measure_images(paths).brightness.tolist() == [0, 1, 2]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    paths = write_images(tmp_path)
    database(tmp_path).parent.mkdir()
    database(tmp_path).symlink_to("/dev/full")
    assert measure_images(paths).brightness.tolist() == [0, 1, 2]


def test_the_cache_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("kcomp.measurements.store.ROWS", 4)
    facts = measure_module.measure_image(BLOCKS)
    store = StoredFacts(tmp_path / "facts.sqlite")
    for number in range(6):
        store.add({f"key {number}": facts})
    assert sorted(store.get([f"key {number}" for number in range(6)])) == ["key 2", "key 3", "key 4", "key 5"]


def test_several_processes_share_the_cache(tmp_path):
    paths = write_images(tmp_path, 30)
    code = "import sys; from kcomp.measurements import measure_images; print(measure_images(sys.argv[1:]).brightness.sum())"
    children = [subprocess.Popen([sys.executable, "-c", code, *paths], stdout=subprocess.PIPE) for _ in range(2)]
    assert [float(child.communicate()[0]) for child in children] == [sum(range(30))] * 2
    with sqlite3.connect(database(tmp_path)) as connection:
        assert connection.execute("SELECT count(*) FROM facts").fetchone() == (30,)


def test_progress_is_reported(monkeypatch):
    monkeypatch.setattr(measure_module, "BLOCK", 2)
    lines = []
    measure_images(
        [np.full((4, 4), value, np.uint8) for value in range(5)], progress=lambda *numbers: lines.append(numbers)
    )
    assert lines == [(2, 5), (4, 5), (5, 5)]
