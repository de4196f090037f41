"""A process that ends when its parent ends: python -m kcomp.system.die_with_parent PARENT COMMAND...

On Linux the system ends it, also where the parent is killed with -9. Elsewhere it lives on, and its run's lock keeps it
and the next one apart.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # of linux/prctl.h; it outlives exec


def die_with_parent(command: Sequence[str]) -> list[str]:
    """The command line that becomes `command`, and is ended when this process ends."""
    return [sys.executable, "-m", "kcomp.system.die_with_parent", str(os.getpid()), *command]


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "win32":  # exec would start another process there, and end this one at once
        sys.exit(subprocess.run(command, check=False).returncode)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
