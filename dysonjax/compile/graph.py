"""The graph of array operations of a step, see `builder`."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# How often a value changes: never, with the world, with the step, with the network.
CONSTANT, WORLD, STEP, NETWORK = range(4)


class Unsupported(Exception):
    """The step holds something that this compiler does not know; the message says what, and where."""

    where = ""  # the line of the model that asked for it, once that is known


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Node:
    """One array of the step."""

    op: str  # "input", "constant" or the name of a JAX primitive
    inputs: tuple["Node", ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    scope: int
    varying: bool  # whether it differs between the networks of a vector
    params: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __repr__(self) -> str:
        """Without what it is made of, which could be shown along very many ways."""
        return f"{self.op} {self.dtype}{list(self.shape)}"


def source(shape: Sequence[int], dtype, scope: int, varying: bool) -> Node:
    """An input of the step."""
    return Node("input", (), tuple(shape), np.dtype(dtype), scope, varying)


def constant(value) -> Node:
    value = np.asarray(value)
    return Node("constant", (), value.shape, value.dtype, CONSTANT, False, {"value": value})


def topological(outputs: Sequence[Node]) -> list[Node]:
    """All nodes behind the outputs, each after those that it needs."""
    order, seen, stack = [], set(), [(node, False) for node in reversed(outputs)]
    while stack:
        node, finished = stack.pop()
        if finished:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.inputs))
    return order
