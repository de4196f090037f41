"""Make PyTorch's threads sleep while they wait for each other, if other programs keep the cores busy.

By default, they spin: they keep their core busy, and slow down the threads that still compute.
"""

import os
import time
from pathlib import Path

VARIABLE = "OMP_WAIT_POLICY"
BUSY = 0.5  # share of the cores; if other programs use at least this share, threads sleep while they wait
SECONDS = 0.2  # duration of the measurement
PROCESSOR_TIMES = Path("/proc/stat")  # Linux only; see proc(5)

_lines: list[str] = []


def set_wait_policy() -> None:
    """Make OpenMP's threads sleep while they wait, if other programs use at least half of the cores.

    Call this function before PyTorch is imported. Do nothing if OMP_WAIT_POLICY is set, or on systems other than Linux.
    """
    if VARIABLE in os.environ or not PROCESSOR_TIMES.is_file():
        return
    cores, busy = os.cpu_count() or 1, count_busy_cores()
    if busy < BUSY * cores:
        return
    os.environ[VARIABLE] = "passive"
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # the same for Intel's OpenMP
    _lines[:] = [
        f"other programs use {busy:.1f} of {cores} cores, so PyTorch's threads sleep while they wait "
        f"({VARIABLE}=passive)"
    ]


def count_busy_cores() -> float:
    """Return how many cores other programs use, on average over `SECONDS`, while this process sleeps."""
    # The system's load average still counts programs that ended a minute ago.
    before, started = busy_seconds(), time.monotonic()
    time.sleep(SECONDS)
    return (busy_seconds() - before) / (time.monotonic() - started)


def busy_seconds() -> float:
    """Return for how many seconds cores were busy since the system started, added up over all cores."""
    user, nice, system, _idle, _wait, interrupts, soft_interrupts = map(
        int, PROCESSOR_TIMES.read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")


def wait_policy_lines() -> list[str]:
    """Return a line to print if `set_wait_policy` has changed the policy, in a list. Otherwise, it is empty."""
    return list(_lines)
