"""Exported JAX programs as files, and their compilation in a process of its own.

`python -m kcomp.jax_programs.compile FILE [--donate]` compiles the program in a file into JAX's compilation cache.
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

LARGE = 1 << 16  # bytes; smaller programs are compiled before a process has started
UNUSED = 30 * 24 * 3600.0  # seconds after which a program that nobody asked for is removed
DONATE = "--donate"
# For XLA on a CPU, measured in docs/speed.md: registers of AVX-512 in their whole width where there are any, and in
# prediction XLA's older matrix product.
SETTINGS = {"xla_cpu_prefer_vector_width": 512}
PREDICTION = {"xla_cpu_experimental_ynn_fusion_type": ""}


def read(path: Path) -> Any:
    """The exported program in a file, or None where there is none that is whole."""
    try:
        content = path.read_bytes()
        with contextlib.suppress(OSError):  # another user's
            path.touch()
        whole = hashlib.sha256(content[32:]).digest() == content[:32]
        return export.deserialize(bytearray(content[32:])) if whole else None
    except (ImportError, OSError):
        return None


def write(path: Path, exported: Any) -> None:
    """Write an exported program beside others, and remove those that have not been read for long; what does not work,
    without flatbuffers or on a full disk, costs a trace, no training."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        text = bytes(exported.serialize())
        with replacing(path, synced=False) as file:
            file.write(hashlib.sha256(text).digest() + text)
        for other in path.parent.iterdir():
            if other.stat().st_mtime < time.time() - UNUSED:
                other.unlink()


def compiled(exported: Any, donate: bool) -> Any:
    """The machine's code for an exported program; with `donate` it may overwrite its first argument."""
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in exported.in_avals]
    arguments, _ = jax.tree.unflatten(exported.in_tree, shapes)
    return jitted(exported.call, donate).lower(*arguments).compile()


def jitted(function: Any, donate: bool) -> Any:
    """What jax.jit makes of a function: of a training step, which may overwrite its first argument, or with `donate`
    False of a prediction."""
    return jax.jit(function, donate_argnums=(0,) * donate, compiler_options=settings(donate))


def settings(donate: bool) -> dict[str, Any]:
    """XLA's settings for a training step or a prediction: those that it knows and the user has not chosen."""
    if not is_enabled("jax-xla-settings"):
        return {}
    chosen = SETTINGS | ({} if donate else PREDICTION)
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in chosen.items() if f"--{name}=" not in flags and known(name, value)}


@functools.cache
def known(name: str, value: Any) -> bool:
    """Whether this XLA has a setting."""
    try:
        jax.jit(lambda number: number).lower(0.0).compile(compiler_options={name: value})
    except jax.errors.JaxRuntimeError:
        return False
    return True


def compile_beside(path: Path, donate: bool) -> None:
    """Compile a large program in a file in another process, for JAX's compilation cache, unless this machine did so
    before; only on a CPU, and where that cache is kept in a folder.

    XLA's compiler leaves the C library's heap in so many pieces that every later step of the process takes half as
    long again (docs/speed.md). Whatever goes wrong here, the program is compiled by who needs it.
    """
    folder = jax.config.jax_compilation_cache_dir
    if jax.default_backend() != "cpu" or not folder:
        return
    done = Path(folder) / f"kcomp-{platform.node()}-{path.name}"  # JAX does not tell what it has
    command = die_with_parent([sys.executable, "-m", "kcomp.jax_programs.compile", str(path), *[DONATE] * donate])
    with contextlib.suppress(OSError):
        if path.stat().st_size >= LARGE and not done.exists():
            ended = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if ended.returncode == 0:
                done.touch()


if __name__ == "__main__":
    compiled(read(Path(sys.argv[1])), DONATE in sys.argv)
