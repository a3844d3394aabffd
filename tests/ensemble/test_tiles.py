"""How a run is cut: little is cost in vain."""

import functools
import math

import numpy as np
import pytest

from dysonjax.ensemble import jobs, lanes, tiles, xla
from dysonjax.models import linear, teacher_student

DRAWN, LOOKED_UP = linear(), teacher_student()
by_xla = functools.partial(xla.cost, DRAWN)


def lanes_of(model):
    return functools.partial(lanes.cost, model)


def by_halving(worlds, points, members, devices, cost):
    """A plain rule: tiles as large as they may be, halved until there is one for each device."""

    def even(total, largest):
        return math.ceil(total / math.ceil(total / max(1, min(total, largest))))

    p = even(points, members)
    w = even(worlds, members // p)
    while w > 1 and math.ceil(worlds / w) * math.ceil(points / p) < devices:
        w = math.ceil(w / 2)
    while p > 1 and math.ceil(worlds / w) * math.ceil(points / p) < devices:
        p = math.ceil(p / 2)
    return w, p


def waves(worlds, points, devices, tile):
    return math.ceil(math.ceil(worlds / tile[0]) * math.ceil(points / tile[1]) / devices)


RANGES = (1, 400), (1, 300), (64, 2000)  # of worlds, points, members a tile

# worlds, points, members, devices, cost -> tile, waves
CASES = [
    (8, 144, 511, 2, lanes_of(LOOKED_UP), (2, 144), 2),  # the published grid
    (8, 144, 79, 2, by_xla, (1, 72), 8),
    (8, 144, 10**6, 1, by_xla, (8, 144), 1),
    (1, 144, 10**6, 2, by_xla, (1, 72), 1),
    (10, 144, 10**6, 16, by_xla, (2, 48), 1),
    (1152, 1, 511, 2, lanes_of(LOOKED_UP), (288, 1), 2),  # its networks, each in a world of its own
    (33, 1, 20, 1, lanes_of(DRAWN), (11, 1), 3),  # 17 worlds would cost as much as 32
    (1, 10**4, 511, 2, lanes_of(LOOKED_UP), (1, 500), 10),
    (5, 1, 3, 1, by_xla, (3, 1), 2),
    (3, 2, 1, 2, by_xla, (1, 1), 3),
    (1, 1, 1, 8, by_xla, (1, 1), 1),
]


@pytest.mark.parametrize("worlds, points, members, devices, cost, tile, expected", CASES)
def test_tiles_are_even_over_waves_and_devices(worlds, points, members, devices, cost, tile, expected):
    found = tiles.choose(worlds, points, members, devices, cost)
    assert found == tile and waves(worlds, points, devices, tile) == expected


def test_no_grid_costs_more_than_by_halving_and_little_of_a_large_one_is_padding():
    rng = np.random.default_rng(0)
    better, padding = 0, []
    for _ in range(400):
        worlds, points, members = (
            int(np.exp(rng.uniform(np.log(low), np.log(high)))) for low, high in RANGES
        )
        devices = int(rng.choice([1, 2, 3, 4, 8, 16]))
        for cost in (by_xla, lanes_of(DRAWN), lanes_of(LOOKED_UP)):
            found = [rule(worlds, points, members, devices, cost) for rule in (tiles.choose, by_halving)]
            assert math.prod(found[0]) <= members
            count = [waves(worlds, points, devices, tile) for tile in found]
            time = [n * (cost(*tile) + tiles.FIXED) for n, tile in zip(count, found, strict=True)]
            case = (worlds, points, members, devices, found, time)
            assert time[0] <= time[1], case
            assert count[0] <= count[1] or time[0] < time[1], case
            better += time[0] < 0.9 * time[1]
            if cost is by_xla:
                places = [n * math.prod(tile) for n, tile in zip(count, found, strict=True)]
                # Worlds cost something too, so that a few more places may be worth it.
                assert places[0] <= 1.03 * places[1], case
                if worlds * points >= 64 * devices:
                    padding.append(1 - worlds * points / (devices * places[0]))
    assert better > 100
    assert max(padding) < 0.2 and np.mean(padding) < 0.03


def test_a_device_whose_tile_is_all_padding_makes_no_steps():
    index = np.array([[[0, 1]], [[2, -1]], [[-1, -1]]])
    np.testing.assert_array_equal(jobs.where_filled(7, tiles.Wave(None, index)), [7, 7, 0])
