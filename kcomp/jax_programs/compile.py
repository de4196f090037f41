"""Compile JAX programs with the XLA options that kcomp uses. Write exported programs to files, and read them.

`python -m kcomp.jax_programs.compile FILE [--donate]` compiles the exported program in FILE.
"""

import contextlib
import functools
import hashlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
from jax import export

from kcomp.fast.install import is_enabled
from kcomp.system.die_with_parent import die_with_parent
from kcomp.system.files import replacing

LARGE = 1 << 16  # bytes; compiling a smaller program takes less time than starting a process
UNUSED = 30 * 24 * 3600.0  # seconds; programs that were not read for so long are deleted
DONATE = "--donate"
# Settings of XLA for a CPU, measured in docs/results/speed.md: the full width of AVX-512 registers for all programs,
# and XLA's older matrix product for predictions.
SETTINGS = {"xla_cpu_prefer_vector_width": 512}
PREDICTION = {"xla_cpu_experimental_ynn_fusion_type": ""}


def read_program(path: Path) -> Any:
    """Return the exported program in a file, or None if the file is missing or damaged."""
    try:
        content = path.read_bytes()
        with contextlib.suppress(OSError):  # another user owns the file
            path.touch()
        is_intact = hashlib.sha256(content[32:]).digest() == content[:32]
        return export.deserialize(bytearray(content[32:])) if is_intact else None
    except (ImportError, OSError):
        return None


def write_program(path: Path, exported: Any) -> None:
    """Write an exported program to a file, and delete old files in its folder. Errors are ignored."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        text = bytes(exported.serialize())
        with replacing(path, synced=False) as file:
            file.write(hashlib.sha256(text).digest() + text)
        for other in path.parent.iterdir():
            if other.stat().st_mtime < time.time() - UNUSED:
                other.unlink()


def compile_exported(exported: Any, donate: bool) -> Any:
    """Return the compiled form of an exported program. `donate` says whether it may overwrite its first argument's
    memory.
    """
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in exported.in_avals]
    arguments, _ = jax.tree.unflatten(exported.in_tree, shapes)
    return jit(exported.call, donate).lower(*arguments).compile()


def jit(function: Any, donate: bool) -> Any:
    """Return `jax.jit` of a function, with kcomp's settings of XLA.

    `donate` is True for a training step, which may reuse the memory of its first argument.
    """
    return jax.jit(function, donate_argnums=(0,) if donate else (), compiler_options=settings(donate))


def settings(donate: bool) -> dict[str, Any]:
    """Return kcomp's settings of XLA, without those that the installed XLA lacks or that XLA_FLAGS contains.

    `donate` is True for a training step, False for a prediction.
    """
    if not is_enabled("jax-xla-settings"):
        return {}
    chosen = SETTINGS | ({} if donate else PREDICTION)
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in chosen.items() if f"--{name}=" not in flags and is_known(name, value)}


@functools.cache
def is_known(name: str, value: Any) -> bool:
    """Return whether the installed XLA accepts a setting."""
    try:
        jax.jit(lambda number: number).lower(0.0).compile(compiler_options={name: value})
    except jax.errors.JaxRuntimeError:
        return False
    return True


def compile_beside(path: Path, donate: bool) -> None:
    """Compile a large program in another process, which writes the machine code into JAX's compilation cache.

    Do nothing on a GPU, or if the cache already has the machine code. Errors are ignored.

    path:   file of the exported program.
    donate: True for a training step, False for a prediction.
    """
    # XLA's compiler fragments the memory of its process, whose later steps then take 1.5 times as long
    folder = jax.config.jax_compilation_cache_dir
    if jax.default_backend() != "cpu" or not folder:
        return
    marker = Path(folder) / f"kcomp-{platform.node()}-{path.name}"  # JAX has no function that lists its cache
    command = die_with_parent(
        [sys.executable, "-m", "kcomp.jax_programs.compile", str(path), *([DONATE] if donate else [])]
    )
    with contextlib.suppress(OSError):
        if path.stat().st_size >= LARGE and not marker.exists():
            process = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if process.returncode == 0:
                marker.touch()


if __name__ == "__main__":
    compile_exported(read_program(Path(sys.argv[1])), DONATE in sys.argv)
