"""A member's state comes back the same from every form that a target has for it."""

import jax
import numpy as np
import pytest

from dysonjax.ensemble import checkpoints, layout

DEVICES, WORLDS, POINTS = 2, 3, 4


SHAPES = [((), np.int32), ((5, 2), np.float32), ((3,), bool)]


def plain_leaf(shape, dtype):
    """Of a state, (devices, worlds, points, ...), every number different if the type has as many."""
    shape = (DEVICES, WORLDS, POINTS, *shape)
    return (7 * np.arange(np.prod(shape)) % 101 % (2 if dtype is bool else 101)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("shape, dtype", SHAPES)
@pytest.mark.parametrize("last", [False, True])
def test_points_inside_the_arrays_of_xla_come_back(last, shape, dtype):
    points, plain = layout.Points(last), plain_leaf(shape, dtype)
    there = points.of_plain(plain)
    assert there.shape[2 + points.axis(len(shape) + 1)] == POINTS
    assert points.plain_shape(jax.ShapeDtypeStruct(there.shape, dtype)).shape == plain.shape
    np.testing.assert_array_equal(points.plain(there), plain)


@pytest.mark.parametrize("shape, dtype", SHAPES)
@pytest.mark.parametrize("over_worlds", [False, True])
def test_networks_in_lanes_come_back_and_empty_lanes_repeat_the_last(over_worlds, shape, dtype):
    lanes, plain = layout.Lanes(over_worlds), plain_leaf(shape, dtype)[0]
    calls = lanes.pack(plain)
    size = int(np.prod(shape))
    expected = (POINTS, size, layout.LANES) if over_worlds else (1, size, layout.LANES)
    assert [call.shape for call in calls] == [expected] * (1 if over_worlds else WORLDS)
    filled = WORLDS if over_worlds else POINTS
    repeated = calls[-1][..., filled - 1 :]
    assert (repeated == repeated[..., :1]).all()
    np.testing.assert_array_equal(lanes.unpack(calls, plain.shape, dtype), plain)


@pytest.mark.parametrize("shape, dtype", SHAPES)
def test_networks_by_themselves_come_back(shape, dtype):
    plain = plain_leaf(shape, dtype)[0]
    networks = layout.apart(plain)
    assert [network.shape for network in networks] == [shape] * (WORLDS * POINTS)
    np.testing.assert_array_equal(layout.together(networks, plain.shape, dtype), plain)


def test_worlds_are_read_by_all_lanes_or_each_by_its_own():
    leaf, mask = np.arange(WORLDS * 2.0).reshape(WORLDS, 2), np.arange(WORLDS) > 0
    shared = layout.Lanes(False).pack_worlds([leaf, mask, leaf], (True, True, False))
    assert len(shared) == WORLDS and all(call[2] is None for call in shared)
    np.testing.assert_array_equal([call[0] for call in shared], leaf)
    np.testing.assert_array_equal([call[1] for call in shared], [0, 1, 1])
    ((own, truth),) = layout.Lanes(True).pack_worlds([leaf, mask], (True, True))
    np.testing.assert_array_equal(own[:, :WORLDS], leaf.T)
    np.testing.assert_array_equal(truth[:WORLDS], [0, -1, -1])  # masks of lanes


def test_members_taken_out_of_a_tile_come_back_to_their_places():
    index = np.arange(DEVICES * WORLDS * POINTS).reshape(DEVICES, WORLDS, POINTS)
    index[1, 2, 3] = -1  # padding
    member = np.arange(index.size)[:, None, None] * 100 + np.arange(10).reshape(5, 2)
    weight = member.reshape(DEVICES, WORLDS, POINTS, 5, 2).astype(np.float32)
    state = {"diverged_at": index.astype(np.int32), "w": weight}
    members, leaves = checkpoints.take(state, index)
    np.testing.assert_array_equal(members, np.arange(index.size - 1))
    np.testing.assert_array_equal(leaves[1], member[:-1])
    fragment = checkpoints.Fragment(0, 0, 0, members, leaves)
    found = checkpoints.place(fragment, index, state)
    np.testing.assert_array_equal(found["w"][index >= 0], member[:-1])
