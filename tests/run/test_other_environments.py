"""The wheel, without an extra, beside the packages of `make`, but without mmpretrain and safetensors."""
import subprocess

import pytest

from tests.conftest import SHORT
from tests.other_environments import environment, use, without_clone


@pytest.mark.network
def test_ghostnet_is_a_backbone_where_packages_of_the_extra_are_missing(shapes, tmp_path, tmp_path_factory):
    python = environment('onedl', tmp_path_factory)
    use(python, shapes, tmp_path)

    def train(config):
        return subprocess.run([python, '-m', 'ghostdet', 'train', config, '--data-root', shapes, '--cfg-options',
                               *SHORT, 'train_cfg.max_epochs=1'], cwd=tmp_path, env=without_clone(),
                              capture_output=True, text=True)
    assert train('retinanet_ghostnet_1.1x_mini').returncode == 0
    result = train('retinanet_mobilenetv3_1.0x_mini')
    assert result.returncode == 1
    assert 'needs mmpretrain' in result.stderr
    assert 'pip install "ghostdet[train]"' in result.stderr
