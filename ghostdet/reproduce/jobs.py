"""Work in processes of their own, which end with the one that started them."""
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
STOPPED = 130  # exit code of a tool that was asked to stop


def run_job(command: list[str], lock: int, environment: Mapping[str, str]) -> int:
    """Run `command` and return its exit code. Where this process is killed, the job gets SIGTERM, and can save what it has.

    Raises:
        Interrupted: the job was asked to stop, and has.
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
            process.send_signal(signal.SIGINT)  # the terminal has told it too; it takes both for one wish
    if asked or code == STOPPED:
        raise Interrupted('stopped, as asked; the same command goes on where this was')
    return code


def _end_with_starter(starter: int) -> None:
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != starter:  # killed already, in between
            os._exit(STOPPED)
