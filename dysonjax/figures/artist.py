"""Figures drawn by processes of their own, which load what draws them while this one trains.

Loading matplotlib and drawing a figure take a second or two of Python, in which no other thread of Python
gets on. An artist is given functions and data, and returns what the files are to hold; who asked writes them.
"""

import contextlib
import importlib
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from dysonjax import cache

MOST = 2


class Artist:
    """A process that draws; without one, or if it ends, figures are drawn here."""

    def __init__(self):
        # The same modules as here, and none that lies about in the working folder.
        start = f"import sys; sys.path[:] = {sys.path!r}; from dysonjax.figures.artist import serve; serve()"
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-P", "-c", start], stdin=pipe, stdout=pipe)
        assert self.process.stdin is not None and self.process.stdout is not None  # both are pipes
        self.to, self.back = self.process.stdin, self.process.stdout

    def ask(self, make: Callable) -> Callable[[], dict[str, bytes]]:
        """Have the figure of a picklable function drawn: a function that waits for what its files hold.

        It raises what `make` raises. One figure at a time.
        """
        with contextlib.suppress(OSError):
            pickle.dump(make, self.to)
            self.to.flush()

        def wait():
            try:
                error, contents = pickle.load(self.back)
            except (EOFError, OSError, pickle.UnpicklingError):
                return drawn(make)
            if error is not None:
                raise error
            return contents

        return wait

    def leave(self) -> None:
        self.process.kill()  # it holds nothing that is not here
        for pipe in (self.to, self.back):
            with contextlib.suppress(OSError):
                pipe.close()
        self.process.wait()


@contextlib.contextmanager
def artists(count: int) -> Iterator[list[Artist]]:
    """As many artists as help: none on one core, and none if this process has loaded what they load."""
    helpful = cache.cores() > 1 and "matplotlib" not in sys.modules
    there = []
    try:
        with contextlib.suppress(OSError):  # no memory, no more processes
            for _ in range(min(count, MOST) if helpful else 0):
                there.append(Artist())
        yield there
    finally:
        for artist in there:
            artist.leave()


def drawn(make: Callable) -> dict[str, bytes]:
    """What the files of a figure hold, drawn in this process."""
    from dysonjax.figures.style import drawn_files

    return drawn_files(make())


def figure(module: str, function: str, *args: Any):
    """The figure of a function of `dysonjax.figures`, which is loaded where it is drawn."""
    return getattr(importlib.import_module(f"dysonjax.figures.{module}"), function)(*args)


def serve() -> None:
    """Draw what comes by standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the one who asks
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    _prepare()
    while True:
        try:
            make = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: tuple[Exception | None, dict[str, bytes] | None]
        try:
            answer = None, drawn(make)
        except Exception as error:
            answer = error, None
        pickle.dump(answer, answers)
        answers.flush()


def _prepare() -> None:
    """Load what every figure needs: data sets, fonts, the parser of formulas, the writers of files."""
    import xarray  # noqa: F401

    from dysonjax.figures.style import drawn_files, new_figure

    sketch, axis = new_figure()
    axis.set(title="$x_1^2$", yscale="log")
    sketch.colorbar(axis.pcolormesh([[1.0]]))
    drawn_files(sketch)
