"""Spectra of Gaussian matrices of one shape, simulated once: the null of fits and tests."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from dysonjax.spectra.tridiagonal import tridiagonal_eigenvalues

LARGEST = 256  # levels of the largest matrix that is simulated
LEVELS = 200_000  # of a pool, about; at 256 levels a second or two of a core
FEWEST, MOST = 800, 20_000  # members of a pool


def pool_size(modes: int) -> int:
    """Members of a pool of matrices with so many levels."""
    return int(np.clip(LEVELS // modes, FEWEST, MOST))


@lru_cache(maxsize=16)
def wishart_pool(modes: int, rows: float, seed: int = 0) -> np.ndarray:
    """Levels of `pool_size(modes)` matrices, shape (members, modes), ascending, of mean one. Read-only."""
    levels = gaussian_spectra(np.random.default_rng(seed), rows, modes, pool_size(modes)) / rows
    levels.flags.writeable = False
    return levels


def gaussian_spectra(rng: np.random.Generator, rows: float, modes: int, count: int) -> np.ndarray:
    """Eigenvalues of WᵀW for Gaussian W of unit variance, ascending, shape (count, modes); rows ≥ modes.

    From the bidiagonal form of W, whose entries are independent χ (Dumitriu & Edelman, J. Math. Phys. 43,
    5830 (2002)), for which `rows` need not be whole. Not the JAX sampler of the exact ensembles: a
    checkpoint has many shapes, and one compilation for each would take longer than all else.
    """
    freedom = rows - np.arange(modes)
    diagonal = rng.chisquare(np.maximum(freedom, 1e-3), size=(count, modes))
    off = rng.chisquare(np.arange(modes - 1, 0, -1), size=(count, modes - 1))
    main = diagonal.copy()
    main[:, 1:] += off
    side = np.sqrt(diagonal[:, :-1] * off)
    workers = os.cpu_count() or 1
    bounds = np.linspace(0, count, min(workers, count) + 1).astype(int)
    with ThreadPoolExecutor(workers) as threads:
        parts = list(
            threads.map(
                lambda first, last: tridiagonal_eigenvalues(main[first:last], side[first:last]),
                bounds[:-1],
                bounds[1:],
            )
        )
    return np.maximum(np.concatenate(parts), 0.0)
