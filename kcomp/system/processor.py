"""Identify the processor of this machine."""

import functools
import hashlib
import platform
from pathlib import Path

INFORMATION = Path("/proc/cpuinfo")  # Linux only; see proc(5)


@functools.cache
def processor_entry(name: str) -> str:
    """Return an entry of the first processor in /proc/cpuinfo, such as "model name". Empty if there is none."""
    lines = INFORMATION.read_text().splitlines() if INFORMATION.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")


def processor_name() -> str:
    """Return the name of the processor, such as "AMD EPYC"."""
    return processor_entry("model name") or platform.processor() or platform.machine()


@functools.cache
def processor_key() -> str:
    """Return a hash of the processor's name and instruction sets, as 8 hexadecimal digits.

    Machine code for one processor may fail on another, and decoders may round pixels in another way. Caches of both
    therefore depend on this hash, because several machines can share a home folder.
    """
    parts = [platform.machine(), processor_name(), processor_entry("flags") or processor_entry("Features")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
