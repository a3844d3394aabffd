"""Which nodes of a graph get a loop and a buffer of their own, and which are computed where they are used.

A node with its own loop is a root. All else is written into the loop of the one root that uses it, so that a
chain of elementwise operations, or a product followed by tanh, is one pass over memory.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dysonjax.compile.graph import NETWORK, Node, Unsupported, topological
from dysonjax.compile.operations import ELEMENTWISE, JOINS, LOOKUPS, OTHERS, REDUCTIONS, VIEWS

# A sum may start with what it is to be added to, but many small numbers would lose their last digits there.
FEW_TERMS = 16


class Plan(NamedTuple):
    """The roots in an order in which they can be computed; stores of the new state come last."""

    roots: list[Node]
    products: dict[Node, Node]  # root -> the product that is computed inside its loop
    starts: dict[Node, tuple[Node, Node]]  # product -> its sum with something else, and that, where it starts
    work: Counter[Node]  # root -> how many operations its loop holds
    read: frozenset[Node]  # the inputs that some root reads


def store(node: Node, like: Node) -> Node:
    """The root that writes `node` over the input `like`."""
    if (node.shape, node.dtype) != (like.shape, like.dtype):
        old, new = (f"{n.dtype}{list(n.shape)}" for n in (like, node))
        raise Unsupported(f"a state {old} that becomes {new} in a step")
    return Node("store", (node,), like.shape, like.dtype, NETWORK, like.varying, {"to": like})


def plan(stores: Sequence[Node]) -> Plan:
    order = topological(stores)
    users: dict[Node, list[Node]] = {node: [] for node in order}
    for node in order:
        for place, operand in enumerate(node.inputs):
            users[operand].append((node, place))
    roots: set[Node] = set()
    homes: dict[Node, set[Node]] = {}  # the roots in whose loops a node is computed
    kept: dict[Node, bool] = {}  # whether what is read through this node has to lie in a buffer
    products: dict[Node, Node] = {}
    starts: dict[Node, tuple[Node, Node]] = {}
    for node in reversed(order):
        if node.op in ("input", "constant"):
            continue
        home, keep = set(), False
        for user, place in users[node]:
            home |= {user} if user in roots else homes[user]
            keep |= _read_often(user, place, node) or (user.op in VIEWS and kept[user])
        # Read in two orders, an element would be computed twice.
        keep |= len(users[node]) > 1 and any(user.op in VIEWS for user, _ in users[node])
        homes[node], kept[node] = home, keep
        if node.op in VIEWS:
            continue
        later = any(root.scope > node.scope for root in home)
        alone = len(home) == 1 and not keep and not later
        if node.op in ELEMENTWISE | LOOKUPS and alone:
            continue
        if node.op == "dot_general" and alone and _ends_in(node, users, roots):
            (root,) = home
            if (
                root not in products
                and root.shape == node.shape
                and root.op not in REDUCTIONS | JOINS | OTHERS
            ):
                products[root] = node
                ((user, place),) = users[node]
                if _adds(user, place) and user.varying == node.varying and length(node) <= FEW_TERMS:
                    starts[node] = user, user.inputs[1 - place]
                continue
        roots.add(node)
        if node.op == "dot_general":
            products[node] = node
    ordered = [node for node in order if node in roots and node.op != "store"]
    work = Counter(root for node, home in homes.items() if node.op not in VIEWS for root in home or {node})
    read = frozenset(node for node in order if node.op == "input")
    return Plan([*ordered, *stores], products, starts, work, read)


def length(product: Node) -> int:
    """The number of terms of the sums of a product."""
    (summed, _), _ = product.params["dimension_numbers"]
    return math.prod(product.inputs[0].shape[axis] for axis in summed)


def _adds(user: Node, place: int) -> bool:
    """Whether a node adds an operand to the other one, or takes it away."""
    return user.op in ("add", "add_any") or (user.op == "sub" and place == 1)


def _read_often(user: Node, place: int, node: Node) -> bool:
    """Whether this user reads an element of the node more than once, or needs it in memory."""
    if user.op in ("dot_general", "eigh", "gather_parts", "scatter_sum") or user.op in LOOKUPS:
        return True
    if user.op == "dynamic_slice" and any(start.varying for start in user.inputs[1:]):
        return True  # lane by lane
    if user.op == "broadcast_in_dim":
        return user.size > node.size
    return user.op in ("dynamic_slice", "dynamic_update_slice") and place > 0


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
