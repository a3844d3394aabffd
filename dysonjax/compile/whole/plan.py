"""Which arrays of a step lie in memory, and where.

An array that is kept is a root and gets loops of its own; everything else is computed where it is used, as
part of the loop of a root. Memory of roots that nobody reads any more is used again, so that a step stays in
the cache.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from dysonjax.compile.graph import WORLD, Node
from dysonjax.compile.operations import ELEMENTWISE
from dysonjax.compile.whole.views import STRIDED

SIMPLE = frozenset("add add_any sub mul max min neg eq ne lt le gt ge and or not select_n square".split())
SAME_ORDER = frozenset(("reshape", "squeeze", "expand_dims"))
FEW_OPERATIONS = 5
LINE = 64  # bytes; every array begins at a multiple


class Plan(NamedTuple):
    roots: list[Node]  # in an order in which they can be computed; stores come last
    layout: dict[Node, tuple[int, ...]]  # the axes of a root in their order in memory, if it is not the usual


def plan(order: Sequence[Node], forced: frozenset[Node]) -> Plan:
    """The roots among nodes in topological order, stores last; forced: views that have to be copied."""
    users: dict[Node, list[Node]] = {node: [] for node in order}
    for node in order:
        for operand in node.inputs:
            users[operand].append(node)
    roots: set[Node] = set()
    homes: dict[Node, set[Node]] = {}  # the roots in whose loops a node is computed
    kept: dict[Node, bool] = {}  # whether what is read through a node has to lie in memory
    for node in reversed(order):
        if node.op in ("input", "constant"):
            continue
        home, keep = set(), node in forced
        for user in users[node]:
            home |= {user} if user in roots else homes[user]
            keep |= _in_memory(user, node) or (user not in roots and user.op in STRIDED and kept[user])
            keep |= user.scope > node.scope
        homes[node], kept[node] = home, keep
        if node.op in STRIDED and node not in forced:
            continue
        # Read in two orders, an element would be computed twice.
        keep |= len(users[node]) > 1 and any(user.op in STRIDED for user in users[node])
        if keep or node.op not in ELEMENTWISE or (len(home) > 1 and not _cheap(node, len(home))):
            roots.add(node)
    layout = {}
    for node in order:
        if node.op == "dot_general" and len(users[node]) == 1 and users[node][0].op == "transpose":
            # The product is written in the order in which it is read.
            layout[node] = users[node][0].params["permutation"]
            roots.discard(users[node][0])
    return Plan(_ordered([node for node in order if node in roots]), layout)


def _ordered(roots: list[Node]) -> list[Node]:
    """The roots in another order: what is smaller than what it is made of is computed at once.

    So gradients of weights are made of what is still in a cache, and the memory of that is free soon.
    A store comes after all that reads what it writes over.
    """
    known, place = frozenset(roots), {root: n for n, root in enumerate(roots)}
    needs = {root: reads(root, known) for root in roots}
    readers: dict[Node, list[Node]] = {}
    for root in roots:
        for node in needs[root]:
            readers.setdefault(node, []).append(root)
    before = {root: {node for node in needs[root] if node in known} for root in roots}
    for root in roots:
        if root.op == "store":
            before[root] |= {reader for reader in readers.get(root.params["to"], ()) if reader is not root}
    after: dict[Node, list[Node]] = {}
    for root, nodes in before.items():
        for node in nodes:
            after.setdefault(node, []).append(root)
    missing = {root: len(nodes) for root, nodes in before.items()}
    ready = [(_waits(root, needs[root]), place[root]) for root in roots if not missing[root]]
    heapq.heapify(ready)
    result, done = [], set()
    while len(result) < len(roots):
        # If nothing is ready, the stores that are left read in a circle what they write over.
        number = heapq.heappop(ready)[1] if ready else next(n for n, r in enumerate(roots) if r not in done)
        root = roots[number]
        if root in done:
            continue
        result.append(root)
        done.add(root)
        for other in after.get(root, ()):
            missing[other] -= 1
            if not missing[other]:
                heapq.heappush(ready, (_waits(other, needs[other]), place[other]))
    # What does not change from step to step is computed before the steps, and no step may write over it.
    return sorted(result, key=lambda root: root.scope > WORLD)


def _waits(root: Node, needs: set[Node]) -> bool:
    """Whether a root that could be computed is computed only when it is wanted."""
    if root.op == "store":
        return False
    return _bytes(root) >= max((_bytes(node) for node in needs if node.op != "input"), default=0)


def _in_memory(user: Node, node: Node) -> bool:
    """Whether this user reads an element of the node more than once, or needs to know where it lies."""
    if user.op == "broadcast_in_dim":
        return user.size > node.size
    if user.op in ELEMENTWISE:
        return user.size > node.size
    return user.op in ("dot_general", "dynamic_slice", "dynamic_update_slice", "gather", "take", "add_rows")


def _cheap(node: Node, homes: int) -> bool:
    """Whether computing an element again in each home costs less than keeping it.

    One simple operation on one array does, and a few on two arrays in two homes: so AdamW's moments.
    """
    arrays = {operand for operand in node.inputs if _behind(operand).size == node.size}
    if node.op not in SIMPLE or len(arrays) <= 1:
        return node.op in SIMPLE
    operations, read = _made_of(node, node.size)
    return homes == 2 and len(operations) <= FEW_OPERATIONS and len(read) <= 2


def _made_of(node: Node, size: int) -> tuple[set[Node], set[Node]]:
    """The simple operations behind a node, and the arrays of that size that they begin with."""
    operations, read, left = set(), set(), [node]
    while left:
        node = _behind(left.pop())
        if node.size == size and node.op in SIMPLE:
            operations.add(node)
            left.extend(node.inputs)
        elif node.size == size:
            read.add(node)
    return operations, read


def _behind(node: Node) -> Node:
    """What a view shows."""
    return _behind(node.inputs[0]) if node.op in STRIDED else node


def reads(root: Node, roots: frozenset[Node]) -> set[Node]:
    """The roots and inputs that the loops of a root read."""
    seen, left = set(), list(root.inputs)
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            left.extend(() if node in roots else node.inputs)
    return {node for node in seen if node in roots or node.op == "input"}


def moved(root: Node, buffer: Node, roots: frozenset[Node]) -> bool:
    """Whether the loops of a root read a buffer in another order than they write."""
    seen, left = set(), [(node, False) for node in root.inputs]
    while left:
        node, viewed = left.pop()
        if (node, viewed) not in seen:
            seen.add((node, viewed))
            if node not in roots:
                left.extend((operand, viewed or node.op in STRIDED - SAME_ORDER) for operand in node.inputs)
    return (buffer, True) in seen


def arrange(
    plan: Plan, elsewhere: set[Node], kept: set[Node]
) -> tuple[dict[Node, int], dict[Node, Node], int]:
    """Where in one piece of memory every root lies, in bytes; over what it is written; and the bytes in all.

    elsewhere: roots with other memory; kept: those that keep theirs.
    """
    known = frozenset(plan.roots)
    needs = {root: reads(root, known) for root in plan.roots}
    turns = {root: turn for turn, root in enumerate(plan.roots)}
    last = dict(turns)
    for turn, root in enumerate(plan.roots):
        for node in needs[root]:
            last[node] = turn
    free: list[tuple[int, int]] = []  # begin, end
    places, instead, top = {}, {}, 0
    for turn, root in enumerate(plan.roots):
        over = [n for n in needs[root] if n in places and n not in kept and last[n] == turn]
        over.sort(key=turns.__getitem__)
        if root not in elsewhere:
            size = _bytes(root)
            same = [node for node in over if _can_take_over(root, node, plan, known)]
            if same:
                # Written where it is read, it need not be fetched.
                instead[root] = same[-1]
                places[root] = places[same[-1]]
                over.remove(same[-1])
            else:
                begin, end = min(
                    (gap for gap in free if gap[1] - gap[0] >= size),
                    key=lambda gap: gap[1] - gap[0],
                    default=(top, top),
                )
                places[root] = begin
                if begin == top:
                    top += size
                else:
                    free.remove((begin, end))
                    free += [(begin + size, end)] if end > begin + size else []
        if last[root] == turn and root in places and root not in kept:
            over.append(root)
        free = _joined([*free, *((places[node], places[node] + _bytes(node)) for node in over)])
    return places, instead, top


def _can_take_over(root: Node, node: Node, plan: Plan, known: frozenset[Node]) -> bool:
    """Whether the loops of a root can write their elements over those of a node that they read last."""
    return (
        root.op in ELEMENTWISE
        and (root.size, root.dtype) == (node.size, node.dtype)
        and root not in plan.layout
        and node not in plan.layout
        and not moved(root, node, known)
    )


def _bytes(root: Node) -> int:
    return -(-max(root.size, 1) * max(root.dtype.itemsize, 4) // LINE) * LINE


def _joined(gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring gaps as one."""
    result: list[tuple[int, int]] = []
    for begin, end in sorted(gaps):
        if result and result[-1][1] == begin:
            result[-1] = (result[-1][0], end)
        else:
            result.append((begin, end))
    return result
