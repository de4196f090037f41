"""Damaged images are named before training; good ones never are."""

import io
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kcomp import data
from kcomp.data import damage
from kcomp.data.bad_images import keeping_damaged
from kcomp.data.damage import check_files
from kcomp.system.notices import Notice

DRAWS = np.random.default_rng(0)
SCENE = cv2.GaussianBlur(DRAWS.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 3)
FLAT = np.zeros((240, 320, 3), np.uint8)
CIRCLE = cv2.circle(np.full((240, 320, 3), 255, np.uint8), (160, 120), 60, (200, 30, 30), -1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))


def encoded(format="JPEG", pixels=SCENE, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def problems(tmp_path, contents):
    paths = [str(tmp_path / f"{number}.jpg") for number in range(len(contents))]
    for path, content in zip(paths, contents):
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(content)
    return [check.problem for check in check_files(paths)]


def replaced(content, start, length, byte=b"\0"):
    return content[:start] + byte * length + content[start + length :]


def test_good_images_have_no_problem(tmp_path):
    """Also flat ones, whose Huffman tables may code a whole block as zero bits."""
    jpegs = [
        encoded(pixels=pixels if mode == "RGB" else pixels[:, :, 0], **options)
        for pixels in (SCENE, FLAT, 255 - FLAT, CIRCLE)
        for mode in ("RGB", "L")
        for options in (
            {"quality": 10},
            {"quality": 95, "subsampling": 0},
            {"optimize": True},
            {"progressive": True},
            {"optimize": True, "quality": 1},
            {"restart_marker_blocks": 4},
        )
    ]
    others = [encoded(format) for format in ("PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")]
    trailing = [encoded() + b"made by a camera" * 9, encoded() + bytes(500), encoded()[:-2] + bytes(100) + b"\xff\xd9"]
    actual = problems(tmp_path, jpegs + others + trailing)
    assert actual == [None] * len(actual)


def test_zero_bytes_inside_a_jpeg_are_a_problem_wherever_they_are(tmp_path):
    contents = []
    for options in (
        {"quality": 90},
        {"quality": 60, "optimize": True},
        {"quality": 90, "subsampling": 0},
        {"quality": 95, "restart_marker_blocks": 8},
    ):
        good = encoded(**options)
        scan = good.index(b"\xff\xda") + 14
        contents += [replaced(good, start, 300) for start in range(scan, len(good) - 302, (len(good) - scan) // 6)]
    assert len(contents) > 20 and None not in problems(tmp_path, contents)


def test_other_damage_is_a_problem(tmp_path):
    jpeg, png, bmp = encoded(), encoded("PNG"), encoded("BMP")
    deep = (SCENE[:, :, 0].astype(np.uint16) << 4) + 1
    deep_png, deep_tiff = encoded("PNG", deep), encoded("TIFF", deep, compression="tiff_lzw")
    contents = [
        b"",
        b"not an image",
        jpeg[: len(jpeg) // 2],
        jpeg[:-2],
        jpeg[:100],
        replaced(jpeg, len(jpeg) // 2, 50, b"\xff"),
        png[:-20],
        png[: len(png) // 2],
        replaced(png, len(png) // 2, 1),
        replaced(png, len(png) // 2, 50),
        bmp[: len(bmp) // 2],
        encoded("WEBP")[:-100],
        deep_png[: len(deep_png) // 2],
        replaced(deep_png, len(deep_png) // 2, 1),
        deep_tiff[: len(deep_tiff) // 2],
    ]
    assert None not in problems(tmp_path, contents)


def test_files_are_checked_once_until_they_change(tmp_path, monkeypatch):
    calls = []
    original = damage.run_checks
    monkeypatch.setattr(damage, "run_checks", lambda paths: calls.append(list(paths)) or original(paths))
    assert problems(tmp_path, [encoded(), b"broken"])[0] is None
    assert check_files([str(tmp_path / "1.jpg"), str(tmp_path / "0.jpg")])[0].problem is not None and len(calls) == 1
    (tmp_path / "1.jpg").write_bytes(encoded())
    assert [check.problem for check in check_files([str(tmp_path / "0.jpg"), str(tmp_path / "1.jpg")])] == [None, None]
    assert calls[1:] == [[str(tmp_path / "1.jpg")]]


def test_files_that_could_not_be_read_are_checked_again(tmp_path, monkeypatch):
    """An error of the disk or the network leaves the size and the time of a file unchanged."""
    original = damage.run_checks
    failure = damage.FileCheck("Input/output error", was_read=False)
    monkeypatch.setattr(damage, "run_checks", lambda paths: [failure] * len(paths))
    assert problems(tmp_path, [encoded()]) == ["Input/output error"]
    monkeypatch.setattr(damage, "run_checks", original)
    path = str(tmp_path / "0.jpg")
    assert [check.problem for check in check_files([path, str(tmp_path / "no"), "\0", path])] == [
        None, "No such file or directory", "embedded null byte", None,
    ]  # fmt: skip
    (tmp_path / "folder.jpg").mkdir()
    assert check_files([str(tmp_path / "folder.jpg")]) == [damage.FileCheck("Is a directory", was_read=False)]


def test_a_cache_that_cannot_be_written_or_read_changes_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "file"))
    assert problems(tmp_path, [encoded()]) == [None]
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path))
    (tmp_path / "checks.txt").write_bytes(b"\x00\xff\nabc {\n")
    assert problems(tmp_path, [encoded()]) == [None]


def test_a_decoder_that_ends_its_process_is_a_problem_of_the_file(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys\n"
        "for path in sys.stdin.buffer.read().split(b'\\0'):\n"
        "    if path.endswith(b'1.jpg'): os.abort()\n"
        "    print('{\"problem\": null}', flush=True)\n"
    )
    monkeypatch.setattr(damage, "PROGRAM", program)
    assert problems(tmp_path, [encoded()] * 3) == [None, "decoding it ends the process", None]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "abcd":
        (tmp_path / "images" / f"{name}.jpg").write_bytes(encoded())
    good = encoded()
    (tmp_path / "images" / "c.jpg").write_bytes(replaced(good, len(good) // 2, 300))
    return tmp_path


FRAME = pd.DataFrame({"image_id": list("abcd"), "label": list("xyxy")})


def test_damaged_images_are_refused_dropped_or_named(folder):
    def read(**options):
        return data.read_csv(FRAME, folder / "images", label="label", **options)

    with pytest.raises(
        ValueError, match=r'1 of 4 images are damaged: .*c\.jpg \(.*\); replace the files, or .*on_bad="drop"'
    ):
        read()
    with pytest.warns(Notice, match=r"1 of 4 images are damaged: .*c\.jpg .*; 1 of 4 rows are left out"):
        table = read(on_bad="drop")
    assert table.ids == ["a", "b", "d"] and table.labels.tolist() == [[1, 0], [0, 1], [0, 1]]
    with pytest.warns(Notice, match="1 of 4 images are damaged"):
        assert read(on_bad="warn").ids == list("abcd")
    assert read(on_bad="ignore").ids == list("abcd")
    with pytest.raises(ValueError, match="`on_bad` must be one of error, drop, warn, ignore; received 'skip'"):
        read(on_bad="skip")


@pytest.mark.parametrize("images", ["images", "images/{image_id}.jpg", None])
def test_rows_of_missing_images_are_dropped_too(folder, images):
    frame = pd.DataFrame({"image_id": [*list("abcde"), "f\0"], "label": list("xyxyxy")})
    frame.to_csv(folder / "train.csv", index=False)
    (folder / "train").mkdir()
    (folder / "train" / "a.jpg").write_bytes(encoded())  # a folder with fewer of the images
    for on_bad in ("error", "warn", "ignore") if images else ():
        with pytest.raises(FileNotFoundError, match="of 6 images are missing"):
            data.read_csv(folder / "train.csv", images, label="label", on_bad=on_bad)
    with pytest.warns(Notice, match=r"3 of 6 images are damaged or missing: .*c\.jpg, .*e.* 3 of 6 rows are left out"):
        table = data.read_csv(folder / "train.csv", images, label="label", on_bad="drop")
    assert table.ids == ["a", "b", "d"] and table.labels.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert all("/images/" in path for path in table.images)


def test_a_table_without_any_image_is_refused_whatever_on_bad(folder):
    frame = pd.DataFrame({"image_id": ["y", "z"], "label": ["x", "y"]})
    for images in (folder / "images", f"{folder}/images/{{image_id}}.jpg"):
        with pytest.raises(FileNotFoundError, match="2 of 2 images are missing"):
            data.read_csv(frame, images, label="label", on_bad="drop")
        with pytest.raises(FileNotFoundError, match="2 of 2 images are missing"), keeping_damaged():
            data.read_csv(frame, images, label="label")


@pytest.mark.parametrize("on_bad", ["error", "drop", "warn", "ignore"])
def test_all_rows_stay_while_damaged_images_are_kept(folder, on_bad):
    frame = pd.DataFrame({"image_id": list("abcde"), "label": list("xyxyx")})
    images = folder / "images"
    with warnings.catch_warnings(), keeping_damaged() as bad:
        warnings.simplefilter("error")
        table = data.read_csv(frame, images, label="label", on_bad=on_bad)
        test = data.read_csv(frame, f"{images}/{{image_id}}.jpg")
    assert table.ids == test.ids == list("abcde")
    assert table.images[2:] == [f"{images}/c.jpg", f"{images}/d.jpg", f"{images}/e"]
    assert test.images[4] == f"{images}/e.jpg"
    assert bad.dropped == ({f"{images}/c.jpg", f"{images}/e"} if on_bad == "drop" else set())
    with pytest.raises(FileNotFoundError):  # the context has ended
        data.read_csv(frame, images, label="label", on_bad=on_bad if on_bad != "drop" else "error")


def test_folders_and_test_rows_stay_while_damaged_images_are_kept(folder):
    FRAME[["image_id"]].assign(image_id=list("abce")).to_csv(folder / "test.csv", index=False)
    (folder / "classes").mkdir()
    (folder / "images").rename(folder / "classes" / "x")
    (folder / "classes" / "y").mkdir()
    (folder / "classes" / "y" / "f.jpg").write_bytes(b"")
    with warnings.catch_warnings(), keeping_damaged():
        warnings.simplefilter("error")
        assert len(data.read_folders(folder / "classes")) == 5
        assert data.read_test(folder / "test.csv", "classes").ids == list("abce")


def test_the_range_of_deep_images_is_measured_beside_damaged_ones(folder):
    for name, value in (("a", 3000), ("b", 100)):
        (folder / "images" / f"{name}.jpg").write_bytes(encoded("PNG", np.full((9, 9), value, np.uint16)))
    with keeping_damaged(), pytest.warns(Notice, match="2 of 3 images have more than 8 bits"):
        table = data.read_csv(FRAME, folder / "images", label="label")
    assert table.value_range == (0.0, 4095.0) and len(table) == 4


def test_test_rows_are_never_dropped(folder):
    for path in (folder / "images", folder / "test.csv"):
        FRAME[["image_id"]].to_csv(folder / "test.csv", index=False)
        with pytest.warns(Notice, match="1 of 4 images are damaged"):
            assert data.read_test(path).ids == list("abcd")


def test_folders_are_checked(folder):
    (folder / "images").rename(folder / "x")
    with pytest.raises(ValueError, match="1 of 4 images are damaged"):
        data.read_folders(folder)
    with pytest.warns(Notice, match="1 of 4 rows are left out"):
        assert len(data.read_images(folder, on_bad="drop")) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timer signal")
def test_ctrl_c_ends_the_child_processes(tmp_path, monkeypatch):
    """They would check all of their files, and a child that ends early would be started again for the others."""
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "slow.py"
    program.write_text("import os, time\nopen(str(os.getpid()), 'w').close()\ntime.sleep(99)\n")
    monkeypatch.setattr(damage, "PROGRAM", program)
    monkeypatch.setattr(damage, "FILES", 1)

    def interrupt(*_):
        if len(list(tmp_path.glob("[0-9]*"))) == min(2, os.cpu_count()):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    start = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        with pytest.raises(KeyboardInterrupt):
            damage.run_checks(["a.jpg", "b.jpg"])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    pids = [int(path.name) for path in tmp_path.glob("[0-9]*")]
    assert time.monotonic() - start < 60 and len(pids) == min(2, os.cpu_count())
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
