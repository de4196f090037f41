"""Files of decoded images: whole or absent, bounded, shared by processes, and never in the way."""

import os
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import environment

from kcomp.data import decoded
from kcomp.data.decoded import DecodedImages, pack, unpack

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 10, 3), np.uint8)
ENTRY = 24 + 304  # the header, and 300 bytes rounded up to words


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def age(folder, hours, *keys):
    for key in keys:
        os.utime(folder / key, (time.time() - 3600 * hours,) * 2)


def test_what_was_packed_comes_back():
    pixels = np.array([[[1, 2, 3]]], np.uint8)
    total = 1 + 2 * 256 + 3 * 65536
    expected = b"kcomp 1\n" + b"\1\0\0\0" + b"\1\0\0\0" + total.to_bytes(8, "little") + b"\1\2\3\0\0\0\0\0"
    assert pack(pixels) == expected
    np.testing.assert_array_equal(unpack(pack(PIXELS)), PIXELS)
    np.testing.assert_array_equal(unpack(pack(PIXELS[:, ::2])), PIXELS[:, ::2])


def test_no_damage_goes_unseen():
    whole = pack(PIXELS)
    for place in range(ENTRY):
        assert unpack(whole[:place]) is None
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        assert unpack(bytes(changed)) is None
    assert unpack(whole + bytes(8)) is None and unpack(bytes(ENTRY)) is None


def test_it_is_bounded_and_keeps_what_it_has(tmp_path):
    kept = DecodedImages(tmp_path, 3 * ENTRY)
    for key in "abc":
        kept.put(key, PIXELS)
    with pytest.warns(RuntimeWarning, match="is full") as warned:
        kept.put("d", PIXELS)
        kept.put("e", PIXELS)
    assert len(warned) == 1 and names(tmp_path) == ["a", "b", "c"] and kept.get("d") is None
    np.testing.assert_array_equal(kept.get("a"), PIXELS)


def test_what_is_unused_longest_makes_room(tmp_path):
    others = [f"{number:02d}" for number in range(20)]  # so many that one more is less than an eighth: counted once
    earlier = DecodedImages(tmp_path, 24 * ENTRY)
    for key in [*others, *"abcd"]:
        earlier.put(key, PIXELS)
    age(tmp_path, 2, "a", "b")
    age(tmp_path, 3, "c")
    later = DecodedImages(tmp_path, 24 * ENTRY)
    later.put("e", PIXELS)
    assert names(tmp_path) == [*others, "a", "b", "d", "e"]
    later.get("a")  # from now on it is in use
    later.put("f", PIXELS)
    assert names(tmp_path) == [*others, "a", "d", "e", "f"]
    with pytest.warns(RuntimeWarning, match="is full"):
        later.put("g", PIXELS)
    assert names(tmp_path) == [*others, "a", "d", "e", "f"]


def test_what_other_processes_write_is_counted_in_time(tmp_path):
    kept = DecodedImages(tmp_path, 80 * ENTRY)
    kept.put("mine", PIXELS)
    (tmp_path / "theirs").write_bytes(bytes(75 * ENTRY))
    with pytest.warns(RuntimeWarning, match="is full"):
        for number in range(20):
            kept.put(f"{number:02d}", PIXELS)
    assert (
        len(names(tmp_path)) == 12
    )  # theirs, and 11 until more than an eighth was written and the next count found it full


def test_what_other_processes_remove_makes_room(tmp_path):
    kept = DecodedImages(tmp_path, 40 * ENTRY)
    (tmp_path / "theirs").write_bytes(bytes(36 * ENTRY))
    for key in "abcd":  # not yet an eighth of the limit: nothing is counted again by itself
        kept.put(key, PIXELS)
    (tmp_path / "theirs").unlink()
    kept.put("more", PIXELS)
    assert "more" in names(tmp_path)


def test_half_of_the_free_disk_is_left(tmp_path, monkeypatch):
    def usage(path):
        return SimpleNamespace(free=5 * ENTRY - sum(file.stat().st_size for file in path.iterdir()))

    monkeypatch.setattr(decoded.shutil, "disk_usage", usage)
    kept = DecodedImages(tmp_path, 100 * ENTRY)
    with pytest.warns(RuntimeWarning, match="is full"):
        for key in "abc":
            kept.put(key, PIXELS)
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    kept = DecodedImages(tmp_path / "file" / "decoded", 10**6)
    with pytest.warns(RuntimeWarning, match=r"cannot be written \(Not a directory\)") as warned:
        kept.put("a", PIXELS)
        kept.put("a", PIXELS)
    assert len(warned) == 1 and kept.get("a") is None


def test_a_read_only_folder_is_read(tmp_path, monkeypatch):
    """Refusals are simulated, for the rights of a folder do not bind root."""
    DecodedImages(tmp_path, 10**6).put("a", PIXELS)
    age(tmp_path, 2, "a")

    def refuse(*arguments, **options):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(decoded.os, "utime", refuse)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    kept = DecodedImages(tmp_path, 10**6)
    np.testing.assert_array_equal(kept.get("a"), PIXELS)
    with pytest.warns(RuntimeWarning, match=r"cannot be written \(Read-only file system\)"):
        kept.put("b", PIXELS)
    assert names(tmp_path) == ["a"]


def test_processes_that_write_and_read_the_same_files_at_once(tmp_path):
    code = """
import sys
from pathlib import Path
import numpy as np
from kcomp.data.decoded import DecodedImages
kept, found = DecodedImages(Path(sys.argv[1]), 10**8), 0
print("ready", flush=True)
sys.stdin.readline()
for number in range(300):
    key, pixels = str(number % 3), np.full((200, 200, 3), number % 3, np.uint8)
    kept.put(key, pixels)
    for other in range(3):
        read = kept.get(str(other))
        if read is None: continue
        assert (read == other).all()
        found += 1
print(found, "read")
"""
    command = [sys.executable, "-c", code, str(tmp_path / "cache")]
    several = [
        subprocess.Popen(command, env=environment("jax"), text=True, **dict.fromkeys(["stdin", "stdout", "stderr"], -1))
        for _ in range(2)
    ]
    for process in several:
        process.stdout.readline()  # both are ready before either begins
    for process in several:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in several:
        output, errors = process.communicate()
        assert process.returncode == 0 and not errors, errors
        assert int(output.split()[0]) >= 1 + 2 + 298 * 3  # once it has put a file, that file is whole at every moment
    assert names(tmp_path / "cache") == ["0", "1", "2"]
