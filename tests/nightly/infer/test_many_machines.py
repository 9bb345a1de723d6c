"""The page about several machines, run by Ray: a detector and then its machine die, and a picture is broken."""
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.other_environments import environment, wheel, without_clone
from tests.real_images import BCCD
from tests.unit.test_docs import blocks, without_code

PAGE = 'docs/how-to/many-machines.md'
PICTURES, BLANK, BROKEN = 500, range(200, 240), 123

# Runs the page in two nodes of a core each. One of the two detectors kills itself. When five parts of the results are
# written, one of the nodes is killed.
HARNESS = '''
import os, signal, sys, threading, time
from pathlib import Path
import ghostdet
import ray
from ray.cluster_utils import Cluster

HERE, AT = Path.cwd(), int(sys.argv[1])

class Mortal(ghostdet.Detector):
    calls = 0

    def __call__(self, image):
        Mortal.calls += 1
        if Mortal.calls == AT and not (HERE / 'detector_died').exists():
            (HERE / 'detector_died').touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(image)

def kill_node():
    while len(list(HERE.glob('found/*.json'))) < 5:
        time.sleep(0.1)
    cluster.remove_node(node, allow_graceful=False)
    (HERE / 'node_died').write_text(str(len(list(HERE.glob('found/*.json')))))

each = dict(num_cpus=1, object_store_memory=100_000_000)
cluster = Cluster(initialize_head=True, head_node_args=dict(include_dashboard=False, **each))
try:
    node = cluster.add_node(**each)
    ray.init(address=cluster.address)
    page = compile(Path('page.py').read_text(), 'page.py', 'exec')
    if AT:
        ghostdet.Detector = Mortal
        threading.Thread(target=kill_node, daemon=True).start()
    exec(page)
finally:
    ray.shutdown()
    cluster.shutdown()
'''


def write_pictures(folder):
    """Photographs of blood cells, or squares; some pictures have nothing in them."""
    folder.mkdir()
    real = [BCCD / f'JPEGImages/{name}.jpg' for name in (BCCD / 'ImageSets/Main/test.txt').read_text().split()] \
        if BCCD.is_dir() else sorted((ROOT / 'examples/blood-cells').glob('*.jpg'))
    for number in range(PICTURES):
        file = folder / f'{number:04}.jpg'
        if number == BROKEN:
            file.write_bytes(b'no picture')
        elif number in BLANK:
            Image.new('RGB', (64, 48)).save(file)
        else:
            file.symlink_to(real[number % len(real)])


def rows(folder):
    return [json.loads(line) for part in folder.glob('found/*.json') for line in part.read_text().splitlines()]


def predicted(folder, environ, python):
    """Name -> class, score and box, of all pictures that `ghostdet predict` reads."""
    result = subprocess.run([python, '-m', 'ghostdet', 'predict', 'detector.xml', 'photos', '--out', 'predicted',
                             '--no-pictures'], cwd=folder, env=environ, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr[-3000:]  # one was left out
    content = json.loads((folder / 'predicted/detections.json').read_text())
    found = {image['id']: [] for image in content['images']}
    names = {category['id']: category['name'] for category in content['categories']}
    for one in content['annotations']:
        left, top, width, height = one['bbox']
        found[one['image_id']].append((names[one['category_id']], one['score'], left, top, left + width, top + height))
    return {Path(image['path']).name: found[image['id']] for image in content['images']}


def run_page(folder, environ, python, kill_at):
    result = subprocess.run([python, 'harness.py', str(kill_at)], cwd=folder, env=environ, capture_output=True,
                            text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]


@pytest.fixture
def environ():
    """Ray's files go to a short path, as those of its sockets must be short. No process of it may be left."""
    with tempfile.TemporaryDirectory(prefix='ray') as folder:
        yield dict(without_clone(), HOME=folder, RAY_TMPDIR=folder, RAY_USAGE_STATS_ENABLED='0',
                   RAY_AUTH_MODE='disabled', OMP_NUM_THREADS='1')
        mark = f'RAY_TMPDIR={folder}'.encode()
        left = [file.parent.name for file in Path('/proc').glob('[0-9]*/environ') if mark in content(file)]
        for pid in left:
            os.kill(int(pid), 9)
        assert not left


def content(file):
    try:
        return file.read_bytes()
    except OSError:  # ended, or of another user
        return b''


@pytest.mark.network
@pytest.mark.timeout(1800)
def test_nothing_is_lost_and_nothing_comes_twice(environ, tmp_path, tmp_path_factory):
    wheel(tmp_path_factory)
    try:
        python = environment('ray', tmp_path_factory)
    except AssertionError as error:
        pytest.skip(f'Ray cannot be installed: {error}')
    write_pictures(tmp_path / 'photos')
    for name in ('detector.xml', 'detector.bin'):
        shutil.copy(ROOT / 'examples/blood-cells' / name, tmp_path)
    page, = (block.text for block in blocks(PAGE) if block.language == 'python')
    assert page.count("'/mnt/shared'") == page.count('// 100') == 1
    page = page.replace('/mnt/shared', str(tmp_path)).replace('// 100', '// 20')
    (tmp_path / 'page.py').write_text(page)
    (tmp_path / 'harness.py').write_text(HARNESS)
    run_page(tmp_path, environ, python, kill_at=57)
    assert (tmp_path / 'detector_died').exists()
    assert 5 <= int((tmp_path / 'node_died').read_text()) < 26  # before the end
    first = rows(tmp_path)
    files = sorted(str(file) for file in (tmp_path / 'photos').iterdir())
    assert sorted(row['file'] for row in first) == files
    broken, = (row for row in first if row['error'])
    assert broken['file'] == files[BROKEN]
    assert re.search(f'{BROKEN:04}.jpg cannot be read', broken['error'])

    expected = predicted(tmp_path, environ, python)
    assert len(expected) == PICTURES - 1
    assert sum(map(len, expected.values())) > 1000
    for row in first:
        if not row['error']:
            wanted = expected[Path(row['file']).name]
            assert row['names'] == [one[0] for one in wanted]
            np.testing.assert_allclose(row['scores'], [one[1] for one in wanted], atol=2e-6)
            boxes = np.reshape([one[2:] for one in wanted], (-1, 4))
            np.testing.assert_allclose(np.reshape(row['boxes'], (-1, 4)), boxes, atol=2e-3)

    new = tmp_path / 'photos/new.jpg'
    new.symlink_to((tmp_path / 'photos/0000.jpg').resolve())
    run_page(tmp_path, environ, python, kill_at=0)  # continues
    assert sorted(row['file'] for row in rows(tmp_path)) == sorted([*files, str(new)])


def test_the_page_is_short():
    assert len(without_code((ROOT / PAGE).read_text()).split()) <= 200
