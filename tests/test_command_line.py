"""What a wrong command line gets: one line, an exit code, no traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import conftest
import pytest
from click.testing import CliRunner
from test_training import TINY, write

from kcomp.cli import main


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sweep", "x.py", "--jobs", "0"], 2, "Invalid value for '--jobs': 0 is not in the range x>=1"),
        (["tran"], 2, "No such command 'tran'"),
        (["train"], 2, "Missing argument 'RECIPE'"),
        (["train", "nothing.py"], 1, "no recipe at nothing.py"),
        (["pseudo", "runs", "--threshold", "nan", "-o", "p.csv"], 2, "takes a probability, 0 to 1; received nan"),
        (["runs", "--html", "."], 2, "--html . is a folder; name a file"),
        (["ensemble", "nothing"], 2, "no run at or below nothing"),
    ],
)
def test_errors_are_one_line(arguments, code, message, tmp_path):
    done = conftest.kcomp(*arguments, cwd=tmp_path, check=False)
    assert done.returncode == code and done.stderr.startswith("kcomp: ") and message in done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout and not list(tmp_path.iterdir())


def test_help_comes_without_arguments(tmp_path):
    done = conftest.kcomp(cwd=tmp_path, check=False)
    assert done.returncode == 2 and "Train:" in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("training", [False, True])
def test_ctrl_c_is_one_line(training, tmp_path):
    """While a process of its own loads the recipe, and while one trains."""
    write(tmp_path, TINY if training else f"import time\ntime.sleep(5)\n{TINY}")
    conftest.ForkServer.start_all()
    backend = conftest.backends()[-1].values[0]
    code = f"import sys; sys.executable = {str(conftest.warm_python())!r}; from kcomp.cli import main; main()"
    command = [sys.executable, "-c", code, "sweep", "tiny.py", "--backends", backend]
    process = subprocess.Popen(
        command,
        env=conftest.environment(""),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children, deadline = Path(f"/proc/{process.pid}/task/{process.pid}/children"), time.time() + 60
    while not (list(tmp_path.rglob("*.log")) if training else children.read_text()):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # into its imports
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its processes
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and said.strip() == "kcomp: interrupted; run the same command again to continue"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals for one process")
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "kcomp: interrupted; run the same command again to continue"),
        (signal.SIGTERM, 143, "kcomp: terminated; run the same command again"),
    ],
)
def test_a_check_ends_with_one_line(number, code, line, tmp_path):
    source = conftest.ROOT / "recipes" / "digits.py"
    slow = "def table(config):\n    import time, pathlib\n    pathlib.Path('started').touch()\n    time.sleep(99)\n\n\ndef old("
    (tmp_path / "slow.py").write_text(source.read_text().replace("def table(", slow, 1))
    command = [sys.executable, "-m", "kcomp.cli", "check", "slow.py"]
    env = conftest.environment(conftest.backends()[-1].values[0])
    process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=-1, stderr=-1, text=True, start_new_session=True)
    deadline = time.time() + 60
    while not (tmp_path / "started").exists():
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed.strip(), errors.strip()) == (code, "", line)
    assert not (tmp_path / "check").exists()


def test_help_shows_whole_descriptions_by_purpose():
    text = CliRunner().invoke(main, ["--help"], terminal_width=100).output
    assert all(
        f"{title}:" in text for title in ("Train", "Look at recipes and runs", "Predict and join", "Submit and export")
    )
    assert "..." not in text.partition("Train:")[2]
    shown = [line.split()[0] for line in text.splitlines() if line.startswith("  ") and "  " in line.strip()]
    assert set(main.commands) <= set(shown)


def test_a_recipe_that_exits_is_an_error_with_its_line(tmp_path):
    """`sys.exit()` in a recipe would end the command without a word, as if it had succeeded."""
    text = (conftest.ROOT / "recipes" / "digits.py").read_text()
    (tmp_path / "ends.py").write_text(
        text.replace("def table(config):\n", "def table(config):\n    raise SystemExit(0)\n")
    )
    done = conftest.kcomp("check", "ends.py", "--backend", "torch", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "kcomp: the recipe calls sys.exit() (" in done.stderr and "ends.py, line" in done.stderr
