"""Compiled programs kept between runs of the commands, so that only the first run of a kind compiles.

The library never does this: it is the commands that set JAX's own persistent cache, through the environment
and before JAX is imported, and they leave alone whatever the user has set already. In the same way they turn
on `ensemble/traces.py`, which keeps what has been traced.
"""

import contextlib
import importlib.metadata
import os
import re
import shutil
import sys
import time
import zlib
from pathlib import Path

from dysonjax.cache import TRACES, VARIABLE, private, processor, prune, root

VERIFIED = "verified"  # a file that was touched when the entries were looked at
ZLIB = 0x78  # how its streams start
MIN_COMPILE_SECONDS = "0.3"  # programs that compile faster than they load are not kept


def folder() -> Path | None:
    """The cache of this machine's kind of processor and this version of the compiler; None if turned off."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    base = root()
    if base is None:
        return None
    return base / "compiled" / f"jaxlib-{importlib.metadata.version('jaxlib')}-{processor()}"


def activate() -> None:
    """Make JAX, which must not be imported yet, keep its compiled programs; silently nothing if it cannot."""
    place = folder()
    if root() is not None and "jax" not in sys.modules:
        os.environ[TRACES] = repr(time.time())  # until the command ends, see `_environment_kept`
    if place is None or "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    base = root()
    if base is None or private(str(place.relative_to(base)))[0] is None:
        return
    with contextlib.suppress(OSError):
        _remove_torn(place)
        prune(place.glob("*-cache"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(place)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", MIN_COMPILE_SECONDS)
    # XLA prints half a page for every program that it loads from the cache: its own tuning hints are not
    # among the features that it reads off the processor. Errors still reach Python as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _remove_torn(place: Path) -> None:
    """Remove programs that a full disk or the end of a process has left torn.

    JAX would complain of them in every command, compile and not write them anew. Only those are looked at
    that are younger than the last look.
    """
    mark = place / VERIFIED
    last = mark.stat().st_mtime if mark.exists() else 0.0
    mark.touch()
    for path in place.glob("*-cache"):
        with contextlib.suppress(OSError):  # another process removed it
            if path.stat().st_mtime >= last and not _whole(path.read_bytes()):
                path.unlink()


def _whole(content: bytes) -> bool:
    """Whether an entry of JAX's cache is complete; others than those by zlib are left to JAX."""
    if content and content[0] != ZLIB:
        return True
    try:
        zlib.decompress(content)
        return True
    except zlib.error:
        return False


def clear() -> list[Path]:
    """Remove what this program keeps; the folders that are gone. What else lies there stays.

    Never a folder that the user named to JAX.
    """
    base = root()
    if base is None:
        return []
    gone = []
    for name in ("compiled", "native", "tiles", "cubin", "traced"):
        place = base / name
        if place.is_symlink() or not place.is_dir():
            continue
        folders = [place]
        if name == "compiled":
            folders = [p for p in place.iterdir() if re.fullmatch(r"jaxlib-.+-[0-9a-f]{8}", p.name)] + folders
        for folder in folders:
            if folder.is_symlink() or not folder.is_dir():
                continue
            for path in list(folder.iterdir()):
                if _made_here(name, path):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            with contextlib.suppress(OSError):  # something of the user's is in it
                folder.rmdir()
        if not place.exists():
            gone.append(place)
    return gone


def _made_here(kind: str, path: Path) -> bool:
    from dysonjax.compile import toolchain

    if kind == "native":
        return toolchain.made_here(path)
    pattern = {
        "compiled": rf".+-(cache|atime)|{VERIFIED}",
        "tiles": r"[0-9a-f]{20}\.json|\.[0-9a-f]{32}\.part",
        "cubin": r"[0-9a-f]{20}-[0-9a-f]{64}\.cubin|build-[a-z0-9_]{8}",
        "traced": r"[0-9a-f]{20}-[0-9a-f]{64}\.traced|build-[a-z0-9_]{8}",
    }[kind]
    return bool(re.fullmatch(pattern, path.name)) and path.is_file() and not path.is_symlink()


def compiling(what: str) -> str:
    """The message before the first compilation of a run; a new user also hears what it is for."""
    place, base = folder(), root()
    traced = base is not None and any((base / "traced").glob("*.traced"))
    if place is None or traced or any(place.glob("*-cache")):
        return f"compiling for {what} ..."
    return (
        f"compiling for {what}: 5 to 30 s the first time; the programs are then kept in {root() or place} "
        f"({VARIABLE}=off keeps none) ..."
    )
