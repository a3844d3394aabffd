"""Functions of JAX at many places on the host, in few shapes: each shape would be compiled for itself."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.forks import not_forked

SIZES = (8, 64, 512, 4096)  # rows of a call; more of them take several calls


def on_host(function: Callable, x, columns: int):
    """`function` at x of shape (..., columns), in float64.

    function: compiled, from (rows, columns) to an array or a list of arrays with an axis of rows in front.
    What it finds at a row does not depend on the others.
    """
    not_forked()
    x = np.asarray(x, np.float64)
    flat = x.reshape(-1, columns)
    parts = []
    with jax.enable_x64(True):
        for first in range(0, max(len(flat), 1), SIZES[-1]):
            part = flat[first : first + SIZES[-1]]
            size = next(size for size in SIZES if size >= len(part))
            last = part[-1:] if len(part) else np.zeros((1, columns))
            padded = np.concatenate([part, np.repeat(last, size - len(part), axis=0)])
            found = function(jnp.asarray(padded))
            parts.append(jax.tree.map(np.asarray, found))

    def joined(*leaves):  # the last one alone is padded
        whole = np.concatenate(leaves)[: len(flat)]
        return whole.reshape((*x.shape[:-1], *whole.shape[1:]))

    return jax.tree.map(joined, *parts)
