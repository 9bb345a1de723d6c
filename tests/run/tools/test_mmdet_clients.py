"""MMDetection's own programs with our configs and checkpoints."""
import cv2
import numpy as np
import pytest
from mmdet.apis import DetInferencer, inference_detector, init_detector

import ghostdet
from ghostdet.data.shapes import ShapesSet
from ghostdet.weights.checkpoint_file import read_torch
from tests.conftest import MINI


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


def test_a_run_saves_the_config_with_mmdets_transforms(trained):
    for text in ((trained / 'retinanet_ghostnet_1.1x_mini.py').read_text(),
                 read_torch(trained / 'epoch_2.pth')['meta']['cfg']):
        assert 'LoadImageFromFile' in text
        assert not any(f"'{name}'" in text for name in ('ReadImage', 'LoadWholeImage', 'DecodeAndResize', 'PackPlanes'))


def test_inferencer_finds_the_same_boxes(trained, pictures):
    file = str(trained / 'epoch_2.pth')
    ours = ghostdet.Detector(file)
    # this config has the score threshold of 0, which an inferencer cannot set
    saved = str(trained / 'retinanet_ghostnet_1.1x_mini.py')
    theirs = DetInferencer(model=saved, weights=file, device='cpu', show_progress=False)
    model = init_detector(MINI, file, device='cpu', cfg_options={'model.test_cfg.score_thr': 0})
    for picture in pictures:
        result = ours(str(picture), threshold=0)
        assert len(result) > 10
        (inferred,) = theirs(str(picture), pred_score_thr=0)['predictions']
        instances = inference_detector(model, str(picture)).pred_instances
        for boxes, scores, labels in ((inferred['bboxes'], inferred['scores'], inferred['labels']),
                                      (instances.bboxes.numpy(), instances.scores.numpy(), instances.labels.tolist())):
            np.testing.assert_allclose(boxes, result.boxes, atol=0.01)
            np.testing.assert_allclose(scores, result.scores, atol=1e-5)
            assert labels == result.labels.tolist()
