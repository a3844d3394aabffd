"""Arrays as compiled steps read and write them."""

import numpy as np

LANES = 16  # networks of a vector
WARP = 32  # threads that go step by step together on a GPU
LINE = 128  # bytes to which arrays are aligned: a vector of sixteen doubles


def empty_aligned(shape, dtype) -> np.ndarray:
    """An uninitialised array at an address that a vector register can be loaded from."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    space = np.empty(size + LINE, np.uint8)
    first = -space.ctypes.data % LINE
    return space[first : first + size].view(dtype).reshape(shape)


def aligned(values: np.ndarray) -> np.ndarray:
    """A copy at an address that a vector register can be loaded from."""
    copy = empty_aligned(values.shape, values.dtype)
    copy[...] = values
    return copy


def in_memory(values: np.ndarray, varying: bool) -> np.ndarray:
    """As a compiled step reads an array: truth values are int32; in lanes they are masks, -1 if true.

    varying: whether the values differ between the networks of a vector.
    """
    if values.dtype != bool:
        return values
    return -values.astype(np.int32) if varying else values.astype(np.int32)
