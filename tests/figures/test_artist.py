"""Figures drawn by processes of their own."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dysonjax import cache
from dysonjax.checks import InputError
from dysonjax.figures import artist
from dysonjax.figures.style import new_figure

SLOW = pytest.mark.slow


def _drawing(values):
    figure, axis = new_figure()
    axis.plot(values)
    return figure


def _refusing():
    raise InputError("too little to draw")


def _slowly():
    time.sleep(60)


def _pid():
    raise InputError(str(os.getpid()))


def pid_of(one) -> int:
    with pytest.raises(InputError) as said:
        one.ask(_pid)()
    return int(str(said.value))


ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes that divide")


@pytest.fixture(scope="module")
def studio():
    place = artist.Studio(2)
    yield place
    place.leave()


@pytest.fixture(scope="module")
def drawing(studio):
    return studio.artists[0]


def test_an_artist_draws_what_would_be_drawn_here(drawing):
    make = functools.partial(_drawing, np.arange(3.0))
    found, here = drawing.ask(make)(), artist.drawn(make)
    assert found[".png"] == here[".png"] and found[".pdf"].startswith(b"%PDF")


def test_an_artist_says_what_cannot_be_drawn_and_draws_on(drawing):
    with pytest.raises(InputError, match="too little to draw"):
        drawing.ask(_refusing)()
    assert drawing.ask(functools.partial(_drawing, [1.0]))()[".png"].startswith(b"\x89PNG")


def test_artists_of_a_studio_draw_at_once(studio):
    """Each answers who asked it, whichever is asked first."""
    makes = [functools.partial(_drawing, [0.0, float(number)]) for number in range(2)]
    begun = [one.ask(make) for one, make in zip(studio.artists, makes, strict=True)]
    found = [wait()[".png"] for wait in reversed(begun)]
    assert found[::-1] == [artist.drawn(make)[".png"] for make in makes]


@pytest.mark.parametrize(
    "when", ["before it has loaded", *(pytest.param(when, marks=SLOW) for when in ("idle", "drawing"))]
)
def test_if_an_artist_dies_the_figure_is_drawn_here(when):
    studio, make = artist.Studio(1), functools.partial(_drawing, [1.0, 2.0])
    (one,) = studio.artists
    if when != "before it has loaded":
        pid = pid_of(one)
        if when == "drawing":
            wait = one.ask(_slowly)
            os.killpg(studio.process.pid, signal.SIGINT)  # of the terminal: not meant for it
            del wait
        os.kill(pid, signal.SIGKILL)
        studio.process.wait()
    else:
        studio.process.kill()
    assert one.ask(make)()[".png"] == artist.drawn(make)[".png"]
    studio.leave()


def test_there_are_no_artists_where_they_would_not_help(monkeypatch):
    with artist.artists(2) as there:  # matplotlib is loaded
        assert there == []
    monkeypatch.delitem(sys.modules, "matplotlib")
    monkeypatch.setattr(cache, "cores", lambda: 1)
    with artist.artists(2) as there:
        assert there == []


@pytest.mark.parametrize(
    ("end", "busy"),
    [pytest.param("pass", True, marks=SLOW), ("os.kill(os.getpid(), signal.SIGKILL)", False)],
    ids=["done", "killed"],
)
def test_artists_leave_with_who_asked_for_them(end, busy):
    code = (
        "import os, signal, time\n"
        "from dysonjax import cache\n"
        "cache.cores = lambda: 2\n"
        "from dysonjax.figures.artist import artists\n"
        "from pathlib import Path\n"
        "with artists(3) as there:\n"
        "    import test_artist  # and with it matplotlib\n"
        "    pids = [test_artist.pid_of(one) for one in there]\n"
        f"    begun = {busy} and there[0].ask(test_artist._slowly)\n"
        "    print(*pids, flush=True)\n"
        f"    {end}\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    pids = [int(word) for word in done.stdout.split()]
    assert len(set(pids)) == 2, done.stderr
    deadline = time.monotonic() + 10
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, pids))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
