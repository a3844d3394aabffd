"""What every operation that the compilers claim is tried on: edge values of every type, in few compilations.

A row belongs to one operation and makes its cases for a type of number; a case is a function of arrays. The
rows are looked up by the names in `lower.CLAIMED`, so that an operation without one fails.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

FLOATS, INTEGERS = ("float32", "float64"), ("uint8", "int32", "uint32", "int64", "uint64")
TYPES = (*FLOATS, *INTEGERS, "bool")


class Case(NamedTuple):
    function: Callable
    arrays: tuple[np.ndarray, ...]
    ulps: int = 0  # by which a result may differ; 0: not in a bit
    zeros: bool = True  # whether the sign of a zero has to be right
    of_largest: bool = False  # whether these are units in the last place of the largest number of a result
    shared: tuple[bool, ...] | None = None  # which arrays all networks share, if it cannot be otherwise


def edges(dtype: str) -> np.ndarray:
    """Numbers at which arithmetic goes wrong."""
    if dtype == "bool":
        return np.array([False, True])
    if dtype in FLOATS:
        info = np.finfo(dtype)
        some = [0, 1, np.inf, info.max, info.tiny, info.tiny / 4, info.eps, 0.5, 2.5, 3.7, 87.5, 1e9, 2.0**31]
        return np.array([np.nan, *some, *(-x for x in some)], dtype)
    info = np.iinfo(dtype)
    some = [0, 1, 2, 3, 7, info.bits - 1, info.bits, info.bits + 1, info.max, info.max - 1, info.max // 2]
    return np.array([*some, *((-1, -2, -7, info.min, info.min + 1) if info.min else ())], dtype)


def ordinary(dtype: str, *shape: int) -> np.ndarray:
    """Small numbers of both signs, where there are two."""
    values = np.random.default_rng(sum(shape)).integers(-3, 4, shape)
    return (values / 2 if dtype in FLOATS else values).astype(dtype)


def pairs(dtype: str, other: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.meshgrid(edges(dtype), edges(other or dtype))
    return a.ravel(), b.ravel()


def unary(function, ulps=0, zeros=True):
    return lambda dtype: [Case(function, (edges(dtype),), ulps, zeros)]


def binary(function, ulps=0):
    return lambda dtype: [Case(function, pairs(dtype), ulps), Case(function, single(dtype), ulps)]


def single(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """One-element and empty axes."""
    return np.ones((1, 1), dtype), np.zeros((1, 1), dtype)


def known_second(function):
    """With a constant of the step, such as 0 and -1: those are written in other ways."""

    def row(dtype):
        places = [0, 1, 2, 14] if dtype in FLOATS else [0, 1] if dtype == "bool" else [0, 1, 4, 6, -5]
        return [
            Case(lambda x, c=c: function(x, np.full(x.shape, c)), (edges(dtype),))
            for c in edges(dtype)[places]
        ]

    return row


def both(*rows):
    return lambda dtype: [case for row in rows for case in row(dtype)]


def views(function):
    """A view of small numbers, of an axis of one element and of an empty one."""

    def row(dtype):
        return [Case(function, (ordinary(dtype, *shape),)) for shape in ((4, 6), (1, 6), (4, 1), (0, 6))]

    return row


def converted(dtype: str) -> list[Case]:
    return [Case(lambda x, to=to: lax.convert_element_type(x, to), (edges(dtype),)) for to in TYPES]


def bits(dtype: str) -> list[Case]:
    same = [to for to in TYPES if to != "bool" and np.dtype(to).itemsize == np.dtype(dtype).itemsize]
    return [Case(lambda x, to=to: lax.bitcast_convert_type(x, to), (edges(dtype),)) for to in same]


def accumulated(function, ulps: int = 0):
    """Along both axes, in both directions; sums by halves round differently."""

    def cases(dtype: str) -> list[Case]:
        if dtype == "bool":
            return []
        table = ordinary(dtype, 4, 7)
        ways = [(axis, reverse) for axis in (0, 1) for reverse in (False, True)]
        made = [Case(lambda x, w=w: function(x, *w), (table,), ulps, of_largest=True) for w in ways]
        at_edges = edges(dtype) if ulps == 0 or dtype in INTEGERS else ordinary(dtype, 19)
        return [*made, Case(lambda x: function(x, 0, False), (at_edges,), ulps, of_largest=True)]

    return cases


def found(function):
    """The first of several equal ones; a NaN where there is one."""

    def cases(dtype: str) -> list[Case]:
        if dtype == "bool":
            return []
        table = np.resize(edges(dtype), (3, len(edges(dtype))))
        finite = np.nan_to_num(table)
        return [
            Case(lambda x, a=a: function(x, a, np.int32), (values,))
            for values in (table, finite)
            for a in (0, 1)
        ]

    return cases


def ordered(dtype: str) -> list[Case]:
    """With equal numbers, in both axes, by one key and by two, and what is carried along."""
    values = np.resize(np.concatenate([edges(dtype), edges(dtype)[::-1]]), (3, 14))
    number = np.arange(values.size, dtype=np.int32).reshape(values.shape)
    low = np.resize(edges(dtype)[:2], values.shape).copy()
    return [
        Case(lambda x: lax.sort(x), (values,), zeros=False),
        Case(lambda x: lax.sort(x, dimension=0), (values,), zeros=False),
        Case(lambda x, n: lax.sort((x, n), num_keys=1), (values, number)),
        Case(lambda x, y, n: lax.sort((x, y, n), num_keys=2), (low, values, number)),
    ]


def convolved(dtype: str) -> list[Case]:
    """With steps, gaps, padding of both signs, and groups."""
    if dtype not in FLOATS:
        return []
    images, kernels = ordinary(dtype, 2, 4, 6, 5), ordinary(dtype, 6, 4, 3, 2)
    options = [
        {"window_strides": (1, 1), "padding": "SAME"},
        {"window_strides": (2, 1), "padding": ((1, 0), (2, -1)), "rhs_dilation": (1, 2)},
        {"window_strides": (1, 2), "padding": "VALID", "lhs_dilation": (2, 1)},
    ]
    first = {"dimension_numbers": ("NCHW", "OIHW", "NCHW")}
    cases = [
        Case(
            lambda x, w, o=o: lax.conv_general_dilated(x, w, **first, **o),
            (images, kernels),
            4,
            of_largest=True,
        )
        for o in options
    ]
    last = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    return [
        *cases,
        Case(
            lambda x, w: lax.conv_general_dilated(x, w, feature_group_count=2, **last),
            (ordinary(dtype, 2, 6, 5, 4), ordinary(dtype, 3, 2, 2, 6)),
            4,
            of_largest=True,
        ),
    ]


def chosen(dtype: str) -> list[Case]:
    which = np.arange(len(edges(dtype))) % 2 == 0
    several = np.arange(len(edges(dtype)), dtype=np.int32) - 2  # some lie outside
    values = edges(dtype)
    return [
        Case(lax.select_n, (which, values, values[::-1].copy())),
        Case(lambda w, a, b: lax.select_n(w[0], a, b), (which, values, values[::-1].copy())),
        Case(lambda w, a, b, c: lax.select_n(w, a, b, c), (several, values, values[::-1].copy(), values)),
    ]


def clamped(dtype: str) -> list[Case]:
    low, high = pairs(dtype)
    return [
        Case(lambda a, x, b: lax.clamp(a, x, b), (low, np.roll(low, 7), high)),
        Case(lambda x: lax.clamp(np.ones((), x.dtype), x, np.full((), 3, x.dtype)), (edges(dtype),)),
        Case(lambda x: lax.clamp(np.zeros((), x.dtype), x, np.zeros((), x.dtype)), (edges(dtype),)),
    ]


def powers(dtype: str) -> list[Case]:
    """0 ... 5, large ones and reciprocals, as JAX takes them by squaring."""
    exponents = (
        (0, 1, 2, 3, 4, 5, 7, 31, 64, -1, -2, -3, -7) if dtype in FLOATS else (0, 1, 2, 3, 4, 5, 7, 64)
    )
    return [Case(lambda x, y=y: lax.integer_pow(x, y), (edges(dtype),)) for y in exponents]


def to_a_power(dtype: str) -> list[Case]:
    """Also of whole exponents that are integers."""
    return [
        Case(lax.pow, pairs(dtype), POW),
        Case(lax.pow, pairs(dtype, "int32"), POW),
        Case(lambda x: lax.pow(x, np.array(0.5, x.dtype)), (edges(dtype),), POW),
    ]


POW = 2


def reduced(function):
    """Over each set of axes, an empty one and one of one element; of ordinary numbers and of edges."""

    def row(dtype):
        # A sum of numbers that cancel depends on its order; halves are exact in any.
        found = [
            Case(lambda x, axes=axes: function(x, axes), (ordinary(dtype, *shape),))
            for shape, axes in (
                ((3, 5), (1,)),
                ((3, 5), (0,)),
                ((17, 40), (0,)),
                ((17, 40), (1,)),
                ((5, 18), (0, 1)),
                ((9, 33, 2), (0, 2)),
                ((1, 5), (0,)),
                ((3, 0), (1,)),
                ((0, 20), (0,)),
                ((3, 0, 2), (2,)),
            )
        ]
        two = np.stack(pairs(dtype), -1)
        many = np.tile(two[(two == two).all(1)], (1, 12))  # in vectors XLA loses a NaN
        found += [
            Case(lambda x: function(x, (1,)), (two,)),
            Case(lambda x: function(x, (1,)), (many,)),
            Case(lambda x: function(x, (0,)), (many.T.copy(),)),
        ]
        return [case._replace(zeros=False) for case in found]

    return row


def sums(dtype: str) -> list[Case]:
    """Of numbers of very different sizes only two at once: a sum depends on its order."""
    cases = reduced(lambda x, axes: jnp.sum(x, axis=axes, dtype=x.dtype))(dtype)
    return [] if dtype == "bool" else cases[: -2 if dtype in FLOATS else None]


def joined(dtype: str) -> list[Case]:
    a, b, c = ordinary(dtype, 3, 4), ordinary(dtype, 3, 1), ordinary(dtype, 3, 0)
    return [
        Case(lambda a, b, c: lax.concatenate([a, c, b, a], 1), (a, b, c)),
        Case(lambda a: lax.concatenate([a, a[:1]], 0), (a,)),
    ]


def padded(dtype: str) -> list[Case]:
    a = ordinary(dtype, 3, 4)
    return [
        Case(lambda a, b: lax.pad(a, b[0], ((1, 0, 0), (0, 2, 0))), (a, edges(dtype)[1:2])),
        Case(lambda a, b: lax.pad(a, b[0], ((0, 1, 2), (2, 0, 1))), (a, edges(dtype)[1:2])),
        Case(lambda a, b: lax.pad(a[:0], b[0], ((1, 1, 1), (0, 0, 0))), (a, edges(dtype)[1:2])),
    ]


def places(dtype: str) -> np.ndarray:
    return edges(dtype)[: 12 if dtype in INTEGERS else 0]


def sliced(dtype: str) -> list[Case]:
    """At each edge of a type of index, far outside too; and of each type of number."""
    table = np.arange(300, dtype=np.float32)
    found = [
        Case(
            lambda x, i: lax.dynamic_slice(x, (i[0], i[1]), (2, 3)), (ordinary(dtype, 5, 6), np.int32([2, 1]))
        )
    ]
    return found + [
        Case(lambda x, i: lax.dynamic_slice(x, (i[0],), (2,)), (table, np.array([i], dtype)))
        for i in places(dtype)
    ]


def updated(dtype: str) -> list[Case]:
    table = np.arange(300, dtype=np.float32)
    whole, part = ordinary(dtype, 5, 6), ordinary(dtype, 2, 3)
    return [
        Case(
            lambda x, p, i: lax.dynamic_update_slice(x, p, (i[0], i[1])),
            (whole, part, np.int32([4, -2])),
            shared=(False, False, True),
        )
    ] + [
        Case(
            lambda x, i: lax.dynamic_update_slice(x, -x[:2], (i[0],)),
            (table, np.array([i], dtype)),
            shared=(False, True),
        )
        for i in places(dtype)
    ]


def gathered(dtype: str) -> list[Case]:
    """Of each type of number, and by each type of index: kept inside, filled outside."""
    table, rows = ordinary(dtype, 5, 6), np.int32([0, 4, -1, 7, -9, 2])
    cases = [
        Case(lambda x, i: x.at[i].get(mode="clip"), (table, rows)),
        Case(lambda x, i: x.at[i, 1].get(mode="fill"), (table, rows)),
        Case(lambda x, i: jnp.take_along_axis(x, i[:5, None] % 3, axis=1), (table, rows)),
    ]
    if dtype in INTEGERS:
        long = np.arange(300, dtype=np.float32)
        cases += [
            Case(lambda x, i: x.at[i].get(mode="clip"), (long, edges(dtype))),
            Case(lambda x, i: x.at[i].get(mode="fill"), (long, edges(dtype))),
        ]
    return cases


def taken(dtype: str) -> list[Case]:
    table = ordinary(dtype, 5, 6)
    return [
        Case(lambda x: x[np.array([4, 0, 1])][:, np.array([5, 5])], (table,)),
        Case(lambda x: x[np.array([3]), np.array([2])], (table,)),
    ]


def added(dtype: str) -> list[Case]:
    """Several at one place, some outside, what is not finite, and zeros to which nothing is added."""
    operand = np.array([-0.0, 0, 1, -1, 3] if dtype in FLOATS else [0, 1, 2, 0, 1], dtype)
    numbers = np.resize(edges(dtype), 6)
    rows = np.int32([0, 4, -1, 7, 4, 2])
    windows = np.array([[1, 2], [0, -0.0], [np.inf, 1], [np.nan, 0], [3, 4], [1, 1]])
    windows = windows.astype(dtype) if dtype in FLOATS else np.resize(edges(dtype), (6, 2))
    return [
        Case(lambda x, u, i: x.at[i].add(u), (operand, numbers, rows)),
        Case(lambda x, u, i: x.at[i].add(u, mode="drop"), (np.stack([operand] * 2, 1), windows, rows)),
        Case(lambda x, u, i: x.at[:, i].add(u.T), (np.stack([operand] * 2), windows, rows)),
    ]


def put(dtype: str) -> list[Case]:
    return [Case(lambda x, y: x.at[np.array([2, 0])].set(y), (ordinary(dtype, 4, 3), ordinary(dtype, 2, 3)))]


def products(dtype: str) -> list[Case]:
    """Of halves, so that no order of a sum matters; zeros among its terms may have either sign."""
    shapes = [
        ("ij,jk->ik", (3, 4), (4, 5)),
        ("ij,jk->ik", (20, 33), (33, 18)),
        ("ji,jk->ik", (1, 3), (1, 2)),
        ("ij,jk->ik", (3, 0), (0, 2)),
        ("ij,jk->ik", (1, 1), (1, 1)),
        ("bij,bjk->bik", (2, 3, 4), (2, 4, 3)),
        ("i,i->", (9,), (9,)),
    ]
    cases = [
        Case(
            lambda a, b, e=e: jnp.einsum(e, a, b), (ordinary(dtype, *left), ordinary(dtype, *right)), 0, False
        )
        for e, left, right in shapes
    ]
    wide = "float64" if dtype in FLOATS else "int32"
    if dtype != "bool":
        numbers = ordinary(dtype, 4, 4)
        cases.append(
            Case(lambda a, b: jnp.dot(a, b, preferred_element_type=wide), (numbers, numbers), 0, False)
        )
        broken = edges(dtype)
        cases.append(Case(lambda a, b: a[:, None] @ b[None, :1], (broken, broken), 0, False))
    return cases


def random_bits(dtype: str) -> list[Case]:
    key = np.array([2**32 - 1, 7], np.uint32)
    if dtype in ("uint32", "uint64"):
        return [Case(lambda k: jax.random.bits(jax.random.wrap_key_data(k), (5,), dtype), (key,))]
    return []


def keys(function):
    def row(dtype):
        key = np.array([2**32 - 1, 7], np.uint32)
        return [Case(lambda k: jax.random.key_data(function(jax.random.wrap_key_data(k))), (key,))] * (
            dtype == "uint32"
        )

    return row


def branches(dtype: str) -> list[Case]:
    """Both are computed, and what only the other one may compute does no harm."""
    x = edges(dtype)
    if dtype in INTEGERS:
        seven = np.full_like(x, 7)
        return [
            Case(lambda p, x: lax.cond(p[0] > 0, lambda x: x // seven, lambda x: x, x), (x[:1], x)),
            Case(lambda p, x: lax.cond(p[0] > 0, lambda x: seven // x, lambda x: x, x), (x[:1], x)),
            Case(lambda x: jnp.where(x > 0, 7 // x, x), (x,)),
        ]
    return [Case(lambda p, x: lax.cond(p[0] > 0, lambda x: x[::-1], lambda x: x, x), (x[:1], x))]


def looped(dtype: str) -> list[Case]:
    x = ordinary(dtype, 4, 3)
    return [
        Case(lambda x: lax.scan(lambda c, r: (c | (r > 0), c), x[0] > 0, x, reverse=True), (x,)),
        Case(lambda x: lax.fori_loop(0, 3, lambda i, v: jnp.where(v == i, v[::-1], v), x), (x,)),
    ]


def eigensystem(dtype: str) -> list[Case]:
    """Of numbers of every size: their squares vanish or overflow; diagonal ones, equal ones, zero."""
    if dtype not in FLOATS:
        return []
    info = np.finfo(dtype)
    sizes = [1, info.max / 8, info.tiny * 2**24]

    def both(matrix, size):
        vectors, values = lax.linalg.eigh(matrix, symmetrize_input=False)
        return values, (vectors * (values / size)) @ vectors.T

    matrices = [np.diag([3, -1, 2, 0]), np.zeros((2, 2)), np.eye(3), np.ones((1, 1))]
    matrices.append(np.random.default_rng(0).standard_normal((6, 6)))  # of which half is looked at
    return [
        Case(lambda m, s=size: both(m, s), ((m * size).astype(dtype),), 40, False, True)
        for m in matrices
        for size in np.array(sizes, dtype)
    ]


def one_minus_square(dtype: str) -> list[Case]:
    """In newer versions of JAX the derivative of tanh has an operation of its own; others have no case."""
    derivative = jax.make_jaxpr(jax.grad(jnp.tanh))(np.float32(0.5))
    found = [e.primitive for e in derivative.eqns if e.primitive.name == "one_minus_square"]
    return [Case(p.bind, (edges(dtype),), 1) for p in found if dtype in FLOATS]


ROWS: dict[str, Callable[[str], list[Case]]] = {
    "add": binary(lax.add),
    "sub": binary(lax.sub),
    "mul": binary(lax.mul),
    "div": both(binary(lax.div), known_second(lax.div)),
    "rem": both(binary(lax.rem), known_second(lax.rem)),
    "max": both(binary(lax.max), known_second(lax.max)),
    "min": both(binary(lax.min), known_second(lambda x, c: lax.min(c, x))),
    "pow": to_a_power,
    "and": binary(lax.bitwise_and),
    "or": binary(lax.bitwise_or),
    "xor": binary(lax.bitwise_xor),
    "shift_left": both(binary(lax.shift_left), known_second(lax.shift_left)),
    "shift_right_logical": both(binary(lax.shift_right_logical), known_second(lax.shift_right_logical)),
    "shift_right_arithmetic": both(
        binary(lax.shift_right_arithmetic), known_second(lax.shift_right_arithmetic)
    ),
    **{name: binary(getattr(lax, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{name: unary(getattr(lax, name)) for name in ("neg", "abs", "sign", "floor", "ceil", "sqrt")},
    "not": unary(lax.bitwise_not),
    "is_finite": unary(lax.is_finite),
    "square": unary(lax.square),
    "rsqrt": unary(lax.rsqrt, 2),
    "exp": unary(lax.exp, 4),
    "log": unary(lax.log, 4),
    "log1p": unary(lax.log1p, 8),
    "expm1": unary(lax.expm1, 8),
    "tanh": unary(lax.tanh, 8),
    "logistic": unary(lax.logistic, 8),
    "erf": unary(lax.erf, 8),
    "erf_inv": unary(lax.erf_inv, 8),
    "sin": unary(lax.sin, 2),
    "cos": unary(lax.cos, 2),
    "round": both(
        unary(lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)),
        unary(lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO)),
    ),
    "integer_pow": powers,
    "add_any": lambda dtype: [Case(twice_used, (edges(dtype),))] if dtype in FLOATS else [],
    "one_minus_square": one_minus_square,
    "select_n": chosen,
    "clamp": clamped,
    "convert_element_type": converted,
    "bitcast_convert_type": bits,
    "iota": lambda dtype: (
        [Case(lambda x: x + lax.iota(x.dtype, len(x)), (edges(dtype),))] * (dtype != "bool")
    ),
    "broadcast_in_dim": views(lambda x: lax.broadcast_in_dim(x, (2, *x.shape), (1, 2))),
    "reshape": views(lambda x: lax.reshape(x, (x.size,))[::-1].reshape(x.T.shape)),
    "squeeze": views(lambda x: lax.squeeze(x[:, :1], (1,))),
    "expand_dims": views(lambda x: jnp.expand_dims(x, (0, 2))),
    "transpose": views(lambda x: lax.transpose(x, (1, 0))),
    "slice": views(lambda x: x[::2, 1:5:3]),
    "rev": views(lambda x: lax.rev(x, (0, 1))),
    "dynamic_slice": sliced,
    "take": taken,
    "gather": gathered,
    "concatenate": joined,
    "pad": padded,
    "dynamic_update_slice": updated,
    "dot_general": products,
    "reduce_sum": sums,
    "reduce_max": reduced(lax.reduce_max),
    "reduce_min": reduced(lax.reduce_min),
    "reduce_and": reduced(lax.reduce_and),
    "reduce_or": reduced(lax.reduce_or),
    "scatter": put,
    "scatter-add": added,
    "add_rows": added,
    "scan": looped,
    "while": looped,
    "cond": branches,
    "eigh": eigensystem,
    "random_wrap": keys(lambda key: key),
    "random_unwrap": keys(lambda key: key),
    "random_fold_in": keys(lambda key: jax.random.fold_in(key, 2**31)),
    "random_split": keys(lambda key: jax.random.split(key, 3)),
    "random_bits": random_bits,
    "split": views(lambda x: lax.split(x, (1, x.shape[1] - 1), 1) if x.shape[1] > 1 else [x]),
    "stack": views(lambda x: jnp.stack([x, x[::-1]], 1)),
    "unstack": views(lambda x: jnp.unstack(x, axis=1)),
    "tile": views(lambda x: jnp.tile(x, (2, 3))),
    "platform_index": views(lambda x: lax.platform_dependent(x, cpu=lambda x: x[::-1], default=lambda x: x)),
    "optimization_barrier": views(lambda x: lax.optimization_barrier(x)[::-1]),
    "copy": views(lambda x: jnp.copy(x)[::-1]),
    "copy_p": views(lambda x: jnp.copy(x)[::-1]),
    "stop_gradient": views(lambda x: lax.stop_gradient(x)[::-1]),
    "cumsum": accumulated(lax.cumsum, 4),
    "cumprod": accumulated(lax.cumprod, 4),
    "cummax": accumulated(lax.cummax),
    "cummin": accumulated(lax.cummin),
    "argmax": found(lax.argmax),
    "argmin": found(lax.argmin),
    "sort": ordered,
    "conv_general_dilated": convolved,
}


def twice_used(x: jax.Array) -> Any:
    return jax.grad(lambda x: (x * 2 + x * 3).sum())(x)
