"""What a resumed run says of settings that differ from its checkpoint's."""
from copy import deepcopy

import pytest
from mmengine.config import Config

from ghostdet.errors import UserError
from ghostdet.training.resumed_config import follow_config

SCHEDULES = [dict(type='LinearLR', by_epoch=False, begin=0, end=100, start_factor=0.1),
             dict(type='MultiStepLR', begin=0, end=12, milestones=[8, 11], gamma=0.1)]
SETTINGS = dict(
    work_dir='runs/a', experiment_name='a_1', launcher='none', load_from=None, randomness=dict(seed=0),
    model=dict(backbone=dict(type='GhostNet', init_cfg=dict(type='Pretrained', checkpoint='a.pth'), norm_eval=True)),
    train_dataloader=dict(batch_size=4, dataset=dict(pipeline=[dict(type='Resize', scale=(1, 2)), dict(type='Pack')])),
    val_evaluator=dict(outfile_prefix='runs/a/detections', ann_file='runs/a/data/val.json', collect_device='cpu'),
    train_cfg=dict(type='ResumableTrainLoop', max_epochs=12), param_scheduler=SCHEDULES,
    auto_scale_lr=dict(enable=True, base_batch_size=4), custom_hooks=[dict(type='SyncBuffersHook')],
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=1e-4), paramwise_cfg=dict(norm_decay_mult=0)))


def config(**changes):
    cfg = Config(deepcopy(SETTINGS))
    cfg.merge_from_dict({name.replace('__', '.'): value for name, value in changes.items()})
    return cfg


def followed(cfg, stored):
    follow_config(cfg, dict(cfg=stored.pretty_text))
    return cfg


@pytest.mark.parametrize('changes', [
    {}, dict(experiment_name='a_2', launcher='pytorch', model_wrapper_cfg=dict(type='DDP'),
             val_evaluator__collect_device='gpu'),
    dict(work_dir='/b', val_evaluator__outfile_prefix='/b/detections', val_evaluator__ann_file='/b/data/val.json'),
    dict(test_dataloader=dict(batch_size=1), expected=dict(bbox_mAP=0.3), custom_hooks=(dict(type='SyncBuffersHook'),)),
    dict(optim_wrapper__optimizer__lr=0.05, auto_scale_lr__base_batch_size=2, randomness__seed=1,
         param_scheduler__0__end=50)])
def test_follow_config_is_silent_about_what_is_the_same_or_said_elsewhere(changes, caplog):
    """The learning rate and the length of the run are reported with the rates."""
    followed(config(**changes), config())
    assert caplog.text == ''


def test_other_data_are_named(caplog):
    followed(config(counts=dict(train=[292, 3941], val=[72, 945])),
             config(counts=dict(train=[205, 2764], val=[72, 945])))
    assert 'the train split has 292 images with 3941 boxes, but it had 205 with 2764 in the' in caplog.text
    assert 'val split' not in caplog.text


def test_follow_config_names_what_has_no_effect_and_what_else_differs(caplog):
    cfg = config(load_from='b.pth', optim_wrapper__optimizer__weight_decay=0.1, model__backbone__init_cfg=None,
                 optim_wrapper__paramwise_cfg__norm_decay_mult=1, model__backbone__norm_eval=False,
                 train_dataloader__dataset__pipeline=[dict(type='Pack')], train_dataloader__batch_size=2,
                 optim_wrapper__clip_grad=dict(max_norm=1))
    followed(cfg, config())
    assert [record.message.split(': ')[1] for record in caplog.records] == [
        'load_from, model.backbone.init_cfg, optim_wrapper.optimizer.weight_decay, '
        'optim_wrapper.paramwise_cfg.norm_decay_mult',
        'model.backbone.norm_eval, optim_wrapper.clip_grad, train_dataloader.batch_size, '
        'train_dataloader.dataset.pipeline']
    assert 'so these settings have no effect' in caplog.text
    assert "other settings that differ from the checkpoint's run" in caplog.text


def test_follow_config_refuses_another_optimizer():
    """Its state cannot be loaded: SGD ends at a missing key, and AdamW continues as Adam."""
    followed(config(optim_wrapper__optimizer__type='torch.optim.SGD'), config())
    with pytest.raises(UserError, match='has the optimizer AdamW, but the checkpoint has the state of SGD: keep SGD'):
        followed(config(optim_wrapper__optimizer__type='AdamW'), config())


@pytest.mark.parametrize('meta', [{}, dict(cfg=5), dict(cfg='a = ['), dict(cfg='')])
def test_follow_config_takes_a_checkpoint_without_a_config(meta, caplog):
    follow_config(config(), meta)
    assert ('cannot be read' in caplog.text) == (meta.get('cfg') == 'a = [')


def milestones(cfg):
    return cfg.param_scheduler[1]['milestones'], cfg.param_scheduler[1]['end']


def test_a_schedule_in_epochs_is_stretched_once_whatever_is_resumed_from(caplog):
    first = config()
    longer = followed(config(train_cfg__max_epochs=24), first)
    assert milestones(longer) == ([16, 22], 24)
    assert longer.param_scheduler[0] == SCHEDULES[0]
    assert 'stretched from 12 to 24 epochs: MultiStepLR end 12 -> 24; MultiStepLR milestones [8, 11]' in caplog.text
    caplog.clear()
    again = followed(config(train_cfg__max_epochs=24), longer)  # the same command
    saved = followed(deepcopy(longer), longer)  # the config that was saved
    for cfg in (again, saved):
        assert cfg.param_scheduler == longer.param_scheduler
        assert caplog.text == ''
        assert milestones(followed(config(train_cfg__max_epochs=18), cfg)) == ([12, 16], 18)
        caplog.clear()
    file = deepcopy(longer)  # the saved config, in a run that is longer still
    file.train_cfg.max_epochs = 36
    assert milestones(followed(file, longer)) == ([24, 33], 36)


def test_a_schedule_that_the_user_changed_is_not_stretched(caplog):
    cfg = config(train_cfg__max_epochs=24, param_scheduler__1__milestones=[10, 20], param_scheduler__1__end=24)
    assert milestones(followed(cfg, config())) == ([10, 20], 24)
    assert caplog.text == ''
