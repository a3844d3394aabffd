"""Statistics of ensembles of 16 levels: this package beside loops over functions that one finds elsewhere.

Option: task.
    permutation        relabellings/s of a permutation test, Wasserstein distance; the loop calls SciPy's
    power-law          synthetic samples/s of a goodness of fit, xmin scanned in each; the loop calls powerlaw
    ratios             members/s of the spacing ratio r̃; the loop is NumPy, the limit a copy of as many bytes
    marchenko-pastur   bootstrap replicates/s of a fit with free A and σ²; the loop calls SciPy's curve_fit
The other limits are C kernels. A loop does fewer repeats of the same work. All run in one process, and none
of it in threads.
"""

import time
from collections.abc import Callable

import numpy as np

from dysonjax.bench import frame, limits
from dysonjax.compile import empty_aligned

LEVELS, ROWS = 16, 64
TAIL = 500  # points of the power-law sample
UNIT = "repeats/s"
POINTS = 1
DEFAULTS = {"seeds": 2000}
OPTIONS = {"task": ("permutation", "power-law", "ratios", "marchenko-pastur")}


def ensemble(members: int, seed: int = 0) -> np.ndarray:
    """Eigenvalues of WᵀW/ROWS of Gaussian matrices, ascending, (members, LEVELS)."""
    w = np.random.default_rng(seed).normal(size=(members, ROWS, LEVELS)) / ROWS**0.5
    return np.linalg.eigvalsh(w.swapaxes(1, 2) @ w)


def tail() -> np.ndarray:
    """A Pareto sample, alpha = 2.5, ascending."""
    return np.sort((1 - np.random.default_rng(0).random(TAIL)) ** (-1 / 1.5))


def engine(setting: dict) -> frame.Prepared:
    from dysonjax import spectra

    members = setting["seeds"]
    if setting["task"] == "permutation":
        x, y = ensemble(members // 2), ensemble(members // 2, 1)
        return _repeated(lambda n: spectra.permutation_test(x, y, n_resamples=n, comparison="pooled"), 500)
    if setting["task"] == "power-law":
        x = tail()
        return _repeated(lambda n: spectra.fit_power_law(x, n_resamples=n), 200)
    x = ensemble(members)
    if setting["task"] == "ratios":
        return _repeated(lambda n: spectra.spacing_ratio(x), members)
    return _repeated(lambda n: spectra.fit_marchenko_pastur(x, LEVELS / ROWS, n_resamples=n, n_null=0), 300)


def loop(setting: dict) -> frame.Prepared:
    members = setting["seeds"]
    if setting["task"] == "permutation":
        x, y = ensemble(members // 2), ensemble(members // 2, 1)
        return _repeated(lambda n: permutation_loop(x, y, n), 20)
    if setting["task"] == "power-law":
        try:
            import powerlaw  # noqa: F401
        except ImportError:
            raise frame.Unavailable("the package powerlaw is not installed") from None
        x = tail()
        return _repeated(lambda n: power_law_loop(x, n), 3)
    x = ensemble(members)
    if setting["task"] == "ratios":
        return _repeated(lambda n: ratio_loop(x), members)
    return _repeated(lambda n: marchenko_pastur_loop(x, n), 20)


def permutation_loop(x: np.ndarray, y: np.ndarray, n: int) -> tuple[float, np.ndarray]:
    """The Wasserstein distance of the ensembles and of `n` relabellings of whole members, units of x."""
    from scipy.stats import wasserstein_distance

    rng, levels = np.random.default_rng(0), np.concatenate([x, y])
    found = []
    for _ in range(n):
        order = rng.permutation(len(levels))
        first, second = levels[order[: len(x)]], levels[order[len(x) :]]
        found.append(wasserstein_distance(first.ravel(), second.ravel()))
    return wasserstein_distance(x.ravel(), y.ravel()), np.array(found)


def power_law_loop(x: np.ndarray, n: int) -> tuple[float, np.ndarray]:
    """The exponent, and the Kolmogorov-Smirnov distances of `n` samples with the fitted tail."""
    import powerlaw

    rng = np.random.default_rng(0)
    fit = powerlaw.Fit(x, verbose=0)
    alpha, xmin, body = fit.power_law.alpha, fit.power_law.xmin, x[x < fit.power_law.xmin]
    found = []
    for _ in range(n):
        below = rng.random(len(x)) < len(body) / len(x)
        drawn = xmin * (1 - rng.random(len(x))) ** (-1 / (alpha - 1))
        sample = np.where(below, rng.choice(body, len(x)) if len(body) else drawn, drawn)
        found.append(powerlaw.Fit(sample, verbose=0).power_law.D)
    return alpha, np.array(found)


def ratio_loop(x: np.ndarray) -> np.ndarray:
    """r̃, one member after the other, (members, LEVELS − 2)."""
    found = []
    for levels in x:
        s = np.diff(levels)
        found.append(np.minimum(s[1:], s[:-1]) / np.maximum(s[1:], s[:-1]))
    return np.array(found)


def marchenko_pastur_loop(x: np.ndarray, n: int) -> np.ndarray:
    """A and σ² of `n` replicates, a curve through each one's histogram, (n, 2)."""
    from scipy.optimize import curve_fit

    rng, r = np.random.default_rng(0), LEVELS / ROWS

    def density(x, area, sigma2):
        low, high = sigma2 * (1 - r**0.5) ** 2, sigma2 * (1 + r**0.5) ** 2
        inside = np.clip((high - x) * (x - low), 0, None)
        return area * np.sqrt(inside) / (2 * np.pi * sigma2 * r * x)

    found = []
    for _ in range(n):
        levels = x[rng.integers(len(x), size=len(x))].ravel()
        height, edges = np.histogram(levels, bins=60, density=True)
        found.append(curve_fit(density, (edges[1:] + edges[:-1]) / 2, height, p0=(1.0, 1.0))[0])
    return np.array(found)


def limit(setting: dict) -> frame.Prepared:
    """C kernels of the same arithmetic; for ratios a copy, which reads the levels and writes the ratios."""
    members = setting["seeds"]
    if setting["task"] == "ratios":
        source = ensemble(members)[:, : LEVELS - 2].copy()
        ratios = np.empty_like(source)
        return _repeated(lambda n: np.copyto(ratios, source), members)
    try:
        limits.load("statistics")
    except RuntimeError as error:
        raise frame.Unavailable(str(error)) from None
    if setting["task"] == "permutation":
        x, y = ensemble(members // 2), ensemble(members // 2, 1)
        return _repeated(lambda n: permutation_limit(x, y, n), 512)
    if setting["task"] == "power-law":
        x = tail()
        return _repeated(lambda n: power_law_limit(x, n), 200)
    x = ensemble(members)
    return _repeated(lambda n: marchenko_pastur_limit(x, n), 300)


def permutation_limit(x: np.ndarray, y: np.ndarray, n: int) -> np.ndarray:
    """Wasserstein distances of relabellings of whole members, n rounded up to sixteens, units of x."""
    levels = np.concatenate([x, y])
    labels = empty_aligned((len(levels), limits.LANES), np.int8)
    found = empty_aligned((-(-n // limits.LANES), limits.LANES), np.float64)
    state, pool = np.zeros(1, np.uint64), _pool(x, y)
    limits.call(
        limits.load("statistics").permute,
        len(found), len(levels), len(x), levels.size, state, *pool, labels, found,
    )  # fmt: skip
    return found.ravel()


def labelled_limit(x: np.ndarray, y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """As `permutation_limit` for sixteen given labellings, (16, members), True in the first ensemble."""
    kept = empty_aligned(labels.T.shape, np.int8)
    kept[...] = labels.T
    found = empty_aligned(limits.LANES, np.float64)
    limits.call(limits.load("statistics").distances, x.size + y.size, *_pool(x, y), kept, found)
    return found


def _pool(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Owners and gaps of the sorted levels, and what a level of either ensemble adds to its cdf."""
    levels = np.concatenate([x, y])
    order = np.argsort(levels, axis=None)
    gaps = np.diff(levels.ravel()[order], append=np.inf)
    return (order // levels.shape[1]).astype(np.int32), gaps, np.array([1 / x.size, 1 / y.size])


def power_law_limit(x: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Start, exponent − 1 and distance of the best tail of x, (3,), and of `n` samples with it, (n, 3)."""
    logs, kernels = np.log(np.sort(x)), limits.load("statistics")
    found, samples, candidates = np.empty(3), np.empty((n, 3)), len(x) - min(50, 3 * len(x) // 4) + 1
    limits.call(kernels.scan, len(x), candidates, logs, found)
    start = int(found[0])
    excess = np.array([(logs[start:] - logs[start]).mean()])
    limits.call(
        kernels.scan_samples, n, len(x), candidates, start, excess, np.zeros(1, np.uint64), logs, samples
    )
    return found, samples


def marchenko_pastur_limit(x: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A and σ² of the data and of `n` replicates, (n + 1,) each, of the limit law.

    As many laws are tried as the engine tries, so that the work is the same.
    """
    from dysonjax.spectra import MarchenkoPastur

    sigma2, ratio = np.geomspace(0.7, 1.4, 846), LEVELS / ROWS
    law = MarchenkoPastur(ratio, 1.0)
    edges = np.linspace(0, np.sqrt(sigma2[-1] * law.upper), 101)  # of √x
    mass = np.diff(law.cdf(edges**2 / sigma2[:, None]), axis=1)
    bins = np.minimum(np.searchsorted(edges, np.sqrt(x), side="right") - 1, mass.shape[1]).astype(np.int32)
    fall, area = np.empty((2, n + 1, len(sigma2)))
    limits.call(
        limits.load("statistics").bootstrap,
        n + 1, *x.shape, *mass.T.shape, np.array([1 / x.size]), np.zeros(1, np.uint64), bins, mass,
        fall, area,
    )  # fmt: skip
    best = fall.argmax(axis=1)
    return area[np.arange(n + 1), best], sigma2[best]


def _repeated(work: Callable[[int], object], n: int) -> frame.Prepared:
    """`work(n)` does n repeats; it is done as often as takes a tenth of a second or more."""
    work(n)
    begin = time.perf_counter()
    work(n)
    times = max(1, round(0.1 / (time.perf_counter() - begin)))

    def all_times():
        for _ in range(times):
            work(n)

    return frame.Prepared(all_times, n * times)


VARIANTS = {"engine": engine, "loop": loop, "limit": limit}
