"""Where roots lie in memory: what may be written over, and when.

Memory of roots that nobody reads any more is used again, so that a step stays in the cache.
"""

from collections.abc import Container, Sequence

from dysonjax.compile.graph import Node
from dysonjax.compile.memory import LINE
from dysonjax.compile.operations import ELEMENTWISE

SAME_ORDER = frozenset(("reshape", "squeeze", "expand_dims"))


def bytes_of(root: Node, networks: int = 1) -> int:
    """That a root takes in memory; truth values are kept as int32."""
    width = 4 if root.dtype == bool else root.dtype.itemsize
    return -(-max(root.size, 1) * width * networks // LINE) * LINE


def reads(root: Node, roots: frozenset[Node]) -> set[Node]:
    """The roots and inputs that the loops of a root read."""
    seen, left = set(), list(root.inputs)
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            left.extend(() if node in roots else node.inputs)
    return {node for node in seen if node in roots or node.op == "input"}


def in_another_order(root: Node, buffer: Node, roots: frozenset[Node]) -> bool:
    """Whether the loops of a root read a buffer in another order than they write."""
    seen, left = set(), [(node, root.op not in ELEMENTWISE and root.op != "store") for node in root.inputs]
    while left:
        node, turned = left.pop()
        if (node, turned) not in seen:
            seen.add((node, turned))
            if node not in roots:
                turned |= node.op not in ELEMENTWISE and node.op not in SAME_ORDER
                left.extend((operand, turned) for operand in node.inputs)
    return (buffer, True) in seen


def hazards(roots: Sequence[Node]) -> frozenset[Node]:
    """The stores that would write over something that is still to be read; they go to a buffer first."""
    stores, known = [root for root in roots if root.op == "store"], frozenset(roots)
    return frozenset(
        root
        for number, root in enumerate(stores)
        if in_another_order(root, root.params["to"], known)
        or any(root.params["to"] in reads(other, known) for other in stores[number + 1 :])
    )


def arrange(
    roots: Sequence[Node],
    elsewhere: set[Node],
    kept: set[Node],
    turned: Container[Node],
    networks: int = 1,
) -> tuple[dict[Node, int], dict[Node, Node], int]:
    """Where in one piece of memory every root lies, in bytes; over what it is written; and the bytes in all.

    elsewhere: roots with other memory; kept: those that keep theirs; turned: those whose axes lie in another
    order than usual.
    """
    known = frozenset(roots)
    needs = {root: reads(root, known) for root in roots}
    turns = {root: turn for turn, root in enumerate(roots)}
    last = dict(turns)
    for turn, root in enumerate(roots):
        for node in needs[root]:
            last[node] = turn
    free: list[tuple[int, int]] = []  # begin, end
    places: dict[Node, int] = {}
    instead: dict[Node, Node] = {}
    top = 0
    for turn, root in enumerate(roots):
        over = [n for n in needs[root] if n in places and n not in kept and last[n] == turn]
        over.sort(key=turns.__getitem__)
        if root not in elsewhere:
            size = bytes_of(root, networks)
            same = [node for node in over if _can_take_over(root, node, known, turned)]
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
        free = _joined([*free, *((places[node], places[node] + bytes_of(node, networks)) for node in over)])
    return places, instead, top


def _can_take_over(root: Node, node: Node, known: frozenset[Node], turned: Container[Node]) -> bool:
    """Whether the loops of a root can write their elements over those of a node that they read last."""
    return (
        root.op in ELEMENTWISE
        and (root.size, root.dtype) == (node.size, node.dtype)
        and root not in turned
        and node not in turned
        and not in_another_order(root, node, known)
    )


def _joined(gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring gaps as one."""
    result: list[tuple[int, int]] = []
    for begin, end in sorted(gaps):
        if result and result[-1][1] == begin:
            result[-1] = (result[-1][0], end)
        else:
            result.append((begin, end))
    return result
