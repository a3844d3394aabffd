"""Where compiled programs are kept between runs, and for which machine.

`DYSONJAX_CACHE=off` keeps none, `DYSONJAX_CACHE=FOLDER` keeps them elsewhere than in the user's cache folder.
Machine code is loaded only from a folder that nobody else can write to.
"""

import functools
import hashlib
import os
import platform
import re
import stat
from collections.abc import Iterable
from pathlib import Path

import platformdirs

VARIABLE = "DYSONJAX_CACHE"
TRACES = "DYSONJAX_TRACES_SINCE"  # a command keeps what tracing gives; the time at which it began
MOST_BYTES = 200 * 10**6  # of one kind of program
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def root() -> Path | None:
    """The folder of all caches of this user; None if they are turned off."""
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen.lower() in ("off", "0", "no", "none"):
        return None
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("dysonjax"))


def private(name: str) -> tuple[Path | None, str]:
    """A folder of the cache that is ours alone, made if need be; or None and why there is none."""
    base = root()
    if base is None:
        return None, f"{VARIABLE} turns the cache off"
    place = base.absolute() / name
    try:
        _make(place)
        reason = _distrust(place)
        if reason is None and not os.access(place, os.W_OK | os.X_OK):
            reason = f"{place} cannot be written"
    except OSError as error:
        reason = f"{place} cannot be used: {error.strerror or error}"
    return (place, "") if reason is None else (None, reason)


def _make(place: Path) -> None:
    """Make a folder of mode 0700, and what is missing above it likewise."""
    missing = [path for path in (place, *place.parents) if not os.path.lexists(path)]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def _distrust(place: Path) -> str | None:
    """Why somebody else could put a file into a folder, or another folder in its place; None if nobody can.

    A folder of ours that others may only read is closed to them.
    """
    if not hasattr(os, "geteuid"):  # Windows, where folders of a user are closed to others
        return None
    user, found = os.geteuid(), os.lstat(place)
    if not stat.S_ISDIR(found.st_mode):
        return f"{place} is not a folder"
    if found.st_uid != user:
        return f"{place} belongs to another user"
    if found.st_mode & OTHERS_WRITE:
        return f"{place} can be written by others"
    if stat.S_IMODE(found.st_mode) != 0o700:
        os.chmod(place, 0o700)
    for path in place.resolve().parents:
        found = os.stat(path)
        if found.st_uid not in (user, 0):
            return f"{path}, which holds {place}, belongs to another user"
        group = stat.S_IWGRP if found.st_gid != os.getegid() else 0  # a group that is the user alone
        if found.st_mode & (stat.S_IWOTH | group) and not found.st_mode & stat.S_ISVTX:
            return f"{path}, which holds {place}, can be written by others"
    return None


def ours(path: Path) -> bool:
    """Whether a file is a plain one that we wrote and nobody else can write."""
    found = os.lstat(path)
    if not hasattr(os, "geteuid"):
        return stat.S_ISREG(found.st_mode)
    mine = found.st_uid == os.geteuid() and not found.st_mode & OTHERS_WRITE
    return stat.S_ISREG(found.st_mode) and mine


def prune(files: Iterable[Path], most: int = MOST_BYTES) -> None:
    """Remove the files that were used longest ago until the rest takes `most` bytes at most."""
    known = []
    for path in files:
        try:
            found = path.stat()
        except OSError:  # another process removed it
            continue
        known.append((found.st_mtime, found.st_size, path))
    left = sum(size for _, size, _ in known)
    for _, size, path in sorted(known):
        if left <= most:
            return
        try:
            path.unlink(missing_ok=True)
        except OSError:
            continue
        left -= size


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return getattr(os, "process_cpu_count", os.cpu_count)() or 1


@functools.cache
def processor() -> str:
    """A short name for the instruction set of this machine.

    Machine code runs only on processors with the same instructions, and a home folder is often shared by
    machines that differ.
    """
    try:
        text = Path("/proc/cpuinfo").read_text()
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.M)
        features = " ".join(sorted(found[1].split())) if found else platform.processor()
        model = re.search(r"^(?:model name|CPU part)\s*:(.*)$", text, re.M)
        features += model[1] if model else ""
    except OSError:
        features = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:8]
