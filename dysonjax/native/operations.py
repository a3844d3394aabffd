"""The operations that a C function can hold, each with those of its parameters that matter."""

import numpy as np

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
    "convert_element_type": lambda a, new_dtype, **_: a.astype(new_dtype),
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
        "rsqrt erf erf_inv sin cos square and or xor not shift_left shift_right_logical eq ne lt le gt ge "
        "is_finite select_n clamp convert_element_type bitcast_convert_type add_any one_minus_square".split(),
        (),
    ),
    "integer_pow": ("y",),
    "iota": ("dimension",),
}
REDUCTIONS = {
    name: ("axes",) for name in ("reduce_sum", "reduce_max", "reduce_min", "reduce_and", "reduce_or")
}
JOINS = {"concatenate": ("dimension",), "pad": ("padding_config",), "dynamic_update_slice": ()}
# Elements at positions that are computed in the step.
LOOKUPS = {"gather": ("dimension_numbers", "slice_sizes")}
OPERATIONS = {**VIEWS, **ELEMENTWISE, **REDUCTIONS, **JOINS, **LOOKUPS, "dot_general": ("dimension_numbers",)}
