"""Check image files for damage in the process of the tests. kcomp starts a process for it (tests/test_damage.py)."""

import os
import tempfile
import threading

import pytest

from kcomp.data import damage
from kcomp.image_files.check_process import check_file

LOCK = threading.Lock()


def check_here(paths, children):
    """Stand in for `kcomp.data.damage.run_process`: the decoders' warnings are read from standard error."""
    with LOCK, tempfile.TemporaryFile() as warnings:
        original = os.dup(2)
        os.dup2(warnings.fileno(), 2)
        try:
            return [damage.FileCheck(**check_file(path)) for path in paths]
        finally:
            os.dup2(original, 2)
            os.close(original)


@pytest.fixture(autouse=True)
def no_process(monkeypatch):
    monkeypatch.setattr(damage, "run_process", check_here)
