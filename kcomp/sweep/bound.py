"""python -m kcomp.sweep.bound PARENT COMMAND...: become COMMAND, and be ended by the system when PARENT ends.

Nothing is left behind where the parent is ended by kill -9, on Linux; elsewhere the run's lock keeps two apart.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of linux/prctl.h; it outlives exec


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
