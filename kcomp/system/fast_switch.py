"""The environment variable that turns every fast path off."""

import os

NAME = "KCOMP_FAST"


def fast_paths_are_on() -> bool:
    """Return True where KCOMP_FAST is unset or 1, and False where it is 0.

    With 0, Keras and its backend run as they come. Set it before the process starts: what is installed stays. Raises
    ValueError for any other value.
    """
    value = os.environ.get(NAME, "1")
    if value not in ("0", "1"):
        raise ValueError(f"{NAME} must be 0 (Keras as it comes) or 1 (fast paths); received {value!r}")
    return value == "1"
