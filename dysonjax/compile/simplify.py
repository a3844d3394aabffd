"""Changes to a graph that save multiplications and divisions and keep its outputs, up to rounding."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from dysonjax.compile.graph import Node, constant, topological
from dysonjax.compile.operations import VIEWS

ORDERS = (
    "transpose",
    "reshape",
    "squeeze",
    "expand_dims",
)  # views with every element of what they show, once
MANY = 8  # numbers that are divided by the same one


def simplified(outputs: Sequence[Node]) -> list[Node]:
    """The outputs by fewer multiplications and divisions."""
    return with_reciprocals(with_small_factors(with_shared_products(outputs)))


def with_shared_products(outputs: Sequence[Node]) -> list[Node]:
    """The outputs with a network's number multiplying a product of what all share, not one of its factors.

    A network that starts from shared normals times its own width is the example.
    """
    return _changed(outputs, lambda node, rebuilt: _multiplied_last(rebuilt))


def with_small_factors(outputs: Sequence[Node]) -> list[Node]:
    """The outputs with numbers that multiply a product multiplying its smaller factor instead.

    The update of a matrix is the example: in `w - lr * (x.T @ d)` there are fewer elements in d than in w.
    """
    users = Counter(operand for node in topological(outputs) for operand in node.inputs)
    return _changed(outputs, lambda node, rebuilt: _moved(node, rebuilt, users))


def with_reciprocals(outputs: Sequence[Node]) -> list[Node]:
    """The outputs with divisions by few numbers, each of which divides many, as products with 1 over them.

    A division takes a vector ten times as long as a product. AdamW's corrections of its moments and the
    normalisation of a softmax are the examples.
    """
    known: dict[Node, Node] = {}
    return _changed(outputs, lambda node, rebuilt: _multiplied(rebuilt, known))


def _changed(outputs: Sequence[Node], change: Callable[[Node, Node], Node | None]) -> list[Node]:
    """The outputs after `change(node, the node with changed inputs)` of every node; None: leave it."""
    new: dict[Node, Node] = {}
    for node in topological(outputs):
        inputs = tuple(new[operand] for operand in node.inputs)
        rebuilt = node if inputs == node.inputs else dataclasses.replace(node, inputs=inputs)
        new[node] = change(node, rebuilt) or rebuilt
    return [new[node] for node in outputs]


def _multiplied(node: Node, known: dict[Node, Node]) -> Node | None:
    """A division as a product, or None if it divides by too many numbers; known: 1 over numbers."""
    if node.op != "div" or node.dtype.kind != "f":
        return None
    views, numbers = [], node.inputs[1]
    while numbers.op in (*ORDERS, "broadcast_in_dim"):
        views.append(numbers)
        numbers = numbers.inputs[0]
    if numbers.op == "constant" or numbers.size * MANY > node.size:
        return None
    if numbers not in known:
        one = constant(np.ones((), numbers.dtype))
        known[numbers] = dataclasses.replace(numbers, op="div", inputs=(one, numbers), params={})
    result = known[numbers]
    for view in reversed(views):
        result = dataclasses.replace(view, inputs=(result,))
    return dataclasses.replace(node, op="mul", inputs=(node.inputs[0], result))


def _moved(node: Node, rebuilt: Node, users: Counter[Node]) -> Node | None:
    """What a multiplication becomes, or None if there is nothing to gain."""
    if node.op != "mul" or node.dtype.kind != "f":
        return None
    for place, other in ((0, 1), (1, 0)):
        number = _number(rebuilt.inputs[place])
        chain = _product_behind(node.inputs[other], users)
        if number is None or not chain:
            continue
        views, product = [], rebuilt.inputs[other]
        for _ in chain[:-1]:
            views.append(product)
            product = product.inputs[0]
        sides = [
            side
            for side, factor in enumerate(product.inputs)
            if factor.size < node.size and factor.varying >= number.varying and factor.dtype == node.dtype
        ]
        if not sides:
            continue
        factors = list(product.inputs)
        side = min(sides, key=lambda side: factors[side].size)
        factors[side] = _times(factors[side], number)
        result = dataclasses.replace(product, inputs=tuple(factors))
        result = dataclasses.replace(result, scope=max(product.scope, number.scope))
        for view in reversed(views):
            result = dataclasses.replace(view, inputs=(result,), scope=result.scope)
        return result
    return None


def _multiplied_last(node: Node) -> Node | None:
    """A product whose result a number multiplies, and not one of its factors; None if that saves nothing."""
    if node.op != "dot_general" or node.dtype.kind != "f":
        return None
    for side in (0, 1):
        views, factor = [], node.inputs[side]
        while factor.op in ORDERS:
            views.append(factor)
            factor = factor.inputs[0]
        if factor.op != "mul" or node.inputs[1 - side].varying:
            continue
        for place in (0, 1):
            number, shared = _number(factor.inputs[place]), factor.inputs[1 - place]
            if number is None or not number.varying or shared.varying or shared.shape != factor.shape:
                continue
            for view in reversed(views):
                shared = dataclasses.replace(view, inputs=(shared,), scope=shared.scope, varying=False)
            factors = (shared, node.inputs[1]) if side == 0 else (node.inputs[0], shared)
            scope = max(factor.scope for factor in factors)
            return _times(dataclasses.replace(node, inputs=factors, scope=scope, varying=False), number)
    return None


def _number(node: Node) -> Node | None:
    """The single number of shape () that an array consists of."""
    while node.shape and node.op in VIEWS and len(node.inputs) == 1 and node.inputs[0].size == 1:
        node = node.inputs[0]
    return node if node.shape == () else None


def _product_behind(node: Node, users: Counter[Node]) -> list[Node]:
    """From a node through views down to a product that nothing else uses, or nothing."""
    chain = [node]
    while users[node] == 1:
        if node.op == "dot_general":
            return chain
        if node.op not in ORDERS:
            break
        node = node.inputs[0]
        chain.append(node)
    return []


def _times(factor: Node, number: Node) -> Node:
    level, lanes = max(factor.scope, number.scope), factor.varying or number.varying
    return Node("mul", (factor, number), factor.shape, factor.dtype, level, lanes)
