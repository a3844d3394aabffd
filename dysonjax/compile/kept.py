"""Machine code that is kept between runs, under a name that holds what it was made of and its SHA-256.

What lies there is used if its sum is that of its name; a file that is truncated, altered or somebody else's
never is.
"""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from dysonjax import cache

DIGITS = 20  # of the hash of what a file was made of


def key(*parts: bytes | str) -> str:
    """Of what machine code is made of: texts, options, versions."""
    mark = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        mark.update(len(part).to_bytes(8, "little") + part)
    return mark.hexdigest()[:DIGITS]


def made(kind: str, key: str, make: Callable[[], bytes]) -> bytes:
    """The bytes that the user's cache has for a key, else those that `make` makes, which are then kept.

    kind: names the folder of the cache and the ending of its files.
    """
    content = recall(kind, key)
    if content is None:
        content = make()
        keep(kind, key, content)
    return content


def recall(kind: str, key: str) -> bytes | None:
    """The bytes that the user's cache has for a key."""
    folder, _ = cache.private(kind)
    try:
        return None if folder is None else _found(folder, kind, key)
    except OSError:  # the folder was removed meanwhile
        return None


def keep(kind: str, key: str, content: bytes) -> None:
    """Keep the bytes of a key, if there is a cache and room in it."""
    folder, _ = cache.private(kind)
    if folder is not None:
        with contextlib.suppress(OSError):  # no space: it is made again the next time
            path = folder / f"{key}-{hashlib.sha256(content).hexdigest()}.{kind}"
            write(path, content)
            cache.prune(file for file in folder.glob(f"*.{kind}") if file != path)


def write(path: Path, content: bytes) -> None:
    """A file that is whole, on the disk and for us alone before it has its name."""
    number, partial = tempfile.mkstemp(prefix="build-", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _found(folder: Path, kind: str, key: str) -> bytes | None:
    name = re.compile(rf"{key}-([0-9a-f]{{64}})\.{kind}")
    for path in sorted(folder.iterdir()):
        match = name.fullmatch(path.name)
        try:
            if match and cache.ours(path):
                content = path.read_bytes()
                if hashlib.sha256(content).hexdigest() == match[1]:
                    os.utime(path)  # what is used is kept
                    return content
                path.unlink()
        except OSError:  # another process removed it
            continue
    return None
