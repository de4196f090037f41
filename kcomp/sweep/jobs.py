"""A job: one run to be trained, the command that trains it, and how far its folder says it has come."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from kcomp.bound import bound
from kcomp.launch import THREADS
from kcomp.runs import Run, check_own

KCOMP = (sys.executable, "-m", "kcomp.cli")


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    values:  what `--set` gives, as texts by name.
    folder:  the run folder, as `kcomp train` names it, below the sweep's root.
    monitor: the score that is shown while it trains.
    table:   hash of the table that the recipe gives now.
    pseudo:  of the pseudo-labels that it gives now for this fold, as the manifest has it.
    """

    recipe: str
    backend: str
    seed: int
    fold: int
    values: dict[str, str]
    folder: str
    fingerprint: str
    table: str
    monitor: str
    pseudo: dict[str, Any] | None = None

    @property
    def run(self) -> Run:
        return Run(Path(self.folder))

    @property
    def log(self) -> Path:
        """What its processes printed, one after the other, beside the run folder."""
        return Path(f"{self.folder}.log")

    @property
    def name(self) -> str:
        texts = [f"{name}={value}" for name, value in self.values.items()]
        return " ".join([self.backend, f"seed {self.seed}", f"fold {self.fold}", *texts])

    def arguments(self, recipe: str | None = None, folder: str | None = None) -> list[str]:
        """The arguments of `kcomp`, for another place of the recipe or the run if one is given."""
        given = [part for name, value in self.values.items() for part in ("--set", f"{name}={value}")]
        numbers = ["--seed", str(self.seed), "--fold", str(self.fold)]
        return ["train", recipe or self.recipe, *numbers, *given, "-o", folder or self.folder]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def check(self) -> None:
        """ValueError where the folder holds another run, begun or complete: known before hours of work."""
        check_own(self.run, asdict(self))

    def logged(self) -> dict[str, Any] | None:
        """The last epoch in the run folder's log.csv, None before the first."""
        return next(iter(self.run.log()[-1:]), None)


def environment(backend: str, *, threads: int, device: str | None = None) -> dict[str, str]:
    """The environment of a training: its backend, its share of the cores (what is set already stays), its GPU."""
    found = {**os.environ, "KERAS_BACKEND": backend, "PYTHONUNBUFFERED": "1"}
    for name in THREADS:
        found.setdefault(name, str(threads))
    return found | ({} if device is None else {"CUDA_VISIBLE_DEVICES": device})


def start(
    command: list[str], environ: Mapping[str, str], log: Path, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, and append what it prints to a file, headed by its command."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        said = shlex.join(command).replace(shlex.join(KCOMP), "kcomp", 1)
        file.write(f"$ KERAS_BACKEND={environ.get('KERAS_BACKEND', '')} {said}\n".encode())
        file.flush()
        # a session of its own: ctrl-C reaches the sweep alone, which then ends the job with all that it started
        return subprocess.Popen(
            bound(command),
            env=dict(environ),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def command_of(arguments: list[str]) -> list[str]:
    return [*KCOMP, *arguments]


def new_lines(file: IO[bytes], rest: bytearray) -> Iterator[str]:
    """The lines that came into an open file since it was last read; the start of one that has no end yet is kept in
    `rest`."""
    rest += file.read()
    *lines, last = bytes(rest).split(b"\n")
    rest[:] = last
    for line in lines:
        yield line.decode(errors="replace")
