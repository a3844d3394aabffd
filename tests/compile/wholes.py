"""Steps of one network a core, as the tests write and feed them."""

import numpy as np

from dysonjax import compile as compiler


def write_whole(step, fixed, carried, stopped: int | None = None) -> compiler.Source:
    """`compile.write_step` with shapes and types for `fixed`."""
    inputs = [compiler.Input(f.shape, f.dtype, compiler.WORLD, False) for f in fixed]
    return compiler.write_step(step, inputs, carried, stopped, compiler.WHOLE)


def plain(values: np.ndarray) -> np.ndarray:
    """A copy as such a step reads it."""
    return compiler.aligned(compiler.in_memory(np.asarray(values), False))
