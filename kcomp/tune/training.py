"""Train one fold of a trial in a child process, and read its progress from the run's log.csv."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kcomp.runs.folder import Run
from kcomp.system.errors import BUSY
from kcomp.system.processes import child_environment, describe_exit, start_kcomp

POLL = 0.3  # seconds between two checks of the log


class Training:
    """A child process that trains a run. Use it in a `with` block: the process is stopped at the end of the block.

    Args:
        arguments: The arguments of `kcomp`.
        backend: "jax" or "torch".
        run: The run that these arguments train.
        output: The file for everything that the child prints.

    Attributes:
        error: The error message of the training. None if there was no error.
    """

    def __init__(self, arguments: list[str], backend: str, run: Run, output: Path) -> None:
        self.arguments, self.backend, self.run, self.output = arguments, backend, run, output
        self.process: subprocess.Popen[bytes] | None = None
        self.error: str | None = None

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def logs(self) -> Iterator[list[dict[str, Any]]]:
        """Start the training. Each time an epoch ends, yield the rows of log.csv up to this epoch.

        If another process is already training the run, wait for that process.
        """
        reported = 0
        while True:
            busy, code = self.run.busy, None if self.process is None else self.process.poll()
            complete = self.run.complete
            log = self.run.log_rows()
            for count in range(reported + 1, len(log) + 1):
                yield log[:count]
            reported = max(reported, len(log))
            if complete:
                return
            if code is not None:
                self.error = describe_exit(code, error_in(self.output))
                if code != BUSY:
                    return
                self.process = None
            if self.process is None and not busy:
                self.process = start_kcomp(self.arguments, child_environment(self.backend), self.output)
            time.sleep(POLL)


def error_in(path: Path) -> str:
    """Return the error message in a file that contains the output of a `kcomp` command."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return next((line[7:] for line in reversed(lines) if line.startswith("kcomp: ")), (lines or ["no message"])[-1])
