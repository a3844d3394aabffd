"""Eigenvalues of many symmetric tridiagonal matrices of one size, without holding Python's lock.

LAPACK's dsterf is called through the C pointer that `scipy.linalg.cython_lapack` publishes: the call by
ctypes releases the interpreter lock, so that threads scale, which SciPy's own wrapper does not.
"""

import ctypes
import functools
from collections.abc import Callable

import numpy as np
from scipy.linalg import cython_lapack


def tridiagonal_eigenvalues(diagonal: np.ndarray, off_diagonal: np.ndarray) -> np.ndarray:
    """Ascending eigenvalues, shape (members, n), of tridiagonal matrices.

    diagonal: shape (members, n); off_diagonal: shape (members, n − 1); finite float64. They are copied.
    """
    members, n = diagonal.shape
    levels = np.array(diagonal, dtype=np.float64, order="C")
    work = np.array(off_diagonal, dtype=np.float64, order="C")
    if work.shape != (members, n - 1):
        raise ValueError(f"off_diagonal must have shape {(members, n - 1)}, got {work.shape}")
    size, info = ctypes.c_int(n), ctypes.c_int(0)
    for member in range(members if n > 1 else 0):
        _dsterf()(
            ctypes.addressof(size),
            levels.ctypes.data + member * levels.strides[0],
            work.ctypes.data + member * work.strides[0],
            ctypes.addressof(info),
        )
        if info.value:
            raise RuntimeError(f"LAPACK dsterf did not converge: info = {info.value}")
    return levels


@functools.cache
def _dsterf() -> Callable:
    capsule = cython_lapack.__pyx_capi__["dsterf"]
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(pointer(capsule, name(capsule)))
