"""Rooms, and the arrows between them: imports run one way, from the commands down to the table of the architecture."""
import ast
import inspect
import sys

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / 'ghostdet'

# Files at the top level. The ground is for all; the roof, which names and exports what is below, is for the commands
# alone.
GROUND = {'download', 'errors', 'files', 'messages', 'options', 'packaged_configs', 'packages', 'progress', 'tables'}

ROOF = {'__main__': {'cli'}, 'api': {'deploy', 'infer', 'training'}, 'registries': {'ops'}}

# A room may import those to its right.
MAY_IMPORT = dict(cli={'deploy', 'infer', 'training', 'weights', 'data', 'evaluation'},
                  deploy={'infer', 'training', 'weights', 'data', 'images', 'models'},
                  infer={'training', 'weights', 'images'},
                  training={'weights', 'data', 'images', 'evaluation', 'ops', 'models'},
                  weights={'models'}, data={'images'}, evaluation={'images'}, images=set(), ops=set(),
                  models=set())


@pytest.mark.parametrize('room', MAY_IMPORT)
def test_imports_run_one_way(room):
    files = list((PACKAGE / room).rglob('*.py'))
    assert files
    for file in files:
        for target in imported(ast.parse(file.read_text())):
            assert target in MAY_IMPORT[room] | GROUND | {room}, f'{file.name} imports {target}'


def test_the_ground_rests_on_itself_and_the_roof_on_what_it_names():
    files = {file.stem: file for file in PACKAGE.glob('*.py') if file.stem != '__init__'}
    assert set(files) == GROUND | set(ROOF)
    for name, file in files.items():
        for target in imported(ast.parse(file.read_text())):
            assert target in GROUND | ROOF.get(name, set()), f'{file.name} imports {target}'


def test_rooms_arrows_and_lines():
    """Prints the house, for people: `pytest -s -k rooms_arrows`."""
    for room, targets in MAY_IMPORT.items():
        files = list((PACKAGE / room).rglob('*.py'))
        used = {target for file in files for target in imported(ast.parse(file.read_text()))} & targets
        lines = sum(len(file.read_text().splitlines()) for file in files)
        sys.stdout.write(f'{room:10} {len(files):3} files {lines:5} lines -> {", ".join(sorted(used)) or "nothing"}\n')
        assert used == targets, f'{room} has no need of {targets - used}'


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


def test_namespaces_of_the_command_line_stay_in_the_commands():
    """Options are dataclasses elsewhere."""
    for file in PACKAGE.rglob('*.py'):
        if file.parent.name != 'cli':
            signatures = [node for node in ast.walk(ast.parse(file.read_text()))
                          if isinstance(node, ast.arg | ast.FunctionDef)]
            notes = [node.annotation if isinstance(node, ast.arg) else node.returns for node in signatures]
            assert not any('Namespace' in ast.unparse(note) for note in notes if note), file


def test_public_functions_say_what_they_take_give_and_raise():
    import ghostdet
    for name in ghostdet.__all__:
        public = getattr(ghostdet, name)
        text = inspect.getdoc(public)
        assert '>>>' in text, name
        if not inspect.isclass(public):
            annotations = inspect.signature(public)
            assert all(parameter.annotation is not inspect.Parameter.empty
                       for parameter in annotations.parameters.values())
            assert 'Raises:' in text or name == 'enable_safe_loading', name


def test_every_folder_of_the_package_is_watched():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != '__pycache__'}
    assert folders == set(MAY_IMPORT)
