"""MMDetection's own programs with our configs and checkpoints."""
import json
import sys
import uuid
from pathlib import Path

import cv2
import mmdet
import numpy as np
import pytest
from mmdet.apis import DetInferencer, inference_detector, init_detector

import ghostdet
from ghostdet.cli import door
from ghostdet.data.shapes import ShapesSet
from ghostdet.weights.checkpoint_file import read_torch
from tests.conftest import MINI, SHORT, run_tool, tool

pytestmark = pytest.mark.slow

TOOLS = Path(mmdet.__file__).parent / '.mim/tools'
SHAPES = ('train_dataloader.dataset.data_root', 'val_dataloader.dataset.data_root', 'test_dataloader.dataset.data_root')


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Ordinary JPEGs and PNGs of several sizes."""
    folder = tmp_path_factory.mktemp('pictures')
    ShapesSet(train=1, val=1, size=200).write(folder)
    (file,) = (folder / 'val2017').iterdir()
    image, sizes = cv2.imread(str(file)), {'square.jpg': (200, 200), 'wide.jpg': (190, 90), 'tall.png': (77, 143)}
    for name, size in sizes.items():
        cv2.imwrite(str(folder / name), cv2.resize(image, size))
    return [file, *(folder / name for name in sizes)]


@pytest.fixture
def stock(monkeypatch, shapes):
    """Run a tool of mmdet by `ghostdet run` on the small data, with further settings; returns the exit code."""
    def run(name, *arguments, options=()):
        monkeypatch.setattr(sys, 'argv', list(sys.argv))
        monkeypatch.setattr(sys, 'path', list(sys.path))
        data = [f'{key}={shapes}/' for key in SHAPES]
        truth = [f'{key}.ann_file={shapes}/annotations/instances_val2017.json' for key in ('val_evaluator', 'test_evaluator')]
        return door.run(tool('run'), [str(TOOLS / name), *map(str, arguments), '--cfg-options', *SHORT, *data, *truth, *options,
                                        f'visualizer.name={uuid.uuid4().hex}'])  # a second run would write to the first's folder
    return run


def test_a_run_saves_the_config_with_mmdets_transforms(trained):
    for text in ((trained / 'retinanet_ghostnet_1.1x_mini.py').read_text(), read_torch(trained / 'epoch_2.pth')['meta']['cfg']):
        assert 'LoadImageFromFile' in text
        assert not any(f"'{name}'" in text for name in ('ReadImage', 'LoadWholeImage', 'DecodeAndResize', 'PackPlanes'))


def test_inferencer_finds_the_same_boxes(trained, pictures):
    file = str(trained / 'epoch_2.pth')
    ours = ghostdet.Detector(file)
    saved = str(trained / 'retinanet_ghostnet_1.1x_mini.py')  # has the score threshold of 0, which an inferencer cannot set
    theirs = DetInferencer(model=saved, weights=file, device='cpu', show_progress=False)
    model = init_detector(MINI, file, device='cpu', cfg_options={'model.test_cfg.score_thr': 0})
    for picture in pictures:
        found = ours(str(picture), threshold=0)
        assert len(found) > 10
        (inferred,) = theirs(str(picture), pred_score_thr=0)['predictions']
        instances = inference_detector(model, str(picture)).pred_instances
        for boxes, scores, labels in ((inferred['bboxes'], inferred['scores'], inferred['labels']),
                                      (instances.bboxes.numpy(), instances.scores.numpy(), instances.labels.tolist())):
            np.testing.assert_allclose(boxes, found.boxes, atol=0.01)
            np.testing.assert_allclose(scores, found.scores, atol=1e-5)
            assert labels == found.labels.tolist()


def test_their_test_gives_our_ap(stock, trained, shapes, tmp_path, capsys):
    checkpoint = trained / 'epoch_2.pth'
    assert run_tool('test', MINI, checkpoint, '--data-root', shapes, '--work-dir', tmp_path / 'ours') == 0
    ours = json.loads((tmp_path / 'ours/coco.json').read_text())['metrics']
    assert stock('test.py', MINI, checkpoint, '--work-dir', tmp_path / 'theirs') == 0
    theirs = json.loads(next((tmp_path / 'theirs').glob('*/*.json')).read_text())
    for name, key in dict(AP='bbox_mAP', AP50='bbox_mAP_50', AP75='bbox_mAP_75').items():
        assert theirs[f'coco/{key}'] == pytest.approx(ours[name], abs=5e-4)  # they round to three digits


def test_their_training_runs_and_we_go_on_with_it(stock, shapes, tmp_path):
    assert stock('train.py', MINI, '--work-dir', tmp_path, options=['train_cfg.max_epochs=1']) == 0
    saved = (tmp_path / 'retinanet_ghostnet_1.1x_mini.py').read_text()
    assert "type='LoadImageFromFile'" in saved
    assert ghostdet.Detector(tmp_path / 'epoch_1.pth', config=MINI).classes == ('disc', 'square', 'triangle')
    assert run_tool('test', MINI, tmp_path / 'epoch_1.pth', '--data-root', shapes, '--work-dir', tmp_path / 'ours') == 0


def test_their_flops_and_browser(stock, shapes, tmp_path, capsys):
    assert stock('analysis_tools/get_flops.py', MINI, '--num-images', 2) == 0
    assert 'Flops: ' in capsys.readouterr().out
    assert stock('analysis_tools/browse_dataset.py', MINI, '--output-dir', tmp_path / 'drawn', '--not-show') == 0
    assert len(list((tmp_path / 'drawn').glob('*.png'))) == 8
