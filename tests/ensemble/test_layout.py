"""A member's state is the same whichever axis of a tile the points stand in."""

import numpy as np
import pytest

from dysonjax.ensemble import checkpoints

DEVICES, WORLDS, POINTS = 2, 3, 4


@pytest.mark.parametrize("last", [False, True])
def test_members_taken_out_of_a_tile_come_back_to_their_places(last):
    index = np.arange(DEVICES * WORLDS * POINTS).reshape(DEVICES, WORLDS, POINTS)
    index[1, 2, 3] = -1  # padding
    member = np.arange(index.size)[:, None, None] * 100 + np.arange(10).reshape(5, 2)
    weight = np.moveaxis(member.reshape(DEVICES, WORLDS, POINTS, 5, 2), 2, 4 if last else 3)
    state = {"diverged_at": index.astype(np.int32), "w": weight.astype(np.float32)}
    members, leaves = checkpoints.take(state, index, last)
    np.testing.assert_array_equal(members, np.arange(index.size - 1))
    np.testing.assert_array_equal(leaves[1], member[:-1])
    fragment = checkpoints.Fragment(0, 0, 0, members, leaves)
    found = checkpoints.place(fragment, index, state, last)
    back = np.moveaxis(found["w"], 4 if last else 3, 2)[index >= 0]
    np.testing.assert_array_equal(back, member[:-1])
