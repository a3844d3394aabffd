"""Named arrays in one file that is whole or not there, and that tells damage from every other trouble.

The file is an uncompressed `.npz`, which every NumPy opens. It ends with the SHA-256 of all that comes
before, as the comment of the archive: a file whose sum is right is taken at its word, one whose sum is wrong
is `Damaged`, and nothing of it is parsed. What the machine says of itself (no memory, no permission, a
failing disk) is never damage: it passes through.
"""

import hashlib
import os
import struct
import uuid
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

SUM_BYTES = 64  # a SHA-256 in hexadecimal digits
END = b"PK\5\6"  # starts the last record of an archive, of 22 bytes, the last two the length of the comment
PIECE = 2**20


class Damaged(Exception):
    """A file is not what was written."""


def write(target: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a file aside, bring it to the disk and rename it."""
    partial = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with partial.open("w+b") as file:
            named: dict[str, Any] = dict(arrays)  # NumPy cannot say that none is called `allow_pickle`
            np.savez(file, **named)
            file.seek(-2, os.SEEK_END)
            file.write(struct.pack("<H", SUM_BYTES))
            file.seek(0)
            seal = _digest(file, None)
            file.seek(0, os.SEEK_END)
            file.write(seal)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read(path: Path) -> dict[str, np.ndarray]:
    """What `write` wrote; raises Damaged if the file is another one, OSError and MemoryError as they come."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 22))
        tail = file.read()
        if len(tail) == 22 and tail.startswith(END) and tail.endswith(b"\0\0"):
            return _read_unsealed(file)  # of a version that kept no sum of the whole
        file.seek(0)
        if size < SUM_BYTES or _digest(file, size - SUM_BYTES) != file.read():
            raise Damaged
        file.seek(0)
        return _arrays(file)


def _arrays(file: IO[bytes]) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_unsealed(file: IO[bytes]) -> dict[str, np.ndarray]:
    """The arrays of a file that has a CRC-32 of each entry only; all are checked before one is parsed."""
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.testzip() is not None:
                raise Damaged
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Damaged from error
    file.seek(0)
    return _arrays(file)


def _digest(file: IO[bytes], count: int | None) -> bytes:
    """The SHA-256 of the next `count` bytes, or of all, in hexadecimal digits."""
    found, left = hashlib.sha256(), count
    while piece := file.read(PIECE if left is None else min(PIECE, left)):
        found.update(piece)
        left = None if left is None else left - len(piece)
    return found.hexdigest().encode()
