"""Signals during a run: the first asks it to save and stop, a second one stops it where it is."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop and has saved its state."""

    def __init__(self, number: int, folder):
        name = signal.Signals(number).name
        super().__init__(f"stopped by {name}; go on with: dysonjax resume {folder}")
        self.signal, self.folder = number, folder


class Request:
    """Whether a signal has asked the run to stop."""

    def __init__(self):
        self.signal: int | None = None

    def __call__(self, number, frame) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        print("finishing this segment to save it; once more to stop at once", file=sys.stderr, flush=True)


@contextlib.contextmanager
def listening() -> Iterator[Request]:
    """Turn SIGINT and SIGTERM into a `Request` that the training loop looks at between its segments.

    Only the main thread may set handlers; elsewhere, signals keep the effect that they have.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
