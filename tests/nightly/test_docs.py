"""The blocks of README and docs/, run in order on small data; the notebook; the site."""
import io
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ghostdet import GhostNet, RepGhostNet
from ghostdet.data.shapes import ShapesSet
from tests.conftest import ROOT
from tests.family import timm_model
from tests.foreign_networks import randomised
from tests.run.weights.test_nanodet import published
from tests.server import Server
from tests.unit.test_docs import PAGES, blocks

CELLS = ('RBC', 'WBC', 'Platelets')


def pictures(root):
    """Twelve pictures of the built-in data with their boxes: (pixels, [(class, left, top, right, bottom), ...])."""
    ShapesSet(train=8, val=4, size=96).write(root)
    samples = []
    for split in ('train', 'val'):
        content = json.loads((root / f'annotations/instances_{split}2017.json').read_text())
        for image in content['images']:
            own = [record for record in content['annotations']
                   if record['image_id'] == image['id'] and not record['iscrowd']]
            boxes = [(record['category_id'] - 1, record['bbox'][0], record['bbox'][1],
                      record['bbox'][0] + record['bbox'][2], record['bbox'][1] + record['bbox'][3]) for record in own]
            samples.append((np.asarray(Image.open(root / f'{split}2017' / image['file_name']).convert('RGB')), boxes))
    return samples


def write_voc(root, samples):
    """Blood cells in Pascal VOC's layout."""
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    for number, (pixels, boxes) in enumerate(samples):
        Image.fromarray(pixels).save(root / f'JPEGImages/BloodImage_{number:05}.jpg')
        objects = ''.join(f'<object><name>{CELLS[label]}</name>'
                          f'<bndbox><xmin>{left + 1:.0f}</xmin><ymin>{top + 1:.0f}</ymin>'
                          f'<xmax>{right:.0f}</xmax><ymax>{bottom:.0f}</ymax></bndbox></object>'
                          for label, left, top, right, bottom in boxes)
        height, width = pixels.shape[:2]
        (root / f'Annotations/BloodImage_{number:05}.xml').write_text(
            f'<annotation><filename>BloodImage_{number:05}.jpg</filename>'
            f'<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}</annotation>')
    names = [f'BloodImage_{number:05}' for number in range(len(samples))]
    for split, own in (('train', names[:4]), ('val', names[4:8]), ('trainval', names[:4]), ('test', names[4:8])):
        (root / f'ImageSets/Main/{split}.txt').write_text('\n'.join(own) + '\n')


def write_yolo(root, samples):
    """A Roboflow export in YOLO's layout."""
    for split, own in (('train', samples[:4]), ('valid', samples[4:8])):
        for folder in ('images', 'labels'):
            (root / split / folder).mkdir(parents=True)
        for number, (pixels, boxes) in enumerate(own):
            height, width = pixels.shape[:2]
            Image.fromarray(pixels).save(root / f'{split}/images/{number}.jpg')
            lines = [f'{label} {(left + right) / 2 / width} {(top + bottom) / 2 / height} {(right - left) / width} '
                     f'{(bottom - top) / height}' for label, left, top, right, bottom in boxes]
            (root / f'{split}/labels/{number}.txt').write_text('\n'.join(lines))
    (root / 'data.yaml').write_text(f'train: ../train/images\nval: ../valid/images\nnc: 3\nnames: {list(CELLS)}\n')


def write_coco(root, samples):
    """Four pictures a split, with COCO's classes."""
    import mmdet.datasets
    names = mmdet.datasets.CocoDataset.METAINFO['classes']
    categories = [dict(id=number + 1, name=name) for number, name in enumerate(names)]
    (root / 'annotations').mkdir(parents=True)
    for split, own in (('train', samples[:4]), ('val', samples[4:8])):
        (root / f'{split}2017').mkdir()
        images, annotations = [], []
        for number, (pixels, boxes) in enumerate(own, start=1):
            Image.fromarray(pixels).save(root / f'{split}2017/{number:012}.jpg')
            height, width = pixels.shape[:2]
            images.append(dict(id=number, file_name=f'{number:012}.jpg', width=width, height=height))
            annotations += [dict(id=len(annotations) + index, image_id=number, category_id=label + 1, iscrowd=0,
                                 bbox=[left, top, right - left, bottom - top], area=(right - left) * (bottom - top))
                            for index, (label, left, top, right, bottom) in enumerate(boxes, start=1)]
        (root / f'annotations/instances_{split}2017.json').write_text(
            json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def write_clip(file, samples):
    """Six frames."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*'mp4v'), 10, (96, 96))
    for pixels, _ in samples[:6]:
        writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    writer.release()


@pytest.fixture(scope='module')
def server():
    """Has the published files that the pages name, with other values in them."""
    def content(state):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()
    server = Server()
    rep = randomised(timm_model(RepGhostNet, 1.11)).state_dict()
    server.files = {'/ghostnet_1.0x': content(randomised(timm_model(GhostNet, 1.0)).state_dict()),
                   '/repghostnet_1.11x': content(dict(state_dict=rep)),
                   '/nanodet-plus-m_416': content(published())}
    yield server
    server.shutdown()


@pytest.fixture
def scratch(tmp_path, server, monkeypatch):
    """A folder with small stand-ins for what the pages name, and commands on the path that use less built-in data."""
    root, samples = tmp_path / 'scratch', pictures(tmp_path / 'made')
    (root / 'photos').mkdir(parents=True)
    for number, (pixels, _) in enumerate(samples[8:11]):
        Image.fromarray(pixels).save(root / f'photos/{number}.jpg')
    write_voc(root / 'BCCD', samples)
    write_yolo(root / 'export', samples)
    write_coco(root / 'data/coco', samples)
    write_clip(root / 'clip.mp4', samples)
    (root / 'examples').symlink_to(ROOT / 'examples')
    (tmp_path / 'bin').mkdir()
    for name in ('ghostdet', 'python'):
        command = f'"{sys.executable}" ' + (f'"{ROOT}/tests/docs_stand_ins.py" ghostdet ' if name == 'ghostdet' else '')
        (tmp_path / 'bin' / name).write_text(f'#!/bin/sh\nexec {command}"$@"\n')
        (tmp_path / 'bin' / name).chmod(0o755)
    for key, value in dict(PATH=f'{tmp_path}/bin:{os.environ["PATH"]}', PYTHONPATH=str(ROOT), DOCS_SERVER=server.base,
                           TORCH_HOME=str(tmp_path / 'torch'), MPLBACKEND='agg').items():
        monkeypatch.setenv(key, value)
    return root


@pytest.mark.docs
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('page', [page for page in PAGES if any(block.reason is None for block in blocks(page))])
def test_the_blocks_of_a_page_run_in_order(page, scratch):
    for number, block in enumerate(blocks(page)):
        if block.is_config or block.language == 'python':
            compile(block.text, f'{page}, block {number}', 'exec')
        if block.reason is not None or block.is_config:
            continue
        if block.language == 'bash':
            command = ['bash', '-euo', 'pipefail', '-c', block.text]
        else:
            (scratch / 'block.py').write_text(block.text)
            command = [sys.executable, str(ROOT / 'tests/docs_stand_ins.py'), 'block.py']
        result = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=900)
        shown = f'{block.text}\n{result.stdout[-1500:]}\n{result.stderr[-3000:]}'
        assert result.returncode == 0, f'{page}, block {number}:\n{shown}'


@pytest.mark.docs
def test_the_notebook_runs(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip('nbformat'), pytest.importorskip('nbclient')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    notebook = nbformat.read(ROOT / 'examples/quickstart.ipynb', as_version=4)
    assert not any(cell.get('outputs') for cell in notebook.cells)
    nbclient.NotebookClient(notebook, timeout=500, resources=dict(metadata=dict(path=str(tmp_path)))).execute()
    pictures = [output for cell in notebook.cells for output in cell.get('outputs', ())
                if 'image/png' in output.get('data', {})]
    assert len(pictures) == 3
    assert (tmp_path / 'runs/quickstart/detector.xml').is_file()


@pytest.mark.skipif(not find_spec('mkdocs'), reason='needs mkdocs-material: pip install "ghostdet[docs]"')
def test_the_site_builds_without_a_warning(tmp_path):
    result = subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', tmp_path], cwd=ROOT,
                            capture_output=True, text=True, env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'})
    assert result.returncode == 0, result.stderr[-3000:]
    assert 'id="ghostdet.api.train"' in (tmp_path / 'api/index.html').read_text()
