"""The operations that a C function can hold, each with those of its parameters that matter."""

from collections.abc import Sequence

import numpy as np

from dysonjax.compile.graph import Node

# The types of numbers, by the names that they have in C; truth values are kept as int32.
TYPES = {"float32": "float", "float64": "double", "bool": "int32"} | {
    name: name for name in ("uint8", "int32", "uint32", "int64", "uint64")
}

# Operations on constants.
KNOWN = {
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
    "iota": lambda shape, dimension, **_: np.indices(shape)[dimension],
    "reshape": lambda a, **_: a,
    "squeeze": lambda a, **_: a,
    "expand_dims": lambda a, **_: a,
    "concatenate": lambda *parts, dimension: np.concatenate(parts, dimension),
    "broadcast_in_dim": lambda a, shape, broadcast_dimensions, **_: np.broadcast_to(
        a.reshape(
            [
                a.shape[broadcast_dimensions.index(d)] if d in broadcast_dimensions else 1
                for d in range(len(shape))
            ]
        ),
        shape,
    ),
}

# Views read an array in another order, at no cost.
VIEWS = {
    "broadcast_in_dim": ("broadcast_dimensions",),
    "reshape": (),
    "squeeze": (),
    "expand_dims": (),
    "transpose": ("permutation",),
    "slice": ("start_indices", "strides"),
    "rev": ("dimensions",),
    "dynamic_slice": (),
    "take": ("places",),  # elements at known positions
}
ELEMENTWISE = {
    **dict.fromkeys(
        "add sub mul div rem max min pow neg abs sign floor ceil exp log log1p expm1 tanh logistic sqrt "
        "rsqrt erf erf_inv sin cos square and or xor not shift_left shift_right_logical "
        "shift_right_arithmetic eq ne lt le gt ge is_finite select_n clamp convert_element_type "
        "bitcast_convert_type add_any one_minus_square".split(),
        (),
    ),
    "integer_pow": ("y",),
    "round": ("rounding_method",),
    "iota": ("dimension",),
}
REDUCTIONS = {
    name: ("axes",) for name in ("reduce_sum", "reduce_max", "reduce_min", "reduce_and", "reduce_or")
}
JOINS = {"concatenate": ("dimension",), "pad": ("padding_config",), "dynamic_update_slice": ()}
# Elements at positions that are computed in the step.
LOOKUPS = {"gather": ("dimension_numbers", "slice_sizes")}
# Calls of a jaxpr, which is written out; other operations that hold one (`reduce`, `custom_root`) are none.
CALLS = frozenset(
    "jit pjit closed_call core_call remat remat2 checkpoint custom_jvp_call custom_vjp_call "
    "custom_vjp_call_jaxpr custom_vmap_call custom_lin".split()
)
OTHERS = {"dot_general": ("dimension_numbers",), "add_rows": ()}
OPERATIONS = {**VIEWS, **ELEMENTWISE, **REDUCTIONS, **JOINS, **LOOKUPS, **OTHERS}


# Between the threads of a network, see `partition`; no step of a model has them.
OVER_THREADS = frozenset(
    "sum_over_threads max_over_threads min_over_threads or_over_threads and_over_threads".split()
)


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
