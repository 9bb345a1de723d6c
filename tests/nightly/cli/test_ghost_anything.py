"""Detectors of MMDetection with one word changed, and YOLO, through the command lines."""
import pytest

from tests.conftest import ROOT, run_tool


@pytest.mark.parametrize(('detector', 'options'), [
    ('yolov3',
     ['train_dataloader.dataset.times=1', 'train_dataloader.dataset.dataset.pipeline.4.scale=[(64,64),(96,96)]']),
    ('yolox', ['train_dataloader.dataset.pipeline.0.img_scale=(64,64)',
               'train_dataloader.dataset.pipeline.4.scale=(64,64)',
               'model.data_preprocessor.batch_augments.0.random_size_range=(64,96)',
               'default_hooks.checkpoint.interval=1'])])
def test_yolos_on_coco_train_resume_and_test(detector, options, shapes, tmp_path):
    config = ROOT / f'configs/{detector}_ghostnet_1.1x_coco.py'
    common = [config, '--data-root', shapes]
    run = tmp_path / 'run'
    options = [*options, 'val_dataloader.dataset.pipeline.1.scale=(64,64)']
    assert run_tool('train', *common, '--from-scratch', '--work-dir', run, options=options) == 0
    assert run_tool('train', *common, '--resume', '--work-dir', run, epochs=2, options=options) == 0
    assert (run / 'epoch_2.pth').exists()
    assert run_tool('test', *common, run / 'epoch_2.pth',
                    options=['test_dataloader.dataset.pipeline.1.scale=(64,64)']) == 0
