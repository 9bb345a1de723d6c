"""One picture in each format, turned in each way that cameras write: everything that reads it sees the same picture."""
import io
import json
import os
import sys
import types

import cv2
import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from PIL import Image

from ghostdet.data.loading import own_pipeline
from ghostdet.data.overview import draw_images
from ghostdet.errors import DataError
from ghostdet.images import drawing, listing
from ghostdet.images.decode import check_whole, decode, eight_bits
from ghostdet.images.exif import turned
from ghostdet.images.headers import read_header, read_headers
from ghostdet.infer.detector import _content
from ghostdet.infer.exported import prepare
from ghostdet.infer.manifest import Manifest
from ghostdet.training.config_file import read_config
from ghostdet.training.datasets import dataset_of, ignore_orientation
from ghostdet.training.trained_detector import ImagePipeline
from tests.conftest import MINI
from tests.odd_images import ORIENTATION, saved

WIDTH, HEIGHT = 48, 32
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = dict(zip(((0, 0), (0, -1), (-1, 0), (-1, -1)), (RED, GREEN, BLUE, WHITE)))
# What must be done to the upright picture, so that a viewer that turns it by the orientation shows it upright.
LYING = {1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
         5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p), 7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
         8: lambda p: np.rot90(p, -1)}
FORMATS = {'a.jpg': dict(kind='JPEG', quality=95, subsampling=0), 'a.png': dict(kind='PNG'),
           'late.png': dict(kind='PNG'),
           'a.tif': dict(kind='TIFF'), 'deep.tif': dict(kind='TIFF'), 'a.webp': dict(kind='WEBP', lossless=True),
           'a.avif': dict(kind='AVIF', quality=100)}


def upright():
    """A picture (32, 48, 3), RGB, with a colour in each quarter."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for (row, column), colour in CORNERS.items():
        rows = slice(0, HEIGHT // 2) if row == 0 else slice(HEIGHT // 2, None)
        picture[rows, slice(0, WIDTH // 2) if column == 0 else slice(WIDTH // 2, None)] = colour
    return picture


def in_file(name, turn):
    """The upright picture as the file `name`, turned as orientation `turn` says."""
    lying, exif = np.ascontiguousarray(LYING[turn](upright())), Image.Exif()
    exif[ORIENTATION] = turn
    options = dict(FORMATS[name])
    if name == 'deep.tif':  # Pillow writes no colours of 16 bits
        return with_tiff_tag(cv2.imencode('.tif', lying[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes(), turn)
    content = saved(Image.fromarray(lying), options.pop('kind'), exif=exif, **options)
    return exif_behind_the_pixels(content) if name == 'late.png' else content


def exif_behind_the_pixels(png):
    start = png.index(b'eXIf') - 4
    end = start + 12 + int.from_bytes(png[start:start + 4], 'big')
    return png[:start] + png[end:-12] + png[start:end] + png[-12:]


def with_tiff_tag(content, turn):
    """A little-endian TIFF with an orientation: its directory is written again at the end."""
    place = int.from_bytes(content[4:8], 'little')
    count = int.from_bytes(content[place:place + 2], 'little')
    entries = {content[k:k + 2]: content[k:k + 12] for k in range(place + 2, place + 2 + 12 * count, 12)}
    tag = ORIENTATION.to_bytes(2, 'little')
    entries[tag] = tag + (3).to_bytes(2, 'little') + (1).to_bytes(4, 'little') + turn.to_bytes(4, 'little')
    ordered = b''.join(entries[key] for key in sorted(entries, key=lambda key: int.from_bytes(key, 'little')))
    content += b'\0' * (len(content) % 2)
    return (content[:4] + len(content).to_bytes(4, 'little') + content[8:]
            + len(entries).to_bytes(2, 'little') + ordered + bytes(4))


def corners(pixels):
    """The colours of the four corners, sharpened: pixels are (H, W, 3), RGB."""
    return {place: tuple(int(value > 127) * 255 for value in pixels[place]) for place in CORNERS}


@pytest.fixture(scope='module')
def configs():
    taken, ignored = read_config(MINI, {}), read_config(MINI, {})
    ignore_orientation(ignored)
    return {True: taken, False: ignored}


@pytest.mark.parametrize('is_upright', [True, False])
@pytest.mark.parametrize('turn', range(1, 9))
@pytest.mark.parametrize('name', FORMATS)
def test_everything_sees_the_same_image(name, turn, is_upright, configs, tmp_path):
    """The check, the training pipeline, `predict` with a checkpoint and with an exported file, and what is drawn on."""
    content = in_file(name, turn)
    (tmp_path / name).write_bytes(content)
    expected = upright() if is_upright else LYING[turn](upright())
    size = expected.shape[1::-1]
    check_whole(content)
    headers, problems = read_headers(tmp_path, [name])
    assert (headers[name].size(is_upright), problems) == (size, {})
    drawn, _ = decode(content, upright=is_upright)
    assert corners(drawn[:, :, ::-1]) == corners(expected)
    cfg = configs[is_upright]
    training, testing = (dataset_of(cfg, split).pipeline for split in ('train', 'test'))
    for pipeline in (own_pipeline(training[:1]), own_pipeline(testing[:2])):
        results = run_steps(pipeline, tmp_path / name)
        assert results['ori_shape'] == size[::-1]
        assert corners(results['img'][:, :, ::-1]) == corners(expected)
    by_checkpoint = ImagePipeline(cfg)(content)
    assert by_checkpoint['data_samples'][0].ori_shape == size[::-1]
    assert corners(by_checkpoint['inputs'][0].permute(1, 2, 0).numpy()[:, :, ::-1]) == corners(expected)
    manifest = Manifest('RetinaNet', ('a',), None, size, True, 1, (), (), True, 0.05, 'fp32', '', {}, is_upright)
    by_file = prepare(content, manifest)
    assert by_file.original == size[::-1]
    assert corners(by_file.canvas[0]) == corners(expected)
    with Image.open(io.BytesIO(content)) as image:
        assert corners(_content(image, is_upright)[:, :, ::-1]) == corners(expected)


def run_steps(steps, file):
    results = dict(img_path=str(file), img_id=1)
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    return results


def test_draw_images_a_sheet_is_drawn_upright(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(in_file('a.jpg', 6))
    content = dict(images=[dict(id=1, file_name='a.jpg', width=WIDTH, height=HEIGHT)], annotations=[],
                   categories=[dict(id=1, name='a')])
    for is_upright in (True, False):
        draw_images(content, tmp_path, tmp_path / 'sheet.png', is_upright, count=1)
        with Image.open(tmp_path / 'sheet.png') as sheet:
            pixels = np.asarray(sheet.convert('RGB')).astype(int)
        red = np.argwhere((pixels[..., 0] > 240) & (pixels[..., 1:] < 20).all(-1)).mean(0)
        white_like = np.argwhere((pixels[..., 2] > 240) & (pixels[..., :2] < 20).all(-1)).mean(0)
        # blue is below red in the upright picture, and right of it as it lies
        assert (red[0] < white_like[0]) == is_upright


def test_draw_images_a_large_image_is_drawn_small_and_a_damaged_one_is_named(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(drawing, 'draw', lambda pixels, boxes: shown.append((pixels.shape, *boxes)) or pixels)
    content = dict(images=[dict(id=1, file_name='a.png', width=4000, height=3)], categories=[dict(id=9, name='x')],
                   annotations=[dict(image_id=1, category_id=9, bbox=[1000, 0, 2000, 3])])
    Image.new('RGB', (4000, 3)).save(tmp_path / 'a.png')
    draw_images(content, tmp_path, tmp_path / 'sheet.png', count=1)
    assert shown == [((1, 320, 3), ((80, 0, 240, 0.24), 0, 'x'))]
    cut = in_file('a.jpg', 1)
    (tmp_path / 'a.png').write_bytes(cut[:len(cut) // 2])
    with pytest.raises(DataError, match=r'a\.png cannot be read'):
        draw_images(content, tmp_path, tmp_path / 'sheet.png', count=1)


@pytest.mark.parametrize('turn', range(1, 9))
def test_turned_back_is_the_inverse(turn):
    picture = np.arange(24).reshape(2, 4, 3)
    assert np.array_equal(turned(LYING[turn](picture), turn), picture)
    assert np.array_equal(turned(picture, turn, back=True), LYING[turn](picture))


@pytest.mark.parametrize('exif', [
    b'Exif\0\0garbage', b'',
    b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0'])
def test_read_header_damaged_or_odd_exif_data_is_no_orientation(exif, tmp_path):
    """Not even orientation 99."""
    (tmp_path / 'a.jpg').write_bytes(saved(Image.fromarray(upright()), 'JPEG', exif=exif, quality=95))
    assert read_header(tmp_path / 'a.jpg').size() == (WIDTH, HEIGHT)
    assert corners(decode((tmp_path / 'a.jpg').read_bytes())[0][:, :, ::-1]) == CORNERS


def test_read_header_an_orientation_in_xmp_data_alone_is_not_exif(tmp_path):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    for name, kind in (('a.jpg', 'JPEG'), ('a.webp', 'WEBP')):
        (tmp_path / name).write_bytes(saved(Image.fromarray(upright()), kind, xmp=xmp))
        with Image.open(tmp_path / name) as image:
            assert image.getexif()[ORIENTATION] == 6
        assert read_header(tmp_path / name).size() == (WIDTH, HEIGHT)


# ----------------------------------------------------------------------------------------------------- more than 8 bits

@pytest.mark.parametrize(('values', 'expected'), [
    ([0, 4095], [0, 255]),  # 12 bits in 16
    ([0, 1023, 512], [0, 255, 128]), ([256, 65535], [1, 255]), ([3, 255], [3, 255]), ([0, 256], [0, 128]),
    ([0, 0], [0, 0])])
def test_eight_bits_the_highest_bits_in_use_count(values, expected):
    for kind in (np.uint16, np.int32, np.float32):
        assert eight_bits(np.array([values], kind)).tolist() == [expected]


@pytest.mark.parametrize('bits', [None, 12])
def test_eight_bits_floats_from_0_to_1_are_fractions(bits):
    assert eight_bits(np.array([[0, 0.5, 1]]), bits).tolist() == [[0, 128, 255]]
    assert eight_bits(np.array([[0, 65535.]]), bits).tolist() == [[0, 255]]


@pytest.mark.parametrize('value', [-1.0, 70000.0, float('nan'), float('inf')])
def test_read_headers_what_is_no_pixel_is_refused_by_the_check(value, tmp_path):
    pixels = np.ones((4, 4), np.float32)
    pixels[1, 1] = value
    Image.fromarray(pixels).save(tmp_path / 'a.tif')
    _, problems = read_headers(tmp_path, ['a.tif'])
    assert 'the image does not open (it has values from' in problems['a.tif']


@pytest.mark.parametrize('kind', ['png', 'tif'])
def test_decode_12_bits_in_16_are_no_black_image(kind, tmp_path):
    grey = np.full((8, 8), 4000, np.uint16)
    Image.fromarray(grey).save(tmp_path / f'a.{kind}')
    content = (tmp_path / f'a.{kind}').read_bytes()
    assert (decode(content)[0] == 4000 >> 4).all()
    assert (prepare(content, Manifest('', (), None, (8, 8), True, 1, (), (), True, 0, '', '', {})).canvas == 250).all()
    with Image.open(tmp_path / f'a.{kind}') as image:
        assert (_content(image, True) == 250).all()


# -------------------------------------------------------------------------------------------------------------- formats

def test_read_header_an_image_above_pillows_limit_is_read(tmp_path, monkeypatch):
    (tmp_path / 'a.png').write_bytes(in_file('late.png', 6))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert read_header(tmp_path / 'a.png').size() == (WIDTH, HEIGHT)
    assert corners(decode((tmp_path / 'a.png').read_bytes(), lambda *_: (8, 8))[0][:, :, ::-1]) == CORNERS
    check_whole((tmp_path / 'a.png').read_bytes() + b'\0')
    assert Image.MAX_IMAGE_PIXELS == 100


def test_read_headers_a_format_without_its_plugin_is_named(tmp_path):
    if listing.plugins():
        pytest.skip('a plugin is installed')
    heic = b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(40)
    (tmp_path / 'a.heic').write_bytes(heic)
    _, problems = read_headers(tmp_path, ['a.heic'])
    assert problems['a.heic'] == ('the image does not open (it is a HEIC image, which needs a plugin: pip install '
                                  'pillow-heif)')
    with pytest.raises(ValueError, match='pillow-heif'):
        check_whole(heic)
    assert listing.image_files(tmp_path) == []
    assert listing.image_files(tmp_path, unread=True) == [tmp_path / 'a.heic']


def test_read_header_a_plugin_is_loaded_when_it_is_needed(tmp_path, monkeypatch):
    """The plugin here reads files that begin with 'ghost', as pictures of 3x2 pixels."""
    def register():
        Image.register_open('GHOSTS', lambda file, _: Image.new('RGB', (3, 2), RED),
                            lambda start: start.startswith(b'ghost'))
    monkeypatch.setitem(sys.modules, 'pillow_heif', types.SimpleNamespace(register_heif_opener=register))
    monkeypatch.setattr(Image, 'ID', list(Image.ID))
    monkeypatch.setattr(Image, 'OPEN', dict(Image.OPEN))
    listing.plugins.cache_clear()
    (tmp_path / 'a.heic').write_bytes(b'ghost' + bytes(20))
    try:
        assert read_header(tmp_path / 'a.heic').size() == (3, 2)
        assert decode(b'ghost' + bytes(20))[0][1, 2].tolist() == [0, 0, 255]
        assert listing.image_files(tmp_path) == [tmp_path / 'a.heic']
    finally:
        listing.plugins.cache_clear()


@pytest.mark.parametrize('name', ['a.dng', 'a.NEF', 'a.psd'])
def test_read_headers_the_preview_in_a_raw_file_is_not_taken_for_it(name, tmp_path):
    """Raw files of cameras are TIFFs, and the first image in them is often a small preview."""
    (tmp_path / name).write_bytes(saved(Image.fromarray(upright()), 'TIFF'))
    _, problems = read_headers(tmp_path, [name])
    assert 'are not read: convert it to JPEG or PNG' in problems[name]


def test_read_headers_a_name_that_is_no_utf8_is_found(tmp_path):
    name = os.fsdecode(b'caf\xe9.png')
    Image.fromarray(upright()).save(tmp_path / name)
    assert read_headers(tmp_path, [name])[1] == {}


@pytest.mark.parametrize('name', ['a.jfif', 'a.JPG', 'a.jpe', 'a.dib', 'a.TIFF', 'a.avif'])
def test_image_files_less_usual_suffixes_are_images(name, tmp_path):
    kind = {'dib': 'DIB', 'tiff': 'TIFF', 'avif': 'AVIF'}.get(name.partition('.')[2].lower(), 'JPEG')
    (tmp_path / name).write_bytes(saved(Image.fromarray(upright()), kind))
    assert listing.image_files(tmp_path) == [tmp_path / name]
    assert decode((tmp_path / name).read_bytes())[0].shape == (HEIGHT, WIDTH, 3)


def test_the_manifest_of_an_older_file_means_upright():
    old = Manifest('RetinaNet', ('a',), None, (8, 8), True, 1, (), (), True, 0.05, 'fp32', '', {})
    content = {key: value for key, value in json.loads(old.to_json()).items() if key != 'upright'}
    assert Manifest.from_json(json.dumps(content), 'a.xml') == old
