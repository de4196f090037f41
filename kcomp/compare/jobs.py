"""Describe the measurements of `kcomp compare`. Each measurement runs in its own process, and writes its results to a
folder.
"""

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
    """One measurement of one backend, made in a separate process.

    Attributes:
        part: What the process does: "setup" writes the starting weights, "exact" computes in float64, "single" computes
            in the recipe's precision, and "cost" measures speed and memory.
        backend: "jax" or "torch".
        label: The backend's name in the report. If a backend is compared with itself, the second name is "jax again".
        recipe: The path of the recipe.
        assignments: The options `--set name=value`, each as "name=value".
        seed: The seed of the training.
        fold: The fold that is held out.
        updates: How many updates of the weights (training steps) the process runs.
        folder: The folder for the results, <part>-<label>.json and <part>-<label>.npz.
        reference: Whether this process writes the inputs of each layer for all other processes. Only with "exact".
        unit: The relative rounding error that the reference process simulates.
        debug: Whether errors show a traceback.
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


def run_process(job: ProbeJob) -> int:
    """Run a measurement in a new process until it ends, and return its exit code."""
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    path = job.path.with_suffix(".job")
    path.write_text(json.dumps(asdict(job)))
    command = [sys.executable, "-m", "kcomp.compare.worker.probe", str(path), *["--debug"] * job.debug]
    return subprocess.run(command, env={**os.environ, **environment(job)}, check=False).returncode


def environment(job: ProbeJob) -> dict[str, str]:
    """Return the environment variables to set before the process imports its backend."""
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
    """Return a different name for each backend. If "jax" is listed twice, the second name is "jax again"."""
    labels: list[str] = []
    for backend in backends:
        label = backend
        while label in labels:
            label += " again"
        labels.append(label)
    return labels
