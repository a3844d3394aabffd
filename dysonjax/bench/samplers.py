"""Exact draws of the β-Hermite ensemble, 100 levels: this package, beta-ensembles, dense matrices.

Option: beta (1, 2, 4). The limit is LAPACK's solver alone, on matrices that are there already.
"""

import itertools

import numpy as np

from dysonjax.bench import frame

LEVELS = 100
UNIT = "draws/s"
POINTS = 1
DEFAULTS = {"seeds": 2000}
OPTIONS = {"beta": ("1", "2", "4")}


def engine(setting: dict) -> frame.Prepared:
    import jax

    from dysonjax import spectra

    seeds = itertools.count()

    def work():
        key = jax.random.key(next(seeds))
        spectra.sample_beta_hermite(key, LEVELS, float(setting["beta"]), 1.0, (setting["seeds"],))

    work()
    return frame.Prepared(work, setting["seeds"])


def package(setting: dict) -> frame.Prepared:
    """beta-ensembles: the same tridiagonal matrices, one after the other."""
    try:
        from beta_ensembles import gaussian
    except ImportError:
        raise frame.Unavailable("the package beta-ensembles is not installed") from None
    draws, rng = max(1, setting["seeds"] // 4), np.random.default_rng(0)

    def work():
        gaussian.spectra(float(setting["beta"]), LEVELS, draws, rng=rng, verbose=False)

    work()
    return frame.Prepared(work, draws)


def numpy_loop(setting: dict) -> frame.Prepared:
    """A loop over dense Gaussian matrices, one process a core."""
    return frame.looped(MATRICES[setting["beta"]], 20, 1)


def real(draws: int, repeats: int = 1) -> np.ndarray:
    rng, size = np.random.default_rng(0), (LEVELS, LEVELS)
    return _eigenvalues(rng.normal(size=size) for _ in range(draws * repeats))


def hermitian(draws: int, repeats: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return _eigenvalues(_complex(rng) / 2**0.5 for _ in range(draws * repeats))


def self_dual(draws: int, repeats: int = 1) -> np.ndarray:
    """Every level of these matrices is double."""
    rng = np.random.default_rng(0)

    def matrix():
        a, b = _complex(rng), _complex(rng)
        return np.block([[a, b], [-b.conj(), a.conj()]]) / 2

    return _eigenvalues(matrix() for _ in range(draws * repeats))[:, ::2]


MATRICES = {"1": real, "2": hermitian, "4": self_dual}


def _complex(rng) -> np.ndarray:
    return rng.normal(size=(LEVELS, LEVELS)) + 1j * rng.normal(size=(LEVELS, LEVELS))


def _eigenvalues(matrices) -> np.ndarray:
    return np.array([np.linalg.eigvalsh((m + m.conj().T) / 2**0.5) for m in matrices])


def limit(setting: dict) -> frame.Prepared:
    """LAPACK's dsterf on all cores; the random matrices are drawn beforehand."""
    from dysonjax.bench import limits
    from dysonjax.spectra.tridiagonal import tridiagonal_eigenvalues

    count, beta = frame.cores(), float(setting["beta"])
    draws, rng = max(1, setting["seeds"] // count), np.random.default_rng(0)
    diagonal = rng.normal(size=(draws, LEVELS)) * (2 / beta) ** 0.5
    off = np.sqrt(rng.gamma(beta * np.arange(LEVELS - 1, 0, -1) / 2, size=(draws, LEVELS - 1)) * 2 / beta)

    def work():
        limits.on_all_cores(lambda core: tridiagonal_eigenvalues(diagonal, off), count)

    work()
    return frame.Prepared(work, count * draws)


VARIANTS = {"engine": engine, "beta_ensembles": package, "numpy_loop": numpy_loop, "limit": limit}
