"""Run a command in a child process. Its output goes to a file, from which the parent reads it line by line."""

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

PATIENCE = 10.0  # seconds from the request to end (SIGTERM) to the kill (SIGKILL)


class Process:
    """A child process that runs a command. It ends with the process that created this object.

    Args:
        command: The command line.
        environ: The child's environment variables.
        log: The file to which the command line and the output are appended.
        cwd: The child's working directory. None for the parent's.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path, cwd: Path | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        shown = shlex.join(command).replace(shlex.join(KCOMP), "kcomp", 1)
        with log.open("ab") as file:
            begin = file.tell()  # the position in the file where this child's output begins
            file.write(f"$ KERAS_BACKEND={environ.get('KERAS_BACKEND', '')} {shown}\n".encode())
            file.flush()
            # the child is in another session, so ctrl-C reaches only the parent, which then ends the child
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
        """Check the child without waiting.

        Returns:
            code: The exit code. None while the child runs.
            lines: The lines that the child has printed since the last call.
        """
        code = self.popen.poll()
        lines = list(self.lines())
        if code is not None:
            self.log.close()
        return code, lines

    def lines(self) -> Iterator[str]:
        """Yield the complete lines that the child has printed since the last call."""
        *lines, self.incomplete_line = (self.incomplete_line + self.log.read()).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")

    def ask_to_end(self) -> None:
        ask_group_to_end(self.popen)

    def end(self) -> None:
        """Wait until the child ends. After `PATIENCE` seconds, kill the child and its child processes."""
        try:
            self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            end_group(self.popen)
            self.popen.wait()
        self.log.close()


def ask_group_to_end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to a process and its child processes. On Windows, end only the process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.terminate()
        else:
            os.killpg(process.pid, signal.SIGTERM)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its child processes. On Windows, kill only the process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
