"""Power-law tails that must earn their name: xmin scan, goodness of fit, likelihood ratios.

A straight line can be drawn through the upper end of almost any spectrum. The method of Clauset, Shalizi &
Newman, SIAM Rev. 51, 661 (2009), asks in addition how often data that really have a power-law tail fit as
badly, with xmin scanned anew in every synthetic sample, and whether a law with a cut-off fits better.
"""

from dataclasses import dataclass

import numpy as np

from dysonjax.checks import InputError, finite_array, positive_int
from dysonjax.spectra.tail_alternatives import likelihood_ratios

# √n × distance that independent points of a power law with fitted exponent exceed in one case of eight
# (Lilliefors' test of an exponential law: ln x is exponential).
COMPATIBLE = 0.95
CHUNK = 2**15  # entries of a block of samples in the scan: its buffers stay in the second-level cache


@dataclass(frozen=True)
class PowerLawFit:
    """p(x) ∝ x^(−alpha) for x ≥ xmin. Arrays have the leading shape of the data."""

    alpha: np.ndarray
    """exponent 1 + n_tail/Σ ln(x/xmin)"""
    alpha_err: np.ndarray
    """standard error (alpha − 1)/√n_tail at the chosen xmin"""
    xmin: np.ndarray
    """start of the tail, units of x"""
    n_tail: np.ndarray
    """points in the tail, x ≥ xmin"""
    distance: np.ndarray
    """Kolmogorov-Smirnov distance of the tail from the fit"""
    p_value: np.ndarray
    """(1 + k)/(1 + n) for k of n synthetic samples that fit no better; NaN without them"""
    lognormal: np.ndarray
    """log-likelihood ratio ≤ 0 of the power law against a lognormal tail"""
    lognormal_p: np.ndarray
    """its p-value under a true power law"""
    truncated: np.ndarray
    """log-likelihood ratio ≤ 0 against a power law with exponential cut-off"""
    truncated_p: np.ndarray
    """its p-value under a true power law"""

    def accepted(self, level: float = 0.1) -> np.ndarray:
        """Whether the tail passes all three tests: goodness of fit and both likelihood ratios, at `level`.

        Without replicates the goodness of fit is unknown and nothing is accepted.
        """
        return (self.p_value > level) & (self.lognormal_p > level) & (self.truncated_p > level)


def fit_power_law(
    x, n: int = 1000, seed: int = 0, min_tail: int | None = None, max_candidates: int | None = None
) -> PowerLawFit:
    """Fit a power-law tail to every sample along the last axis.

    x: positive numbers, shape (..., points), in any order; zeros and below are refused. n: synthetic
    samples for the p-value, 0 for none; every one is scanned like the data. min_tail: fewest points that may
    count as a tail; by default 50, or three quarters of the points if there are fewer than 67: in a shorter
    tail even Marchenko-Pastur noise passes for a power law. max_candidates: scan at most so many evenly
    spaced values of xmin, in data and samples alike; None scans all.

    The synthetic samples keep the data's body and redraw the tail from a power law. Here the tail is the
    longest one compatible with a power law, not the one of smallest distance: that choice of Clauset et al.
    leaves part of a true tail in the body, and its p-values come out too large.

    The p-value and alpha_err hold for independent points. Eigenvalues repel and fit any smooth curve better
    than independent points do, so p alone is too lenient with a spectrum: read `accepted()`.
    Raises ValueError if x is not finite and positive or has fewer than max(min_tail, 10) distinct values.

    >>> x = (1 - np.random.default_rng(0).random(2000)) ** (-1 / 1.5)  # Pareto, alpha = 2.5
    >>> bool(abs(fit_power_law(x, n=0).alpha - 2.5) < 0.2)
    True
    """
    x = finite_array("x", x)
    n = positive_int("n", n, minimum=0)
    lead, points = x.shape[:-1], x.shape[-1]
    if min_tail is None:
        min_tail = min(50, 3 * points // 4)
    fewest = max(positive_int("min_tail", min_tail, minimum=0), 10)
    if x.size == 0 or points < fewest:
        raise InputError(f"x must have at least {fewest} points for a power law, got shape {x.shape}")
    if x.min() <= 0:
        raise InputError(f"x must be positive for a power law, but its smallest entry is {x.min():.6g}")
    ordered = np.sort(x.reshape(-1, points), axis=-1)
    distinct = (1 + (np.diff(ordered, axis=-1) > 0).sum(axis=-1)).min()
    if distinct < fewest:
        raise InputError(f"x must have at least {fewest} distinct values for a power law, got {distinct}")
    # Ratios to the median keep the logarithms, and all that follows, independent of the unit of x.
    logs = np.log(ordered / np.median(ordered, axis=-1, keepdims=True))
    candidates = _candidates(points, max(min_tail, 2), max_candidates)
    start, rate, distance, longest = scan_xmin(logs, candidates)
    n_tail = points - start
    rng = np.random.default_rng(seed)
    p_value, ratios = np.full(len(logs), np.nan), np.zeros((len(logs), 2, 2))
    for row, i in enumerate(start):
        ratios[row] = likelihood_ratios(logs[row, i:] - logs[row, i])
        if n:
            distances = _synthetic_distances(rng, logs[row], longest[row], n, candidates)
            p_value[row] = (1 + np.count_nonzero(distances >= distance[row])) / (1 + n)
    fields = [1 + rate, rate / np.sqrt(n_tail), ordered[np.arange(len(logs)), start], n_tail, distance]
    fields += [p_value, *ratios.reshape(-1, 4).T]
    return PowerLawFit(*(field.reshape(lead)[()] for field in fields))


def scan_xmin(logs: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, ...]:
    """For every sample the start of the tail with the smallest Kolmogorov-Smirnov distance.

    logs: ln x ascending, shape (samples, points). candidates: starts to try, ascending indices.
    Returns (start, rate, distance, longest), each of shape (samples,), where rate = alpha − 1 and longest is
    the first start whose tail is compatible with a power law, or start if none is.
    """
    samples, points = logs.shape
    best = np.full(samples, np.inf)
    start, rate = np.zeros(samples, dtype=int), np.ones(samples)
    longest = np.full(samples, points)
    above = np.cumsum(logs[:, ::-1], axis=1)[:, ::-1]  # Σ of ln x over the tail that starts at i
    step = np.arange(points, 0, -1) - 0.5
    for i in candidates:
        n_tail = points - i
        total = above[:, i] - n_tail * logs[:, i]
        # A start inside a tie would leave equal values outside the tail.
        usable = total > 0
        if i:
            usable &= logs[:, i] > logs[:, i - 1]
        a = n_tail / np.where(usable, total, np.inf)
        survival = logs[:, i:] - logs[:, i, None]
        survival *= -a[:, None]
        np.exp(survival, out=survival)
        # Half-way between the empirical survival before and after each point: both sides in one pass.
        survival -= step[i:] / n_tail
        np.abs(survival, out=survival)
        distance = np.where(usable, survival.max(axis=1) + 0.5 / n_tail, np.inf)
        better = distance < best
        best[better], start[better], rate[better] = distance[better], i, a[better]
        longest[(distance * np.sqrt(n_tail) < COMPATIBLE) & (longest == points)] = i
    return start, rate, best, np.minimum(longest, start)


def _candidates(points: int, min_tail: int, most: int | None) -> np.ndarray:
    last = points - min_tail
    if most is None or most > last:
        return np.arange(last + 1)
    return np.unique(
        np.linspace(0, last, positive_int("max_candidates", most, minimum=2)).round().astype(int)
    )


def _synthetic_distances(
    rng: np.random.Generator, logs: np.ndarray, start: int, n: int, candidates: np.ndarray
) -> np.ndarray:
    """Distances of `n` samples with a power-law tail from `start` on, each with its own scan. Shape (n,)."""
    points = len(logs)
    excess = (logs[start:] - logs[start]).mean()  # 1/(alpha − 1)
    distances = np.empty(n)
    chunk = max(1, CHUNK // points)
    for first in range(0, n, chunk):
        sample = np.tile(logs, (min(chunk, n - first), 1))
        sample[:, start:] = logs[start] + rng.exponential(excess, size=(len(sample), points - start))
        sample[:, start:].sort(axis=1)
        distances[first : first + len(sample)] = scan_xmin(sample, candidates)[2]
    return distances
