"""The system's C compiler, and a folder of what it has compiled.

A library is kept under a name that holds what it was made of (source, headers, flags, the compiler's own
words about its version, the processor) and the SHA-256 of its bytes. It is loaded if the sum of what lies
there is that of the name, and compiled again if it is not: truncated, altered or somebody else's files are
never run.
"""

import atexit
import ctypes
import functools
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from dysonjax import cache
from dysonjax.compile import kept

LIBRARY = re.compile(r"([0-9a-f]{20})-([0-9a-f]{64})\.so")
PROBE = re.compile(r"([0-9a-f]{20})\.flags")
EARLIER = re.compile(r"[0-9a-f]{20}\.so")  # of versions that kept no sum
BUILD = re.compile(r"build-.*|tmp[a-z0-9_]{8}")
ABANDONED_SECONDS = 3600.0  # after which a folder in which something was compiled has been left behind
ROOM_BYTES = 4 * 10**6  # more than a compiled step and its compiler's files take
LOADED: dict[str, ctypes.CDLL] = {}  # by what it was made of


class CompilerError(RuntimeError):
    """There is no C compiler, or it failed."""


def compiler_path() -> str | None:
    """The C compiler's path, or None; the environment variable CC names another one."""
    command = _command()
    return command[0] if command else None


def compiler_version() -> str | None:
    """The first line of what the C compiler says of itself; None if there is none, or it cannot be run."""
    command = _command()
    try:
        return _version(command).splitlines()[0] if command else None
    except (OSError, IndexError):
        return None


def load(source: str, headers: tuple[Path, ...] = (), flags: tuple[str, ...] = ()) -> ctypes.CDLL:
    """The library that the compiler makes of a source, from the user's cache if it is there.

    flags: those that the compiler does not know are left out. Raises CompilerError if there is no C compiler
    or if it fails.
    """
    command = _command()
    if command is None:
        raise CompilerError("there is no C compiler; install one or set CC to its path")
    flags = ("-O3", "-funroll-loops", "-march=native", "-fno-math-errno", "-fno-trapping-math", *flags)
    folder = _folder()
    try:
        return _library(command, source, headers, flags, folder)
    except (OSError, CompilerError) as error:
        if isinstance(error, CompilerError) and _roomy(folder):
            raise
    try:  # a cache without room must not change what computes a run
        return _library(command, source, headers, flags, _temporary_folder())
    except OSError as error:  # no space here either, or a library that this system cannot load
        raise CompilerError(
            f"the library of a compiled step cannot be made: {error.strerror or error}"
        ) from None


def _library(command: tuple[str, ...], source: str, headers, flags, folder: Path) -> ctypes.CDLL:
    flags = _known(command, (*flags, "-Wno-psabi"), folder)
    mark = hashlib.sha256(source.encode())
    for header in headers:
        mark.update(header.read_bytes())
    mark.update("\0".join((*command, *flags, _version(command), cache.processor())).encode())
    key = mark.hexdigest()[:20]
    if key in LOADED:
        return LOADED[key]
    library = _kept(folder, key)
    if library is None:
        includes = [f"-I{header.parent}" for header in headers]
        path = _compile([*command, *flags, *includes, "-shared", "-fPIC"], source, folder, key)
        _tidy(folder, path)
        library = ctypes.CDLL(str(path))
    return LOADED.setdefault(key, library)


def _roomy(folder: Path) -> bool:
    """Whether there is room for what a compiler writes: it does not say so if it failed for want of it."""
    try:
        return shutil.disk_usage(folder).free > ROOM_BYTES
    except OSError:
        return False


def made_here(path: Path) -> bool:
    """Whether a file or folder in the cache of libraries is one that this module makes."""
    kinds = (BUILD,) if path.is_dir() and not path.is_symlink() else (LIBRARY, PROBE, EARLIER)
    return any(kind.fullmatch(path.name) for kind in kinds)


def _command() -> tuple[str, ...] | None:
    """The compiler and what CC puts behind it, as in `gcc -pthread` or `ccache gcc`."""
    chosen = os.environ.get("CC", "").strip() or "cc"
    try:
        words = [chosen] if shutil.which(chosen) else shlex.split(chosen)
    except ValueError:  # a quotation that does not end
        return None
    path = shutil.which(words[0]) if words else None
    return (path, *words[1:]) if path else None


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    """What a compiler says of itself: an update changes the machine code, not the path."""
    found = subprocess.run([*command, "--version"], capture_output=True, text=True, errors="replace")
    return found.stdout.strip() or f"{os.stat(command[0]).st_mtime_ns}"


@functools.cache
def _known(command: tuple[str, ...], flags: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Those flags that a compiler takes, asked once and kept."""
    mark = "\0".join((*command, *flags, _version(command), cache.processor()))
    digest = hashlib.sha256(mark.encode()).hexdigest()
    path = folder / f"{digest[:20]}.flags"
    try:
        if cache.ours(path):
            whole, *taken = path.read_text().splitlines()
            if whole == _sum(digest, taken) and set(taken) <= set(flags):
                return tuple(flag for flag in flags if flag in taken)
    except (OSError, ValueError):
        pass
    good = flags if _takes(command, flags) else tuple(f for f in flags if _takes(command, (f,)))
    if good:  # a compiler that takes none failed for another reason, such as a full disk
        kept.write(path, "\n".join((_sum(digest, list(good)), *good)).encode())
    return good


def _sum(digest: str, flags: list[str]) -> str:
    return hashlib.sha256("\0".join((digest, *flags)).encode()).hexdigest()


def _takes(command: tuple[str, ...], flags: tuple[str, ...]) -> bool:
    with tempfile.TemporaryDirectory(prefix="dysonjax-") as place:
        code = Path(place) / "probe.c"
        code.write_text("int probe(void) { return 0; }\n")
        words = [*command, *flags, "-Werror", "-c", str(code), "-o", str(code.with_suffix(".o"))]
        return subprocess.run(words, capture_output=True).returncode == 0


def _kept(folder: Path, key: str) -> ctypes.CDLL | None:
    """The library of a key, if one lies there that is what was written; what is damaged is removed."""
    for name in sorted(os.listdir(folder)):
        found = LIBRARY.fullmatch(name)
        if found is None or found[1] != key:
            continue
        path = folder / name
        try:
            if cache.ours(path) and hashlib.sha256(path.read_bytes()).hexdigest() == found[2]:
                library = ctypes.CDLL(str(path))
                os.utime(path)  # what is used is kept
                return library
            path.unlink()
        except FileNotFoundError:  # another process removed it
            continue
        except OSError:  # whole, and still not for this system
            path.unlink(missing_ok=True)
    return None


def _compile(command: list[str], source: str, folder: Path, key: str) -> Path:
    """The file of a fresh library; processes that compile the same one at once do not disturb each other."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as partial:
        code, target = Path(partial) / "kernel.c", Path(partial) / "kernel.so"
        code.write_text(source)
        result = subprocess.run(
            [*command, str(code), "-o", str(target), "-lm"], capture_output=True, text=True, errors="replace"
        )
        if result.returncode:
            lines = result.stderr.splitlines()
            first = next((line for line in lines if "error" in line), f"exit status {result.returncode}")
            words = first.strip().replace(f"{partial}/", "")
            raise CompilerError(f"the C compiler {command[0]} failed: {words}")
        content = target.read_bytes()
        path = folder / f"{key}-{hashlib.sha256(content).hexdigest()}.so"
        kept.write(path, content)  # not the compiler's own file: an odd umask, or another owner, ends here
    return path


def _tidy(folder: Path, fresh: Path) -> None:
    """Remove what killed compilers and earlier versions left, and the oldest libraries beyond the limit."""
    now = time.time()
    libraries = []
    for path in folder.iterdir():
        try:
            old = now - path.lstat().st_mtime > ABANDONED_SECONDS
            if BUILD.fullmatch(path.name) and old:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            elif EARLIER.fullmatch(path.name):
                path.unlink(missing_ok=True)
            elif LIBRARY.fullmatch(path.name) and path != fresh:
                libraries.append(path)
        except OSError:  # another process removed it
            continue
    cache.prune(libraries, cache.MOST_BYTES - fresh.stat().st_size)


def _folder() -> Path:
    """Where libraries are kept: in the user's cache, or as long as this process lives if there is none."""
    place, _ = cache.private("native")
    return place or _temporary_folder()


@functools.cache
def _temporary_folder() -> Path:
    place = tempfile.mkdtemp(prefix="dysonjax-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)
