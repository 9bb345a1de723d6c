"""What a run on own data can be told: what stays frozen, and how long it takes."""
import torch

from tests.conftest import MINI, run_tool


def test_a_frozen_backbone_keeps_weights_and_statistics(trained, shapes, tmp_path):
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, '--freeze', 'backbone',
                    '--load-from', trained / 'epoch_2.pth', options=['train_cfg.val_interval=10']) == 0
    before, after = (torch.load(file, weights_only=False)['state_dict']
                     for file in (trained / 'epoch_2.pth', tmp_path / 'epoch_1.pth'))
    for key, value in before.items():
        if key.startswith('backbone.'):
            assert torch.equal(value, after[key]), key
    assert not torch.equal(before['neck.fpn_convs.0.conv.weight'], after['neck.fpn_convs.0.conv.weight'])


def test_minutes_are_measured_on_the_first_steps(trained, shapes, tmp_path, capfd):
    """The trial run leaves nothing behind, and the run itself starts from its beginning."""
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, '--minutes', '0.01',
                    '--load-from', trained / 'epoch_2.pth') == 0
    shown = capfd.readouterr().err
    assert 's a step, ' in shown
    assert '--minutes 0.01 is too short for an epoch' in shown
    assert 'epoch 1 of 1: ' in shown
    assert len(list(tmp_path.glob('*/vis_data'))) == 1
