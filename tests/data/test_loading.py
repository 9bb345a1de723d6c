"""An image is read to its end or not at all, with the same pixels as mmcv's reader gives."""
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from ghostdet.data.loading import LoadWholeImage
from ghostdet.errors import DataError


@pytest.fixture
def picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)

    def save(name, **kwargs):
        Image.fromarray(noise).save(tmp_path / name, **kwargs)
        return tmp_path / name
    return save


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.webp', 'a.tiff'])
def test_pixels_are_those_of_mmcv(picture, name):
    results = dict(img_path=str(picture(name)))
    assert np.array_equal(LoadWholeImage().transform(dict(results))['img'], LoadImageFromFile().transform(dict(results))['img'])


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.webp'])
@pytest.mark.parametrize('kept', [0.9, 0.5, 0])
def test_cut_off_image_is_refused_by_name(picture, name, kept):
    file = picture(name)
    content = file.read_bytes()
    file.write_bytes(content[:int(len(content) * kept)])
    with pytest.raises(DataError, match=f'{name} cannot be read to its end'):
        LoadWholeImage().transform(dict(img_path=str(file)))


def test_trailing_bytes_are_no_cut(picture):
    file = picture('a.jpg')
    file.write_bytes(file.read_bytes() + b'\0' * 100)
    assert LoadWholeImage().transform(dict(img_path=str(file)))['img'].shape == (60, 80, 3)


def test_missing_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r'gone\.jpg'):
        LoadWholeImage().transform(dict(img_path=str(tmp_path / 'gone.jpg')))
