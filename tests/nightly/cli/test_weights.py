"""`ghostdet weights` and `python -m benchmarks.transfer` through their command lines."""
import os
import subprocess
import sys

from PIL import Image

from tests.conftest import ROOT


def test_transfer_pretrains_and_trains_twice_and_draws_both(tmp_path):
    small = ['train_dataloader.batch_size=8', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0']
    result = subprocess.run(
        [sys.executable, '-m', 'benchmarks.transfer', '--out', 'out', '--epochs', '1', '--cfg-options',
         'shapes.train=8', 'shapes.val=4', 'shapes.size=64', 'model.test_cfg.score_thr=0', *small, '--pretrain-options',
         'shapes_folder.train=24', 'shapes_folder.val=6', 'shapes_folder.size=32', 'train_cfg.max_epochs=1', *small],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert result.returncode == 0, result.stderr[-3000:]
    assert '423 of 423 tensors' in result.stderr
    assert 'unexpected:' not in result.stderr
    with Image.open(tmp_path / 'out/transfer.png') as image:
        assert min(image.size) > 300
