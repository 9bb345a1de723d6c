"""`ghostdet VERB`."""
import sys

import pytest

import ghostdet
from ghostdet.cli.command import main, verbs
from ghostdet.packaged_configs import packaged_configs
from tests.unit.cli.test_door import COMMANDS


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command; its exit code, and what it printed."""
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['ghostdet', *map(str, arguments)])
        monkeypatch.setattr(sys, 'path', list(sys.path))
        try:
            code = main()
        except SystemExit as end:  # of a parser or a script
            code = end.code or 0
        return code, ''.join(capsys.readouterr())
    return run


def test_the_verbs_are_the_commands(call):
    assert sorted(verbs()) == sorted(name.replace('_', '-') for name in COMMANDS)
    code, shown = call()
    assert (code, shown) == call('--help')
    assert all(f'  {verb} ' in shown and text in shown for verb, text in verbs().items())
    assert code == 0
    assert call('--version') == (0, f'{ghostdet.__version__}\n')


def test_help_names_the_verb(call):
    code, shown = call('prepare-coco', '--help')
    assert code == 0
    assert shown.startswith('usage: ghostdet prepare-coco ')


def test_an_unknown_verb_is_refused(call):
    code, shown = call('trian')
    assert code == 2
    assert 'did you mean train?' in shown


def test_errors_are_messages(call):
    code, shown = call('train', 'absent')
    assert code == 1
    assert 'error: there is no config' in shown
    assert 'Traceback' not in shown


def test_a_missing_package_is_a_message(call, monkeypatch):
    """As with the extra `runtime` alone."""
    for name in ('ghostdet.training.launch', 'ghostdet.training.plan'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ('mmengine', 'mmengine.config'):
        monkeypatch.setitem(sys.modules, name, None)
    code, shown = call('train', 'retinanet_ghostnet_1.1x_mini')
    assert code == 1
    assert 'error: ghostdet train needs mmengine, which is not installed. Run pip install "ghostdet[train]"' in shown


def test_a_package_that_is_too_old_is_a_message(call, monkeypatch):
    def train(_):
        raise ImportError("cannot import name 'nms_rotated' from 'torchvision.ops'", name='torchvision.ops')
    versions = {'torchvision': '0.16.0+cpu'}
    monkeypatch.setattr('ghostdet.cli.train.main', train)
    monkeypatch.setattr('ghostdet.packages.version', versions.__getitem__)
    monkeypatch.setattr('ghostdet.packages.requires', lambda _: ['torchvision<0.30,>=0.26; extra == "train"'])
    code, shown = call('train')
    assert code == 1
    assert shown.startswith('error: ghostdet train needs torchvision 0.26 or newer, and torchvision 0.16.0+cpu is '
                            "installed (cannot import name 'nms_rotated' from 'torchvision.ops'). Run pip install")
    versions['torchvision'] = '0.26.1'
    with pytest.raises(ImportError, match='nms_rotated'):
        call('train')


def test_a_package_that_does_not_load_is_a_message(call, monkeypatch):
    gone = ('ghostdet.cli.predict', 'ghostdet.infer', 'ghostdet.images.opencv')
    for name in [name for name in sys.modules if name.startswith(gone)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'cv2', None)
    code, shown = call('predict', 'a.xml')
    assert code == 1
    assert shown.startswith('error: OpenCV does not load')


def test_configs_are_listed_and_copied(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, shown = call('configs')
    assert code == 0
    assert [line.split()[0] for line in shown.splitlines()] == list(packaged_configs())
    assert call('configs', 'retinanet_ghostnet_1.1x_coco', '--copy') == (
        0, 'retinanet_ghostnet_1.1x_coco.py\n_base_/retinanet_coco.py\n_base_/coco_1x.py\n\n'
        'Edit them, then run: ghostdet train retinanet_ghostnet_1.1x_coco.py\n')
    assert (tmp_path / '_base_/coco_1x.py').is_file()
    assert call('configs', '--copy')[0] == 1


def test_a_script_runs_as_python_runs_it(call, tmp_path):
    (tmp_path / 'beside.py').write_text('word = "beside"')
    (tmp_path / 'script.py').write_text('import sys, beside\nprint(__name__, sys.argv[1:], beside.word)\nsys.exit(3)')
    result = call('run', tmp_path / 'script.py', '--work-dir', 'a', 'b')
    assert result == (3, "__main__ ['--work-dir', 'a', 'b'] beside\n")
    assert call('run', tmp_path / 'absent.py')[0] == 1
    (tmp_path / 'faulty.py').write_text('open("/")')
    code, shown = call('run', tmp_path / 'faulty.py')
    assert code == 1
    assert 'Traceback' in shown
    assert 'faulty.py", line 1' in shown
