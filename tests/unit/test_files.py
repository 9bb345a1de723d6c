"""Files that several processes, perhaps on several machines, write in one folder at the same time."""
import json
from pathlib import Path

import pytest

from ghostdet.data.shapes import FolderSet, ShapesSet
from ghostdet.files import write_json


@pytest.fixture(autouse=True)
def one_process_id(monkeypatch):
    """As in containers, whose first processes all have the same numbers."""
    monkeypatch.setattr('os.getpid', lambda: 17)


def in_between(monkeypatch, owner, name, other):
    """Before the next call of `owner.name` ends its work, `other` does all of its own."""
    real = getattr(owner, name)

    def call(self, *arguments):
        monkeypatch.setattr(owner, name, real)
        other()
        return real(self, *arguments)
    monkeypatch.setattr(owner, name, call)


def test_json(tmp_path, monkeypatch):
    file = tmp_path / 'train.json'
    in_between(monkeypatch, Path, 'rename', lambda: write_json(file, dict(images=[])))
    write_json(file, dict(images=[]))
    assert json.loads(file.read_text()) == dict(images=[])
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize('kind', [ShapesSet, FolderSet])
def test_built_in_data(kind, tmp_path, monkeypatch):
    data, root = kind(train=2, val=1, size=64), tmp_path / 'shapes'
    fill = kind._fill

    def both(self, partial):
        fill(self, partial)
        monkeypatch.setattr(kind, '_fill', fill)
        data.write(root)
    monkeypatch.setattr(kind, '_fill', both)
    data.write(root)
    assert len(list(root.rglob('*.png'))) == 3
    assert list(tmp_path.iterdir()) == [root]
