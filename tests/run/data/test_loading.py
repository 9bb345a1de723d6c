"""An image is read to its end or not at all, with the pixels that mmdet gives or, where it is decoded smaller, nearly those."""
import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from PIL import Image

from ghostdet.analysis.loading_speed import photo_like
from tests.conftest import MINI


@pytest.fixture
def photo(tmp_path):
    def save(width, height, name='photo.jpg', **kwargs):
        Image.fromarray(photo_like(width, height, np.random.default_rng(0))).save(tmp_path / name, quality=92, **kwargs)
        return tmp_path / name
    return save


def test_detector_takes_files_and_arrays(photo):
    detector = init_detector(MINI, device='cpu', cfg_options={'model.test_cfg.score_thr': 0})
    file = str(photo(150, 100))
    of_file, of_array = inference_detector(detector, [file])[0], inference_detector(detector, [cv2.imread(file)])[0]
    assert len(of_file.pred_instances) > 0
    assert torch.equal(of_file.pred_instances.bboxes, of_array.pred_instances.bboxes)
    assert of_file.ori_shape == of_array.ori_shape == (100, 150)
