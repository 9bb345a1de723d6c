"""What the runner says of a checkpoint, of the learning rate, and of where it starts."""
import logging

import pytest
import torch
from mmengine.config import Config
from torch import nn

from ghostdet.errors import UserError
from ghostdet.models.backbones.ghostnet import GhostNet
from ghostdet.training.initial_weights import drop_weights, ensure_weights, without_pretrained
from ghostdet.training.plan import complete
from ghostdet.training.runner import DetectionRunner
from ghostdet.weights.fitting import load_fitting, read_checkpoint


def model():
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def test_fitting_tensors_are_loaded_and_the_others_named():
    source, target = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)), model()
    state = {**source.state_dict(), 'extra.a': torch.zeros(1), 'extra.b': torch.zeros(1)}
    note = load_fitting(target, state, 'some.pth', must_fit=False)
    assert torch.equal(target[0].weight, source[0].weight)
    assert "2 of the model's 4 tensors loaded" in note
    assert '1.weight (2, 4) (the file has (5, 4))' in note
    assert 'not in the model: 2 of extra' in note


def test_nothing_that_fits_and_something_missing_are_refused():
    with pytest.raises(UserError, match=r'other\.pth: 0 of'):
        load_fitting(model(), {'x': torch.zeros(1)}, 'other.pth', must_fit=False)
    state = model().state_dict()
    del state['1.bias']
    with pytest.raises(UserError, match=r'1\.bias \(2,\) \(the file has none\)'):
        load_fitting(model(), state, 'some.pth', must_fit=True)


@pytest.mark.parametrize('content', [b'', b'not a checkpoint'])
def test_unreadable_checkpoint_is_named(tmp_path, content):
    (tmp_path / 'bad.pth').write_bytes(content)
    with pytest.raises(UserError, match=r'bad\.pth is (empty|not a checkpoint)'):
        read_checkpoint(str(tmp_path / 'bad.pth'))


def test_file_of_another_kind_is_named(tmp_path):
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(UserError, match='holds a list'):
        read_checkpoint(str(tmp_path / 'list.pth'))


@pytest.mark.parametrize(('batch_size', 'accumulated', 'expected'), [(16, 1, 0.01), (2, 1, 0.00125), (2, 4, 0.005)])
def test_complete_scales_the_learning_rate_by_accumulated_steps_and_once(batch_size, accumulated, expected):
    dataset = dict(type='CocoDataset', pipeline=[])
    cfg = Config(dict(
        train_cfg=dict(by_epoch=True, max_epochs=1), auto_scale_lr=dict(enable=True, base_batch_size=16),
        train_dataloader=dict(batch_size=batch_size, dataset=dataset), val_dataloader=dict(dataset=dataset),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01), accumulative_counts=accumulated)))
    for _ in range(2):
        complete(cfg)
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(expected)
    assert cfg.train_cfg == dict(type='ResumableTrainLoop', max_epochs=1)
    assert cfg.default_hooks.checkpoint.type == 'WholeCheckpointHook'


def config(checkpoint, **backbone):
    init_cfg = dict(type='Pretrained', checkpoint=str(checkpoint))
    return Config(dict(model=dict(backbone=dict(type='GhostNet', init_cfg=init_cfg, **backbone))))


def test_weights_are_looked_for_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr('ghostdet.download.TRIES', 1)
    state = GhostNet(out_indices=(0, 1, 2, 3, 4)).state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'there.pth')
    ensure_weights(config(tmp_path / 'there.pth'))
    for name in (tmp_path / 'not_there.pth', 'http://127.0.0.1:9/not_there.pth'):
        with pytest.raises(UserError,
                           match=r'not_there\.pth, cannot be read or downloaded.*Put the file there, or .*FILE$'):
            ensure_weights(config(name))


@pytest.mark.parametrize('spoil', [
    lambda state: {f'x.{key}': value for key, value in state.items()}, lambda state: GhostNet(1.1).state_dict(),
    lambda state: [1, 2]])
def test_weights_that_do_not_fit_are_refused(tmp_path, spoil):
    torch.save(spoil(GhostNet().state_dict()), tmp_path / 'other.pth')
    with pytest.raises(UserError,
                       match=r'other\.pth, cannot be used.*(do not fit the GhostNet|no known layout of GhostNet|'
                       r'holds no tensors).*\. Name another with --cfg-options .*FILE; or stay$'):
        ensure_weights(config(tmp_path / 'other.pth'), '; or stay')


def test_without_weights_statistics_have_to_be_learned(tmp_path):
    cfg = config('x.pth', norm_eval=True, frozen_stages=2)
    changes = drop_weights(cfg)
    assert cfg.model.backbone == dict(type='GhostNet', init_cfg=None, norm_eval=False, frozen_stages=-1)
    assert len(changes) == 3
    assert drop_weights(cfg) == []


def test_other_initialisation_stays():
    kaiming = dict(type='Kaiming', layer='Conv2d')
    assert without_pretrained([kaiming, dict(type='Pretrained', checkpoint='x')]) == [kaiming]
    assert without_pretrained(dict(type='Pretrained', checkpoint='x')) is None
    assert without_pretrained(None) is None


def test_handlers_that_another_program_added_keep_their_level(tmp_path):
    class Mine(logging.StreamHandler):
        """Not mmengine's."""
    mine, runner = Mine(), DetectionRunner.__new__(DetectionRunner)
    runner._experiment_name, how = str(tmp_path), dict(log_file=str(tmp_path / 'a.log'))
    logger = runner.build_logger(**how)
    logger.addHandler(mine)
    assert runner.build_logger(**how) is logger
    assert mine.level == logging.NOTSET
    assert {handler.level for handler in logger.handlers if type(handler) is logging.StreamHandler} == {logging.ERROR}
