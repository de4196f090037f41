"""Make PyTorch's threads sleep while they wait, if other programs keep the cores busy.

By default, OpenMP's threads spin: they use their core while they wait for other threads. On busy cores, this slows
down the threads that still compute. See docs/results/speed.md.
"""

import os
import time
from pathlib import Path

VARIABLE = "OMP_WAIT_POLICY"
BUSY = 0.5  # share of the cores that other programs use
SECONDS = 0.2  # duration of the measurement
PROCESSOR_TIMES = Path("/proc/stat")  # Linux only; see proc(5)

_lines: list[str] = []


def set_wait_policy() -> None:
    """Set OpenMP's passive wait policy if other programs use half of the cores. Call this before PyTorch is imported.

    A policy that the environment already sets does not change. On systems other than Linux, do nothing.
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
    """Return the number of cores that are busy while this process sleeps for `SECONDS`.

    The load average cannot be used, because it still counts programs that ended a minute ago, such as the training of
    the previous fold.
    """
    before, started = busy_seconds(), time.monotonic()
    time.sleep(SECONDS)
    return (busy_seconds() - before) / (time.monotonic() - started)


def busy_seconds() -> float:
    """Return the seconds in which cores were busy, added up over all cores since the start of the system."""
    user, nice, system, _idle, _wait, interrupts, soft_interrupts = map(
        int, PROCESSOR_TIMES.read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")


def wait_policy_lines() -> list[str]:
    """Return the line to print if `set_wait_policy` has set the policy. Otherwise, return an empty list."""
    return list(_lines)
