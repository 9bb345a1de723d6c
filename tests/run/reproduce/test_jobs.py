"""Jobs end with the process that started them, and hold its folder until they do."""
import os
import signal
import sys
import time

import pytest

from ghostdet.errors import Interrupted
from ghostdet.files import file_lock
from ghostdet.reproduce.jobs import run_job
from tests.processes import CONTEXT, wait_for

# Says in a file that it runs, and on SIGTERM or Ctrl-C, after half a second, that it has ended.
JOB = '''
import pathlib, signal, sys, time
diary = pathlib.Path(sys.argv[1])
def end(*_):
    time.sleep(0.5)
    diary.write_text(diary.read_text() + 'ended')
    sys.exit(130)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
diary.write_text('runs ')
time.sleep(60)
'''


def hold(folder):
    # a shell turns this off for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with file_lock(folder / 'lock') as lock:
        try:
            run_job([sys.executable, '-c', JOB, str(folder / 'diary')], lock, {})
        except Interrupted:
            (folder / 'interrupted').touch()


@pytest.fixture
def holder(tmp_path):
    """A process whose job runs."""
    process = CONTEXT.Process(target=hold, args=(tmp_path,))
    process.start()
    wait_for(lambda: (tmp_path / 'diary').exists() and (tmp_path / 'diary').read_text(), process)
    process.join(0.5)  # until the starter, too, knows that its job runs
    yield process
    process.kill()


@pytest.mark.skipif(sys.platform != 'linux', reason='elsewhere a job outlives its starter, and the folder waits for it')
def test_a_job_whose_starter_is_killed_ends_in_order_and_the_next_start_waits_for_it(holder, tmp_path, capsys):
    holder.kill()
    holder.join()
    with file_lock(tmp_path / 'lock', 'waiting for it to end'):
        assert (tmp_path / 'diary').read_text() == 'runs ended'
    assert 'waiting for it to end' in capsys.readouterr().err


def test_ctrl_c_waits_for_the_job(holder, tmp_path):
    os.kill(holder.pid, signal.SIGINT)
    holder.join(30)
    assert (tmp_path / 'diary').read_text() == 'runs ended'
    assert (tmp_path / 'interrupted').exists()


def test_exit_codes_and_environment_are_passed_on(tmp_path):
    with file_lock(tmp_path / 'lock') as lock:
        assert run_job([sys.executable, '-c', 'import os, sys; sys.exit(int(os.environ["CODE"]))'], lock,
                       dict(CODE='7')) == 7


def test_a_folder_that_nobody_holds_is_had_at_once(tmp_path, capsys):
    started = time.monotonic()
    for _ in range(2):
        with file_lock(tmp_path / 'lock', 'waiting'):
            pass
    assert time.monotonic() - started < 5
    assert capsys.readouterr().err == ''
