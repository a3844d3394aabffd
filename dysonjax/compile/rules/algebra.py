"""Products, sums, choices and eigenvectors, in the forms that C can hold."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.compile.graph import Unsupported


def dot_general(context, left, right, *, dimension_numbers, **_):
    (summed, _), _ = dimension_numbers
    dtype = context.equation.outvars[0].aval.dtype
    if dtype.kind == "b":
        return lambda a, b: _by_sums(a, b, dimension_numbers, np.dtype(np.int32)) > 0
    if math.prod(left.shape[axis] for axis in summed) == 1 and dtype.kind == "f":
        # An outer product is a multiplication, which can be part of another loop.
        return lambda a, b: _multiplied(a, b, dimension_numbers, dtype)
    if dtype.kind != "f":
        return lambda a, b: _by_sums(a, b, dimension_numbers, dtype)
    if left.dtype != dtype or right.dtype != dtype:
        return lambda a, b: jax.lax.dot_general(a.astype(dtype), b.astype(dtype), dimension_numbers)
    return None


def _multiplied(left: jax.Array, right: jax.Array, dimension_numbers, dtype, summed: int = 0) -> jax.Array:
    """Every multiplication of a product; the last `summed` axes are its terms, the others have one alone."""
    (over_left, over_right), (batch_left, batch_right) = dimension_numbers
    rows = [a for a in range(left.ndim) if a not in (*over_left, *batch_left)]
    columns = [a for a in range(right.ndim) if a not in (*over_right, *batch_right)]
    left = left.astype(dtype).transpose(*batch_left, *rows, *over_left)
    right = right.astype(dtype).transpose(*batch_right, *columns, *over_right)
    if not summed:
        left, right = (jnp.squeeze(a, tuple(range(-len(over_left), 0))) for a in (left, right))
    first, last = len(batch_left), len(batch_left) + len(rows)
    left = jnp.expand_dims(left, tuple(range(last, last + len(columns))))
    return left * jnp.expand_dims(right, tuple(range(first, last)))


def _by_sums(left: jax.Array, right: jax.Array, dimension_numbers, dtype) -> jax.Array:
    """A product of integers or truth values."""
    summed = len(dimension_numbers[0][0])
    terms = _multiplied(left, right, dimension_numbers, dtype, summed)
    return jnp.sum(terms, axis=tuple(range(-summed, 0)), dtype=dtype) if summed else terms


def conv_general_dilated(
    context,
    array,
    kernel,
    *,
    window_strides,
    padding,
    lhs_dilation,
    rhs_dilation,
    dimension_numbers,
    feature_group_count: int,
    batch_group_count: int,
    **_,
):
    """A product of the kernel with the windows that it is laid over."""
    if batch_group_count != 1:
        raise Unsupported("a convolution in groups of the batch")
    numbers, groups = dimension_numbers, feature_group_count
    out = context.equation.outvars[0].aval

    def convolved(array, kernel):
        array, kernel = array.transpose(numbers.lhs_spec), kernel.transpose(numbers.rhs_spec)
        room = [
            (max(low, 0), max(high, 0), apart - 1)
            for (low, high), apart in zip(padding, lhs_dilation, strict=True)
        ]
        array = jax.lax.pad(array, jnp.zeros((), array.dtype), [(0, 0, 0)] * 2 + room)
        sizes, extents = kernel.shape[2:], [out.shape[axis] for axis in numbers.out_spec[2:]]
        windows = []
        for place in np.ndindex(*sizes):
            starts = [
                p * apart - min(low, 0)
                for p, apart, (low, _) in zip(place, rhs_dilation, padding, strict=True)
            ]
            ends = [s + (n - 1) * by + 1 for s, n, by in zip(starts, extents, window_strides, strict=True)]
            where = tuple(slice(s, e, by) for s, e, by in zip(starts, ends, window_strides, strict=True))
            windows.append(array[(slice(None), slice(None), *where)])
        batch, channels, features = array.shape[0], array.shape[1] // groups, kernel.shape[0] // groups
        stacked = jnp.stack(windows).reshape(len(windows), batch, groups, channels, -1)
        kernel = kernel.reshape(groups, features, channels, -1)
        found = jnp.einsum("kngcs,gfck->ngfs", stacked, kernel, preferred_element_type=out.dtype)
        found = found.reshape(batch, groups * features, *extents)
        return found.transpose(np.argsort(numbers.out_spec))

    return convolved


def reduce_sum(context, array, *, axes, **_):
    """A sum of integers by one of unsigned ones, which may wrap around in C.

    GCC 12 makes wrong code of loops whose sums are converted to and fro.
    """
    if array.dtype == np.uint8:
        return lambda a: jax.lax.reduce_sum(a.astype(np.uint32), axes).astype(np.uint8)
    if array.dtype not in (np.int32, np.int64):
        return None
    unsigned, signed = (np.uint32 if array.dtype == np.int32 else np.uint64), array.dtype
    bits = jax.lax.bitcast_convert_type
    return lambda a: bits(jax.lax.reduce_sum(bits(a, unsigned), axes), signed)


def select_n(context, which, *cases):
    return None if which.dtype == bool else chosen


def chosen(which: jax.Array, *cases: jax.Array, first: int = 0) -> jax.Array:
    """A choice among several by halves; what lies outside takes the nearest."""
    if len(cases) == 1:
        return cases[0]
    half = len(cases) // 2
    low = chosen(which, *cases[:half], first=first)
    high = chosen(which, *cases[half:], first=first + half)
    return jax.lax.select_n(jnp.broadcast_to(which < first + half, low.shape), high, low)


def integer_pow(context, array, *, y):
    """Moments are taken as powers; these two cost less than keeping them."""
    if y == 1:
        return [array]
    return (lambda a: a * a) if y == 2 else None


def gt(context, x, z):
    """Where x is above z, max(x, z) is, and if that is there, x itself need not be kept."""
    x = context.made("max", (x, z), x.shape, x.dtype) or x
    return [context.make("gt", (x, z), context.equation.outvars[0].aval.shape, bool, {})]


def eigh(context, matrix, *, lower, subset_by_index=None, **_):
    """Vectors and values, in the first n + 1 rows of an array that has room for n + 1 more."""
    n = matrix.shape[-1]
    if matrix.shape != (n, n) or subset_by_index not in (None, (0, n)):
        raise Unsupported("eigenvalues of several matrices, or some of them")
    inside = np.tril(np.ones((n, n), bool))
    inside = inside if lower else inside.T
    (whole,) = context.traced(lambda a: jnp.where(inside, a, a.T), matrix)  # the rest is not looked at
    both = context.make("eigh", [whole], (2 * n + 2, n), matrix.dtype, {})
    return context.traced(lambda a: (a[:n], a[n]), both)


RULES = {
    "dot_general": dot_general,
    "reduce_sum": reduce_sum,
    "select_n": select_n,
    "integer_pow": integer_pow,
    "gt": gt,
    "eigh": eigh,
    "conv_general_dilated": conv_general_dilated,
}
