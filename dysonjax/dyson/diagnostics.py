"""Whether Markov chains can be trusted: rank-normalised split-R̂, effective sample sizes and errors of means.

Vehtari, Gelman, Simpson, Carpenter & Bürkner, Bayesian Analysis 16 (2021) 667; the numbers are those of ArviZ
(tested). Two things differ on purpose. All quantities are treated at once, where ArviZ loops over them. And a
quantity that never changes or is not finite says nothing about mixing: it gets NaN and an effective size of
0, where ArviZ counts every draw of a constant as independent.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtri

GOOD_R_HAT, GOOD_SIZE = 1.01, 400  # the thresholds of the paper
TAILS = 0.05, 0.95


class Diagnosis(NamedTuple):
    """What chains say about each quantity; every array has shape (quantities,).

    r_hat: rank-normalised split-R̂, the larger of bulk and folded. ess_bulk, ess_tail: effective sample sizes
    of the middle and of the 5 and 95 % quantiles. mcse: standard error of the mean, units of the quantity.
    Where a quantity is constant or not finite: NaN, 0, 0, NaN.
    """

    r_hat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray
    mcse: np.ndarray

    @property
    def ess(self) -> np.ndarray:
        """The smaller of the two effective sizes."""
        return np.minimum(self.ess_bulk, self.ess_tail)

    @property
    def verdict(self) -> str:
        """One clause on whether the draws can be used; "" where they can."""
        return verdict(float(np.max(self.r_hat)), float(np.min(self.ess)))


def verdict(r_hat: float, ess: float) -> str:
    """What is wrong with chains of this R̂ and effective sample size; "" if nothing is."""
    if not np.isfinite(r_hat):
        return "some quantity never moves or is not finite, so that nothing can be said about mixing"
    if r_hat < GOOD_R_HAT and ess >= GOOD_SIZE:
        return ""
    return f"R-hat {r_hat:.3f}, effective sample size {ess:.0f}"


def diagnose(draws: np.ndarray) -> Diagnosis:
    """Diagnostics of draws of shape (chains, draws, quantities), 4 draws or more."""
    draws = np.asarray(draws, np.float64)
    length, quantities = draws.shape[1:]
    usable = np.isfinite(draws).all(axis=(0, 1)) & (np.ptp(draws, axis=(0, 1)) > 0)
    r_hat, mcse = np.full((2, quantities), np.nan)
    bulk, tail = np.zeros((2, quantities))
    if length >= 4 and usable.any():
        x = draws[..., usable]
        split = _split(x)
        scores = _normal_scores(split)
        folded = _normal_scores(np.abs(split - np.median(split, axis=(0, 1))))
        r_hat[usable] = np.fmax(_r_hat(scores), _r_hat(folded))
        bulk[usable] = _effective_size(scores)
        edges = np.quantile(x, TAILS, axis=(0, 1))
        sizes = [_effective_size(_split((x <= edge).astype(float))) for edge in edges]
        tail[usable] = np.nan_to_num(np.fmin(*sizes))
        mcse[usable] = x.std(axis=(0, 1), ddof=1) / np.sqrt(_effective_size(split))
    return Diagnosis(r_hat, bulk, tail, mcse)


def _split(draws: np.ndarray) -> np.ndarray:
    """Both halves of every chain as chains of their own, so that a drift along a chain shows."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _normal_scores(draws: np.ndarray) -> np.ndarray:
    """Ranks among all draws of a quantity as quantiles of a normal law: heavy tails do no harm."""
    flat = draws.reshape(-1, draws.shape[-1])
    rank = stats.rankdata(flat, axis=0)
    return ndtri((rank - 3 / 8) / (len(flat) + 1 / 4)).reshape(draws.shape)


def _r_hat(draws: np.ndarray) -> np.ndarray:
    length = draws.shape[1]
    within = draws.var(axis=1, ddof=1).mean(axis=0)
    between = length * draws.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((between / within + length - 1) / length)


def _effective_size(draws: np.ndarray) -> np.ndarray:
    """Draws over autocorrelation time, the latter summed by Geyer's monotone sequence; NaN if constant."""
    chains, length, _ = draws.shape
    centered = draws - draws.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centered, n=2 * length, axis=1)) ** 2
    covariance = np.fft.irfft(power, n=2 * length, axis=1)[:, :length].mean(axis=0) / length
    pooled = covariance[0] + draws.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        within = covariance[0] * length / (length - 1)
        correlation = 1 - (within - covariance) / pooled
    correlation[0] = 1.0
    count = max(1, (length - 1) // 2)
    even = correlation[0 : 2 * count : 2]
    pairs = even + correlation[1 : 2 * count : 2]
    # Pairs count up to the first that is not positive (or the last); of that one its even lag.
    number = np.cumprod(pairs > 0, axis=0).astype(int).sum(axis=0)
    last = np.minimum(number, count - 1)[None]
    edge, whole = np.take_along_axis(even, last, 0)[0], np.take_along_axis(pairs, last, 0)[0]
    beyond = np.where(whole < 0, np.maximum(edge, 0.0), edge)
    monotone = np.minimum.accumulate(pairs, axis=0)
    pairs = np.where(np.arange(count)[:, None] < last, monotone, 0.0)
    time = -1 + 2 * pairs.sum(axis=0) + beyond
    total = chains * length
    size = total / np.maximum(time, 1 / np.log10(total))
    return np.where(np.ptp(draws, axis=(0, 1)) > 0, size, np.nan)
