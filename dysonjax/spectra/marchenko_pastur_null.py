"""Fits of simulated noise of the same shape: what chance alone does to area, misfit and scales."""

from functools import lru_cache

import numpy as np

from dysonjax.spectra.marchenko_pastur_match import FINE, Bins, Match, Template, counts, match
from dysonjax.spectra.wishart_density import WishartDensity
from dysonjax.spectra.wishart_pool import LARGEST, pool_counts, pool_medians, pool_size, wishart_pool

MOST_SCALES = 2000  # matrices whose scales are drawn at once; more are extrapolated


@lru_cache(maxsize=16)
def template_of(modes: int, ratio: float, common_scale: bool) -> Template:
    """The exact law, with a common scale changed as simulated matrices are when they are so treated."""
    law = WishartDensity(modes, modes / ratio)
    if not common_scale:
        return Template.of(law, modes, ratio)
    pool = noise_pool(modes, ratio)
    return Template.changed(law, modes, ratio, pool, to_common_scale(pool))


def noise_pool(modes: int, ratio: float) -> np.ndarray:
    """Simulated levels at σ² = 1, shape (matrices, min(modes, 256))."""
    size = min(modes, LARGEST)
    return wishart_pool(size, size / ratio)


def to_common_scale(x: np.ndarray) -> np.ndarray:
    """Every matrix of x, shape (..., matrices, modes), brought to the mean of their median levels."""
    own = np.median(x, axis=-1, keepdims=True)
    return x * (own.mean() / own)


@lru_cache(maxsize=64)
def noise_fits(
    count: int,
    modes: int,
    ratio: float,
    common_scale: bool,
    bins: Bins,
    method: str,
    n: int,
    seed: int,
) -> Match:
    """Fits to `n` ensembles of `count` matrices of noise, whose σ² is 1 in the bins. They are the same for
    all data of one shape, and made once."""
    template = template_of(modes, ratio, common_scale)
    size = min(modes, LARGEST)
    if common_scale:
        found = counts(np.sqrt(to_common_scale(noise_pool(modes, ratio))), bins.edges) / size
    else:
        found = pool_counts(size, size / ratio, *bins) / size
    share = draws(np.random.default_rng([seed, 1]), len(found), count, n) @ found / count
    # The pool has a mean of its own, which must not count as that of the law; and the shares of larger
    # matrices fluctuate less, as 1/N.
    law = template.masses(bins, np.ones(1))[0]
    spread = size / modes * (template_error(template, count) if common_scale else 1.0)
    fits = match(law + (share - found.mean(axis=0)) * spread, bins, template, FINE, method)
    return fits._replace(misfit=fits.misfit * _growth(fits.misfit.mean() * count * modes**2, modes / size))


def _growth(variance: float, larger: float) -> float:
    """By how much the number of levels below a point varies more in a spectrum `larger` times as long.

    variance: in the simulated one, of the number beside its fit. It grows as ln(N)/π² (Dyson & Mehta,
    J. Math. Phys. 4, 701 (1963)): levels of a longer spectrum move together on longer scales too.
    """
    return 1 + np.log(larger) / (np.pi**2 * variance)


def template_error(template: Template, count: int) -> float:
    """By how much the finite pool behind a simulated template enlarges the errors of a fit."""
    return np.sqrt(1 + count / pool_size(min(template.modes, LARGEST)))


def scale_spread(rng, own: np.ndarray, modes: int, ratio: float, n: int = 199) -> tuple[float, float]:
    """Relative spread of the matrices' median levels beyond that of noise, and its one-sided p-value."""
    if len(own) < 2 or not (own > 0).all():
        return np.nan, np.nan
    size = min(modes, LARGEST)
    noise = np.log(pool_medians(size, size / ratio)) * (size / modes)
    variance, expected = np.log(own).var(ddof=1), noise.var()
    drawn = min(len(own), MOST_SCALES)
    null = noise[rng.integers(len(noise), size=(n, drawn))].var(axis=1, ddof=1)
    null = expected + (null - expected) * np.sqrt(drawn / len(own))
    p = (1 + np.count_nonzero(null >= variance)) / (1 + n)
    return float(np.sqrt(max(0.0, variance - expected))), p


def two_sided(null: np.ndarray, value: float) -> float:
    """p-value of a value that may lie on either side of its null."""
    tail = min(np.count_nonzero(null <= value), np.count_nonzero(null >= value))
    return min(1.0, 2 * (1 + tail) / (1 + len(null)))


def draws(rng: np.random.Generator, population: int, count: int, n: int) -> np.ndarray:
    """How often each of a population is drawn in `n` samples of `count`, shape (n, population)."""
    if count > 4 * population:
        return rng.multinomial(count, np.full(population, 1 / population), size=n).astype(np.float64)
    # Below that NumPy's multinomial takes four times as long.
    drawn = rng.integers(population, size=(n, count)) + population * np.arange(n)[:, None]
    return np.bincount(drawn.ravel(), minlength=n * population).reshape(n, population).astype(np.float64)
