"""`--scale`: one number sets the size of images in the whole config."""
import re

import pytest
from mmengine.config import Config

from ghostdet.errors import UserError
from ghostdet.packaged_configs import packaged_configs
from ghostdet.training.config_file import parts, read_config
from ghostdet.training.image_scale import SIZES, scale_of, set_scale
from tests.conftest import by_day

NAMES = [name for name in packaged_configs() if name.partition('_')[0] in (
    'retinanet', 'faster-rcnn', 'nanodet-plus', 'yolov3', 'yolox', 'rtmdet')]
assert len(NAMES) > 60


def changed(before, after, path=''):
    """Dotted paths of the settings that differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [found for key in before | after for found in changed(before.get(key), after.get(key), f'{path}.{key}')]
    if isinstance(before, (list, tuple)) and len(before) == len(after):
        return [found for index, pair in enumerate(zip(before, after)) for found in changed(*pair, f'{path}.{index}')]
    return [path] * (before != after)


@pytest.mark.parametrize('name', by_day(16, NAMES))
def test_set_scale_of_each_config(name):
    cfg = read_config(name, {})
    before, scale = cfg.to_dict(), scale_of(cfg, 'test')[0]
    set_scale(cfg, max(scale))
    assert cfg.to_dict() == before
    set_scale(cfg, 1216)
    for loader in ('val', 'test'):
        assert scale_of(cfg, loader)[0] == ((1216, 730) if scale == (1333, 800) else (1216, 1216))
    paths = changed(before, cfg.to_dict())
    assert [path for path in paths if path.startswith('.train_dataloader')]
    for path in paths:
        assert re.fullmatch(rf'.*(pipeline|batch_augments).*[.]({"|".join(SIZES)}|border)([.][01])*', path), path


@pytest.mark.parametrize(('name', 'expected'), [
    ('nanodet-plus_shufflenetv2_1.0x_finetune', {
        ('RandomResize', 'scale', (1216, 1216)), ('Resize', 'scale', (1216, 1216))}),
    ('yolov3_ghostnet_1.1x_coco', {
        ('RandomResize', 'scale', ((928, 928), (1216, 1216))), ('Resize', 'scale', (1216, 1216))}),
    ('yolox_tiny_coco', {  # tested at 416, trained at 320 to 640; a mosaic is cut by half a side at each border
        ('Mosaic', 'img_scale', (1856, 1856)), ('RandomAffine', 'border', (-928, -928)),
        ('Resize', 'scale', (1856, 1856)), ('Resize', 'scale', (1216, 1216)),
        ('BatchSyncRandomResize', 'random_size_range', (928, 1856))}),
    ('rtmdet_tiny_coco', {
        ('CachedMosaic', 'img_scale', (1216, 1216)), ('CachedMixUp', 'img_scale', (1216, 1216)),
        ('RandomResize', 'scale', (2432, 2432)), ('RandomResize', 'scale', (1216, 1216)),
        ('RandomCrop', 'crop_size', (1216, 1216)), ('Pad', 'size', (1216, 1216)),
        ('Resize', 'scale', (1216, 1216))})])
def test_set_scale_changes_all_sizes_in_proportion(name, expected):
    cfg = read_config(name, {})
    set_scale(cfg, 1216)

    def frozen(value):
        return tuple(map(frozen, value)) if isinstance(value, (list, tuple)) else value
    used = Config({key: cfg[key] for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'model')}
                  | dict(custom_hooks=cfg.get('custom_hooks') or []))
    kinds = {kind for kind, _, _ in expected}
    assert {(part['type'], key, frozen(part[key])) for part in parts(used.values()) if part.get('type') in kinds
            for key in (*SIZES, 'border') if key in part} == expected


@pytest.mark.parametrize(('side', 'nearest'), [(1000, '992 or 1024'), (8, '32'), (0, '32'), (-5, '32')])
def test_set_scale_refuses_what_the_config_has_no_multiple_of(side, nearest):
    cfg = read_config('nanodet-plus_shufflenetv2_1.0x_finetune', {})
    with pytest.raises(UserError, match=f'--scale {side}: expected a multiple of 32 pixels, .* such as {nearest}$'):
        set_scale(cfg, side)


def test_set_scale_refuses_what_no_memory_holds():
    with pytest.raises(UserError, match='--scale 100000: expected at most 8192 pixels'):
        set_scale(read_config('nanodet-plus_shufflenetv2_1.0x_finetune', {}), 100_000)


def test_set_scale_without_a_resize():
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))))
    with pytest.raises(UserError, match='no Resize to a size in pixels'):
        set_scale(cfg, 416)


def test_set_scale_leaves_what_is_no_size_in_pixels():
    steps = [dict(type='RandomCrop', crop_size=(0.5, 1), crop_type='relative_range'),
             dict(type='RandomCenterCropPad', border=128, crop_size=(416, 832)),
             dict(type='Resize', scale=416, keep_ratio=True), dict(type='RandomResize', scale=[(416, 416), (833, 1)])]
    cfg = Config(dict(test_dataloader=dict(dataset=dict(type='Wrapper', dataset=dict(pipeline=steps)))))
    set_scale(cfg, 832)
    steps[1]['crop_size'], steps[2]['scale'], steps[3]['scale'] = (832, 1664), 832, [(832, 832), (1666, 2)]
    assert cfg.to_dict()['test_dataloader']['dataset']['dataset']['pipeline'] == steps
