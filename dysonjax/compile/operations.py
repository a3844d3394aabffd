"""The operations that a graph can hold: one table, an entry each.

An entry says what kind of operation it is, which of its parameters matter, and how NumPy computes it where
everything is known. Its C is in `expressions` if it makes elements of elements, in `shapes` if it is a view,
and in `emit` otherwise. Whatever else JAX has is written out in these by `rules`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dysonjax.compile.graph import Node

# The types of numbers, by the names that they have in C; truth values are kept as int32.
TYPES = {"float32": "float", "float64": "double", "bool": "int32"} | {
    name: name for name in ("uint8", "int32", "uint32", "int64", "uint64")
}


class Operation(NamedTuple):
    kind: str  # who may compute it where it is used, see the sets below
    params: tuple[str, ...] = ()  # of JAX's parameters those that matter
    now: Callable | None = None  # on NumPy's arrays; None: JAX computes it


def _spread(a, shape, broadcast_dimensions, **_):
    kept = dict(zip(broadcast_dimensions, a.shape, strict=True))
    return np.broadcast_to(a.reshape([kept.get(axis, 1) for axis in range(len(shape))]), shape)


def _same(a, **_):
    return a


OF_NUMBERS: dict[str, Callable] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "select_n": lambda which, *cases: np.choose(which, cases),
}
OPERATIONS = {
    # An array in another order, at no cost.
    "broadcast_in_dim": Operation("view", ("broadcast_dimensions",), _spread),
    "reshape": Operation("view", now=_same),
    "squeeze": Operation("view", now=_same),
    "expand_dims": Operation("view", now=_same),
    "transpose": Operation("view", ("permutation",)),
    "slice": Operation("view", ("start_indices", "strides")),
    "rev": Operation("view", ("dimensions",)),
    "dynamic_slice": Operation("view"),
    "take": Operation("view", ("places",)),  # elements at known positions
    # Elements of elements.
    **{name: Operation("element", now=function) for name, function in OF_NUMBERS.items()},
    **dict.fromkeys(
        "div rem max min pow neg abs sign floor ceil exp log log1p expm1 tanh logistic sqrt rsqrt erf "
        "erf_inv sin cos square xor not shift_left shift_right_logical shift_right_arithmetic is_finite "
        "clamp convert_element_type bitcast_convert_type add_any one_minus_square".split(),
        Operation("element"),
    ),
    "integer_pow": Operation("element", ("y",)),
    "round": Operation("element", ("rounding_method",)),
    "iota": Operation("element", ("dimension",), lambda shape, dimension, **_: np.indices(shape)[dimension]),
    # Of all elements along axes.
    **dict.fromkeys(
        "reduce_sum reduce_max reduce_min reduce_and reduce_or".split(), Operation("reduction", ("axes",))
    ),
    # Arrays put together from others.
    "concatenate": Operation(
        "join", ("dimension",), lambda *parts, dimension: np.concatenate(parts, dimension)
    ),
    "pad": Operation("join", ("padding_config",)),
    "dynamic_update_slice": Operation("join"),
    # Elements at positions that the step computes.
    "gather": Operation("look-up", ("dimension_numbers", "slice_sizes")),
    "dot_general": Operation("other", ("dimension_numbers",)),
    "add_rows": Operation("other"),
    "eigh": Operation("other"),
    # What the threads of a network hold together, see `partition`; no step of a model has these.
    **dict.fromkeys(
        "sum_over_threads max_over_threads min_over_threads or_over_threads and_over_threads".split(),
        Operation("element"),
    ),
    "gather_parts": Operation("look-up", ("axis", "extent", "threads")),
    "part_of": Operation("look-up", ("axis", "extent", "threads")),
    "scatter_sum": Operation("other", ("axis", "extent", "threads")),
}


def _of(kind: str) -> frozenset[str]:
    return frozenset(name for name, operation in OPERATIONS.items() if operation.kind == kind)


VIEWS, ELEMENTWISE, REDUCTIONS, JOINS, LOOKUPS, OTHERS = map(
    _of, ("view", "element", "reduction", "join", "look-up", "other")
)
THREADS = frozenset(name for name in OPERATIONS if name.endswith("_over_threads"))
OF_MODELS = frozenset(OPERATIONS) - THREADS - {"gather_parts", "part_of", "scatter_sum"}


def refusal(op: str, inputs: Sequence[Node], dtype: np.dtype, params: dict) -> str | None:
    """Why an operation on these arrays cannot be written in C with the results of JAX, or None."""
    for name in (np.dtype(dtype).name, *(node.dtype.name for node in inputs)):
        if name not in TYPES:
            return f"numbers of type {name}"
    if op == "bitcast_convert_type":
        if dtype.itemsize != inputs[0].dtype.itemsize:
            return "bits of another width"
        if dtype != inputs[0].dtype and bool in (dtype, inputs[0].dtype):
            return "the bits of a truth value"
    if op == "select_n" and (len(inputs) != 3 or inputs[0].dtype != bool):
        return "a choice between more than two values"
    if op == "pad" and any(low < 0 or high < 0 for low, high, _ in params["padding_config"]):
        return "padding of negative width"
    if op == "dynamic_update_slice" and any(start.varying for start in inputs[2:]):
        return "a change at an index that differs between networks"
    return None
