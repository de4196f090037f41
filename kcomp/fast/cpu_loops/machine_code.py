"""Compile loops over tensors with Numba, cache the machine code, and run it in PyTorch's threads.

Raises:
    ImportError: On import, if Numba is missing, or if PyTorch's OpenMP does not have GNU's interface.
    OSError: On import, if PyTorch's library libtorch_cpu.so does not exist.
"""

import ctypes
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import torch
from numba import types
from numba.core import config
from numba.extending import intrinsic

from kcomp.system.cache import cache_folder

# Numba's own threads would compete for cores with PyTorch's threads, which spin while they wait.
# ctypes also searches the libraries that libtorch_cpu.so depends on, such as OpenMP.
_library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
try:
    _in_parallel = _library.GOMP_parallel
    for _name in ("omp_get_thread_num", "omp_get_num_threads"):
        llvmlite.binding.add_symbol(_name, ctypes.cast(getattr(_library, _name), ctypes.c_void_p).value)
except AttributeError as error:
    raise ImportError(f"PyTorch's OpenMP has another interface than GNU's: {error}") from None
_in_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
_in_parallel.restype = None
thread: Any = types.ExternalFunction("omp_get_thread_num", types.int32())
threads: Any = types.ExternalFunction("omp_get_num_threads", types.int32())

# Numba compiles a loop again when its file changes, but not when a file changes whose functions it inlines.
_INLINED = [
    Path(__file__).with_name(name).read_bytes() for name in ("machine_code.py", "lanes.py", "silu.py", "gate.py")
]
VERSION = hashlib.sha256(b"".join(_INLINED)).hexdigest()[:16]
# Numba's fast-math options, except two: reordered sums would break the exponential's rounding, and numbers may be
# infinite.
MATHS = {"contract", "nsz", "arcp"}


def loop(count: int) -> Callable[[Callable[[Any], None]], Any]:
    """Return a decorator that compiles a function of one argument: a pointer to `count` int64 numbers.

    Each number is an integer or the address of a tensor. `run` calls the compiled function.
    """
    signature = types.void(types.CPointer(types.UniTuple(types.int64, count)))

    def compiled(function: Callable[[Any], None]) -> Any:
        folder = cache_folder() / "numba" / VERSION
        before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)  # if this fails, Numba would use a folder without VERSION
            return numba.cfunc(signature, cache=True, fastmath=MATHS, error_model="numpy")(function)
        except Exception:  # noqa: BLE001 - a missing cache folder or a damaged file in it may raise any error
            return numba.cfunc(signature, fastmath=MATHS, error_model="numpy")(function)
        finally:
            config.CACHE_DIR = before

    return compiled


def run(code: Any, *arguments: Any) -> None:
    """Run a compiled loop in all of PyTorch's threads at once.

    code:      a function compiled by `loop`. Each thread works on the range that `range_of_thread` returns.
    arguments: integers and tensors. The loop receives the address of a tensor's first number.
    """
    values = [value.data_ptr() if isinstance(value, torch.Tensor) else value for value in arguments]
    _in_parallel(code.address, (ctypes.c_int64 * len(values))(*values), torch.get_num_threads(), 0)


def inline(function: Any) -> Any:
    """Return a compiled copy of `function`. Numba inserts its code into the loops that call the function."""
    return numba.njit(fastmath=MATHS, error_model="numpy", inline="always")(function)


def _pointer(kind: Any) -> Any:
    """Return a compiled function that converts an address to a pointer to numbers of type `kind`."""

    @intrinsic
    def pointer(context: Any, address: Any) -> Any:
        def code(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], target.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), code

    return pointer


_float32, _float64 = _pointer(types.float32), _pointer(types.float64)


@inline
def floats(address, start, count):
    """Return an array of the `count` float32 numbers that begin at address + 4 * start."""
    return numba.carray(_float32(address + 4 * start), count)


@inline
def doubles(address, start, count):
    """Return an array of the `count` float64 numbers that begin at address + 8 * start."""
    return numba.carray(_float64(address + 8 * start), count)


@inline
def range_of_thread(count, row):
    """Return the range (start, end) of the numbers 0 to count - 1 that this thread works on.

    Ranges begin at multiples of `row`, and have about equal sizes.
    """
    rows = (count + row - 1) // row
    each = (rows + threads() - 1) // threads()
    start = min(thread() * each * row, count)
    return start, min(start + each * row, count)
