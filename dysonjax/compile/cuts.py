"""How an array is cut over the T threads of a network, and which positions each of them holds.

A cut array has n = ceil(N / T) positions of its axis in a thread, those from min(n t, N - n) on for thread t:
if T does not divide N, some positions are held by two threads, which compute the same there.
"""

from typing import NamedTuple

import numpy as np

from dysonjax.compile.graph import Node, constant

WHOLE = None  # the axis of what is not cut


class Cut(NamedTuple):
    """How a network is cut."""

    threads: int
    axes: tuple[int | None, ...]  # along which each state is; None: it is whole in every thread
    scatter: bool = False  # whether sums over threads are left in parts where they can be


def part_extent(extent: int, threads: int) -> int:
    """Positions of a cut axis that a thread holds."""
    return -(-extent // threads)


def first_position(extent: int, threads: int, thread: int) -> int:
    """The first one of a thread."""
    n = part_extent(extent, threads)
    return min(n * thread, extent - n)


def place_of(extent: int, threads: int, position: int) -> tuple[int, int]:
    """The thread that a position is taken from, and the place there."""
    thread = position // part_extent(extent, threads)
    return thread, position - first_position(extent, threads, thread)


def kept(node: Node) -> Node:
    """The same numbers as a node of their own, which is computed once: -0 is what changes no number."""
    zero = constant(np.zeros((), bool)) if node.dtype == bool else constant(-np.zeros((), node.dtype))
    op = "or" if node.dtype == bool else "add"
    return Node(op, (node, zero), node.shape, node.dtype, node.scope, node.varying)
