"""Run a command in a process. Its output is appended to a file, and read from there line by line."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kcomp.system.die_with_parent import die_with_parent
from kcomp.system.processes import KCOMP

PATIENCE = 10.0  # seconds from SIGTERM to SIGKILL


class Process:
    """A child process that runs a command. If this process ends, the child ends too.

    Args:
        command: The command line.
        environ: Environment variables.
        log: File to which the command line and the output are appended.
        cwd: Working directory. None for that of this process.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path, cwd: Path | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        shown = shlex.join(command).replace(shlex.join(KCOMP), "kcomp", 1)
        with log.open("ab") as file:
            begin = file.tell()  # where this process's part of the log begins
            file.write(f"$ KERAS_BACKEND={environ.get('KERAS_BACKEND', '')} {shown}\n".encode())
            file.flush()
            # in a new session, ctrl-C reaches only the sweep, which then ends the job and its children
            self.popen = subprocess.Popen(
                die_with_parent(command),
                env={**environ, "PYTHONUNBUFFERED": "1"},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.log = log.open("rb")
        self.log.seek(begin)
        self.incomplete_line = b""

    def look(self) -> tuple[int | None, list[str]]:
        """Return the exit code, or None while the process runs, and the lines of output since the last call."""
        code = self.popen.poll()
        lines = list(self.lines())
        if code is not None:
            self.log.close()
        return code, lines

    def lines(self) -> Iterator[str]:
        """Yield the new complete lines. An incomplete line is left for the next call."""
        *lines, self.incomplete_line = (self.incomplete_line + self.log.read()).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")

    def ask_to_end(self) -> None:
        ask_group_to_end(self.popen)

    def end(self) -> None:
        """Wait for the process to end, and kill it and its children after `PATIENCE` seconds."""
        try:
            self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            end_group(self.popen)
            self.popen.wait()
        self.log.close()


def ask_group_to_end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to a process and all that it started. Windows has no such signal: the process ends at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.terminate()
        else:
            os.killpg(process.pid, signal.SIGTERM)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started. On Windows, kill only the process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
