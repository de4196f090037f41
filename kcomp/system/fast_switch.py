"""Read the environment variable KCOMP_FAST, which turns kcomp's faster versions of Keras functions on or off."""

import os

NAME = "KCOMP_FAST"


def fast_paths_are_on() -> bool:
    """Return True if KCOMP_FAST is unset or 1, and False if it is 0. Raise ValueError for any other value.

    With 0, kcomp replaces no function of Keras or its backend by a faster version.
    """
    value = os.environ.get(NAME, "1")
    if value not in ("0", "1"):
        raise ValueError(f"{NAME} must be 0 (Keras as it comes) or 1 (fast paths); received {value!r}")
    return value == "1"
