"""The wheel, without an extra, beside OpenMMLab's own packages: the newest and the oldest."""
import pytest

from tests.other_environments import environment, use


@pytest.mark.network
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('name', ['openmmlab', 'oldest'])
def test_ghostnet_is_a_backbone_in_openmmlabs_mmdet(name, shapes, tmp_path, tmp_path_factory):
    use(environment(name, tmp_path_factory), shapes, tmp_path)
