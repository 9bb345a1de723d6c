"""The page of `ghostdet demo` in a real browser; skipped where there is no Chromium or Chrome."""
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from ghostdet.cli import door
from tests.browser import browsed, opened
from tests.conftest import tool
from tests.odd_images import no_pictures, saved

# In every Python that has this on its path: a line for each file that is opened to be written.
NOTE_WRITES = '''
import os, sys
log = os.open(os.environ['NOTED'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(event, arguments):
    if event == 'open' and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        os.write(log, f'{arguments[0]}\\n'.encode())
sys.addaudithook(note)
'''


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@contextmanager
def served(model, folder, *arguments):
    """The page's address, and the file that notes what its server writes."""
    port = free_port()
    (folder / 'sitecustomize.py').write_text(NOTE_WRITES)
    env = dict(os.environ, PYTHONPATH=f'{folder}', NOTED=str(folder / 'noted'), HOME=str(folder),
               PYTHONDONTWRITEBYTECODE='1')
    with (folder / 'log').open('w') as log:
        server = subprocess.Popen([sys.executable, '-m', 'ghostdet', 'demo', model, '--port', str(port), *arguments],
                                  stdout=log, stderr=subprocess.STDOUT, env=env, cwd=folder)
    try:
        address, end = f'http://127.0.0.1:{port}', time.monotonic() + 60
        while time.monotonic() < end and server.poll() is None:
            with suppress(OSError):
                urllib.request.urlopen(f'{address}/_stcore/health').read()
                break
            time.sleep(0.2)
        yield address, folder / 'noted', server
        assert server.poll() is None, (folder / 'log').read_text()
    finally:
        server.terminate()
        server.wait()


@contextmanager
def browser_page(address):
    with opened(address) as page:
        page.wait_for_selector('input[type=file]', state='attached', timeout=60_000)
        yield page


def boxes(page):
    return int(page.get_by_test_id('stMetricValue').first.inner_text())


@browsed
def test_upload_slider_and_refusal(exported, shapes, tmp_path):
    with Image.open(sorted((shapes / 'val2017').iterdir())[0]) as image:
        pixels = np.asarray(image)
    large = tmp_path / 'large.png'  # above one megabyte, from which on servers use files
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)
    noise[200:600, 200:600] = np.asarray(Image.fromarray(pixels).resize((400, 400)))
    Image.fromarray(noise).save(large)
    assert 1_000_000 < large.stat().st_size < 2_000_000
    (tmp_path / 'huge.png').write_bytes(saved(Image.fromarray(pixels), 'PNG') + bytes(3_000_000))
    (tmp_path / 'bomb.png').write_bytes(saved(Image.new('1', (20000, 8000)), 'PNG'))
    with (served(exported / 'detector.xml', tmp_path, '--max-mb', '2') as (address, noted, _),
          browser_page(address) as page):
        before = noted.read_text()
        chooser = page.locator('input[type=file]')
        with page.expect_request('**/upload_file/**') as sent:
            chooser.set_input_files(large)
        expect(page.get_by_test_id('stImage').locator('img')).to_be_visible(timeout=20_000)
        expect(page.get_by_test_id('stMetricValue').last).to_contain_text('ms')
        slider = page.get_by_test_id('stSlider').locator('input')
        slider.focus()
        slider.press('Home')  # all that is found
        expect(page.get_by_test_id('stMetricValue').first).to_have_text('100')
        slider.press('End')
        expect(page.get_by_test_id('stMetricValue').first).to_have_text('0')
        for name, (content, message) in no_pictures(pixels).items():
            (tmp_path / name).write_bytes(content)
            chooser.set_input_files(tmp_path / name)
            expect(page.get_by_test_id('stAlert')).to_contain_text(f'{name} cannot be used')
            expect(page.get_by_test_id('stAlert')).to_contain_text(message)
        chooser.set_input_files(tmp_path / 'bomb.png')
        expect(page.get_by_test_id('stAlert')).to_contain_text('megapixels')
        chooser.set_input_files(tmp_path / 'huge.png')
        expect(page.get_by_text('File must be 2.0MB or smaller')).to_be_visible()
        # The browser does not even send that; whoever sends it all the same is refused by the server.
        for size, status in ((1_900_000, 204), (2_200_000, 413), (9_000_000, 413)):
            body = dict(file=dict(name='a.png', mimeType='image/png', buffer=bytes(size)))
            token = {key: value for key, value in sent.value.all_headers().items() if 'xsrf' in key}
            assert page.request.put(sent.value.url, headers=token, multipart=body).status == status
        chooser.set_input_files(large)  # and it goes on
        expect(page.get_by_test_id('stImage').locator('img')).to_be_visible(timeout=20_000)
        assert noted.read_text() == before, 'the server has written files'


def test_server_survives_garbage(exported, tmp_path):
    with served(exported / 'detector.xml', tmp_path, '--max-mb', '1') as (address, _, server):
        port = int(address.rsplit(':', 1)[1])
        for garbage in (b'\x00' * 1000, b'GET / HTTP/9.9\r\n\r\n', os.urandom(5000),
                        b'PUT /_stcore/upload_file/a/b HTTP/1.1\r\n'
                        b'Host: x\r\nContent-Length: 99999999999\r\n\r\nabc'):
            with socket.create_connection(('127.0.0.1', port)) as connection, suppress(OSError):
                connection.sendall(garbage)
                connection.settimeout(2)
                connection.recv(1000)
        assert urllib.request.urlopen(f'{address}/_stcore/health').status == 200
        assert listening(server.pid, port) == {'127.0.0.1'}


def listening(pid, port):
    """Addresses at which something listens on the port, by Linux's own table."""
    table = Path(f'/proc/{pid}/net/tcp')
    if not table.exists():
        pytest.skip('only Linux has a table of what listens')
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    addresses = [row[1].split(':') for row in rows if row[3] == '0A' and int(row[1].split(':')[1], 16) == port]
    return {socket.inet_ntoa(bytes.fromhex(address)[::-1]) for address, _ in addresses}


@pytest.mark.parametrize(('arguments', 'message'), [
    (['nowhere.xml'], 'there is no exported file'), (['detector.xml', '--host', 'nonsense'], 'is not an IP address'),
    (['detector.xml', '--max-mb', '0'], '--max-mb must be at least 1'),
    (['detector.xml', '--port', '99999'], 'cannot listen on 127.0.0.1, port 99999'),
    (['detector.xml', '--host', '192.0.2.1'], 'cannot listen on 192.0.2.1')])
def test_what_is_wrong_is_told_before_the_page_is_served(arguments, message, exported, monkeypatch, capsys):
    monkeypatch.chdir(exported)
    monkeypatch.setattr(os, 'execv', lambda *_: pytest.fail('the page is served'))
    assert door.run(tool('demo'), arguments) == 1
    assert message in capsys.readouterr().err


def test_other_hosts_only_on_request_and_with_a_warning(exported, monkeypatch, capsys):
    commands = []
    monkeypatch.setattr(os, 'execv', lambda _, arguments: commands.append(arguments))
    for host, warned in (([], False), (['--host', 'localhost'], False), (['--host', '0.0.0.0'], True)):
        assert door.run(tool('demo'), [str(exported / 'detector.xml'), *host]) == 0
        assert f'--server.address={(host or ["", "127.0.0.1"])[1]}' in commands[-1]
        assert ('ATTENTION' in capsys.readouterr().err) == warned
