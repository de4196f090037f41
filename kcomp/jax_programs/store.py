"""Store compiled JAX programs in memory and in the cache folder.

Tracing a network in Python takes longer than loading its compiled code. kcomp therefore traces a function once, and
stores the exported program under a cache key: a text that describes what the program computes.
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
from kcomp.jax_programs.compile import compile_beside, compile_exported, jit, read_program, settings, write_program
from kcomp.system.cache import cache_folder
from kcomp.system.code_version import code_version

IN_MEMORY = 32  # most programs in memory; a training of two stages needs about six
# JAX's settings with these prefixes do not change results.
SILENT = ("jax_compilation_cache", "jax_persistent_cache", "jax_log", "jax_debug_log", "jax_logging", "jax_traceback")

_programs: dict[str, Any] = {}


def cached_jit(
    function: Callable[[Any, Any], Any], cache_key: Callable[[Any], str | None], *, donate: bool = False
) -> Callable[[Any, Any], Any]:
    """Return a compiled version of `function` for JAX's first device. Functions with equal cache keys share one
    program.

    `function` takes two arguments, `state` and `data`: nested lists, tuples or dicts of arrays.

    cache_key: function of `state` that returns a text. The text describes all that the program depends on, except the
               values in `state` and the values and shapes in `data`. If it returns None, `jax.jit` compiles `function`.
    donate:    whether the program may write its results into the memory of `state`, as a training step does.
    """
    if not is_enabled("jax-program-store"):
        return jit(function, donate)
    of_shapes: dict[Any, Any] = {}

    def run(state: Any, data: Any) -> Any:
        leaves, tree = jax.tree.flatten(data)
        shapes = tree, *((leaf.shape, leaf.dtype) for leaf in leaves)
        if shapes not in of_shapes:
            key = cache_key(state)

            def of_leaves(state: Any, leaves: Any) -> Any:  # exported programs in files support only plain lists
                return function(state, jax.tree.unflatten(tree, leaves))

            stored = None if key is None else load_program(of_leaves, f"{key} {tree}", donate, (state, leaves))
            of_shapes[shapes] = stored or jit(of_leaves, donate)
        return of_shapes[shapes](state, leaves)

    return run


def load_program(function: Callable[[Any, Any], Any], key: str, donate: bool, arguments: Any) -> Any:
    """Return the compiled program of `function` from memory or from the cache folder, or else compile it.

    Return None if JAX cannot export it.

    key:       a text that describes all that the result depends on.
    donate:    True for a training step, False for a prediction.
    arguments: arrays with the shapes that the program takes.
    """
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), arguments)
    parts = [key, donate, settings(donate), str(shapes), environment_key()]
    name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    if name not in _programs:
        path = cache_folder() / "programs" / name
        on_disk = jax.config.jax_enable_compilation_cache
        exported = read_program(path) if on_disk else None
        if exported is None:
            try:
                exported = export.export(jax.jit(function, donate_argnums=(0,) if donate else ()))(*shapes)
            except (NotImplementedError, ValueError):  # an operation that cannot be exported, or the network's error
                return None
            if on_disk:
                write_program(path, exported)
        if on_disk:
            compile_beside(path, donate)
        while len(_programs) >= IN_MEMORY:
            _programs.pop(next(iter(_programs)))
        _programs[name] = compile_exported(exported, donate)
    return _programs[name]


def environment_key() -> list[Any]:
    """Return the part of a cache key that all programs share: versions, settings, patches and the kind of device."""
    values = {name: str(value) for name, value in sorted(jax.config.values.items()) if not name.startswith(SILENT)}
    versions = [importlib.metadata.version(name) for name in ("keras", "jax", "jaxlib")]
    kinds = [jax.default_backend(), str(jax.devices()[0].device_kind)]
    arithmetic = [keras.config.floatx(), keras.config.epsilon(), installed_names()]
    return [code_version(), versions, kinds, arithmetic, values, os.environ.get("XLA_FLAGS")]
