"""Signals during a run: the first asks it to save and stop, a second one stops it where it is.

A terminal that closes (SIGHUP) and a reader of the output that goes away count as such a signal.
"""

import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

HANG_UP = getattr(signal, "SIGHUP", None)  # not on Windows
READER_GONE = int(getattr(signal, "SIGPIPE", 13))


def resume_command(folder: str | Path) -> str:
    """How to go on with a run, as one types it."""
    return shlex.join(["dysonjax", "resume", str(folder)])


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop and has saved its state."""

    def __init__(self, number: int, folder):
        reader = "the reader of its output, which went away"
        name = reader if number == READER_GONE else signal.Signals(number).name
        super().__init__(f"stopped by {name}; go on with: {resume_command(folder)}")
        self.signal, self.folder = number, folder


class StoppedAtOnce(KeyboardInterrupt):
    """A second signal: nothing more is saved."""

    def __init__(self, number: int):
        super().__init__("stopped at once; what was saved before is intact")
        self.signal = number


class Request:
    """Whether a signal has asked the run to stop."""

    def __init__(self):
        self.signal: int | None = None

    def __call__(self, number, frame) -> None:
        if self.signal is not None:
            raise StoppedAtOnce(number)
        self.signal = number
        with contextlib.suppress(OSError, ValueError):  # the terminal may be what has gone
            print("finishing this segment to save it; once more to stop at once", file=sys.stderr, flush=True)


@contextlib.contextmanager
def listening() -> Iterator[Request]:
    """Turn SIGINT, SIGTERM and SIGHUP into a `Request` that training looks at between its segments.

    A SIGHUP that is ignored, as under nohup, stays ignored. Only the main thread may set handlers; elsewhere,
    signals keep the effect that they have.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if HANG_UP is not None and signal.getsignal(HANG_UP) != signal.SIG_IGN:
        numbers.append(HANG_UP)
    before = {number: signal.signal(number, request) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
