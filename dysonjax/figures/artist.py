"""Figures drawn by processes of their own, which load what draws them while this one trains.

Loading matplotlib and drawing a figure take a second or two of Python, in which no other thread of Python
gets on. An artist is given functions and data, and returns what the files are to hold; who asked writes them.
Artists share a studio: a process that loads what all of them need, once, and then divides into them.
"""

import contextlib
import gc
import importlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from dysonjax import cache

MOST = 2
# Threads of a library would not be there after a process has divided.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Artist(NamedTuple):
    """A process that draws; without one, or if it ends, figures are drawn here."""

    asked: BinaryIO
    answers: BinaryIO

    def ask(self, make: Callable) -> Callable[[], dict[str, bytes]]:
        """Have the figure of a picklable function drawn: a function that waits for what its files hold.

        It raises what `make` raises. One figure at a time.
        """
        with contextlib.suppress(OSError):
            pickle.dump(make, self.asked)
            self.asked.flush()

        def wait():
            try:
                error, contents = pickle.load(self.answers)
            except (EOFError, OSError, pickle.UnpicklingError):
                return drawn(make)
            if error is not None:
                raise error
            return contents

        return wait


class Studio:
    """So many artists."""

    def __init__(self, count: int):
        requests, answers = ([os.pipe() for _ in range(count)] for _ in range(2))
        theirs = [(asked[0], answer[1]) for asked, answer in zip(requests, answers, strict=True)]
        try:
            # The same modules as here, and none that lies about in the working folder.
            start = (
                f"import sys; sys.path[:] = {sys.path!r}; from dysonjax.figures.artist import open_studio; "
                f"open_studio({theirs!r})"
            )
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", start],
                stdin=subprocess.DEVNULL,
                pass_fds=[end for ends in theirs for end in ends],
                process_group=0,  # so that all of them can be sent away
                env=os.environ | ONE_THREAD,
            )
        except BaseException:
            for ours in (*(asked[1] for asked in requests), *(answer[0] for answer in answers)):
                os.close(ours)
            raise
        finally:
            for end in (end for ends in theirs for end in ends):
                os.close(end)
        self.artists = [
            Artist(open(asked[1], "wb"), open(answer[0], "rb"))
            for asked, answer in zip(requests, answers, strict=True)
        ]

    def leave(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGTERM)  # they hold nothing that is not here
        for pipe in (pipe for artist in self.artists for pipe in artist):
            with contextlib.suppress(OSError):
                pipe.close()
        self.process.wait()


@contextlib.contextmanager
def artists(count: int) -> Iterator[list[Artist]]:
    """As many artists as help: none on one core, and none if this process has loaded what they load.

    Nor where a process that has loaded libraries had better not divide (macOS), or cannot (Windows).
    """
    alone = cache.cores() == 1 or "matplotlib" in sys.modules or sys.platform != "linux"
    studio = None
    if count and not alone:
        with contextlib.suppress(OSError):  # no memory, no more processes
            studio = Studio(min(count, MOST))
    try:
        yield [] if studio is None else studio.artists
    finally:
        if studio is not None:
            studio.leave()


def drawn(make: Callable) -> dict[str, bytes]:
    """What the files of a figure hold, drawn in this process."""
    from dysonjax.figures.style import drawn_files

    return drawn_files(make())


def figure(module: str, function: str, *args: Any):
    """The figure of a function of `dysonjax.figures`, which is loaded where it is drawn."""
    return getattr(importlib.import_module(f"dysonjax.figures.{module}"), function)(*args)


def open_studio(pipes: list[tuple[int, int]]) -> None:
    """Load what draws, divide into artists, each with pipes of its own, and wait until they have left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the one who asks
    sys.stdout = sys.stderr
    _prepare()
    gc.freeze()  # nobody looks through what all have loaded, and memory stays shared
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # meant for the artists
    for number, (questions, answers) in enumerate(pipes):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for end in (end for others in pipes[number + 1 :] for end in others):
                os.close(end)
            with open(questions, "rb") as reading, open(answers, "wb") as writing:
                serve(reading, writing)
            return
        os.close(questions)
        os.close(answers)
    for _ in pipes:
        os.wait()


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Draw what is asked for until nobody can ask any more."""
    while True:
        try:
            make = pickle.load(questions)
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
