"""Where the threads of a network have its arrays: every position is held, and found again."""

import itertools

import numpy as np
import pytest

from dysonjax.compile import WARP, cuts, layouts, partition
from dysonjax.compile.cuts import Cut
from dysonjax.compile.graph import NETWORK, Node, source
from dysonjax.ensemble.layout import Warps

EXTENTS = (1, 2, 3, 5, 8, 10, 16, 17, 31, 32, 33, 100)


@pytest.mark.parametrize("threads", layouts.THREADS)
def test_every_position_of_a_cut_axis_is_held_by_the_thread_that_it_is_taken_from(threads):
    for extent in EXTENTS:
        n = cuts.part_extent(extent, threads)
        held = [range(f, f + n) for f in (cuts.first_position(extent, threads, t) for t in range(threads))]
        assert all(0 <= part[0] and part[-1] < extent for part in held)
        for position in range(extent):
            thread, place = cuts.place_of(extent, threads, position)
            assert held[thread][place] == position


@pytest.mark.parametrize(("threads", "dtype"), [(1, "float32"), (4, "bool"), (16, "int32")])
def test_packing_and_unpacking_undo_each_other(threads, dtype):
    shape, generator = (3, 7, 5, 10), np.random.default_rng(0)
    leaf = generator.integers(0, 2 if dtype == "bool" else 1000, shape).astype(dtype)
    for axis, block in ((None, 2), (0, 1), (1, 2)):
        way = Warps(threads, axis, block)
        held = np.asarray(way.pack(leaf))
        assert held.shape[0] == 3 * way.warps(7) and held.shape[2] == WARP and held.shape[0] % block == 0
        found = np.asarray(way.unpack(held, shape, dtype))
        assert found.dtype == dtype and np.array_equal(found, leaf)


def _spread(number, extent):
    params = {"broadcast_dimensions": ()}
    return Node("broadcast_in_dim", (number,), (extent,), number.dtype, NETWORK, True, params)


def test_a_sum_over_an_axis_that_is_cut_unevenly_counts_every_position_once():
    """In NumPy: each thread sums what it has and owns, as the graph of `partition` says."""
    for extent, threads in itertools.product(EXTENTS[1:], layouts.THREADS[1:]):
        state = source((extent,), np.float32, NETWORK, True)
        total = Node("reduce_sum", (state,), (), np.dtype(np.float32), NETWORK, True, {"axes": (0,)})
        less = Node("sub", (state, _spread(total, extent)), (extent,), state.dtype, NETWORK, True)
        parts = partition.cut([less], [state], Cut(threads, (0,)))
        operations = {node.op for node in partition.topological(parts.outputs)}
        assert ("select_n" in operations) == (extent % threads != 0)
        n = cuts.part_extent(extent, threads)
        owned = [
            position
            for t in range(threads)
            for position in range(cuts.first_position(extent, threads, t), extent)[:n]
            if position >= n * t
        ]
        assert sorted(owned) == list(range(extent))


def test_warps_without_a_network_are_idle_and_all_others_are_not():
    for threads, points, block in ((1, 33, 8), (4, 1, 8), (4, 33, 1), (16, 10, 8)):
        way = Warps(threads, None, block)
        held = np.asarray(way.pack(np.arange(3 * points).reshape(3, points) % points)).reshape(3, -1, WARP)
        idle = way.idle(3, points).reshape(3, -1)
        assert (idle == idle[0]).all() and idle.shape == held.shape[:2]
        # Its networks are those that stand there before places are filled with the last one.
        first = np.arange(held.shape[1]) * (WARP // threads)
        assert (idle[0] == (first >= points)).all()
