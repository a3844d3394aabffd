"""What the maps of the phases show."""

import numpy as np
import pytest
import xarray as xr

import dysonjax as dj
from dysonjax.figures import style
from dysonjax.figures.phase_diagram import phase_map
from dysonjax.figures.style import new_figure
from dysonjax.report import verdicts


def _phases(point):
    coordinates = {"lr": [1.0, 2.0], "sigma_w": [0.5, 1.0, 2.0], "batch_size": 4}
    return xr.Dataset(
        {"point": (("lr", "sigma_w"), np.array(point))}, coordinates, {"phases": list(dj.phase.PHASES)}
    )


def _drawn(point):
    figure, axis = new_figure(1, 1, width=3.0, height=2.0)
    phase_map(figure, axis, _phases(point))
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    crosses = [tuple(map(float, place)) for line in axis.get_lines() for place in line.get_xydata()]
    return names, crosses


def test_undecided_points_are_named_and_crossed():
    names, crosses = _drawn([[0, 3, 1], [3, 2, 2]])
    assert names == list(dj.phase.PHASES)
    # In the axes of the picture: 1/sigma_w and lr/batch_size.
    assert crosses == [(1.0, 0.25), (2.0, 0.5)]


def test_without_undecided_points_none_is_named():
    assert _drawn([[0, 0, 1], [2, 2, 2]]) == (list(dj.phase.PHASES[:3]), [])


def test_the_report_says_how_many_points_are_undecided():
    summary = {"phases": {"converged": 1, "jammed": 0, "divergent": 1, "undecided": 2}}
    said = " ".join(verdicts.sentences(summary))
    assert "Of 4 grid points: 1 converged, 0 jammed, 1 divergent, 2 undecided." in said
    assert "2 points are undecided: two phases have equally many of their seeds" in said
    summary["phases"]["undecided"] = 0
    assert "equally many" not in " ".join(verdicts.sentences(summary))


@pytest.mark.slow
def test_titles_stand_where_matplotlib_would_put_them(monkeypatch):
    """Which looks for ticks above an axis in every draw; the style says that there are none."""

    def drawn():
        with style.style():
            figure, axes = style.new_figure(1, 2)
            axes[0].set_title("one\n$x_1^2$")
            axes[1].set_title("another")
            figure.suptitle("above")
        return style.drawn_files(figure)[".png"]

    fixed = drawn()
    monkeypatch.setitem(style.RC, "axes.titley", None)
    assert drawn() == fixed
    monkeypatch.setitem(style.RC, "axes.titley", 0.9)
    assert drawn() != fixed
