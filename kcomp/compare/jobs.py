"""Jobs and answers of the processes of `kcomp compare`, stored as files in one folder."""

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
    """One measurement, which one process makes.

    part:       "setup", "exact" (float64), "single" (the recipe's precision) or "cost".
    label:      the name of the backend in the report. The results in `folder` are <part>-<label>.json and .npz.
    reference:  whether this job writes the tensors that all other jobs read. Its part must be "exact".
    unit:       the relative rounding error that the job simulates if it is the reference.
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


def read_job(path: Path) -> ProbeJob:
    fields = json.loads(path.read_text())
    return ProbeJob(**{**fields, "assignments": tuple(fields["assignments"])})


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with replacing(path.with_suffix(".npz"), synced=False) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def start(job: ProbeJob) -> int:
    """Run a job in a new process, and return its exit code. Its messages go to the terminal."""
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    path = job.path.with_suffix(".job")
    path.write_text(json.dumps(asdict(job)))
    command = [sys.executable, "-m", "kcomp.compare.worker.probe", str(path), *["--debug"] * job.debug]
    return subprocess.run(command, env={**os.environ, **environment(job)}, check=False).returncode


def environment(job: ProbeJob) -> dict[str, str]:
    """Return the environment variables that must be set before the backend is imported."""
    variables = {"KERAS_BACKEND": job.backend}
    if job.part == "exact":
        variables |= {"JAX_ENABLE_X64": "1"}
    if job.part == "cost":  # no cache, to measure how long compiling takes
        variables |= {
            "JAX_COMPILATION_CACHE_DIR": str(Path(job.folder) / "no-cache"),
            "JAX_ENABLE_COMPILATION_CACHE": "0",
        }
    return variables


def unique_labels(backends: Sequence[str]) -> list[str]:
    """Return a different name for each backend. A second "jax" becomes "jax again"."""
    labels: list[str] = []
    for backend in backends:
        label = backend
        while label in labels:
            label += " again"
        labels.append(label)
    return labels
