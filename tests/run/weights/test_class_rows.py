"""A detector that starts from another one keeps what that knows of the classes of the same name."""
import json
import logging
import shutil

import pytest
import torch

from ghostdet.errors import UserError
from ghostdet.training.build import build_detector
from ghostdet.training.config_file import read_config
from ghostdet.training.datasets import heads
from ghostdet.weights.class_rows import Rows, by_name, last_layers
from tests.conftest import MINI, nightly, run_tool

CONFIGS = ['retinanet_ghostnet_1.1x_mini', 'nanodet-plus_repghostnet_1.11x_mini', 'yolov3_ghostnet_1.1x_mini',
           'yolox_ghostnet_1.1x_mini', 'faster-rcnn_ghostnet_1.1x_mini', 'rtmdet_ghostnet_1.1x_coco']
OLD, NEW = ('cat', 'Fire truck', 'dog', 'sheep'), ('sheep', 'kite', 'fire_truck', 'CAT', 'pen')


def detector(config, classes, agnostic=False):
    """In float64, with random weights in all last layers."""
    cfg = read_config(config, {})
    for head in heads(cfg.model):
        head['num_classes'] = classes
        if agnostic and 'reg_class_agnostic' in head:
            head['reg_class_agnostic'] = True
    model = build_detector(cfg, config).double()
    for name, _ in last_layers(model):
        layer = model.get_submodule(name)
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    return model


@pytest.mark.parametrize('config', [*CONFIGS[:3], *nightly(*CONFIGS[3:])])
def test_by_name_permutes_the_outputs_with_the_classes(config):
    """Before decoding, to rounding in float64."""
    old, new = detector(config, 4), detector(config, 4)
    order = [2, 0, 3, 1]
    rows, _ = by_name(new, old.state_dict(), OLD, [OLD[index] for index in order])
    assert len(rows) == 2 * len(list(last_layers(new)))
    new.load_state_dict({**old.state_dict(), **rows})
    for name, layout in last_layers(new):
        x = torch.randn(2, *old.get_submodule(name).weight.shape[1:], dtype=torch.float64)
        before, after = old.get_submodule(name)(x).flatten(1), new.get_submodule(name)(x).flatten(1)
        # One position of the map, or the outputs of a linear layer.
        before, after = (out.reshape(2, layout.count(4), -1) for out in (before, after))
        own = layout.of_classes(4)
        torch.testing.assert_close(after[:, own], before[:, own[order]], rtol=0, atol=1e-9)
        torch.testing.assert_close(after[:, layout.of_none(4)], before[:, layout.of_none(4)], rtol=0, atol=1e-9)


@pytest.mark.parametrize(('config', 'agnostic'), [
    (CONFIGS[1], False), *nightly(*((name, False) for name in CONFIGS if name != CONFIGS[1]), (CONFIGS[4], True))])
def test_by_name_keeps_old_rows_new_rows_and_the_rest(config, agnostic):
    old, new = detector(config, len(OLD), agnostic), detector(config, len(NEW), agnostic)
    rows, text = by_name(new, old.state_dict(), OLD, NEW)
    assert text == ('classes: sheep from sheep, fire_truck from Fire truck, CAT from cat; '
                    'new classes, untrained: kite, pen')
    for name, layout in last_layers(new):
        for key in (f'{name}.weight', f'{name}.bias'):
            before, after, initial = old.state_dict()[key], rows[key], new.state_dict()[key]
            for target, source in ((0, 3), (2, 1), (3, 0)):
                assert torch.equal(after[layout.of_classes(5)[target]], before[layout.of_classes(4)[source]])
            for target in (1, 4):
                assert torch.equal(after[layout.of_classes(5)[target]], initial[layout.of_classes(5)[target]])
            assert torch.equal(after[layout.of_none(5)], before[layout.of_none(4)])


def test_by_name_without_classes_takes_no_row_of_a_class():
    old, new = detector(CONFIGS[1], 4), detector(CONFIGS[1], 4)
    rows, text = by_name(new, old.state_dict(), None, NEW[:4])
    assert 'does not name its own' in text
    for name, layout in last_layers(new):
        for key in (f'{name}.weight', f'{name}.bias'):
            own = layout.of_classes(4).flatten()
            assert torch.equal(rows[key][own], new.state_dict()[key][own])
            assert torch.equal(rows[key][layout.of_none(4)], old.state_dict()[key][layout.of_none(4)])


def test_by_name_refuses_names_that_become_equal():
    with pytest.raises(UserError, match="'fire truck' and 'Fire-Truck', which are one name"):
        by_name(torch.nn.Linear(1, 1), {}, ('fire truck', 'Fire-Truck'), ('a',))


def test_rows_of_another_layout_are_not_taken():
    assert Rows(3, before=5).classes_in(255) == 80
    assert Rows(3, before=5).classes_in(254) == -1
    assert Rows(each=4).of_classes(2).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert Rows(2, before=1, after=1).of_none(2).tolist() == [0, 3, 4, 7]


def test_train_from_a_detector_names_the_pairs_of_classes(trained, shapes, tmp_path, caplog):
    """Of classes in another order, which were given to the wrong classes."""
    shutil.copytree(shapes, tmp_path / 'data')
    for file in (tmp_path / 'data/annotations').glob('*.json'):
        content = json.loads(file.read_text())
        content['categories'].reverse()
        file.write_text(json.dumps(content))
    caplog.set_level(logging.INFO, 'ghostdet')
    assert run_tool('train', MINI, '--work-dir', tmp_path / 'run', '--data-root', tmp_path / 'data', '--load-from',
                    trained / 'epoch_2.pth', options=['optim_wrapper.optimizer.lr=0']) == 0
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert 'classes: triangle from triangle, square from square, disc from disc' in log
    before, after = (torch.load(file, weights_only=False)['state_dict']
                     for file in (trained / 'epoch_2.pth', tmp_path / 'run/epoch_1.pth'))
    one, other = (state['bbox_head.retina_cls.weight'] for state in (before, after))
    rows = Rows(one.shape[0] // 3).of_classes(3)
    assert torch.equal(other[rows], one[rows.flip(0)])
