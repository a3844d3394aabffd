"""Arrays that are cut, joined, accumulated, sorted and searched along an axis."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.compile.graph import Unsupported

MOST_SORTED = 64  # numbers that are sorted by counting how many come before each


def stack(context, *parts, axis):
    return lambda *parts: jax.lax.concatenate([jnp.expand_dims(p, axis) for p in parts], axis)


def unstack(context, array, *, axis):
    count = array.shape[axis]
    return lambda a: [jax.lax.index_in_dim(a, i, axis, keepdims=False) for i in range(count)]


def split(context, array, *, sizes, axis):
    """Neighbouring parts."""
    edges = np.cumsum([0, *sizes])
    return lambda a: [
        jax.lax.slice_in_dim(a, low, high, axis=axis) for low, high in itertools.pairwise(edges)
    ]


def tile(context, array, *, reps):
    def tiled(array):
        between = [n for pair in zip(reps, array.shape, strict=True) for n in pair]
        places = tuple(range(1, 2 * array.ndim, 2))
        shape = [r * n for r, n in zip(reps, array.shape, strict=True)]
        return jax.lax.reshape(jax.lax.broadcast_in_dim(array, between, places), shape)

    return tiled


def accumulated(combine):
    """Partial results along an axis, over distances that double: a sum rounds as log2(n) additions do."""

    def rule(context, array, *, axis, reverse):
        def along(a):
            a = jnp.moveaxis(a, axis, 0)
            a, by = a[::-1] if reverse else a, 1
            while by < len(a):
                a, by = jnp.concatenate([a[:by], combine(a[:-by], a[by:])]), 2 * by
            return jnp.moveaxis(a[::-1] if reverse else a, 0, axis)

        return along

    return rule


def position_of(extreme):
    """The first position of the largest or smallest number; a NaN is both."""

    def rule(context, array, *, axes, index_dtype):
        (axis,), count = axes, array.shape[axes[0]]

        def position(a):
            found = a == extreme(a, axis=axis, keepdims=True)
            found = found | (a != a) if a.dtype.kind == "f" else found
            places = jax.lax.broadcasted_iota(index_dtype, a.shape, axis)
            return jnp.min(jnp.where(found, places, jnp.asarray(count - 1, index_dtype)), axis=axis)

        return position

    return rule


def sort(context, *arrays, dimension, is_stable, num_keys):
    """By the number of elements that come before each; NaN last, and zeros of both signs equal, as in JAX."""
    count = arrays[0].shape[dimension]
    if count > MOST_SORTED:
        raise Unsupported(f"a sort of more than {MOST_SORTED} numbers")

    def in_order(*arrays):
        arrays = tuple(jnp.moveaxis(a, dimension, -1) for a in arrays)
        before = jnp.arange(count)[None, :] < jnp.arange(count)[:, None]  # [i, j]: j stands before i
        before = jnp.broadcast_to(before, (*arrays[0].shape, count))
        for key in reversed(arrays[:num_keys]):
            i, j = key[..., :, None], key[..., None, :]
            less, equal = j < i, j == i
            if key.dtype.kind == "f":
                less, equal = less | ((i != i) & (j == j)), equal | ((i != i) & (j != j))
            before = less | (equal & before)
        rank = jnp.sum(before, axis=-1, dtype=jnp.int32)
        here = rank[..., None, :] == jnp.arange(count, dtype=jnp.int32)[:, None]  # [k, i]: i becomes k
        places = jnp.sum(jnp.where(here, jnp.arange(count, dtype=jnp.int32), 0), axis=-1, dtype=jnp.int32)
        return [jnp.moveaxis(jnp.take_along_axis(a, places, -1, mode="clip"), -1, dimension) for a in arrays]

    return in_order


RULES = {
    "split": split,
    "stack": stack,
    "unstack": unstack,
    "tile": tile,
    "cumsum": accumulated(jnp.add),
    "cumprod": accumulated(jnp.multiply),
    "cummax": accumulated(jnp.maximum),
    "cummin": accumulated(jnp.minimum),
    "argmax": position_of(jnp.max),
    "argmin": position_of(jnp.min),
    "sort": sort,
}
