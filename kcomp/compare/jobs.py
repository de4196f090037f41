"""What the command asks of a process with a backend, and what the process answers, as files in one folder."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kcomp.system.files import read_json, replacing


@dataclass(frozen=True)
class ProbeJob:
    """One process.

    part:       setup, exact (float64), single (the recipe's precision) or cost.
    label:      names the answer's files, <part>-<label>.json and .npz in `folder`.
    reference:  this exact process makes the tensors that the others take as inputs.
    unit:       the rounding unit that the reference simulates, relative.
    """

    part: str
    backend: str
    label: str
    recipe: str
    assignments: tuple[str, ...]
    seed: int
    fold: int
    updates: int
    folder: str
    reference: bool = False
    unit: float = 2.0**-23
    debug: bool = False

    @property
    def path(self) -> Path:
        return Path(self.folder) / f"{self.part}-{self.label}"

    def answer(self) -> dict[str, Any]:
        return read_json(self.path.with_suffix(".json"))

    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.path.with_suffix(".npz")) as file:
            return {name: file[name] for name in file.files}


def read(path: Path) -> ProbeJob:
    kept = json.loads(path.read_text())
    return ProbeJob(**{**kept, "assignments": tuple(kept["assignments"])})


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with replacing(path.with_suffix(".npz"), synced=False) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def start(job: ProbeJob) -> int:
    """Run a job in a process of its own, wait for it, and return its exit code; its messages go to the terminal."""
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    path = job.path.with_suffix(".job")
    path.write_text(json.dumps(asdict(job)))
    command = [sys.executable, "-m", "kcomp.compare.worker.probe", str(path), *["--debug"] * job.debug]
    return subprocess.run(command, env={**os.environ, **environment(job)}, check=False).returncode


def environment(job: ProbeJob) -> dict[str, str]:
    """Variables that must be set before the backend is imported."""
    found = {"KERAS_BACKEND": job.backend}
    if job.part == "exact":
        found |= {"JAX_ENABLE_X64": "1"}
    if job.part == "cost":  # what is compiled here must not have been compiled before
        found |= {"JAX_COMPILATION_CACHE_DIR": str(Path(job.folder) / "no-cache"), "JAX_ENABLE_COMPILATION_CACHE": "0"}
    return found


def named(backends: Sequence[str]) -> list[str]:
    """A name for each; a backend that is asked for again becomes "jax again"."""
    found: list[str] = []
    for backend in backends:
        label = backend
        while label in found:
            label += " again"
        found.append(label)
    return found
