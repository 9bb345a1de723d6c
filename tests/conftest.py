"""What the tests share: storeys, a small data set, a short training run and its exported files.

tests/unit trains, exports and starts nothing. tests/run does. tests/nightly, and what has the marker `nightly`, runs in
`make nightly` alone. What takes long to import is imported where it is used: the process that starts the others does
not need it.
"""
import gc
import os
import random
import shutil
import subprocess
import uuid
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import ghostdet  # noqa: F401 (gives mmcv its operators, before a test imports mmdet)

ROOT = Path(__file__).parent.parent
MINI = str(ROOT / 'configs/retinanet_ghostnet_1.1x_mini.py')
# A run of seconds: eight pictures of 64 pixels, in this process.
SHORT = ['train_dataloader.batch_size=4', 'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
         'val_dataloader.batch_size=4', 'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
         'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False', 'train_cfg.val_interval=1',
         'default_hooks.logger.interval=1', 'model.test_cfg.score_thr=0']  # so that there are detections after seconds


NIGHT = bool(os.environ.get('GHOSTDET_NIGHTLY'))  # set by `make nightly`
# Files that take longest come first, so that no process is left with one of them at the end.
LONGEST = ('run/training/test_survival', 'run/deploy/test_program', 'run/cli/test_checkpoints', 'run/cli/test_export',
           'run/configs/test_configs', 'run/cli/test_train_and_test', 'run/training/test_distributed',
           'run/cli/test_own_data', 'run/infer/test_detector')


# OpenVINO 2026.4 ends with signal 11 at a file's second input size where this variable hides AVX-512. Where the
# processor itself has none, it does not (`tools/processors.py haswell`).
sizes_in_openvino = pytest.mark.skipif(os.environ.get('ONEDNN_MAX_CPU_ISA', '').startswith('AVX2'),
                                       reason='OpenVINO cannot change the input size while ONEDNN_MAX_CPU_ISA hides '
                                              'AVX-512')


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    ranks = {ROOT / f'tests/{name}.py': rank for rank, name in enumerate(LONGEST)}
    assert all(file.exists() for file in ranks)
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
    for item in items:
        if ROOT / 'tests/nightly' in item.path.parents:
            item.add_marker('nightly')


def pytest_collection_finish():
    """Where tests run: read configs quickly, and let the garbage collector, which mmengine calls, skip the imports."""
    read_configs_quickly()
    gc.collect()
    gc.freeze()


def nightly(*cases):
    """Cases of a parametrized test that run by night alone."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.nightly) for case in cases]


def by_day(count, cases):
    """All cases of a parametrized test, of which `count`, spread evenly, run by day, too."""
    cases = list(cases)
    chosen = {index * len(cases) // count for index in range(count)}
    return [case if index in chosen else nightly(case)[0] for index, case in enumerate(cases)]


def examples(count, **more):
    """Hypothesis's settings: by night `count` random examples, by day a fifth of them, the same ones in each run."""
    from hypothesis import settings
    count = count if NIGHT else max(3, count // 5)
    return settings(max_examples=count, deadline=None, derandomize=not NIGHT, database=None, **more)


@contextmanager
def without_pictures():
    """Draw nothing in a run: by day, the run that many tests share draws all its pictures."""
    from ghostdet.data import overview
    from ghostdet.training import report
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((overview, 'draw_images'), (report, 'draw_sheet'), (report, '_draw')):
            patch.setattr(module, name, lambda *_, **__: None)
        yield


def tool(name):
    """`main` of the command `ghostdet NAME`."""
    return import_module(f'ghostdet.cli.{name}').main


def study(name):
    """`main` of `python -m benchmarks.NAME`."""
    return import_module(f'benchmarks.{name}').main


def run_tool(name, *arguments, epochs=1, options=(), short=SHORT, pictures=NIGHT):
    """Call a tool as its command line does, with the settings in `short` and `options`; returns the exit code.

    Each run has a name of its own: mmengine shares logger and visualizer between runs of one name, process and second.
    """
    from ghostdet.cli import door
    words = [*map(str, arguments), '--cfg-options', *short, f'train_cfg.max_epochs={epochs}',
             f'experiment_name=run_{uuid.uuid4().hex}', *options]  # hex digits alone may be read as a number
    with nullcontext() if pictures else without_pictures():
        return door.run(tool(name), words)


def without_layout(text, **_):
    """In place of yapf's FormatCode: laying out the config to print and save takes half of a short run's time."""
    return text, True


def made_by(*arguments):
    """Run a command in a process of its own; what it printed if it went well."""
    result = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def copy_of_project(folder):
    """What pip needs to install the project; pip builds in the folder that it is given."""
    for name in ('ghostdet', 'configs'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, folder)


def read_configs_quickly():
    """Lay no config out, and parse mmdet's hundred index files once, not again for every `mmdet::` base of a config."""
    from mmengine.config import utils as config_utils
    from yapf.yapflib import yapf_api
    yapf_api.FormatCode = without_layout
    if not hasattr(config_utils._get_cfg_metainfo, 'cache_info'):
        config_utils._get_cfg_metainfo = cache(config_utils._get_cfg_metainfo)


@pytest.fixture(autouse=True)
def messages_on_stderr():
    """As a command has it, so that tests can read what is said."""
    from ghostdet.messages import show_messages
    show_messages()


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup():
    """Give each fixture the same random numbers in each run."""
    seed()


@pytest.fixture(autouse=True)
def seeds():
    """Give each test the same random numbers in each run."""


def seed():
    import torch
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope='session')
def own_cache(tmp_path_factory):
    """Tests remember nothing between sessions, leave nothing in the user's cache, and take no weights of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv('GHOSTDET_WEIGHTS', raising=False)
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield


def made_once(tmp_path_factory, name, make):
    """The folder `name`, filled by `make(folder)`; the processes of one test run share it."""
    from ghostdet.files import file_lock
    root = tmp_path_factory.getbasetemp()
    root = root.parent if 'PYTEST_XDIST_WORKER' in os.environ else root
    folder, done = root / name, root / f'{name}.done'
    with file_lock(root / f'{name}.lock'):
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """A small set in COCO's layout: 8 pictures to train on, 4 to evaluate on."""
    from ghostdet.data.shapes import ShapesSet
    return made_once(tmp_path_factory, 'shapes', ShapesSet(train=8, val=4, size=64).write)


@pytest.fixture(scope='session')
def trained(shapes, tmp_path_factory):
    """Work directory of a run of two epochs on `shapes`."""
    def train(folder):
        assert run_tool('train', MINI, '--work-dir', folder, '--data-root', shapes, epochs=2, pictures=True) == 0
    return made_once(tmp_path_factory, 'trained', train)


def referenced(program, manifest):
    """The manifest with the answer of `program` to the picture of the self-check, in colours of the small data set."""
    from ghostdet.deploy.reference import reference_of
    colours = ((90, 110, 100), *((index * 37 % 256, index * 91 % 256, index * 151 % 256) for index in range(1, 61)))
    return replace(manifest, reference=reference_of(program, manifest, colours).to_dict())


@pytest.fixture(scope='session')
def exported(trained, tmp_path_factory):
    """The detector in `trained` as detector.onnx and detector.xml, for any input size, and detector.ncnn.param; each
    with a self-check, and sealed.
    """
    def export(folder):
        from ghostdet.deploy.convert import to_onnx, to_openvino
        from ghostdet.deploy.exporter import manifest_of
        from ghostdet.deploy.ncnn_writer import to_ncnn
        from ghostdet.deploy.program import program_of
        from ghostdet.infer.seal import seal
        from ghostdet.infer.sessions import parts
        from ghostdet.training.trained_detector import read_detector
        detector = read_detector(str(trained / 'epoch_2.pth'))
        program = program_of(detector.model)
        manifest = referenced(program, manifest_of(detector, None, Path(MINI).name))
        to_onnx(program, manifest, folder / 'detector.onnx')
        to_openvino(folder / 'detector.onnx', manifest, folder / 'detector.xml')
        fixed = referenced(program, manifest_of(detector, None, Path(MINI).name, fixed=True))
        to_ncnn(program, fixed, folder / 'detector.ncnn.param')
        for name in ('detector.onnx', 'detector.xml', 'detector.ncnn.param'):
            seal(parts(folder / name))
    return made_once(tmp_path_factory, 'exported', export)
