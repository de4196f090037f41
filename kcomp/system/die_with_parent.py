"""Run a command in a process that ends when its parent ends: python -m kcomp.system.die_with_parent PARENT COMMAND...

PARENT is the process id of the parent. Only on Linux does the process end if the parent is killed with -9.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # from linux/prctl.h; the setting survives exec


def die_with_parent(command: Sequence[str]) -> list[str]:
    """Return a command line that runs `command`, and ends when the process that called this function ends."""
    return [sys.executable, "-m", "kcomp.system.die_with_parent", str(os.getpid()), *command]


def main(parent: int, command: list[str]) -> None:
    """Replace this process by a command that ends when the process `parent` ends."""
    if sys.platform == "win32":  # on Windows, exec starts another process and ends this process at once
        sys.exit(subprocess.run(command, check=False).returncode)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent has already ended
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
