"""Which nodes of a graph get a loop and memory of their own, and in which order.

A materialised node, a *root*, has a loop of its own. All else is written into the loops of the roots that use
it, so that a chain of elementwise operations, or a product followed by tanh, is one pass over memory.
"""

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dysonjax.compile.buffers import bytes_of, reads
from dysonjax.compile.graph import NETWORK, WORLD, Node, Unsupported, topological
from dysonjax.compile.operations import ELEMENTWISE, JOINS, LOOKUPS, OTHERS, REDUCTIONS, VIEWS
from dysonjax.compile.shapes import STRIDED, strides_of

# A sum may start with what it is to be added to, but many small numbers would lose their last digits there.
FEW_TERMS = 16
SIMPLE = frozenset("add add_any sub mul max min neg eq ne lt le gt ge and or not select_n square".split())
FEW_OPERATIONS = 5


class Costs(NamedTuple):
    """What pays on a target.

    inline: an element is worth a register, so that products, look-ups and moves are written into the loops
    that use them; if not, arrays are long, everything but arithmetic has loops of its own, a few operations
    are repeated rather than kept in memory, and what is freed is used again while it is in the cache.
    """

    inline: bool


class Plan(NamedTuple):
    """The roots in an order in which they can be computed; stores of the new state come last."""

    roots: list[Node]
    products: dict[Node, Node]  # root -> the product that is computed inside its loop
    starts: dict[Node, tuple[Node, Node]]  # product -> its sum with something else, and that, where it starts
    work: Counter[Node]  # root -> how many operations its loop holds
    read: frozenset[Node]  # the inputs that some root reads
    strides: dict[Node, tuple[int, ...]]  # of a root whose axes lie in another order than usual


def store(node: Node, like: Node) -> Node:
    """The root that writes `node` over the input `like`."""
    if (node.shape, node.dtype) != (like.shape, like.dtype):
        old, new = (f"{n.dtype}{list(n.shape)}" for n in (like, node))
        raise Unsupported(f"a state {old} that becomes {new} in a step")
    return Node("store", (node,), like.shape, like.dtype, NETWORK, like.varying, {"to": like})


def stores_of(outputs: Sequence[Node], states: Sequence[Node]) -> list[Node]:
    """The roots that write the new state; raises Unsupported if there is nothing to write."""
    stores = [store(new, old) for new, old in zip(outputs, states, strict=True) if new is not old]
    if not stores:
        raise Unsupported("a step that changes nothing")
    return stores


def plan(stores: Sequence[Node], costs: Costs, copied: frozenset[Node] = frozenset()) -> Plan:
    """copied: views that have to be materialised."""
    order = topological(stores)
    views = (VIEWS if costs.inline else STRIDED).__contains__
    users: dict[Node, list[tuple[Node, int]]] = {node: [] for node in order}
    for node in order:
        for place, operand in enumerate(node.inputs):
            users[operand].append((node, place))
    roots: set[Node] = set()
    homes: dict[Node, set[Node]] = {}  # the roots in whose loops a node is computed
    kept: dict[Node, bool] = {}  # whether what is read through this node has to lie in memory
    products: dict[Node, Node] = {}
    starts: dict[Node, tuple[Node, Node]] = {}
    for node in reversed(order):
        if node.op in ("input", "constant"):
            continue
        home, keep = set(), node in copied
        for user, place in users[node]:
            home |= {user} if user in roots else homes[user]
            keep |= _read_often(user, place, node, costs)
            keep |= user not in roots and views(user.op) and kept[user]
        homes[node], kept[node] = home, keep
        if views(node.op) and node not in copied:
            # Read in two orders, an element would be computed twice.
            kept[node] |= len(users[node]) > 1 and any(views(user.op) for user, _ in users[node])
            continue
        keep |= len(users[node]) > 1 and any(views(user.op) for user, _ in users[node])
        keep |= any(root.scope > node.scope for root in home)
        alone = not keep and len(home) == 1
        if node.op in ELEMENTWISE or (costs.inline and node.op in LOOKUPS):
            if alone or (not (keep or costs.inline) and _cheap(node, len(home))):
                continue
        elif costs.inline and node.op == "dot_general" and alone and _ends_in(node, users, roots):
            (root,) = home
            free = root not in products and root.op not in REDUCTIONS | JOINS | OTHERS
            if free and root.shape == node.shape:
                products[root] = node
                ((user, place),) = users[node]
                if _adds(user, place) and user.varying == node.varying and length(node) <= FEW_TERMS:
                    starts[node] = user, user.inputs[1 - place]
                continue
        roots.add(node)
        if node.op == "dot_general" and costs.inline:
            products[node] = node
    strides = {}
    if not costs.inline:
        for node in order:
            after = users[node][0][0] if len(users[node]) == 1 else node
            if node.op == "dot_general" and after.op == "transpose":
                # The product is written in the order in which it is read.
                layout = after.params["permutation"]
                along = strides_of([node.shape[axis] for axis in layout])
                strides[node] = tuple(along[layout.index(axis)] for axis in range(len(layout)))
                roots.discard(after)
    ordered = [node for node in order if node in roots]
    ordered = sorted(ordered, key=lambda root: root.op == "store") if costs.inline else _small_first(ordered)
    work = Counter(root for node, home in homes.items() if node.op not in VIEWS for root in home or {node})
    read = frozenset(node for node in order if node.op == "input")
    return Plan(ordered, products, starts, work, read, strides)


def length(product: Node) -> int:
    """The number of terms of the sums of a product."""
    (summed, _), _ = product.params["dimension_numbers"]
    return math.prod(product.inputs[0].shape[axis] for axis in summed)


def _adds(user: Node, place: int) -> bool:
    """Whether a node adds an operand to the other one, or takes it away."""
    return user.op in ("add", "add_any") or (user.op == "sub" and place == 1)


def _read_often(user: Node, place: int, node: Node, costs: Costs) -> bool:
    """Whether this user reads an element of the node more than once, or needs it in memory."""
    op = user.op
    if op in ("dot_general", "gather", "gather_parts", "scatter_sum") or (
        op == "broadcast_in_dim" and user.size > node.size
    ):
        return True
    if op in ("dynamic_slice", "dynamic_update_slice", "take", "add_rows") and not costs.inline:
        return True
    if op == "dynamic_slice":
        return place > 0 or any(start.varying for start in user.inputs[1:])  # lane by lane
    if op == "eigh":
        return costs.inline
    return (op == "dynamic_update_slice" and place > 0) or (
        not costs.inline and op in ELEMENTWISE and user.size > node.size
    )


def _ends_in(node: Node, users, roots) -> bool:
    """Whether a product reaches its root by elementwise operations of its own shape alone."""
    while node not in roots:
        if len(users[node]) != 1:
            return False
        ((user, _),) = users[node]
        if user.shape != node.shape or (user not in roots and user.op not in ELEMENTWISE):
            return False
        node = user
    return True


def _cheap(node: Node, homes: int) -> bool:
    """Whether computing an element again in each home costs less than keeping it.

    One simple operation on one array does, and a few on two arrays in two homes: so AdamW's moments.
    """
    arrays = {operand for operand in node.inputs if behind(operand).size == node.size}
    if node.op not in SIMPLE or len(arrays) <= 1:
        return node.op in SIMPLE
    operations, read = _made_of(node, node.size)
    return homes == 2 and len(operations) <= FEW_OPERATIONS and len(read) <= 2


def _made_of(node: Node, size: int) -> tuple[set[Node], set[Node]]:
    """The simple operations behind a node, and the arrays of that size that they begin with."""
    operations, read, left = set(), set(), [node]
    while left:
        node = behind(left.pop())
        if node.size == size and node.op in SIMPLE:
            operations.add(node)
            left.extend(node.inputs)
        elif node.size == size:
            read.add(node)
    return operations, read


def behind(node: Node, views=STRIDED) -> Node:
    """What a view shows."""
    return behind(node.inputs[0], views) if node.op in views else node


def frozen_by(root: Node) -> Node | None:
    """The mask of the networks to which a store gives new values, if the others keep theirs."""
    (new,) = root.inputs if root.op == "store" else (root,)
    if new.op != "select_n" or root.op != "store" or new.inputs[1] is not root.params["to"]:
        return None
    mask = behind(new.inputs[0], VIEWS)
    return mask if mask.varying and mask.size == 1 and root.size > 1 else None


# -- order ---------------------------------------------------------------------------------------------------


def _small_first(roots: list[Node]) -> list[Node]:
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
    result: list[Node] = []
    done: set[Node] = set()
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
    return bytes_of(root) >= max((bytes_of(node) for node in needs if node.op != "input"), default=0)
