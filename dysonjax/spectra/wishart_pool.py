"""Spectra of Gaussian matrices of one shape, simulated once: the null of fits and tests."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dysonjax import cache
from dysonjax.spectra.sturm import counts_below, levels_of_rank
from dysonjax.spectra.tridiagonal import tridiagonal_eigenvalues

LARGEST = 256  # levels of the largest matrix that is simulated
LEVELS = 200_000  # of a pool, about; at 256 levels a second or two of a core
FEWEST, MOST = 800, 20_000  # members of a pool


def pool_size(modes: int) -> int:
    """Members of a pool of matrices with so many levels."""
    return int(np.clip(LEVELS // modes, FEWEST, MOST))


class Tridiagonals(NamedTuple):
    """Gaussian matrices of one shape in their tridiagonal form, of mean level one."""

    main: np.ndarray  # (matrices, modes)
    squared: np.ndarray  # squares of the entries beside it, (matrices, modes − 1)


@lru_cache(maxsize=16)
def simulated(modes: int, rows: float, seed: int = 0) -> Tridiagonals:
    """`pool_size(modes)` matrices. Read-only."""
    main, squared = _tridiagonal(np.random.default_rng(seed), rows, modes, pool_size(modes))
    return Tridiagonals(_frozen(main / rows), _frozen(squared / rows**2))


def wishart_pool(modes: int, rows: float, seed: int = 0, most: int | None = None) -> np.ndarray:
    """Levels of these matrices, or of the first `most`, shape (members, modes), ascending, of mean one.
    Read-only."""
    size = pool_size(modes)
    return _pool(modes, rows, seed, size if most is None else min(most, size))


@lru_cache(maxsize=16)
def _pool(modes: int, rows: float, seed: int, size: int) -> np.ndarray:
    main, squared = (part[:size] for part in simulated(modes, rows, seed))
    return _frozen(_eigenvalues(main, np.sqrt(squared)))


@lru_cache(maxsize=32)
def pool_counts(modes: int, rows: float, stop: float, bins: int) -> np.ndarray:
    """Levels of each of the matrices in `bins` even bins of √x from 0 to `stop`, shape (matrices, bins)."""
    edges = np.linspace(0, stop, bins + 1)
    return _frozen(np.diff(counts_below(*simulated(modes, rows), edges**2), axis=1))


@lru_cache(maxsize=32)
def pool_largest(modes: int, rows: float) -> np.ndarray:
    """The largest level of each of the matrices, to 1e-5: enough to put them in order."""
    return _frozen(levels_of_rank(*simulated(modes, rows), modes - 1, 1e-5))


@lru_cache(maxsize=32)
def pool_medians(modes: int, rows: float) -> np.ndarray:
    """The median level of each of the matrices, to 1e-7."""
    matrices = simulated(modes, rows)
    middle = {(modes - 1) // 2, modes // 2}
    return _frozen(np.mean([levels_of_rank(*matrices, rank) for rank in middle], axis=0))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def gaussian_spectra(rng: np.random.Generator, rows: float, modes: int, count: int) -> np.ndarray:
    """Eigenvalues of WᵀW for Gaussian W of unit variance, ascending, shape (count, modes); rows ≥ modes.

    From the bidiagonal form of W, whose entries are independent χ (Dumitriu & Edelman, J. Math. Phys. 43,
    5830 (2002)), for which `rows` need not be whole. Not the JAX sampler of the exact ensembles: a
    checkpoint has many shapes, and one compilation for each would take longer than all else.
    """
    main, squared = _tridiagonal(rng, rows, modes, count)
    return _eigenvalues(main, np.sqrt(squared))


def _tridiagonal(rng, rows: float, modes: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    freedom = rows - np.arange(modes)
    diagonal = rng.chisquare(np.maximum(freedom, 1e-3), size=(count, modes))
    off = rng.chisquare(np.arange(modes - 1, 0, -1), size=(count, modes - 1))
    main = diagonal.copy()
    main[:, 1:] += off
    return main, diagonal[:, :-1] * off


def _eigenvalues(main: np.ndarray, side: np.ndarray) -> np.ndarray:
    count = len(main)
    workers = cache.cores()
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
