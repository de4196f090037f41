"""JAX's programs, kept by what they compute: an equal network in the next fold, seed or process is not traced again.

Tracing a network in Python takes longer than loading what XLA compiled of it, and JAX knows only after the trace that
it has that program. So a step whose description is known is exported once (jax.export, StableHLO) and kept in memory
and in the cache folder; JAX's own compilation cache then has the machine's code for it.
"""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable
from typing import Any

import jax
import keras
from jax import export

from kcomp.fast.install import installed_names, is_enabled
from kcomp.jax_programs.compile import compile_beside, compiled, jitted, read, write
from kcomp.jax_programs.describe_network import SOURCE
from kcomp.system.cache import cache_folder

IN_MEMORY = 32  # programs; a run of two stages has about six
SILENT = ("jax_compilation_cache", "jax_persistent_cache", "jax_log", "jax_debug_log", "jax_logging", "jax_traceback")

_programs: dict[str, Any] = {}


def cached_jit(
    function: Callable[[Any, Any], Any], about: Callable[[Any], str | None], *, donate: bool = False
) -> Callable[[Any, Any], Any]:
    """`function` of two trees of arrays, (state, data), compiled for JAX's first device.

    about:  tells, given the `state` for which a program is first needed, all that the result hangs on beside the
            arguments' values and the shapes of `data`, so also the shapes in `state`; whoever tells the same gets the
            same program, traced from the first one's `function`. Where it gives None, that is done as by `jax.jit`.
    donate: a training step, which gives the memory of `state` to the results.
    """
    if not is_enabled("jax-program-store"):
        return jitted(function, donate)
    of_shapes: dict[Any, Any] = {}

    def run(state: Any, data: Any) -> Any:
        leaves, tree = jax.tree.flatten(data)
        shapes = tree, *((leaf.shape, leaf.dtype) for leaf in leaves)
        if shapes not in of_shapes:
            words = about(state)
            found = None if words is None else program(function, words, donate, (state, data))
            of_shapes[shapes] = found or jitted(function, donate)
        return of_shapes[shapes](state, data)

    return run


def program(function: Callable[[Any, Any], Any], about: str, donate: bool, arguments: Any) -> Any:
    """The compiled program for arguments of these shapes, from memory, the cache folder or a trace; None where JAX
    cannot export it."""
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), arguments)
    key = hashlib.sha256(json.dumps([about, donate, str(shapes), surroundings()]).encode()).hexdigest()[:32]
    if key not in _programs:
        path = cache_folder() / "programs" / key
        on_disk = jax.config.jax_enable_compilation_cache
        exported = read(path) if on_disk else None
        if exported is None:
            try:
                exported = export.export(jax.jit(function, donate_argnums=(0,) * donate))(*shapes)
            except (NotImplementedError, ValueError):  # an operation without a lasting form, or an error of the network
                return None
            if on_disk:
                write(path, exported)
        if on_disk:
            compile_beside(path, donate)
        while len(_programs) >= IN_MEMORY:
            _programs.pop(next(iter(_programs)))
        _programs[key] = compiled(exported, donate)
    return _programs[key]


def surroundings() -> list[Any]:
    """What the arithmetic of any network hangs on: versions, settings of JAX, XLA and Keras, the kind of device."""
    settings = {name: str(value) for name, value in sorted(jax.config.values.items()) if not name.startswith(SILENT)}
    versions = [importlib.metadata.version(name) for name in ("keras", "jax", "jaxlib")]
    kinds = [jax.default_backend(), str(jax.devices()[0].device_kind)]
    arithmetic = [keras.config.floatx(), keras.config.epsilon(), installed_names()]
    return [SOURCE, versions, kinds, arithmetic, settings, os.environ.get("XLA_FLAGS")]
