"""The parts of the measurement of loading."""
import contextlib

import cv2
import numpy as np
import torch

from benchmarks.loading_speed import PipelineSpeed, in_turn, made_up, one_thread


def test_threads_are_given_back_after_an_error():
    before = cv2.getNumThreads(), torch.get_num_threads()
    during = []
    with contextlib.suppress(KeyError), one_thread():
        during.append(torch.get_num_threads())
        raise KeyError
    assert during == [1]
    assert (cv2.getNumThreads(), torch.get_num_threads()) == before


def test_ratios_are_of_pairs():
    speed = PipelineSpeed((320, 320), 'training', shipped=(100.0, 200.0, 300.0), own=(200.0, 200.0, 330.0))
    assert speed.cells() == ('320x320', 'training', '200 (100 to 300)', '200 (200 to 330)', '1.10 (1.00 to 2.00)', '-')


def test_made_up_images_are_as_large_as_cocos_and_the_same_from_one_seed(tmp_path):
    files = made_up(tmp_path, 2)
    contents = [file.read_bytes() for file in files]
    assert all(100e3 < len(content) < 200e3 for content in contents)
    assert contents[0] != contents[1]
    assert [file.read_bytes() for file in made_up(tmp_path, 2)] == contents
    assert np.ptp(cv2.imread(str(files[0]))) > 150


def test_jobs_take_turns_after_a_first_call_that_does_not_count():
    calls = []
    seconds = in_turn([lambda: calls.append('a'), lambda: calls.append('b')], 3)
    rounds = [''.join(calls[index:index + 2]) for index in range(0, 8, 2)]
    assert rounds[0] == 'ab'
    assert set(rounds) == {'ab', 'ba'}
    assert [len(values) for values in seconds] == [3, 3]
