"""Which config a checkpoint is run with, and when a named one is refused."""
import pytest
import torch
from mmengine.config import Config

from ghostdet.errors import UserError
from ghostdet.packaged_configs import packaged_configs
from ghostdet.training.checkpoint_config import config_of, differences, stored_config, tile_in
from ghostdet.training.config_file import read_config
from tests.conftest import MINI, by_day

SHUFFLENET = 'nanodet-plus_shufflenetv2_1.0x_416_coco'
NAME, KINDS = 'retinanet_ghostnet_1.1x_mini', ('retinanet', 'nanodet', 'yolov3', 'yolox', 'rtmdet', 'faster')


def content(options=None, config=MINI, **meta):
    """A checkpoint of a run by `config`."""
    text = read_config(config, options or {}).pretty_text
    return dict(state_dict={'backbone.weight': torch.zeros(1)},
                meta=dict(cfg=text, dataset_meta=dict(classes=('disc', 'square', 'triangle')), **meta))


@pytest.mark.parametrize('name', by_day(8, [name for name in packaged_configs() if name.startswith(KINDS)]))
def test_differences_of_a_config_and_itself(name):
    cfg = read_config(name, {})
    stored = stored_config(dict(cfg=cfg.pretty_text), 'a.pth', {})
    assert not list(differences(cfg.model, stored.model))


@pytest.mark.parametrize('options', [
    {'model.backbone.norm_eval': True, 'model.backbone.frozen_stages': 2, 'model.backbone.init_cfg': None},
    {'model.test_cfg.score_thr': 0.3, 'model.bbox_head.loss_cls.gamma': 3.0, 'model.bbox_head.num_classes': 7},
    {'model.bbox_head.norm_cfg.requires_grad': False, 'model.backbone.with_cp': True},
    {'model.data_preprocessor.pad_size_divisor': 64, 'model.neck.no_norm_on_lateral': False}])
def test_config_of_takes_a_named_config_that_trains_in_another_way(options):
    cfg = config_of('a.pth', content(options), MINI, {'model.test_cfg.score_thr': 0.1})
    assert cfg.model.test_cfg.score_thr == 0.1
    assert cfg.filename == MINI


@pytest.mark.parametrize(('options', 'message'), [
    ({'model.backbone.width': 1.3}, f'model.backbone.width: 1.1 in {MINI}, 1.3 in a.pth'),
    ({'model.data_preprocessor.bgr_to_rgb': False}, 'model.data_preprocessor.bgr_to_rgb: True in'),
    ({'model.neck.norm_cfg.type': 'SyncBN', 'model.neck.in_channels': [1, 2, 3, 4]},
     r'trained with \(model.neck.in_channels: \[.*in a.pth\). Leave out the config'),
    ({'model.neck.relu_before_extra_convs': True}, 'relu_before_extra_convs: False in .*, True in a.pth')])
def test_config_of_refuses_a_named_config_of_another_network(options, message):
    with pytest.raises(UserError, match=message):
        config_of('a.pth', content(options), MINI, {})


def test_config_of_compares_no_settings_that_were_asked_for_and_no_config_of_mmdet_2():
    assert config_of('a.pth', content(), MINI, {'model.backbone.width': 1.3}).model.backbone.width == 1.3
    old = content({'model.backbone.width': 1.3})
    del old['meta']['dataset_meta']
    assert config_of('a.pth', old, MINI, {}).model.backbone.width == 1.1


@pytest.mark.parametrize('named', [MINI, None])
@pytest.mark.parametrize(('kept', 'tile'), [({'tile': [416, 42]}, (416, 42)), ({}, None), ({'tile': [416, 416]}, None),
                                            ({'tile': 'x'}, None)])
def test_tile_in_is_that_of_the_checkpoint(kept, tile, named):
    file = content()
    file['meta']['cfg'] += f'\n{Config(kept).pretty_text}\n'
    assert tile_in(config_of('a.pth', file, named, {})) == tile


@pytest.mark.parametrize('named', [SHUFFLENET, None])
def test_config_of_leaves_out_an_auxiliary_head_that_the_checkpoint_does_not_have(named):
    file = content(config=SHUFFLENET)
    assert config_of('a.pth', file, named, {}).model.aux_head is None
    file['state_dict']['aux_head.gfl_cls.weight'] = torch.zeros(1)
    assert config_of('a.pth', file, named, {}).model.aux_head.type == 'NanoDetPlusAuxHead'


@pytest.mark.parametrize(('checkpoint', 'meta', 'name', 'folder'), [
    ('runs/a/epoch_2.pth', dict(experiment_name=f'{NAME}_1_20260101_120000'), NAME, 'runs/a'),
    ('epoch_2.pth', {}, 'epoch_2', '.'),
    ('ghostdet://nanodet-plus-m_416', dict(experiment_name=SHUFFLENET), SHUFFLENET, 'work_dirs/nanodet-plus-m_416')])
def test_stored_config_has_a_name_and_a_folder(checkpoint, meta, name, folder):
    cfg = stored_config(content(**meta)['meta'], checkpoint, {})
    assert (cfg.filename, cfg.work_dir) == (f'{name}.py', folder)


@pytest.mark.parametrize(('meta', 'message'), [
    ({}, 'does not contain the config'), (dict(cfg='a = ('), 'cannot be read')])
def test_a_config_that_is_not_there_is_asked_for(meta, message):
    with pytest.raises(UserError, match=f'{message}.*name (it|one) before the checkpoint'):
        config_of('a.pth', dict(state_dict={}, meta=meta), None, {})


def test_config_of_says_if_a_named_config_has_another_scale(capsys):
    one, other = 'nanodet-plus_shufflenetv2_1.0x_416_coco', 'nanodet-plus_shufflenetv2_1.0x_320_coco'
    config_of('a.pth', content(config=one), other, {})
    assert (f'{other} resizes images to 320x320, but a.pth was trained with a config for 416x416: leave out the '
            'config, or add --scale 416') in capsys.readouterr().err
    config_of('a.pth', content(config=one), one, {})
    assert capsys.readouterr().err == ''
