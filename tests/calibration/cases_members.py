"""Means, ratios, densities, spacings, pairs, exponents, comparisons, of members that are correlated inside.

Three kinds of members: levels with a shift that a member's levels share, spectra of Gaussian matrices whose
levels repel, and spacings of one law whose members draw all of theirs with one luck (a Gaussian copula).
"""

from functools import partial

import numpy as np
from scipy import special, stats

from dysonjax import compare, spectra
from dysonjax.analysis import pairs
from dysonjax.spectra.averages import mean_and_sem
from tests.calibration.frame import Coverage, PValue, inside


def shifted(rng, members, modes=4, skewed=False):
    """Levels of mean 0 and variance 1.09 that share a member's own shift."""
    shift = rng.exponential(size=(members, 1)) - 1 if skewed else rng.normal(size=(members, 1))
    return shift + 0.3 * rng.normal(size=(members, modes))


def symmetric(rng, members, n=5):
    """Ascending levels of symmetric Gaussian matrices."""
    a = rng.normal(size=(members, n, n))
    return np.linalg.eigvalsh(a + a.swapaxes(1, 2))


def pair(rng, members, sigma=0.5, center=2.0):
    """Levels of a degenerate pair, ∝ |x₁ − x₂| exp(−Σ(x − c)²/2σ²): the 2 × 2 symmetric Gaussian matrix."""
    middle = rng.normal(size=members) * sigma / np.sqrt(2)
    half = sigma * rng.rayleigh(size=members) / np.sqrt(2)
    return center + np.stack([middle - half, middle + half], axis=1)


def two_species(rng, members, sigma=(1.0, 0.5)):
    """∝ |x₁ − x₂| exp(−x₁²/2σ₁² − x₂²/2σ₂²), as in `compare.rungs`, ascending."""
    a, b = np.square(sigma)
    distance = np.sqrt(a + b) * rng.rayleigh(size=members) * rng.choice([-1, 1], size=members)
    first = a / (a + b) * distance + np.sqrt(a * b / (a + b)) * rng.normal(size=members)
    return np.sort(np.stack([first, first - distance], axis=1), axis=1)


def surmised(rng, members, k=4):
    """Spacings of Wigner's surmise, correlated within a member."""
    z = np.sqrt(0.5) * (rng.normal(size=(members, 1)) + rng.normal(size=(members, k)))
    return np.sqrt(-2 * np.log(special.ndtr(-z)))


def _mean(x):
    return x.mean(axis=(-2, -1))


def _variance(x):
    return x.mean(axis=-1).var(axis=-1)


def within(truth, found):
    """Whether the intervals that an `Estimate` states itself hold the truth."""
    ends = found.confidence_interval(0.6827), found.confidence_interval(0.95)
    return tuple(bool(low <= truth <= high) for low, high in ends)


def bootstrap_error(rng):
    found = spectra.bootstrap(shifted(rng, 60), _mean, n_resamples=200)
    return inside(0.0, found.estimate, found.estimate_err)


def bootstrap_interval(rng):
    return within(0.0, spectra.bootstrap(shifted(rng, 60), _mean, n_resamples=400))


def bootstrap_binder(rng):
    found = spectra.bootstrap(pair(rng, 300), partial(spectra.binder_cumulant, center=2.0), n_resamples=200)
    return inside(-4 / 27, found.estimate, found.estimate_err)


def jackknife_mean(rng):
    return within(0.0, spectra.jackknife(shifted(rng, 12), _mean))


def jackknife_variance(rng):
    return within(1 + 0.09 / 4, spectra.jackknife(shifted(rng, 150), _variance, n_blocks=50))


def jackknife_error(rng):
    found = spectra.jackknife(shifted(rng, 60), _mean)
    return inside(0.0, found.estimate, found.estimate_err)


def frozen(rng):
    """A third of the members are NaN and left out."""
    x = shifted(rng, 90)
    x[::3] = np.nan
    return within(0.0, spectra.bootstrap(x, _mean, n_resamples=400, nan_policy="omit"))


def ratio_of_three(rng):
    found = spectra.mean_spacing_ratio(symmetric(rng, 100, 3), null=symmetric(rng, 100, 3))
    return inside(4 - 2 * np.sqrt(3), found.value, found.value_err)


def ratio_null(rng):
    found = spectra.mean_spacing_ratio(symmetric(rng, 60), null=symmetric(rng, 200))
    return 2 * stats.norm.sf(abs(found.z))


def ratio_of_one(rng):
    found = spectra.mean_spacing_ratio(symmetric(rng, 1, 20), null=symmetric(rng, 200, 20))
    return 2 * stats.norm.sf(abs(found.z))


def density(rng):
    found = spectra.level_density(shifted(rng, 100, 8), bins=8, limits=(-2.0, 2.0))
    truth = np.diff(special.ndtr(found.edges[4:6] / np.sqrt(1.09)))[0] / 0.5
    return inside(truth, found.density[4], found.density_err[4])


def surmise_width(rng):
    found = spectra.fit_wigner_surmise(surmised(rng, 60), n_resamples=100)
    return inside(np.sqrt(0.5), found.sigma[0], found.sigma_err[0])


def surmise_p(rng):
    return spectra.fit_wigner_surmise(
        surmised(rng, 60, 2), n_resamples=199, key=int(rng.integers(2**31))
    ).p_value[0]


def brody(rng):
    found = spectra.fit_brody(surmised(rng, 100), n_resamples=60)
    return inside(1.0, found.q, found.q_err)


def two_mode(field, truth):
    def experiment(rng):
        found = spectra.fit_two_mode(pair(rng, 100), n_resamples=60)
        return inside(truth, getattr(found, field), getattr(found, f"{field}_err"))

    return experiment


def species(field, truth):
    def experiment(rng):
        found = spectra.fit_two_species(two_species(rng, 200), n_resamples=60)
        return inside(truth, getattr(found, field), getattr(found, f"{field}_err"))

    return experiment


def permutation(statistic, levels):
    def experiment(rng):
        x, y = shifted(rng, 20, skewed=True), shifted(rng, 30, skewed=True)
        seed = int(rng.integers(2**31))
        found = spectra.permutation_test(x, y, statistic, n_resamples=199, key=seed, comparison=levels)
        return float(np.ravel(found.p_value)[0])

    return experiment


def sem(rng):
    mean, error = mean_and_sem(shifted(rng, 60)[:, 0])
    return inside(0.0, mean, error)


def spacing_sem(rng):
    levels = pair(rng, 90, sigma=0.5)
    levels[::3] = np.nan
    found = pairs.means(levels[None])
    return inside(0.5 * np.sqrt(np.pi), found.spacings[0, 0], found.spacings_err[0, 0])


def exponent(shared):
    """Points of a seed share this fraction of its noise."""

    def experiment(rng):
        points = [{"lr": a, "batch_size": 4, "sigma_w": 1.0} for a in (0.01, 0.02, 0.04, 0.08)]
        own, common = rng.rayleigh(size=(4, 60, 2)), rng.rayleigh(size=(60, 2))
        s = np.where(rng.random((4, 60, 2)) < shared, common, own)
        s = s * np.sqrt([p["lr"] for p in points])[:, None, None]
        levels = np.cumsum(np.concatenate([np.zeros((4, 60, 1)), s], axis=-1), axis=-1)
        found = pairs.scaling_exponent(levels, points, np.array([0, 1]), n_resamples=200)
        return inside(0.5, found.value, found.error)

    return experiment


def compared(number):
    """A step between two ensembles of one law, from a number of it."""

    def experiment(rng):
        x, y = (10 + np.sort(shifted(rng, m), axis=-1) for m in (50, 70))
        return number(compare.compare("a", "b", x, y, n_resamples=199, key=int(rng.integers(2**31))))

    return experiment


def _two_sided(z):
    return 2 * stats.norm.sf(abs(z))


CASES = [
    Coverage("mean_and_sem, 60 members", sem),
    Coverage("bootstrap: error of the mean, 60 members", bootstrap_error),
    Coverage("bootstrap: its own interval of the mean, 60 members", bootstrap_interval),
    Coverage("bootstrap: interval with a third of the members left out as NaN", frozen),
    Coverage("bootstrap: error of the Binder cumulant, 300 pairs", bootstrap_binder),
    Coverage("jackknife: its own interval of the mean, 12 members", jackknife_mean),
    Coverage("jackknife: error of the mean, 60 members", jackknife_error),
    Coverage("jackknife: its own interval of a variance, 150 members", jackknife_variance),
    Coverage("mean_spacing_ratio: error, three levels", ratio_of_three),
    PValue("mean_spacing_ratio: p of its z, 60 members", ratio_null),
    PValue("mean_spacing_ratio: p of its z, a single member", ratio_of_one),
    Coverage("level_density: error of a bin, 100 members", density),
    Coverage("fit_wigner_surmise: error of sigma, 60 members", surmise_width),
    PValue("fit_wigner_surmise: p-value, 60 members", surmise_p),
    Coverage("fit_brody: error of q, 100 members", brody),
    Coverage("fit_two_mode: error of sigma, 100 pairs", two_mode("sigma", 0.5)),
    Coverage("fit_two_mode: error of center, 100 pairs", two_mode("center", 2.0)),
    Coverage("fit_two_species: error of sigma_wide, 200 pairs", species("sigma_wide", 1.0)),
    Coverage("fit_two_species: error of sigma_narrow, 200 pairs", species("sigma_narrow", 0.5)),
    Coverage("fit_two_species: error of center, 200 pairs", species("center", 0.0)),
    *(
        PValue(f"permutation_test: {statistic}, {levels}", permutation(statistic, levels))
        for statistic in ("wasserstein", "kolmogorov_smirnov", "energy")
        for levels in ("mean", "pooled")
    ),
    PValue("permutation_test: wasserstein, one level of each", permutation("wasserstein", "each")),
    Coverage("pairs.means: error of a spacing, a third of the members dead", spacing_sem),
    Coverage("pairs.scaling_exponent: points with common noise by 80 %", exponent(0.8)),
    Coverage("pairs.scaling_exponent: points with noise of their own", exponent(0.0)),
    PValue("compare: p-value of a step", compared(lambda step: step.p_value)),
    PValue("compare: p of a level's z", compared(lambda step: _two_sided(step.z_levels[0]))),
    PValue("compare: p of a spacing's z", compared(lambda step: _two_sided(step.z_spacings[1]))),
    Coverage("compare: error of the shift of the levels", compared(lambda s: inside(0.0, *s.level_shift))),
    Coverage(
        "compare: error of the shift of the spacings", compared(lambda s: inside(0.0, *s.spacing_shift))
    ),
]
