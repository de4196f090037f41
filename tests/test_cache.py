"""The cache folder: a changed file gives no old result, and `kcomp cache` shows and empties it."""

import os

import conftest
import cv2
import numpy as np
import pytest

from kcomp.data.images import Images
from kcomp.report.text import file_size
from kcomp.system import processor
from kcomp.system.cache import KINDS, cache_use, empty_cache
from kcomp.system.file_version import file_version


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def set_back(path, change):
    """Change a file, and set its modification time back."""
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)


def test_a_change_with_the_same_size_and_time_is_seen(tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"1")
    other.write_bytes(b"2")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    first = file_version(path)
    assert file_version(path) == first
    set_back(path, lambda: path.write_bytes(b"3"))
    second = file_version(path)
    set_back(path, lambda: other.replace(path))
    assert len({first, second, file_version(path)}) == 3


def test_images_changed_in_place_are_decoded_again(tmp_path, cache):
    """Of one size in bytes, with the old modification time: rewritten, and replaced by another file."""
    images, path, other = Images(None), tmp_path / "image.bmp", tmp_path / "other.bmp"
    for file, value in ((path, 10), (other, 90)):
        cv2.imwrite(str(file), np.full((300, 300, 3), value, np.uint8))
    assert images.load("a", str(path)).mean() == 10 and len(list(cache.glob("decoded/*"))) == 1
    set_back(path, lambda: cv2.imwrite(str(path), np.full((300, 300, 3), 50, np.uint8)))
    assert images.load("a", str(path)).mean() == 50
    set_back(path, lambda: other.replace(path))
    assert images.load("a", str(path)).mean() == 90


def test_another_processor_does_not_read_these_files(monkeypatch):
    first, key = Images(32).settings, processor.processor_key()
    assert key in first and len(key) == 8
    processor.processor_key.cache_clear()
    monkeypatch.setattr(processor, "processor_entry", lambda name: "avx")
    try:
        assert processor.processor_key() != key and Images(32).settings != first
    finally:
        processor.processor_key.cache_clear()


def test_use_is_counted_and_emptied_by_kind(cache):
    (cache / "features/key/0").mkdir(parents=True)
    (cache / "features/key/0/a.f32").write_bytes(bytes(1536))
    (cache / "features/key/0/b.f32").write_bytes(bytes(512))
    (cache / "checks.txt").write_bytes(bytes(10))
    uses = {use.kind: (use.files, use.size) for use in cache_use()}
    assert uses == dict.fromkeys(KINDS, (0, 0)) | {"features": (2, 2048), "checks.txt": (1, 10)}
    empty_cache("features")
    assert [path.name for path in cache.iterdir()] == ["checks.txt"]
    empty_cache("decoded")
    empty_cache("checks.txt")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "1 byte"), (1023, "1,023 bytes"), (1536, "1.5 KiB"), (1024**2 - 1, "1.0 MiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes(count, text):
    assert file_size(count) == text


def test_the_command(cache, tmp_path):
    (cache / "decoded").mkdir(parents=True)
    (cache / "decoded/a").write_bytes(bytes(2048))
    done = conftest.kcomp("cache", cwd=tmp_path)
    assert "decoded" in done.stdout and done.stdout.splitlines()[-1] == f"2.0 KiB in {cache}"
    done = conftest.kcomp("cache", "--empty", "all", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == f"0 bytes in {cache}" and list(cache.iterdir()) == []
    done = conftest.kcomp("cache", "--empty", "images", cwd=tmp_path, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
