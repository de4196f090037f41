"""How the C library treats freed memory."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # from malloc.h


def keep_freed_memory() -> None:
    """Let the C library keep the memory that is freed, where it is glibc: a step needs the same again.

    By default every array of some megabytes goes back to the system and is fetched anew, page by page: on a CPU that
    takes up to a third of a step. The process then keeps the most that it ever needed at once. It must run before the
    backend starts its threads, for each would have an arena of its own.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(M_ARENA_MAX, 1)  # arenas of threads are too small for large arrays and would map them
    library.mallopt(M_MMAP_MAX, 0)  # from the heap, also what is large
    library.mallopt(M_TRIM_THRESHOLD, -1)  # and never back from the heap to the system
