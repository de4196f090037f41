"""The fingerprint's part of code: what changes it, and what does not."""

import os
import shutil
import subprocess
import sys
import time

import conftest
import pytest

from kcomp.system import code_version as code
from kcomp.system.code_version import code_version, without_comments

SOURCE = '''"""A module."""

# a comment
import os  # another


def double(x):
    """Docstring
    of two lines."""
    text = "# no comment"  # ä comment after ä
    return 2 * x, text, """a
# string"""


class Empty:
    """Only a docstring."""
'''


def test_comments_docstrings_and_blank_lines_are_left_out():
    assert without_comments(SOURCE) == (
        'import os\ndef double(x):\n    text = "# no comment"\n    return 2 * x, text, """a\n# string"""\nclass Empty:'
    )
    assert without_comments(SOURCE.replace("\n", "\r\n")) == without_comments(SOURCE)


@pytest.fixture
def package(tmp_path):
    shutil.copytree(conftest.ROOT / "kcomp", tmp_path / "kcomp", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "kcomp"


@pytest.fixture(scope="module")
def unchanged():
    return code_version()


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("training/fit.py", '"""', '"""Reworded. ', False),
        ("training/fit.py", "import time\n", "import time  # of epochs\n\n", False),
        ("training/fit.py", "import time\n", "import time\nSTEP = 2\n", True),
        ("data/draws.py", "import numpy as np\n", "import numpy as np\nEPOCH = 3\n", True),
        ("augment/mixing.py", "alpha: float = 0.2", "alpha: float = 0.3", True),
        ("recipe.py", "import json\n", "import json\nX = 1\n", True),
        ("commands/train.py", "import click\n", "import click\nX = 1\n", False),
        ("report/page.py", "import base64\n", "import base64\nX = 1\n", False),
        ("prediction/onnx.py", "import json\n", "import json\nX = 1\n", False),
    ],
)
def test_only_code_that_determines_results_counts(package, unchanged, file, old, new, changes):
    path = package / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert (code_version(package) != unchanged) is changes


def test_every_name_exists_and_no_package_is_forgotten():
    root = conftest.ROOT / "kcomp"
    named = set(code.DETERMINES_RESULTS)
    assert all((root / name).exists() for name in named)
    others = {
        "system",
        "report",
        "runs",
        "ensembles",
        "sweep",
        "tune",
        "soup",
        "suggest",
        "reproduce",
        "compare",
        "find_rate",
        "measurements",
        "probe",
        "check",
        "explain",
        "new",
        "notebook",
        "commands",
    }
    others |= {"__init__.py", "cli.py", "values.py", "space.py", "tracking.py"}
    assert {path.name for path in root.iterdir()} - {"__pycache__"} == named | others


def test_another_folder_and_another_python_give_the_same_digits(package):
    script = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n"
    script += "from kcomp.system.code_version import code_version; print(code_version())"
    others = filter(None, map(shutil.which, ("python3.12", "python3.13", "python3.14")))
    starts = [path for path in others if subprocess.run([path, "-c", ""], capture_output=True).returncode == 0]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for python in [sys.executable, *starts]:
        done = subprocess.run(
            [python, "-S", "-c", script], env=clean, cwd=package.parent, capture_output=True, text=True
        )
        assert done.stdout.strip() == code_version(), done.stderr


def test_it_takes_a_fraction_of_a_second():
    code_version.cache_clear()
    started = time.process_time()
    code_version()
    assert time.process_time() - started < 2  # 0.3 s on an idle core
