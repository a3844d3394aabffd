"""The scan for the start of a power-law tail, and the samples on which it is repeated."""

import numpy as np

from dysonjax.checks import positive_int
from dysonjax.spectra.student import widening

# √n × distance that independent points of a power law with fitted exponent exceed in one case of eight
# (Lilliefors' test of an exponential law: ln x is exponential).
COMPATIBLE = 0.95
FEWEST = 50  # samples behind a standard error
CHUNK = 2**15  # entries of a block of samples in the scan: its buffers stay in the second-level cache


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
    # Σ of ln x over the tail that starts at i, in double precision also of single ones.
    above = np.cumsum(logs[:, ::-1], axis=1, dtype=np.float64)[:, ::-1]
    step = (np.arange(points, 0, -1) - 0.5).astype(logs.dtype)
    for i in candidates:
        n_tail = points - i
        total = above[:, i] - n_tail * logs[:, i]
        # A start inside a tie would leave equal values outside the tail.
        usable = total > 0
        if i:
            usable &= logs[:, i] > logs[:, i - 1]
        a = n_tail / np.where(usable, total, np.inf)
        survival = logs[:, i:] - logs[:, i, None]
        survival *= -a[:, None].astype(logs.dtype)
        np.exp(survival, out=survival)
        # Half-way between the empirical survival before and after each point: both sides in one pass.
        survival -= step[i:] / logs.dtype.type(n_tail)
        np.abs(survival, out=survival)
        distance = np.where(usable, survival.max(axis=1) + 0.5 / n_tail, np.inf)
        better = distance < best
        best[better], start[better], rate[better] = distance[better], i, a[better]
        longest[(distance * np.sqrt(n_tail) < COMPATIBLE) & (longest == points)] = i
    return start, rate, best, np.minimum(longest, start)


def candidate_starts(points: int, min_tail: int, most: int | None) -> np.ndarray:
    """Starts of a tail of at least `min_tail` points, all or evenly spaced ones, ascending indices."""
    last = points - min_tail
    if most is None or most > last:
        return np.arange(last + 1)
    return np.unique(
        np.linspace(0, last, positive_int("max_candidates", most, minimum=2)).round().astype(int)
    )


def synthetic_fits(
    rng: np.random.Generator, logs: np.ndarray, start: int, distance: float, n: int, candidates: np.ndarray
) -> tuple[float, np.ndarray]:
    """p-value and rates of samples with a power-law tail from `start` on, each with its own scan.

    As many are made as it takes for a tenth of `n` to lie as far from their fit as the data do, at
    `distance`, `n` at most and 50 at least: where p exceeds 0.1 that is known early (Besag & Clifford,
    Biometrika 78, 301 (1991)). Then p is that tenth over the samples made, otherwise (1 + k)/(1 + n).
    """
    points = len(logs)
    excess = (logs[start:] - logs[start]).mean()  # 1/(alpha − 1)
    # Single precision takes a third of the time, and distances need no more than four digits.
    single = logs.astype(np.float32)
    distances, rates = np.empty(n), np.empty(n)
    enough = int(np.ceil(0.1 * (1 + n)))
    chunk = max(1, 2 * CHUNK // points)
    done = 0
    while done < n:
        sample = np.tile(single, (min(chunk, n - done), 1))
        tail = rng.exponential(excess, size=(len(sample), points - start)) + logs[start]
        sample[:, start:] = tail
        sample[:, start:].sort(axis=1)
        at = slice(done, done + len(sample))
        _, rates[at], distances[at], _ = scan_xmin(sample, candidates)
        done += len(sample)
        if done >= min(n, FEWEST) and np.count_nonzero(distances[:done] >= distance) >= enough:
            break
    beyond = np.flatnonzero(distances[:done] >= distance)
    if len(beyond) >= enough:
        return enough / (1 + beyond[enough - 1]), rates[:done]
    return (1 + len(beyond)) / (1 + n), rates[:done]


def member_fits(
    rng: np.random.Generator, logs: np.ndarray, start: int, rate: float, n: int, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(distances, rates) of `n` resampled ensembles: rates as they are, distances with a power-law tail.

    logs: ln x, shape (members, levels). start: rank, among all levels, at which the tail begins. For the
    distances the levels of the tail are first moved, in their order, to the quantiles of the fitted power
    law: every level keeps its member and its rank, so that the levels of a member stay as correlated as they
    are, while the null holds exactly for all of them together. Both are scanned for xmin like the data.
    """
    members, levels = logs.shape
    order = np.argsort(logs, axis=None, kind="stable")
    tail = order[start:]
    null = logs.ravel().copy()
    share = (np.arange(len(tail)) + 0.5) / len(tail)
    null[tail] = null[tail[0]] - np.log1p(-share) / rate
    null = null.reshape(members, levels)
    distances, rates = np.empty(n), np.empty(n)
    chunk = max(1, CHUNK // logs.size)
    for first in range(0, n, chunk):
        drawn = rng.integers(members, size=(min(chunk, n - first), members))
        at = slice(first, first + len(drawn))
        rates[at] = scan_xmin(np.sort(logs[drawn].reshape(len(drawn), -1), axis=1), candidates)[1]
        distances[at] = scan_xmin(np.sort(null[drawn].reshape(len(drawn), -1), axis=1), candidates)[2]
    # Of m members drawn with replacement the variance is (m − 1)/m of what it should be.
    distances *= np.sqrt(members / (members - 1))
    return distances, rates.mean() + (rates - rates.mean()) * widening(members)
