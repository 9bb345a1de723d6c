"""Imports run one way, from what a run needs down to the table of the architecture."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / 'ghostdet'
# The ground, files at the top level of the package, which all may use.
GROUND = {'command', 'download', 'errors', 'files', 'messages', 'opencv', 'tables'}
# A folder may import those to its right.
MAY_IMPORT = dict(predict={'engine', 'runtime', 'weights'},
                  reproduce={'analysis', 'engine', 'evaluation', 'data'},
                  analysis={'engine', 'deploy', 'runtime', 'evaluation', 'models'},
                  engine={'deploy', 'weights', 'data', 'runtime', 'evaluation', 'ops', 'models'},
                  deploy={'runtime', 'models'}, weights={'models'}, data={'runtime'},
                  runtime=set(), evaluation=set(), ops=set(), models=set())


@pytest.mark.parametrize('folder', MAY_IMPORT)
def test_imports_run_one_way(folder):
    files = list((PACKAGE / folder).glob('*.py'))
    assert files
    for file in files:
        for target in imported(ast.parse(file.read_text())):
            assert target in MAY_IMPORT[folder] | GROUND | {folder}, f'{file.name} imports {target}'


def imported(tree):
    """What a file imports of the package, in whichever form."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == 'ghostdet':
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or '').startswith('ghostdet.'):
            yield node.module.split('.')[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split('.')[1] for alias in node.names if alias.name.startswith('ghostdet.'))


def test_no_two_files_have_one_name():
    names = [file.name for file in PACKAGE.rglob('*.py') if file.name != '__init__.py']
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_every_folder_of_the_package_is_watched():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != '__pycache__'}
    assert folders == set(MAY_IMPORT)


def test_the_runtime_needs_no_training_stack():
    modules = [f'ghostdet.runtime.{file.stem}' for file in sorted((PACKAGE / 'runtime').glob('*.py')) if file.stem != '__init__']
    assert len(modules) > 5
    result = python(HIDE_MMDET + f'''
import sys
for name in ('torch', 'mmengine', 'mmcv', 'mmdet'):
    sys.modules[name] = None  # import raises
import {', '.join(modules)}
''')
    assert result.returncode == 0, result.stderr


def python(code):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)


HIDE_MMDET = '''
import importlib.util as u
real = u.find_spec
u.find_spec = lambda name, *a: None if name == "mmdet" else real(name, *a)
'''


def test_without_the_stack_it_imports_and_names_the_extra():
    result = python(HIDE_MMDET + 'import sys, ghostdet\nassert "torch" not in sys.modules\nghostdet.GhostNet')
    assert result.returncode == 1
    assert 'ImportError' in result.stderr
    assert '[train]' in result.stderr


def test_a_broken_stack_raises_its_own_error(tmp_path):
    (tmp_path / 'mmdet').mkdir()
    (tmp_path / 'mmdet/__init__.py').write_text('raise RuntimeError("mmdet is broken in its own way")')
    result = python(f'import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport ghostdet')
    assert 'RuntimeError: mmdet is broken in its own way' in result.stderr
