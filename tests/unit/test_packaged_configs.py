"""Configs by name."""
from pathlib import Path

import pytest
from mmengine.config import Config

from ghostdet.errors import UserError
from ghostdet.packaged_configs import copy_config, find_config, packaged_configs, purpose
from tests.conftest import MINI, ROOT


def test_all_configs_of_the_project_are_in_the_package():
    files = [file for folder in ('configs', 'configs/pretrain') for file in (ROOT / folder).glob('*.py')]
    result = packaged_configs()
    assert {name: file.read_text() for name, file in result.items()} == {file.stem: file.read_text() for file in files}
    assert all(purpose(file)[-1:] in '.,:)' for file in files), 'each begins with a comment'


@pytest.mark.parametrize('name', ['retinanet_ghostnet_1.1x_mini', 'retinanet_ghostnet_1.1x_mini.py', MINI])
def test_a_config_is_a_name_or_a_path(name):
    assert find_config(name).read_text() == Path(MINI).read_text()


@pytest.mark.parametrize('name', ['retinanet_ghostnet_1.1x_mini', 'retinanet_ghostnet_1.1x_mini.py'])
def test_a_file_here_goes_before_a_name(name, tmp_path, monkeypatch):
    """It may be an edited copy; but a copy is always one of the package."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'retinanet_ghostnet_1.1x_mini.py').touch()
    assert find_config(name).read_text() == ''
    first, *_ = copy_config(name, tmp_path / 'new')
    assert first.read_text() == Path(MINI).read_text()


def test_own_files_are_not_copied(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.py').touch()
    with pytest.raises(UserError, match=r'mine\.py is a file of yours'):
        copy_config('mine.py', tmp_path)


@pytest.mark.parametrize(('name', 'message'), [
    ('retinanet_ghostnet_1.1_mini', 'Similar names: retinanet_ghostnet_1.1x_mini'), ('', 'ghostdet configs lists'),
    ('coco_1x', 'ghostdet configs lists'), ('elsewhere/retinanet_ghostnet_1.1x_mini.py', 'elsewhere/retinanet')])
def test_other_names_are_refused(name, message):
    with pytest.raises(UserError, match=message):
        find_config(name)


@pytest.mark.parametrize('name', ['faster-rcnn_ghostnet_1.1x-tf_coco', 'ghostnet_1.1x_shapes'])
def test_a_copy_is_the_same_config(name, tmp_path):
    first, *bases = copy_config(name, tmp_path)
    assert first.name == f'{name}.py'
    assert bases
    assert Config.fromfile(first).to_dict() == Config.fromfile(find_config(name)).to_dict()
    assert copy_config(name, tmp_path) == [first, *bases]  # again: nothing to do


def test_a_copy_overwrites_nothing(tmp_path):
    _, base, *_ = copy_config('retinanet_ghostnet_1.1x_mini', tmp_path / 'first')
    (tmp_path / base.relative_to(tmp_path / 'first')).parent.mkdir()
    (tmp_path / base.relative_to(tmp_path / 'first')).write_text('mine')
    with pytest.raises(UserError, match=f'{base.name} would be overwritten'):
        copy_config('retinanet_ghostnet_1.1x_mini', tmp_path)
    (tmp_path / base.relative_to(tmp_path / 'first')).unlink()
    (tmp_path / base.relative_to(tmp_path / 'first')).symlink_to('nowhere')
    with pytest.raises(UserError, match=f'{base.name} would be overwritten'):
        copy_config('retinanet_ghostnet_1.1x_mini', tmp_path)
    assert not (tmp_path / 'retinanet_ghostnet_1.1x_mini.py').exists()
