"""Files are whole or absent, whatever happens while they are written; a run has one trainer."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kcomp.runs.folder import Run
from kcomp.runs.locking import locked
from kcomp.system.files import DamagedError, moved_into, read_json, replacing, write_atomically, write_together
from kcomp.system.locks import try_lock


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    write_atomically(tmp_path / "a.txt", b"old")
    with pytest.raises(KeyError), replacing(tmp_path / "a.txt") as file:
        file.write(b"half of the n")
        raise KeyError
    with pytest.raises(KeyError), moved_into(tmp_path / "a.txt") as path:
        path.write_text("half")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_bytes() == b"old"


def test_a_full_disk_keeps_the_old_file(tmp_path):
    """The limit on a file's size stands for the disk: a write fails in the middle, as it does there."""
    write_atomically(tmp_path / "state.npz", b"old")
    code = """
import resource, sys
from pathlib import Path
from kcomp.system.files import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try: write_atomically(Path(sys.argv[1]), b"n" * 50_000)
except OSError as error: print("refused", error.errno)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "state.npz"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]
    assert (tmp_path / "state.npz").read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
def test_a_full_disk_keeps_all_old_files(tmp_path):
    """The last file exceeds the limit. The first ones, which fit, are not replaced either."""
    names = ("a.csv", "b.json", "c.html")
    for name in names:
        write_atomically(tmp_path / name, b"old")
    code = """
import resource, sys
from pathlib import Path
from kcomp.system.files import write_together
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try: write_together(Path(sys.argv[1]), {"a.csv": b"new", "b.json": b"new", "c.html": b"n" * 50_000})
except OSError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path} cannot be written to: File too large; choose another folder with -o\n"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(names, b"old")


def test_files_that_belong_together_are_replaced_in_order(tmp_path, monkeypatch):
    order, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, target: order.append(target.name) or replace(path, target))
    write_together(tmp_path / "new", {"a.csv": b"a", "b.json": b"b", "c.html": b"c"})
    assert order == ["a.csv", "b.json", "c.html"]
    assert [(tmp_path / "new" / name).read_text()[0] for name in order] == ["a", "b", "c"]


def test_one_process_trains_a_run(tmp_path):
    code = f"""
from pathlib import Path
from kcomp.runs.folder import Run
from kcomp.runs.locking import locked
try:
    with locked(Run(Path({str(tmp_path)!r}))): print("free")
except RuntimeError as error: print(error)
"""
    command = [sys.executable, "-c", code]
    with locked(Run(tmp_path)):
        assert (
            "another process is training" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "free\n"


def test_a_look_at_the_lock_does_not_end_a_training(tmp_path):
    lock = try_lock(tmp_path / "lock")
    threading.Timer(0.1, lock.close).start()
    with locked(Run(tmp_path)):
        assert Run(tmp_path).busy
    assert not Run(tmp_path).busy


def test_a_refused_run_removes_its_own_files_and_no_others(tmp_path):
    def refused(folder):
        with locked(Run(folder)):
            (folder / "snapshots").mkdir()
            (folder / "tensorboard").mkdir()
            for name in ("config.json", "wandb.json", "snapshots/1.weights.h5"):
                (folder / name).write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        refused(tmp_path / "a" / "new")
    assert list(tmp_path.iterdir()) == []
    for name in ("labels.csv", ".pre-commit-config.yaml"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(
        ValueError, match=r"a run needs a new or empty folder; .* holds 2 files or folders, first '\.pre"
    ):
        refused(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".pre-commit-config.yaml", "labels.csv"]
    (tmp_path / "run").mkdir()
    for name in ("lock", "oof.csv"):
        (tmp_path / "run" / name).write_text("before")
    with pytest.raises(KeyError):
        refused(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["lock", "oof.csv"]


def test_broken_json_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text('{"recipe": ')
    with pytest.raises(ValueError, match=r"manifest.json is damaged"):
        read_json(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_bytes(b"\x89HDF\xff")
    with pytest.raises(DamagedError, match=r"manifest.json is damaged, it is not JSON"):
        read_json(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(DamagedError, match=r"manifest.json is damaged, it is not a JSON object but a list"):
        read_json(tmp_path / "manifest.json")
    with pytest.raises(FileNotFoundError, match="is it a run folder"):
        read_json(tmp_path / "result.json")
