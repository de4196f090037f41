"""The command line starts on Windows, which lacks some of Python's modules and signals."""

import subprocess
import sys

import pytest

AS_ON_WINDOWS = """
import signal, sys
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None  # importing it raises ImportError
for name in ("SIGKILL", "SIGHUP"):
    delattr(signal, name)
import filelock  # chooses its implementation by sys.platform
{}
"""


def run(code):
    return subprocess.run([sys.executable, "-c", AS_ON_WINDOWS.format(code)], capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_needs_no_module_that_windows_lacks(arguments):
    done = run(f"sys.argv = ['kcomp', *{arguments}]\nfrom kcomp.cli import main\nsys.platform = 'win32'\nmain()")
    assert done.returncode == 0, done.stderr
    assert "Usage: kcomp" in done.stdout


def test_what_every_command_imports_needs_no_module_that_windows_lacks():
    modules = "kcomp.runs.folder, kcomp.system.processes, kcomp.sweep.pool, kcomp.sweep.cluster, kcomp.sweep.process"
    done = run(f"import {modules}, kcomp.commands.train, kcomp.compare.parent.page")
    assert done.returncode == 0, done.stderr
