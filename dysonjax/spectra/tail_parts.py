"""What the levels outside a Marchenko-Pastur law are: spikes, noise of unequal variances, or a power law.

Every matrix is measured by its own noise. Levels beyond the edge of that noise are spikes and are counted.
The others, the bulk, are held against three laws, all cut at the edge and all with a free common scale:
noise; noise with unequal variances in its M directions, log-normal with a standard deviation s of the
logarithm (one more number); and noise beside a power law x^(−α) from some x_c to the edge (three more). A
bulk may be wider than Marchenko and Pastur's for either reason; the likelihood of its shape tells them apart.
Levels do not know which directions: rows, or any others. Many signals too weak to leave look alike.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import InputError, finite_array, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.spectra.marchenko_pastur import MarchenkoPastur
from dysonjax.spectra.marchenko_pastur_match import peak
from dysonjax.spectra.wishart_pool import gaussian_spectra

FALSE_POSITIVES = 0.01  # of a matrix of noise
LEAST, MOST = 6, 64  # levels of a matrix
BINS = 60  # of ln x, from a hundredth of the edge
MANY, DRAWS = 20_000, 2000  # simulated matrices of equal noise, and behind the law of one s
SPREADS = np.linspace(0, 1.6, 17)  # s
SHIFTS = np.linspace(-0.15, 0.15, 16)  # of ln x: the scale of the bulk
EXPONENTS = np.arange(1, 7, 0.5)  # α: of a tail, so that it falls
PREFERRED = 0.05  # p-value below which the bulk is not plain noise


@dataclass(frozen=True)
class TailParts:
    """Parts of the levels of an ensemble; errors are standard errors over members."""

    spikes: float
    """fraction of the levels beyond the edge of their own matrix' noise"""
    spikes_err: float
    """its standard error over members"""
    power_law: float
    """fraction of the levels in the best power law beside equal noise; what can be said to be one only where
    `best` is "power law" """
    power_law_err: float
    """its standard error over members"""
    exponent: float
    """α of that power law"""
    start: float
    """x_c of that power law, in units of the edge"""
    spread: float
    """s of the best noise of unequal variances, 0 for equal ones; where they are so unequal that they make
    spikes, which are taken out, the rest is more equal: 7 % too low at 0.8"""
    spread_err: float
    """its standard error over members"""
    gain_power_law: float
    """log-likelihood beyond that of equal noise, three more parameters"""
    gain_unequal: float
    """the same for unequal variances, one more parameter"""
    gain_difference_err: float
    """standard error of gain_unequal − gain_power_law"""
    p_value: float
    """probability that the larger of both gains is reached by equal noise with as many spikes"""
    best: str
    """noise for p ≥ 0.05, else unequal or power law, whichever gains more beyond its number of parameters
    (Akaike)"""


def noise_scale(x, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """How many levels of each matrix are spikes, and σ² of the noise without them.

    x: levels of X = WᵀW, ascending, shape (..., N), W of shape (rows, N), rows ≥ N. With k spikes the rest is
    that of a matrix (M−k)×(N−k); σ² comes from its median level, and k from its edge, one after the other
    until nothing changes. One matrix of noise in a hundred shows a spike.
    """
    x = np.asarray(x, np.float64)
    modes = x.shape[-1]
    law = scales(rows, modes)
    k = np.zeros(x.shape[:-1], int)
    while True:
        middle = (modes - k - 1) / 2
        pair = [
            np.take_along_axis(x, end(middle).astype(int)[..., None], -1)[..., 0]
            for end in (np.floor, np.ceil)
        ]
        sigma2 = np.mean(pair, axis=0) / law.median[k]
        more = (x > (law.edge[k] * sigma2)[..., None]).sum(axis=-1)
        # Never fewer than before, so that this ends.
        more = np.clip(more, k, len(law.edge) - 1)
        if (more == k).all():
            return k, sigma2
        k = more


class Scales(NamedTuple):
    """Of noise of σ² = 1 with k = 0, 1, … spikes taken out, (k,)."""

    median: np.ndarray
    edge: np.ndarray  # which the largest level, by the scale of its own median, exceeds once in a hundred


@lru_cache(maxsize=16)
def scales(rows: int, modes: int) -> Scales:
    """For matrices of this shape, up to half of whose levels are spikes."""
    if not LEAST <= modes <= min(rows, MOST):
        raise InputError(
            f"parts of a tail are those of matrices with {LEAST} to {MOST} columns and as many rows or more, "
            f"got {rows}×{modes}"
        )
    rng, median, edge = np.random.default_rng(0), [], []
    for k in range(modes // 2):
        law = MarchenkoPastur((modes - k) / (rows - k), 1.0).ppf(0.5) * (rows - k) / rows
        x = gaussian_spectra(rng, rows - k, modes - k, MANY)
        top = x[:, -1] / np.median(x, axis=-1) * law
        median.append(law)
        edge.append(np.quantile(top, 1 - FALSE_POSITIVES))
    return Scales(np.array(median), np.array(edge))


@renamed.arguments(n_resamples="n")
@keyed
def tail_parts(x: ArrayLike, rows: int, n_resamples: int = 200, key: Key = 0) -> TailParts:
    """The parts of the tail of an ensemble's levels: spikes, unequal variances, a power law.

    Parameters
    ----------
    x : array_like, shape (members, matrices, N) or (members, N)
        Levels of X = WᵀW, positive, N from 6 to 64. Matrices of one member are resampled together.
    rows : int
        Rows M ≥ N of W.
    n_resamples : int, default 200
        Resampled ensembles for the errors, and as many of noise for the p-value.
    key : int or jax.Array, default 0
        Decides the resampling and the noise.

    Returns
    -------
    TailParts
        Each part with its standard error, and the law that describes the bulk best.

    Raises
    ------
    InputError
        If there are fewer than two members, or levels are not finite, not positive or of another shape.

    Examples
    --------
    >>> w = np.random.default_rng(0).normal(size=(20, 16, 8)) / 4
    >>> noise = dj.spectra.tail_parts(np.linalg.svd(w, compute_uv=False) ** 2, rows=16, n_resamples=20)
    >>> noise.best, round(noise.spikes, 2)
    ('noise', 0.0)
    """
    x = finite_array("x", x, min_ndim=2)
    x = x if x.ndim == 3 else x[:, None]
    rows, n_resamples = positive_int("rows", rows), positive_int("n_resamples", n_resamples, 2)
    if x.ndim != 3 or not (x > 0).all():
        raise InputError("levels must be positive, of shape (members, matrices, N) or (members, N)")
    if len(x) < 2:
        raise InputError("errors are those over members, of which there must be at least 2, got 1")
    x = np.sort(x, axis=-1)
    modes = x.shape[-1]
    k, sigma2 = noise_scale(x, rows)
    laws = _laws(rows, modes, k)
    counts = _histogram(x, k, sigma2, rows)  # (members, bins)
    rng = np.random.default_rng(key)
    weights = rng.multinomial(len(x), np.full(len(x), 1 / len(x)), n_resamples)
    fit = _fit(counts.sum(axis=0), laws)
    again = [_fit(one, laws) for one in weights @ counts]
    null = [_fit(one, laws) for one in _noise(rng, laws.mixture, counts.sum(), n_resamples, rows, modes)]
    gain = max(fit.gain_power_law, fit.gain_unequal)
    p_value = (1 + sum(max(f.gain_power_law, f.gain_unequal) >= gain for f in null)) / (1 + n_resamples)
    if p_value >= PREFERRED:
        best = "noise"
    else:
        best = "unequal" if fit.gain_unequal - 1 >= fit.gain_power_law - 3 else "power law"
    bulk = 1 - k.mean() / modes
    share = k.mean(axis=1) / modes
    difference = [f.gain_unequal - f.gain_power_law for f in again]
    return TailParts(
        spikes=float(share.mean()),
        spikes_err=float(share.std(ddof=1) / np.sqrt(len(x))),
        power_law=float(fit.weight * bulk),
        power_law_err=float(np.std([f.weight for f in again], ddof=1) * bulk),
        exponent=fit.exponent,
        start=fit.start,
        spread=fit.spread,
        spread_err=float(np.std([f.spread for f in again], ddof=1)),
        gain_power_law=fit.gain_power_law,
        gain_unequal=fit.gain_unequal,
        gain_difference_err=float(np.std(difference, ddof=1)),
        p_value=float(p_value),
        best=best,
    )


class Bulk(NamedTuple):
    """Density of the bulk over ln x, x in units of the edge, and the best of each law, (bin,)."""

    x: np.ndarray
    data: np.ndarray
    data_err: np.ndarray  # over members
    noise: np.ndarray
    unequal: np.ndarray
    power_law: np.ndarray


def bulk_density(x, rows: int) -> Bulk:
    """What `tail_parts` fits, from the same levels; bins are joined by threes."""
    x = np.sort(np.asarray(x, np.float64), axis=-1)
    k, sigma2 = noise_scale(x, rows)
    laws, counts = _laws(rows, x.shape[-1], k), _histogram(x, k, sigma2, rows)
    fit = _fit(counts.sum(axis=0), laws)
    spread = int(np.argmin(np.abs(SPREADS - fit.spread)))
    likelihood = np.log(laws.unequal) @ counts.sum(axis=0)
    noise, unequal = (laws.unequal[i][int(likelihood[i].argmax())] for i in (0, spread))
    law = laws.power[int(np.argmin(np.abs(laws.names - [fit.exponent, fit.start]).sum(axis=1)))]
    power = (1 - fit.weight) * laws.unequal[0][fit.shift] + fit.weight * law
    grid = _grid()
    width = 3 * (grid[1] - grid[0])
    share = counts.reshape(len(counts), -1, 3).sum(axis=-1) / counts.sum(axis=1, keepdims=True)
    return Bulk(
        np.exp(grid[:-1].reshape(-1, 3)[:, 0] + width / 2),
        share.mean(axis=0) / width,
        share.std(axis=0, ddof=1) / np.sqrt(len(share)) / width,
        *(law.reshape(-1, 3).sum(axis=-1) / width for law in (noise, unequal, power)),
    )


class _Fit(NamedTuple):
    gain_power_law: float
    gain_unequal: float
    weight: float  # of the power law in the bulk
    exponent: float
    start: float
    spread: float
    shift: int  # place in SHIFTS, beside the power law


class _Laws(NamedTuple):
    """Probabilities of the bins. Of a matrix' own edge: with more spikes it lies a little lower."""

    unequal: np.ndarray  # (spread, shift, bin); those of spread 0 are noise
    power: np.ndarray  # (power law, bin)
    names: np.ndarray  # its exponent and start, (power law, 2)
    mixture: dict[int, int]  # spikes of a matrix: how many matrices have so many


def _grid() -> np.ndarray:
    """Edges of the bins of ln x, in units of the edge of noise."""
    return np.linspace(np.log(0.01), 0, BINS + 1)


def _histogram(x, k, sigma2, rows) -> np.ndarray:
    """Levels that are no spikes by the edge of their matrix, (members, bins)."""
    edge = scales(rows, x.shape[-1]).edge[k] * sigma2
    y = np.clip(np.log(x / edge[..., None]), _grid()[0], -1e-12)
    bulk = np.arange(x.shape[-1]) < (x.shape[-1] - k)[..., None]
    return np.stack([np.histogram(one[kept], _grid())[0] for one, kept in zip(y, bulk, strict=True)])


@lru_cache(maxsize=16)
def _noise_pool(rows: int, modes: int, k: int, seed: int) -> np.ndarray:
    """Levels in units of the edge, of noise of the shape left by k spikes without a further one."""
    return _by_their_edge(
        gaussian_spectra(np.random.default_rng([k, seed]), rows - k, modes - k, MANY), rows, modes, k
    )


@lru_cache(maxsize=512)
def _simulated(rows: int, modes: int, spread: float, k: int) -> np.ndarray:
    """The same of noise with unequal variances, from the same random numbers for every s, so that what
    their laws owe to chance is not taken for a difference between them."""
    w, size = _drawn(rows - k, modes - k, k)
    w = w * np.exp(spread / 2 * size)
    return _by_their_edge(np.linalg.eigvalsh(np.swapaxes(w, 1, 2) @ w), rows, modes, k)


@lru_cache(maxsize=1)  # the last one alone: it is large
def _drawn(rows: int, modes: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal numbers of matrices and of the logarithms of their rows' variances."""
    rng = np.random.default_rng([k, 2])
    return rng.normal(size=(DRAWS, rows, modes)), rng.normal(size=(DRAWS, rows, 1))


def _by_their_edge(x: np.ndarray, rows: int, modes: int, k: int) -> np.ndarray:
    law = scales(rows, modes)
    x = x / np.median(x, axis=-1, keepdims=True) * (law.median[k] / law.edge[k])
    x = x[x[:, -1] <= 1]
    x.flags.writeable = False
    return x


@lru_cache(maxsize=512)
def _density(rows: int, modes: int, spread: float, k: int) -> np.ndarray:
    """Levels a matrix in every bin; 0 where such noise always shows one more spike."""
    many = _binned(_noise_pool(rows, modes, k, 0))
    if spread == 0:
        return many
    # Noise of one variance is simulated more often: taken from it is all but the difference.
    unequal = _binned(_simulated(rows, modes, spread, k))
    return np.maximum(many + unequal - _binned(_simulated(rows, modes, 0.0, k)), 0) * bool(unequal.any())


def _binned(x: np.ndarray) -> np.ndarray:
    """Levels a matrix in every bin."""
    y = np.clip(np.log(x), _grid()[0], -1e-12)
    return np.histogram(y, _grid())[0] / max(len(x), 1)


def _laws(rows: int, modes: int, k: np.ndarray) -> _Laws:
    numbers = dict(zip(*(a.tolist() for a in np.unique(k, return_counts=True)), strict=True))
    grid = _grid()
    unequal = np.empty((len(SPREADS), len(SHIFTS), BINS))
    totals = np.zeros((len(SPREADS), BINS))
    for one, c in numbers.items():
        totals += [_density(rows, modes, float(spread), one) * c for spread in SPREADS]
    _drawn.cache_clear()
    for i, total in enumerate(totals):
        below = np.concatenate([[0], np.cumsum(total + 1e-4 * total.sum() / BINS)])
        for j, shift in enumerate(SHIFTS):
            unequal[i, j] = np.maximum(np.diff(np.interp(grid - shift, grid, below)), 1e-5 * below[-1] / BINS)
    mass = unequal.sum(axis=-1, keepdims=True)
    unequal = np.where(mass > 0, unequal / np.where(mass > 0, mass, 1), 1e-12)  # where it always has a spike
    middle = (grid[1:] + grid[:-1]) / 2
    power, names = [], []
    for alpha in EXPONENTS:
        for first in range(round(0.75 * BINS), BINS - 2, 2):
            law = np.exp((1 - alpha) * middle) * (np.arange(BINS) >= first)
            power.append(law / law.sum())
            names.append((alpha, np.exp(grid[first])))
    return _Laws(unequal, np.array(power), np.array(names), numbers)


def _fit(counts: np.ndarray, laws: _Laws) -> _Fit:
    """Of the counts in all bins, (bins,)."""
    likelihood = np.log(laws.unequal) @ counts  # (spread, shift)
    equal, best = likelihood[0].max(), likelihood.max(axis=1)
    spread = SPREADS[best.argmax()]
    if 0 < best.argmax() < len(SPREADS) - 1:
        spread = peak(best[None], SPREADS)[0][0]
    noise = laws.unequal[0][:, None]  # (shift, 1, bin)
    ratio = laws.power / noise - 1  # (shift, power law, bin)
    weight = np.full(ratio.shape[:2], 0.05)
    # The likelihood is concave in the weight of the power law: Newton's steps, kept inside [0, 1).
    for _ in range(12):
        part = ratio / (1 + weight[..., None] * ratio)
        weight = np.clip(weight + (part @ counts) / (part**2 @ counts), weight / 4, (weight + 0.99) / 2)
    gain = np.log1p(weight[..., None] * ratio) @ counts + likelihood[0][:, None]
    at = np.unravel_index(int(gain.argmax()), gain.shape)
    alpha, start = laws.names[at[1]]
    return _Fit(
        max(float(gain[at] - equal), 0.0),
        float(likelihood.max() - equal),
        float(weight[at]),
        float(alpha),
        float(start),
        float(spread),
        int(at[0]),
    )


def _noise(rng, mixture: dict[int, int], total: int, n: int, rows: int, modes: int):
    """Counts of n ensembles of equal noise with as many spikes, each (bins,)."""
    for _ in range(n):
        counts = np.zeros(BINS)
        for k, matrices in mixture.items():
            x = _noise_pool(rows, modes, k, 1)  # not those that the law is made of
            y = np.log(x[rng.integers(len(x), size=matrices)])
            counts += np.histogram(np.clip(y, _grid()[0], -1e-12), _grid())[0]
        yield counts
