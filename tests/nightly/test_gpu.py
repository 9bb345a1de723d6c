"""What has to hold on a GPU. `pytest -m gpu` runs it where there is one; it has not been run yet."""
import pytest
import torch
from mmcv.ops import nms, roi_align

from tests.conftest import MINI, run_tool

pytestmark = [pytest.mark.gpu,
              pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA GPU')]


def test_operators_find_what_they_find_on_the_cpu():
    corners = torch.rand(500, 2) * 80
    boxes = torch.cat([corners, corners + torch.rand(500, 2) * 40 + 1], 1)
    scores = torch.randperm(500) / 500
    _, kept = nms(boxes, scores, 0.5)
    _, on_gpu = nms(boxes.cuda(), scores.cuda(), 0.5)
    assert kept.tolist() == on_gpu.tolist()
    features, regions = torch.rand(1, 4, 40, 40), torch.cat([torch.zeros(500, 1), boxes], 1)
    expected = roi_align(features, regions, (7, 7), 0.5, 0, 'avg', True)
    result = roi_align(features.cuda(), regions.cuda(), (7, 7), 0.5, 0, 'avg', True)
    torch.testing.assert_close(result.cpu(), expected, rtol=1e-4, atol=1e-4)


def test_a_training_with_mixed_precision(shapes, tmp_path):
    assert run_tool('train', MINI, '--work-dir', tmp_path, '--data-root', shapes, '--amp') == 0
    assert (tmp_path / 'coco.json').is_file()
