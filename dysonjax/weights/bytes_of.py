"""Ranges of bytes of a file or of a member of a zip archive, never more than the file can hold."""

import io
import mmap
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dysonjax.checks import InputError

# Deflate cannot do better than 1032:1, so a member that claims more than that is lying.
_MOST_DEFLATED = 1032


@dataclass(frozen=True)
class Source:
    """A run of bytes in a file: `start` and `size` are checked against the file when this is made."""

    path: Path
    start: int
    size: int
    deflated: tuple[zipfile.ZipInfo, int] | None = None
    """of a compressed member of an archive: its entry and the size that it claims"""
    crc: int | None = None
    """of a member of an archive: its checksum"""

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """`size` bytes from `offset` on. Raises InputError if they are not there."""
        total = self.size if self.deflated is None else self.deflated[1]
        size = total - offset if size is None else size
        if offset < 0 or size < 0 or offset + size > total:
            raise InputError(f"bytes {offset} to {offset + size} lie outside its {total}, it is truncated")
        try:
            if self.deflated is None:
                with self.path.open("rb") as file:
                    file.seek(self.start + offset)
                    data = file.read(size)
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.deflated[0]) as file:
                    file.seek(offset)
                    data = file.read(size)
        except Exception as error:  # zlib, zip and system errors: all mean that this one is damaged
            raise InputError(f"it cannot be read, it is truncated or damaged ({error})") from None
        if len(data) != size:
            raise InputError("it is truncated")
        return data

    def verified(self) -> bytes:
        """All of it, held against its checksum."""
        data = self.read()
        if self.crc is not None and zlib.crc32(data) != self.crc:
            raise InputError("its checksum is wrong, the file is damaged")
        return data

    def array(self, dtype: np.dtype, shape, offset: int = 0) -> np.ndarray:
        """Entries in C order from `offset` on, shape `shape`."""
        count = int(np.prod(shape, dtype=object)) if len(shape) else 1
        data = self.read(offset, count * dtype.itemsize)
        return np.frombuffer(data, dtype, count).reshape(shape)

    @property
    def length(self) -> int:
        """Bytes that can be read."""
        return self.size if self.deflated is None else self.deflated[1]

    def mapped(self) -> mmap.mmap:
        """A whole file as memory that the system pages in where it is looked at, to walk its structure."""
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def open(self) -> BinaryIO:
        """A seekable file of these bytes: the stored ones in place, compressed ones unpacked."""
        if self.deflated is None:
            return io.BufferedReader(_Window(self.path, self.start, self.size))
        return io.BytesIO(self.read())


class _Window(io.RawIOBase):
    """A part of a file as a file, so that a container inside an uncompressed zip needs no copy."""

    def __init__(self, path: Path, start: int, size: int):
        self._file, self._start, self._size, self._at = path.open("rb"), start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer) -> int:
        wanted = min(len(buffer), max(0, self._size - self._at))
        self._file.seek(self._start + self._at)
        count = self._file.readinto(memoryview(buffer)[:wanted])
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def whole_file(path: Path) -> Source:
    return Source(path, 0, path.stat().st_size)


def zip_members(path: Path) -> dict[str, Source]:
    """The members of a zip archive by name. Raises InputError for one that is damaged or encrypted."""
    total = path.stat().st_size
    members = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for info in archive.infolist():
                if not info.is_dir():
                    members[info.filename] = _member(path, file, info, total)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is truncated or not a zip archive ({error})") from None
    return members


def _member(path: Path, file: BinaryIO, info: zipfile.ZipInfo, total: int) -> Source:
    if info.flag_bits & 1:
        raise InputError(f"{path} is encrypted; decrypt it first")
    file.seek(info.header_offset)
    header = file.read(30)
    if len(header) != 30 or header[:4] != b"PK\x03\x04":
        raise InputError(f"{path} is truncated or a damaged zip archive (member {info.filename!r})")
    name, extra = struct.unpack("<HH", header[26:30])
    start = info.header_offset + 30 + name + extra
    if start + info.compress_size > total:
        raise InputError(f"{path} is truncated or a damaged zip archive (member {info.filename!r})")
    if info.compress_type == zipfile.ZIP_STORED:
        return Source(path, start, min(info.file_size, info.compress_size), crc=info.CRC)
    if info.compress_type != zipfile.ZIP_DEFLATED:
        raise InputError(f"{path} is packed by a rare method ({info.filename!r}); unpack it and zip it anew")
    if info.file_size > _MOST_DEFLATED * info.compress_size + 64:
        raise InputError(f"{path} is damaged: member {info.filename!r} claims {info.file_size} bytes")
    return Source(path, start, info.compress_size, (info, info.file_size), info.CRC)
