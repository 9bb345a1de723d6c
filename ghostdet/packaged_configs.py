"""Finds the configs that the package contains. Needs only the standard library."""
import ast
import os
import re
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path

from ghostdet.errors import UserError

_PACKAGE = Path(__file__).parent
_IN_WHEEL = _PACKAGE / '.mim' / 'configs'  # where OpenMMLab's tools look for them; setup.py puts them there
FOLDER = _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent / 'configs'  # the latter in a clone


def packaged_configs() -> dict[str, Path]:
    """Return the files of the package's configs, by name."""
    files = sorted(file for file in FOLDER.rglob('*.py') if file.parent.name != '_base_')
    return {file.stem: file for file in files}


def find_config(name: str) -> Path:
    """Return the file of a config, which is given by its path, with or without `.py`, or by its name in the package.

    A file in the current folder goes before a name: it may be an edited copy.

    Raises:
        UserError: there is neither such a file nor such a name.
    """
    path, configs = Path(name), packaged_configs()
    for file in (path, path.with_name(f'{path.name}.py')) if path.name else ():
        if file.is_file():
            return file
    if path.name == name and config_name(name) in configs:
        return configs[config_name(name)]
    similar = get_close_matches(config_name(name), configs, n=3)
    raise UserError(f'there is no config {path.absolute()}, and no config of this name in ghostdet. ' + (
        f'Similar names: {", ".join(similar)}' if similar else 'ghostdet configs lists the names'))


def config_name(config: str) -> str:
    """Return the name of a config that is given by its path or name.

    >>> config_name('configs/retinanet_ghostnet_1.1x_coco.py'), config_name('retinanet_ghostnet_1.1x_coco')
    ('retinanet_ghostnet_1.1x_coco', 'retinanet_ghostnet_1.1x_coco')
    """
    return Path(config).name.removesuffix('.py')


def purpose(config: Path) -> str:
    """Return the first sentence of the comment that a config begins with."""
    lines = takewhile(lambda line: line.startswith('#'), config.read_text(encoding='utf-8').splitlines())
    return re.split(r'(?<=[.]) (?=[A-Z])', ' '.join(line.strip('# ') for line in lines))[0]


def copy_config(name: str, folder: Path) -> list[Path]:
    """Copy a config of the package, and the files that it inherits from, to `folder`.

    Returns:
        The copies, the config first. A file that is there with the same content counts as a copy.

    Raises:
        UserError: there is no such config, or `folder` has a file with other content. Then nothing is copied.
    """
    config = packaged_configs().get(config_name(name)) or find_config(name)
    if not config.is_relative_to(FOLDER):
        raise UserError(f'{config} is a file of yours, so there is nothing to copy; ghostdet configs lists what can be '
                        'copied')
    copies = {file: folder / file.relative_to(FOLDER) for file in _with_bases(config)}
    different = [str(copy) for file, copy in copies.items()
                 if os.path.lexists(copy) and not (copy.is_file() and copy.read_bytes() == file.read_bytes())]
    if different:
        raise UserError(f'not copied: {", ".join(different)} would be overwritten. Move it away, or use another folder')
    for file, copy in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return list(copies.values())


def _with_bases(config: Path) -> list[Path]:
    """Return a config and all files of the package that it inherits from."""
    files = [config]
    for statement in ast.parse(config.read_text(encoding='utf-8')).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == '_base_':
            bases = ast.literal_eval(statement.value)
            for base in [bases] if isinstance(bases, str) else bases:
                if '::' not in base:  # others come from mmdet
                    files += _with_bases(config.parent / base)
    return list(dict.fromkeys(files))
