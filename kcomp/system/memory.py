"""Settings for the memory allocation of the C library (glibc)."""

import ctypes
import platform

from kcomp.system.fast_switch import fast_paths_are_on

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # from malloc.h


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next allocation. Call this function before the backend starts its threads.

    With another C library, or if the environment variable KCOMP_FAST is 0, do nothing.
    """
    if not fast_paths_are_on() or platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(M_ARENA_MAX, 1)  # a thread's own arena is too small for large arrays; glibc would map them (mmap)
    library.mallopt(M_MMAP_MAX, 0)  # take large arrays from the heap
    library.mallopt(M_TRIM_THRESHOLD, -1)  # never return the heap's top to the system
