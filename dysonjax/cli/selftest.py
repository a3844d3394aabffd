"""Ten seconds of checks of this machine and installation against exact laws.

Each check computes a number that is known in closed form with the same code that the results come from, so
that a miscompiled reduction, reduced matmul precision or a broken random generator shows. Seeds are fixed:
on a sound machine the outcome is the same every time.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import dyson, ensemble, models, spectra
from dysonjax.models.base import eigh
from dysonjax.models.predictions import linear_pair
from dysonjax.spectra.averages import mean_and_sem

MAX_Z = 4.0  # of a statistical check; with fixed seeds a sound machine stays below it always
MAX_ROUNDING = 64  # rounding errors allowed in float32 products of 256 terms; TF32 makes thousands


class Check(NamedTuple):
    """One comparison. Statistical checks have a standard error and a z-score, exact ones a tolerance."""

    name: str
    measured: float
    expected: float
    error: float  # standard error, or the largest deviation allowed
    statistical: bool
    catches: str  # what a failure would mean

    @property
    def z(self) -> float:
        """Deviation in standard errors; for exact checks in units of the largest one allowed."""
        return (self.measured - self.expected) / self.error

    @property
    def passed(self) -> bool:
        return bool(abs(self.z) <= (MAX_Z if self.statistical else 1.0))  # False for NaN


def checks() -> tuple[Callable[[], Check], ...]:
    """All of them, in the order in which a fault of one would explain those after it."""
    return (
        float32_products,
        vmapped_reductions,
        small_eigenvalues,
        hermite_traces,
        dyson_pair,
        linear_ensemble,
    )


def run() -> Iterator[Check]:
    """Do every check; one that raises counts as failed, with the error as its meaning."""
    for check in checks():
        try:
            yield check()
        except Exception as error:
            name = check.__name__.replace("_", " ")
            yield Check(name, np.nan, 0.0, 1.0, False, f"{type(error).__name__}: {error}")


def float32_products() -> Check:
    """float32 products against float64 ones on the host, in units of the rounding error of the sum."""
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 256, 256)).astype(np.float32)
    # Members train with this precision; on accelerators the default may be TF32 or bfloat16.
    with jax.default_matmul_precision("highest"):
        product = np.asarray(jax.jit(jnp.matmul)(a, b), np.float64)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    unit = np.finfo(np.float32).eps * np.sqrt(np.square(a).astype(np.float64) @ np.square(b))
    worst = float(np.max(np.abs(product - exact) / unit))
    return Check(
        "float32 matrix products", worst, 0.0, MAX_ROUNDING, False, "products in reduced precision (TF32)"
    )


def vmapped_reductions() -> Check:
    """Means and sums over every axis under vmap against NumPy; jax 0.10.2 gets some of them wrong."""
    x = np.random.default_rng(1).standard_normal((37, 16, 33)).astype(np.float32)

    def reductions(a):
        return jnp.sum(a, axis=0), jnp.mean(a, axis=1), jnp.max(a, axis=0), jnp.sum(a * a)

    found = jax.jit(jax.vmap(reductions))(x)
    known = x.sum(axis=1), x.mean(axis=2), x.max(axis=1), (x * x).sum(axis=(1, 2))
    worst = max(float(np.max(np.abs(f - k) / (1 + np.abs(k)))) for f, k in zip(found, known, strict=True))
    return Check(
        "reductions under vmap", worst, 0.0, 1e-5, False, "a compiler that sums wrongly (jax 0.10.2)"
    )


def small_eigenvalues() -> Check:
    """Eigenvalues of small symmetric matrices on the device against LAPACK on the host."""
    x = np.random.default_rng(2).standard_normal((8, 32, 32)).astype(np.float32)
    x = x + np.swapaxes(x, 1, 2)
    values = np.stack([np.asarray(jax.jit(eigh)(matrix)[0], np.float64) for matrix in x])
    known = np.linalg.eigvalsh(x.astype(np.float64))
    worst = float(np.max(np.abs(values - known)) / np.max(np.abs(known)))
    return Check(
        "eigenvalues on the device", worst, 0.0, 1e-5, False, "an eigensolver that cannot be trusted"
    )


def hermite_traces() -> Check:
    """⟨Σx²⟩ = n(n − 1 + 2/β) of the exact β-Hermite ensemble, β = 1."""
    n, draws = 8, 20_000
    x = spectra.sample_beta_hermite(jax.random.key(3), n, beta=1.0, shape=(draws,))
    return _mean(
        "β-Hermite ⟨Σx²⟩", (x**2).sum(axis=-1), n * (n + 1.0), "random numbers or eigenvalues are off"
    )


def dyson_pair() -> Check:
    """A pair at rest in a harmonic well: ⟨S⟩ = √π σ, σ² = g²/Ω. [A] 2.5"""
    members = 4000
    x0 = np.tile([-1.0, 1.0], (members, 1))
    path = dyson.integrate(dyson.quadratic(), 1.0, x0, time=4.0, steps=100, key=jax.random.key(4))
    s = np.diff(path.levels[:, -1], axis=-1)[:, 0]
    return _mean("Dyson pair ⟨S⟩ (surmise)", s, np.sqrt(np.pi), "drift, noise or repulsion is off")


def linear_ensemble() -> Check:
    """Spacing of the singular values of SGD-trained linear networks against `predictions.linear_pair`."""
    grid = ensemble.Grid(lr=0.2, batch_size=16, sigma_w=0.1 * np.sqrt(2), seeds=4000)
    dataset = ensemble.train(models.linear(), grid, 150, [150], key=5).dataset
    s = np.diff(np.sqrt(dataset["eigenvalues"].values[0, 0, 0, :, -1]), axis=-1)[:, 0]
    expected = float(linear_pair(0.1, 0.2, 16, order=2).mean_spacing)
    return _mean("linear networks ⟨S⟩", s, expected, "training does not follow its own theory")


def _mean(name: str, values: np.ndarray, expected: float, catches: str) -> Check:
    mean, error = map(float, mean_and_sem(values))
    return Check(name, mean, float(expected), error, True, catches)
