"""One run folder, one writer: a lock file that names its owner and beats while the owner lives."""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dysonjax.checks import InputError, RunError

BEAT_SECONDS = 5.0
SILENCE_SECONDS = 120.0  # without a beat, after which an owner on another host counts as dead


class Owner(NamedTuple):
    """The process that holds a lock."""

    host: str
    pid: int
    started: str  # tells a process from a later one with the same number
    since: float  # seconds since the epoch


def myself() -> Owner:
    return Owner(socket.gethostname(), os.getpid(), _process_start(os.getpid()), time.time())


class Lock:
    """A lock file such as `run.lock` in a run folder, held from construction to `release`.

    Raises InputError if another living process holds it. The lock of a dead process is taken over: on this
    host by its number and start time, on another host when it has been silent for two minutes; construction
    waits until it beats or that time is over, and says so. say: told what is waited for (None: a warning).
    """

    def __init__(self, path: Path, say: Callable[[str], None] | None = None):
        self.path, self.say = path, say or warnings.warn
        self.owner = myself()
        self._take()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name=_thread_name(self.owner))
        self._thread.start()

    def _take(self) -> None:
        # Written aside and linked: whoever sees the lock sees all of it.
        aside = self.path.with_name(f".lock-{uuid.uuid4().hex}")
        aside.write_text(json.dumps(self.owner._asdict()))
        try:
            while True:
                try:
                    _link(aside, self.path)
                    return
                except FileExistsError:
                    holder = living_owner(self.path)
                    if holder is not None:
                        if _is_here(holder) or _beats(self.path, holder, self.say):
                            raise InputError(_refusal(self.path, holder)) from None
                    # Renaming succeeds for one of several that found the same dead owner.
                    grave = self.path.with_name(f".stale-{uuid.uuid4().hex}")
                    try:
                        os.rename(self.path, grave)
                        grave.unlink()
                    except FileNotFoundError:
                        continue
        finally:
            aside.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise RunError if the folder has vanished or the lock is no longer ours."""
        try:
            found = _read(self.path)
        except OSError as error:
            raise RunError(f"{self.path} cannot be read any more: {error.strerror or error}") from None
        if found is None or found[:3] != self.owner[:3]:
            raise RunError(f"{self.path.parent} has vanished or was taken over by another process")

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # a file system that became read-only; the lock is stale then
            found = _read(self.path)
            if found is not None and found[:3] == self.owner[:3]:
                self.path.unlink()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                os.utime(self.path)
            except OSError:  # the loop that writes results says so with a sentence
                continue


def _thread_name(owner: Owner) -> str:
    return f"lock of {owner.since!r}"


def living_owner(path: Path) -> Owner | None:
    """Who holds a lock, None if nobody does or the owner is dead."""
    owner = _read(path)
    if owner is None:
        return None
    if owner[:3] == myself()[:3]:  # another run of this process, or one that lost its folder
        return owner if _thread_name(owner) in {thread.name for thread in threading.enumerate()} else None
    if _is_here(owner):
        return owner if _process_start(owner.pid) == owner.started != "" else None
    return owner if silence(path) < SILENCE_SECONDS else None


def silence(path: Path) -> float:
    """Seconds since a file was touched, by the clock of its file system: hosts may disagree on the time."""
    probe = path.with_name(f".clock-{uuid.uuid4().hex}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # read-only for us
        now = time.time()
    touched = _touched(path)
    return float("inf") if touched is None else now - touched


def _touched(path: Path) -> float | None:
    """When a file was touched, None if there is none; opening it makes a network file system look again."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None


def _link(aside: Path, path: Path) -> None:
    """Give a file its name unless that is taken; raises FileExistsError then."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: whoever sees the file may see it empty for a moment
        with path.open("x") as file:
            file.write(aside.read_text())


def _beats(path: Path, holder: Owner, say: Callable[[str], None]) -> bool:
    """Whether a lock is touched before it counts as dead; by this process's clock, whatever the file says."""
    before, quiet = _touched(path), silence(path)
    left = SILENCE_SECONDS - max(quiet, 0.0)  # a time in the future tells nothing
    say(
        f"{path.parent} is locked by process {holder.pid} on {holder.host}; waiting up to {left:.0f} s for a "
        "sign of life"
    )
    end = time.monotonic() + left
    while time.monotonic() < end:
        time.sleep(min(BEAT_SECONDS / 5, max(0.0, end - time.monotonic())))
        if _touched(path) != before:
            return _touched(path) is not None
    return False


def _is_here(owner: Owner) -> bool:
    return owner.host == socket.gethostname()


def _refusal(path: Path, holder: Owner) -> str:
    where = "this host" if _is_here(holder) else holder.host
    return (
        f"{path.parent} is in use by process {holder.pid} on {where}; wait for it or stop it"
        f" (if it is gone, remove {path})"
    )


def _read(path: Path) -> Owner | None:
    """Who wrote a lock, None if it is gone or holds nothing; raises OSError if that cannot be told."""
    try:
        return Owner(**json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def _process_start(pid: int) -> str:
    """When a process of this host started, in ticks since boot; empty if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    try:  # a system without /proc: the number alone has to do
        os.kill(pid, 0)
        return "" if Path("/proc/self/stat").exists() else "unknown"
    except OSError:
        return ""
