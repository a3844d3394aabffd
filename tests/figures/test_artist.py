"""Figures drawn by processes of their own."""

import functools
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from dysonjax import cache
from dysonjax.checks import InputError
from dysonjax.figures import artist
from dysonjax.figures.style import new_figure


def _drawing(values):
    figure, axis = new_figure()
    axis.plot(values)
    return figure


def _refusing():
    raise InputError("too little to draw")


def _slowly():
    import time

    time.sleep(60)


@pytest.fixture(scope="module")
def drawing():
    one = artist.Artist()
    yield one
    one.leave()


def test_an_artist_draws_what_would_be_drawn_here(drawing):
    make = functools.partial(_drawing, np.arange(3.0))
    found, here = drawing.ask(make)(), artist.drawn(make)
    assert found[".png"] == here[".png"] and found[".pdf"].startswith(b"%PDF")


def test_an_artist_says_what_cannot_be_drawn_and_draws_on(drawing):
    with pytest.raises(InputError, match="too little to draw"):
        drawing.ask(_refusing)()
    assert drawing.ask(functools.partial(_drawing, [1.0]))()[".png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("busy", [False, True])
def test_if_an_artist_dies_the_figure_is_drawn_here(busy):
    one, make = artist.Artist(), functools.partial(_drawing, [1.0, 2.0])
    if busy:
        wait = one.ask(_slowly)
        one.process.send_signal(signal.SIGINT)  # of the terminal: not meant for it
        one.process.kill()
        del wait
    else:
        one.process.kill()
        one.process.wait()
    assert one.ask(make)()[".png"] == artist.drawn(make)[".png"]
    one.leave()


def test_there_are_no_artists_where_they_would_not_help(monkeypatch):
    with artist.artists(2) as there:  # matplotlib is loaded
        assert there == []
    monkeypatch.delitem(sys.modules, "matplotlib")
    monkeypatch.setattr(cache, "cores", lambda: 1)
    with artist.artists(2) as there:
        assert there == []


def test_artists_leave_with_who_asked_for_them():
    code = (
        "from dysonjax import cache\n"
        "cache.cores = lambda: 2\n"
        "from dysonjax.figures.artist import artists\n"
        "with artists(3) as there:\n    print(*(one.process.pid for one in there), flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
