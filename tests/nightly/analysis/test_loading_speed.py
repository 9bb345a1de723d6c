"""The parts of the measurement of loading."""
from ghostdet.analysis.loading_speed import in_turn


def test_jobs_take_turns_after_a_first_call_that_does_not_count():
    calls = []
    seconds = in_turn([lambda: calls.append('a'), lambda: calls.append('b')], 3)
    rounds = [''.join(calls[place:place + 2]) for place in range(0, 8, 2)]
    assert rounds[0] == 'ab'
    assert set(rounds) == {'ab', 'ba'}
    assert [len(values) for values in seconds] == [3, 3]
