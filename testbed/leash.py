"""Run a program that dies with its parent: `python leash.py PARENT_PID PROGRAM [ARGUMENT…]`.

Why a program of its own: the kernel's parent-death signal must be asked for by the child, between fork and exec. Doing
that in `preexec_fn` runs Python in a forked copy of a multi-threaded process, which can deadlock. Here the child is a
fresh interpreter that asks and then becomes the program: same process id, no supervisor left in between.

Linux only. Elsewhere the program is started without a leash, and only a parent killed by force leaves it behind.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def leash(parent_pid: int) -> None:
    """Ask the kernel to kill this process when the parent's forking thread ends.

    Args:
        parent_pid: Process id of the expected parent; when it is already gone, this process exits with 1.

    Raises:
        OSError: When the kernel refuses.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent_pid:  # it died before the leash was on: no signal would ever come
        sys.exit(1)


def main() -> None:
    """Put on the leash, then become the program."""
    leash(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell wanted: the arguments are the program's own


if __name__ == "__main__":
    main()
