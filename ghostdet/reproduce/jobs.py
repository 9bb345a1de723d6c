"""Runs commands in child processes that end when their parent process ends."""
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial

from ghostdet.errors import Interrupted

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LIBC = ctypes.CDLL(None) if sys.platform == 'linux' else None
STOPPED = 130  # exit code of a tool that was interrupted


def run_job(command: list[str], lock: int, environment: Mapping[str, str]) -> int:
    """Run `command` and return its exit code.

    On Linux the job gets SIGTERM when this process is killed, so that it can save its state.

    Args:
        lock: file descriptor that the job inherits, so that it holds the lock until it ends.
        environment: environment variables to add.

    Raises:
        Interrupted: the job was interrupted, and has ended.
    """
    process = subprocess.Popen(command, pass_fds=[lock], preexec_fn=partial(_end_with_starter, os.getpid()),
                               env={**os.environ, **environment})
    asked = False
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            asked = True
            process.send_signal(signal.SIGINT)  # the terminal signals the job too; it counts both as one
    if asked or code == STOPPED:
        raise Interrupted('stopped, as requested; run the same command again to continue')
    return code


def _end_with_starter(starter: int) -> None:
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != starter:  # it was killed before prctl
            os._exit(STOPPED)
