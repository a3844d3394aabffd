"""What tests of several commands share."""

import contextlib
import functools
import io

import pytest
from linear_run import RUN
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from dysonjax.cli import main


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a finished `RUN`, to be read only."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    with pytest.MonkeyPatch.context() as patch:  # drawn, whoever asks first
        patch.setattr(ConstrainedLayoutEngine, "execute", _execute)
        patch.setattr(Figure, "savefig", _savefig)
        assert main([*RUN, "--quiet", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Both halves of `RUN`, the folders 1 and 2, to be read only."""
    place = tmp_path_factory.mktemp("shards")
    with _without_drawing():
        for name in ("1", "2"):
            assert main([*RUN, "--shard", f"{name}/2", "--quiet", "--out", str(place / name)]) == 0
    return place


PHASES = (
    "phase-diagram --lr 0.25,2,64 --sigma-w 0.5,8 --batch-size 2,4 --seeds 3 --steps 30 --records 4 "
    "--batches 8 --threshold-memory 0.6 --tile 4"
)


@pytest.fixture(scope="session")
def phases(tmp_path_factory):
    """The folder of a phase diagram of two batch sizes in tiles of four members, to be read only.

    Some of the members are in the chaotic phase.
    """
    out = tmp_path_factory.mktemp("runs") / "phases"
    with _without_drawing():
        assert main([*PHASES.split(), "--quiet", "--out", str(out)]) == 0
    return out


OF_LEVELS = {
    "dyson": "dyson --levels 3 --members 20 --time 0.2 --steps 20 --records 3 --samples 20",
    "compare": "compare linear --members 20 --steps 20 --permutations 9 --lr 0.1,0.2 --batch-size 8",
}


@pytest.fixture(scope="session", params=["dyson", pytest.param("compare", marks=pytest.mark.slow)])
def of_levels(request, tmp_path_factory):
    """The folder of a command that trains no ensemble, named after it, to be read only."""
    out = tmp_path_factory.mktemp("runs") / request.param
    with _without_drawing():
        assert main([*OF_LEVELS[request.param].split(), "--quiet", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def sketches():
    """Figures of a module are made and written, but what the files hold is one empty picture.

    Laying out and rendering text is half of the time of a small run. For tests that look at files, messages
    and numbers; every command has a test of its figure, too, that draws it.
    """
    with _without_drawing():
        yield


@pytest.fixture
def sketched():
    """As `sketches`, for one test."""
    with _without_drawing():
        yield


@contextlib.contextmanager
def _without_drawing():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConstrainedLayoutEngine, "execute", lambda engine, figure: None)
        patch.setattr(Figure, "savefig", lambda figure, out, format, **_: out.write(_empty(format)))
        yield


_savefig, _execute = Figure.savefig, ConstrainedLayoutEngine.execute


@functools.cache
def _empty(format: str) -> bytes:
    content = io.BytesIO()
    _savefig(Figure(figsize=(0.1, 0.1)), content, format=format)
    return content.getvalue()
