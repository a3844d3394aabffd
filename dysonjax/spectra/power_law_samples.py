"""The scan for the start of a power-law tail, and the samples on which it is repeated."""

import numpy as np

from dysonjax.checks import positive_int
from dysonjax.spectra.student import widening

# √n × distance that independent points of a power law with fitted exponent exceed in one case of eight
# (Lilliefors' test of an exponential law: ln x is exponential).
COMPATIBLE = 0.95
_STRIDE = 8  # of the points of a tail that bound its distance
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
    above = np.cumsum(logs[:, ::-1], axis=1)[:, ::-1]  # Σ of ln x over the tail that starts at i
    for i in candidates:
        n_tail = points - i
        total = above[:, i] - n_tail * logs[:, i]
        # A start inside a tie would leave equal values outside the tail.
        usable = total > 0
        if i:
            usable &= logs[:, i] > logs[:, i - 1]
        a = n_tail / np.where(usable, total, np.inf)
        distance = np.where(usable, _distance(logs, i, a, 1), np.inf)
        better = distance < best
        best[better], start[better], rate[better] = distance[better], i, a[better]
        longest[(distance * np.sqrt(n_tail) < COMPATIBLE) & (longest == points)] = i
    return start, rate, best, np.minimum(longest, start)


def closest_fits(logs: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rate, distance) of the start that `scan_xmin` finds, for samples of which nothing else is asked.

    The distance at every eighth point of a tail is a lower bound of that at all of them, and shows most
    starts to be no candidates; the others are looked at in full, the most promising ones first.
    """
    above = np.cumsum(logs[:, ::-1], axis=1, dtype=np.float64)[:, ::-1]
    every = np.arange(len(candidates))
    bounds, rates = np.empty((len(candidates), len(logs))), np.empty((len(candidates), len(logs)))
    for c, i in enumerate(candidates):
        n_tail = logs.shape[1] - i
        total = above[:, i] - n_tail * logs[:, i].astype(np.float64)
        usable = total > 0
        if i:
            usable &= logs[:, i] > logs[:, i - 1]
        rates[c] = n_tail / np.where(usable, total, np.inf)
        bounds[c] = np.where(usable, _distance(logs, i, rates[c], _STRIDE), np.inf)
    best, rate, rows = np.full(len(logs), np.inf), np.ones(len(logs)), np.arange(len(logs))
    for c in every[np.argsort(np.where(np.isfinite(bounds), bounds, 2.0).mean(axis=1), kind="stable")]:
        (open_,) = np.nonzero(bounds[c] < best)
        if not open_.size:
            continue
        part = logs if open_.size == rows.size else logs[open_]
        distance = _distance(part, candidates[c], rates[c][open_], 1)
        better = distance < best[open_]
        best[open_[better]], rate[open_[better]] = distance[better], rates[c][open_[better]]
    return rate, best


def _distance(logs: np.ndarray, i: int, rate: np.ndarray, stride: int) -> np.ndarray:
    """Kolmogorov-Smirnov distance of the tails from index i on, at every `stride`-th of their points."""
    n_tail = logs.shape[1] - i
    survival = logs[:, i::stride] - logs[:, i, None]
    survival *= -rate[:, None].astype(logs.dtype)
    np.exp(survival, out=survival)
    step = np.arange(n_tail, 0, -stride, dtype=logs.dtype) - logs.dtype.type(0.5)
    # Half-way between the empirical survival before and after each point: both sides in one pass.
    survival -= step / logs.dtype.type(n_tail)
    np.abs(survival, out=survival)
    return survival.max(axis=1).astype(np.float64) + 0.5 / n_tail


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
    chunk = max(1, 6 * CHUNK // points)  # of half the size, and with so many starts the calls cost more
    done = 0
    while done < n:
        first = FEWEST if not done else chunk
        sample = np.tile(single, (min(first, chunk, n - done), 1))
        tail = rng.exponential(excess, size=(len(sample), points - start)) + logs[start]
        sample[:, start:] = tail
        sample[:, start:].sort(axis=1)
        at = slice(done, done + len(sample))
        rates[at], distances[at] = closest_fits(sample, candidates)
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
    flat = logs.ravel().copy()
    share = (np.arange(len(tail)) + 0.5) / len(tail)
    flat[tail] = flat[tail[0]] - np.log1p(-share) / rate
    null = flat.reshape(members, levels)
    distances, rates = np.empty(n), np.empty(n)
    chunk = max(1, CHUNK // logs.size)
    for first in range(0, n, chunk):
        drawn = rng.integers(members, size=(min(chunk, n - first), members))
        at = slice(first, first + len(drawn))
        rates[at] = closest_fits(np.sort(logs[drawn].reshape(len(drawn), -1), axis=1), candidates)[0]
        distances[at] = closest_fits(np.sort(null[drawn].reshape(len(drawn), -1), axis=1), candidates)[1]
    # Of m members drawn with replacement the variance is (m − 1)/m of what it should be.
    distances *= np.sqrt(members / (members - 1))
    return distances, rates.mean() + (rates - rates.mean()) * widening(members)
