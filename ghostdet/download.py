"""Downloads a file: resumes interrupted downloads, checks the content, and leaves a complete file or none."""
import hashlib
import re
import shutil
import socket
import ssl
import time
import urllib.request
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from ghostdet.errors import DISK_FULL, UserError, reason
from ghostdet.files import UNFINISHED, file_lock
from ghostdet.messages import LOGGER
from ghostdet.progress import progress

CHUNK = 1 << 20
TRIES = 5  # in a row without a new byte
TIMEOUT = 30  # seconds without a byte


class DownloadError(UserError):
    """A file could not be downloaded, or has the wrong content."""


def fetch(url: str, target: Path, size: int | None = None, digest: tuple[str, str] | None = None,
          pause: float = 2.0) -> Path:
    """Download `url` to `target`, unless `target` exists; return `target`.

    An interrupted download stays in `target.part`. The next try, in this run or another, requests only the rest.

    Args:
        size: expected size in bytes.
        digest: name of a checksum in hashlib, and its expected hexadecimal value or the first digits of it.
        pause: seconds before the next try; doubles with each try in a row that brings no new byte.

    Raises:
        DownloadError: the server cannot be reached or refuses, or the content is wrong; the message lists the options.
    """
    if target.exists():
        return target
    if _user(url):
        raise DownloadError(f'{shown(url)} was given with a user name or password, which would end up in logs and '
                            f'configs. {by_hand(target)}')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(target.with_name(f'.{target.name}.lock')):
            if not target.exists():  # another process may have downloaded it
                part = target.with_name(target.name + UNFINISHED)
                _fetch_whole(url, part, target, size, pause)
                _check(part, shown(url), size, digest)
                part.replace(target)
                _forget(part)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise DownloadError(f'{target} cannot be written ({reason(error)}): use another folder (for weights, set the '
                            'environment variable TORCH_HOME)') from error
    return target


def shown(url: str) -> str:
    """Return `url` for messages and logs, without any password or token in it."""
    scheme, mark, rest = url.partition('://')
    return scheme + mark + re.split('[?#]', rest[len(_user(url)):])[0] if mark else url


def _user(url: str) -> str:
    """Return the user name and password of `url`, with the @ after them."""
    return ''.join(url.partition('://')[2].partition('/')[0].rpartition('@')[:2])


def _fetch_whole(url: str, part: Path, target: Path, size: int | None, pause: float) -> None:
    """Download all of `url` to `part`, with several tries.

    Raises:
        DownloadError: all tries failed, or another try cannot help.
    """
    name, attempt = shown(url), 0
    while True:
        had = _size(part)
        try:
            return _fetch_rest(url, part, size)
        except (OSError, HTTPException, ValueError) as error:  # interrupted, not reached, refused, or no valid address
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise
            if lasting := _lasting(error):
                raise DownloadError(f'{name} {lasting}. {by_hand(target)}') from error
            if isinstance(error, HTTPError) and error.code == 416:  # `part` was complete, but a killed run left it
                _forget(part)
            attempt = 0 if _size(part) > had else attempt + 1
            if attempt == TRIES:
                kept = ('The downloaded part is kept, and the next run continues it. '
                        if _size(part) and _notes(part).exists() else '')
                raise DownloadError(f'{name} could not be downloaded in {TRIES} tries ({reason(error)}). '
                                    f'{kept}{by_hand(target)}') from error
            wait = pause * 2 ** attempt
            LOGGER.info(f'{name}: {reason(error)}; {_size(part):,} bytes downloaded so far, next try in {wait:g} s')
        time.sleep(wait)


def _lasting(error: Exception) -> str:
    """Return what is wrong if another try would fail too; an empty text if it may work."""
    if isinstance(error, HTTPError):
        may_work = error.code >= 500 or error.code in (408, 416, 429)
        return '' if may_work else f'cannot be downloaded: the server answers {error.code} ({error.reason})'
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, socket.gaierror):
        return 'cannot be reached: this machine is offline, or there is no such server'
    # SSLEOFError: the connection was interrupted
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        return f'cannot be reached safely ({reason(cause)})'
    if isinstance(cause, InvalidURL | ValueError | str):  # their own messages may contain a token
        return 'is not a valid address: check its server and port, and look for spaces'
    return ''


def by_hand(target: Path) -> str:
    """Return the instructions for a manual download."""
    return f'Download it yourself, and save it in {target.parent} as {target.name}'


def checksum(file: Path, kind: str = 'sha256') -> str:
    """Return the hexadecimal checksum of a file. Shows a progress bar if it takes long."""
    made = hashlib.new(kind)
    with file.open('rb') as opened, _bar(f'check {file.name}', file.stat().st_size) as bar:
        while chunk := opened.read(CHUNK):
            made.update(chunk)
            bar.update(len(chunk))
    return made.hexdigest()


def _fetch_rest(url: str, part: Path, size: int | None) -> None:
    have, notes = _size(part), _notes(part)
    request = urllib.request.Request(url, headers={'User-Agent': 'ghostdet'})
    version = notes.read_text() if have and notes.exists() else ''
    if version:  # If-Range: if the file has changed, the server sends all of it
        request.add_header('Range', f'bytes={have}-')
        request.add_header('If-Range', version)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if answer.status != 206:
            have = 0
        elif not (answer.headers.get('Content-Range') or '').startswith(f'bytes {have}-'):
            part.unlink()
            raise ConnectionError('the server sent a different part of the file than requested')
        validator = answer.headers.get('ETag') or answer.headers.get('Last-Modified')
        if validator and not validator.startswith('W/'):
            notes.write_text(validator)
        length = answer.headers.get('Content-Length')
        total = have + int(length) if length else size
        _check_room(part, total, have)
        with part.open('ab' if have else 'wb') as opened, _bar(f'fetch {part.stem}', total, have) as bar:
            while chunk := answer.read(CHUNK):
                opened.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f'the connection ended after {part.stat().st_size:,} of {total:,} bytes')


def _check(part: Path, url: str, size: int | None, digest: tuple[str, str] | None) -> None:
    got = part.stat().st_size
    wrong = f'{got:,} bytes instead of {size:,}' if size is not None and got != size else ''
    if not wrong and digest and not (computed := checksum(part, digest[0])).startswith(digest[1]):
        wrong = f'the {digest[0]} {computed} instead of {digest[1]}'
    if wrong:
        _forget(part)
        raise DownloadError(f'{url} is not the expected file: it has {wrong}. It was deleted. Try again; if this error '
                            'comes again, the file on the server has changed')


def _check_room(part: Path, total: int | None, have: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise DownloadError(f'{part.parent} has {free:,} bytes free, but {total - have:,} more are needed: free some '
                            'space there')


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _notes(part: Path) -> Path:
    return part.with_name(part.name + '.version')


def _bar(name: str, total: int | None, done: int = 0) -> Any:
    return progress(desc=name, total=total, initial=done, unit='B', unit_scale=True, unit_divisor=1024, delay=1)
