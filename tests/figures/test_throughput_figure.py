"""The figure of rates shows every variant that was measured, at its numbers of networks."""

from dysonjax.figures.throughput import throughput

POINTS = [
    {"members": 10, "net_steps_per_second": {"engine": 1e5, "plain_vmap": 2e4}},
    {"members": 640, "net_steps_per_second": {"engine": 1e6}},
]


def test_lines_have_their_points_and_names():
    figure = throughput("rbm", POINTS, {"numpy_loop": 1e3, "limit": 1e7})
    (axes,) = figure.axes
    curves = {
        line.get_color(): line.get_xydata().tolist() for line in axes.lines if line.get_marker() in "os"
    }
    assert sorted(curves.values()) == [[[10, 2e4]], [[10, 1e5], [640, 1e6]]]
    assert {text.get_text() for text in axes.texts} == {"dysonjax", "plain vmap", "NumPy loop", "C kernel"}
    assert axes.get_xscale() == axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert low < 1e3 and high > 1e7


def test_what_was_not_measured_is_not_drawn():
    points = [{"members": 10, "net_steps_per_second": {"engine": 1e5}}]
    (axes,) = throughput("linear", points, {}).axes
    assert [text.get_text() for text in axes.texts] == ["dysonjax"]
