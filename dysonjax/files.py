"""A file is there as a whole or not at all, and what cannot be written or read is named."""

import contextlib
import errno
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # trouble of a disk, not of what one asked for
PART = ".part"  # ends the name under which a file is written


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Where to write what then becomes the file at `path`, in one step, or leaves no trace.

    An OSError names the file: those of a full disk name none.
    """
    partial = path.with_name(path.name + PART)
    try:
        yield partial
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def put(path: Path, content: str | bytes) -> None:
    """Write a file, replacing the one that was there."""
    with aside(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def arrays(path: Path) -> dict:
    """The arrays of an .npz file by name; raises InputError if it is damaged, FileNotFoundError if absent."""
    import numpy as np

    from dysonjax.checks import InputError

    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, AttributeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        raise InputError(f"{path} is damaged") from None
