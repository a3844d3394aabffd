"""Squared singular values of many matrices at once, in double precision, sixteen in two vectors of eight.

Each matrix has a lane: its Gram matrix is brought to tridiagonal form and its levels are found by QL steps
(`c/levels.c`, `c/eigh.h`), as LAPACK does it, and with the same accuracy. LAPACK takes one matrix after the
other: 10 us for one of 32 x 16 and 0.25 us for one of 2 x 2, where this takes 1.7 us and 0.03 us.
"""

import ctypes
import functools
from pathlib import Path

import numpy as np

from dysonjax.compile import toolchain
from dysonjax.compile.memory import LANES, empty_aligned

CODE = Path(__file__).parent / "c"
MOST_MODES, MOST_NUMBERS = 64, 2**14  # of a matrix: eight of them and their Gram matrices are to fit a cache
LANES_AT_ONCE = 8


def takes(rows: int, columns: int) -> bool:
    """Whether a matrix is as small as those that this is meant for."""
    return 0 < rows * columns <= MOST_NUMBERS and min(rows, columns) <= MOST_MODES


def squared_singular_values(matrices: np.ndarray) -> np.ndarray:
    """Those of matrices (members, rows, columns), ascending, shape (members, mode).

    They are NaN where a matrix holds a number that is not finite. Raises CompilerError if there is no C
    compiler.
    """
    count, *shape = matrices.shape
    matrices = np.ascontiguousarray(matrices)
    found = _found(matrices, 1, 1, count, shape, (shape[0] * shape[1], shape[1], 1))
    return _completed(found.reshape(count, -1), lambda k: matrices[k])


def in_lanes(matrices: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Those of matrices as a kernel has them, (networks, elements, 16): (networks, mode, 16). As above."""
    blocks, block = len(matrices), matrices[0].size
    found = _found(matrices, blocks, block, LANES, shape, (1, shape[1] * LANES, LANES))

    def matrix(k):
        return matrices[k // LANES, :, k % LANES].reshape(shape)

    found = _completed(found.reshape(blocks * LANES, -1), matrix)
    return found.reshape(blocks, LANES, -1).transpose(0, 2, 1)


def _found(matrices: np.ndarray, blocks: int, block: int, count: int, shape, apart) -> np.ndarray:
    """What C finds. apart: how far a matrix, a row and a column are from the next one."""
    (rows, columns), single = shape, matrices.dtype == np.float32
    function = compiled()
    if not single and matrices.dtype != np.float64:
        raise TypeError(f"matrices of {matrices.dtype}")
    if rows < columns:
        rows, columns, apart = columns, rows, (apart[0], apart[2], apart[1])
    found = np.empty((blocks * count, columns))
    space = empty_aligned((columns * (rows + columns + 6), LANES_AT_ONCE), np.float64)
    longs = map(ctypes.c_long, (blocks, block, count, rows, columns))
    arrays = (ctypes.c_void_p(array.ctypes.data) for array in (found, space))
    function(ctypes.c_void_p(matrices.ctypes.data), int(single), *longs, (ctypes.c_long * 3)(*apart), *arrays)
    return found


def _completed(found: np.ndarray, matrix) -> np.ndarray:
    """Levels of finite matrices that the QL steps did not find, if there should be any, are LAPACK's."""
    for k in np.flatnonzero(np.isnan(found).any(-1)):
        weights = np.asarray(matrix(k), np.float64)
        if np.isfinite(weights).all():
            found[k] = np.linalg.svd(weights, compute_uv=False)[::-1] ** 2
    return found


@functools.cache
def compiled():
    """The function, compiled once; raises CompilerError."""
    headers = (CODE / "lanes.h", CODE / "eigh.h")
    return toolchain.load((CODE / "levels.c").read_text(), headers).levels
