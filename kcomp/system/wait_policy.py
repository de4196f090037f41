"""Make PyTorch's threads sleep while they wait, if other programs keep the cores busy.

OpenMP's threads spin by default until the last of them has finished. On busy cores, spinning threads prevent other
threads from running. See docs/results/speed.md.
"""

import os

VARIABLE = "OMP_WAIT_POLICY"
BUSY = 0.5  # of the cores that other programs use

_lines: list[str] = []


def set_wait_policy() -> None:
    """Set OpenMP's passive wait policy if other programs use half of the cores; call it before PyTorch is imported.

    The load is the average of the last minute. A policy that the environment already sets is not changed.
    """
    cores = os.cpu_count() or 1
    if VARIABLE in os.environ or not hasattr(os, "getloadavg"):  # Windows has no load average
        return
    load = os.getloadavg()[0]
    if load < BUSY * cores:
        return
    os.environ[VARIABLE] = "passive"
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # the same for Intel's OpenMP
    busy = f"other programs use {load:.1f} of {cores} cores"
    _lines[:] = [f"{busy}, so PyTorch's threads sleep while they wait ({VARIABLE}=passive)"]


def wait_policy_lines() -> list[str]:
    """Return the line to print if `set_wait_policy` has set the policy; empty otherwise."""
    return list(_lines)
