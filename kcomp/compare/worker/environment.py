"""Describe the environment of a backend: versions, device, precision, image layout, threads."""

import importlib.metadata
import os
import platform
from typing import Any

import keras

import kcomp
from kcomp.engine.precision import precision_in_use
from kcomp.engine.threads import threads
from kcomp.training.manifest import device


def environment(precision: str) -> dict[str, Any]:
    backend = keras.backend.backend()
    packages = {"jax": ("jax", "jaxlib"), "torch": ("torch",)}[backend]
    versions = {name: importlib.metadata.version(name) for name in ("keras", *packages, "numpy")}
    return {
        "backend": backend,
        "device": device(),
        "precision": precision,
        "precision in use": precision_in_use(),
        "layout": keras.config.image_data_format(),
        "threads": threads(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "kcomp": kcomp.__version__,
        **versions,
    }
