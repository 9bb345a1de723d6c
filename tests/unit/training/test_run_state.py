"""Which checkpoints a run can continue from."""
import pytest

from ghostdet.errors import UserError
from ghostdet.training.checkpoints import check_run_state

RANDOM = dict.fromkeys(('python', 'numpy', 'torch', 'cuda'))


def state(**meta):
    """A checkpoint in the middle of an epoch."""
    meta = dict(epoch=1, iter=3, seed=0, batches=1, batches_per_epoch=2, random=RANDOM) | meta
    return dict(meta=meta, message_hub={}, optimizer={}, param_schedulers=[])


def test_check_run_state_takes_whole_and_half_epochs():
    check_run_state(state(), 'a.pth')
    check_run_state(dict(state(), meta=dict(epoch=2, iter=4, seed=None)), 'a.pth')


@pytest.mark.parametrize('meta', [
    dict(epoch='2'), dict(epoch=-1), dict(epoch=2 ** 31), dict(iter=None), dict(iter=True), dict(seed=-5),
    dict(batches='1'), dict(batches=5), dict(random=dict(a=1)), dict(random=None)], ids=str)
def test_check_run_state_refuses_odd_values_by_name(meta):
    with pytest.raises(UserError, match=r'a\.pth does not say correctly where its run stopped .*' + (
            'random numbers' if 'random' in meta else next(iter(meta)))):
        check_run_state(state(**meta), 'a.pth')


@pytest.mark.parametrize('part', ['meta', 'message_hub', 'optimizer'])
@pytest.mark.parametrize('value', [None, [1]])
def test_check_run_state_names_a_missing_part(part, value):
    with pytest.raises(UserError, match=f'has no valid {part}'):
        check_run_state(dict(state(), **{part: value}), 'a.pth')
