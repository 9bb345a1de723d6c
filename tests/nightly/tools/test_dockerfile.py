"""The steps of the Dockerfile, without docker: in a bare Debian that debootstrap makes, by chroot.

Mirror and index are those of this machine's apt and pip. Each step has mounts of its own, which end with it.
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.conftest import ROOT

PACKAGES = 'python3,python3-pip,python3-venv,ca-certificates'  # what the image of Python has
CERTIFICATES = Path('/etc/ssl/certs')


def steps():
    """(instruction, argument) of each line of the Dockerfile; a line that ends with a backslash goes on."""
    lines = [line for line in (ROOT / 'Dockerfile').read_text().splitlines() if not line.lstrip().startswith('#')]
    return [tuple(line.split(None, 1)) for line in '\n'.join(lines).replace('\\\n', ' ').splitlines() if line.strip()]


def mirror():
    """Mirror and release of this machine's apt."""
    release = re.search(r'^VERSION_CODENAME=(\w+)', Path('/etc/os-release').read_text(), re.MULTILINE)
    for file in [Path('/etc/apt/sources.list'), *sorted(Path('/etc/apt/sources.list.d').glob('*'))]:
        text = file.read_text() if file.is_file() and file.suffix in ('.list', '.sources') else ''
        found = re.search(r'^(?:URIs:|deb (?:\[.*?\] )?)\s*(\S+)', text, re.MULTILINE)
        if release and found and release[1] in text:
            return found[1], release[1]
    return None


def pip_settings():
    """pip's settings on this machine as variables, and the folders that they name."""
    listed = subprocess.run([sys.executable, '-m', 'pip', 'config', 'list'], capture_output=True, text=True,
                            check=True).stdout
    settings = {}
    for line in listed.splitlines():
        key, _, value = line.partition('=')
        if key.startswith(('global.', ':env:.')):
            name = key.rpartition('.')[2].upper().replace('-', '_')
            settings[f'PIP_{name}'] = ' '.join(value.strip('\'"').replace('\\n', ' ').split())
    words = [word.removeprefix('file://') for value in settings.values() for word in value.split()]
    paths = [Path(word) for word in words if word.startswith('/') and Path(word).exists()]
    # A local index is a folder `simple` whose pages lead to files beside it.
    return settings, {path if path.is_dir() and path.name != 'simple' else path.parent for path in paths}


def reachable(address):
    try:
        with urlopen(address, timeout=10):
            return True
    except (URLError, OSError, ValueError):
        return False


class Container:
    """A folder with a Debian, and what the Dockerfile has set in it so far."""

    def __init__(self, root):
        self.root, self.folder, self.entry = root, '/', []
        settings, self.folders = pip_settings()
        self.folders = {*self.folders, CERTIFICATES, Path('/usr/share/ca-certificates')}
        self.settings = {**settings, 'PATH': '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', 'HOME': '/root',
                         'PIP_BREAK_SYSTEM_PACKAGES': '1', 'PIP_ROOT_USER_ACTION': 'ignore', 'LC_ALL': 'C.UTF-8'}
        self.settings |= {key: value for key, value in os.environ.items()
                          if key.lower().endswith('_proxy') or key in ('SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE')}
        shutil.copy('/etc/resolv.conf', root / 'etc/resolv.conf')

    def run(self, command):
        """Run a command of the shell, with /proc, /dev and pip's folders mounted."""
        mounts = [f'mount -t proc proc {self.root}/proc', f'mount --rbind /dev {self.root}/dev']
        for folder in sorted(filter(Path.is_dir, self.folders)):
            inside = self.root / folder.relative_to('/')
            inside.mkdir(parents=True, exist_ok=True)
            mounts += [f'mount --bind -o ro {shlex.quote(str(folder))} {shlex.quote(str(inside))}']
        inner = ['env', '-i', *(f'{key}={value}' for key, value in self.settings.items()), 'sh', '-ec',
                 f'cd {self.folder}; {command}']
        result = subprocess.run(
            ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec',
             f'{"; ".join(mounts)}; exec chroot {shlex.quote(str(self.root))} {shlex.join(inner)}'],
            capture_output=True, text=True)
        assert result.returncode == 0, f'{command}\n{result.stdout[-2000:]}\n{result.stderr[-3000:]}'
        return result.stdout

    def path(self, name):
        """A path in the container, from here."""
        return self.root / Path(self.folder, name).relative_to('/')

    def step(self, instruction, argument):
        """Do what docker does for an instruction."""
        if instruction == 'ARG':
            name, _, value = argument.partition('=')
            if not reachable(value):  # no network but that of pip's own index
                value = self.settings.get('PIP_INDEX_URL', 'file:///nowhere')
            self.settings[name] = value
        elif instruction == 'WORKDIR':
            self.folder = argument
            self.path('.').mkdir(parents=True, exist_ok=True)
        elif instruction == 'COPY':
            *sources, target = argument.split()
            for source in sources:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, self.path(target))
        elif instruction == 'RUN':
            self.run(argument)
        elif instruction == 'ENTRYPOINT':
            self.entry = json.loads(argument)
        else:
            assert instruction == 'FROM', f'{instruction}: teach this test what docker does'


@pytest.fixture
def container(tmp_path):
    if os.geteuid() or not all(map(shutil.which, ('debootstrap', 'unshare', 'chroot'))):
        pytest.skip('needs root, debootstrap, unshare and chroot')
    where = mirror()
    if where is None or not reachable(f'{where[0]}/dists/{where[1]}/Release'):
        pytest.skip('no mirror of apt answers')
    made = subprocess.run(['debootstrap', '--variant=minbase', f'--include={PACKAGES}', where[1], tmp_path / 'root',
                           where[0]], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    yield Container(tmp_path / 'root')
    shutil.rmtree(tmp_path / 'root')  # gigabytes


@pytest.mark.network
@pytest.mark.timeout(3000)
def test_the_steps_of_the_dockerfile_end_in_a_container_that_predicts(container):
    for instruction, argument in steps():
        container.step(instruction, argument)
    shutil.copytree(ROOT / 'examples/blood-cells', container.path('examples/blood-cells'))
    found = container.run(shlex.join([*container.entry, 'predict', 'examples/blood-cells/detector.xml',
                                      'examples/blood-cells', '--out', 'found']))
    assert 'boxes' in found
    assert json.loads(container.path('found/detections.json').read_text())['annotations']
