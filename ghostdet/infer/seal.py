"""The checksum in an exported file, of all its parts: it says whether they are as they were exported."""
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

UNSEALED = 64 * '0'  # in place of the checksum while a file is written
# As JSON, and as JSON in an attribute of XML.
_STATED = re.compile(rb'(?:"|&quot;)checksum(?:"|&quot;): ?(?:"|&quot;)([0-9a-f]{64})(?:"|&quot;)')


def seal(files: Sequence[Path]) -> None:
    """Write the checksum of all files into the one that has a place for it.

    It is the sha256 of all bytes, with zeros where it stands itself.
    """
    digest = hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()
    for file in files:
        content = file.read_bytes()
        if (found := _STATED.search(content)) and found[1] == UNSEALED.encode():
            file.write_bytes(content[:found.start(1)] + digest.encode() + content[found.end(1):])


def read_seal(files: Sequence[Path]) -> tuple[str | None, str]:
    """Return the checksum stated in the files, or None, and the actual checksum of the files."""
    stated, digest = None, hashlib.sha256()
    for content in (file.read_bytes() for file in files):
        found = None if stated else _STATED.search(content)
        if found:
            stated = found[1].decode()
            content = content[:found.start(1)] + UNSEALED.encode() + content[found.end(1):]
        digest.update(content)
    return stated, digest.hexdigest()


def is_whole(files: Sequence[Path]) -> bool | None:
    """Return whether all files are as they were exported; None if they do not say it."""
    stated, actual = read_seal(files)
    return None if stated is None else stated == actual
