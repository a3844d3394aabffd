"""Likelihood ratios of a power-law tail against a lognormal and against an exponential cut-off.

In y = ln(x/xmin) ≥ 0 all three laws are p(y) ∝ exp(−θ y − λ t(y)): t = y² is the lognormal cut at xmin,
t = e^y − 1 the power law with exponential cut-off, and λ = 0 the power law itself. Each alternative thus
holds the power law on its boundary, the ratio is never positive, and under a true power law −2R follows the
even mixture of 0 and χ²₁ (Self & Liang, JASA 82, 605 (1987)) instead of Vuong's normal law.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

# Gauss-Legendre panels in u = y/⟨y⟩. The power law has density e^(−u), and e^(−40) is beyond float64.
_EDGES = np.array([0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 11, 15, 20, 28, 40.0])
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_U = (_EDGES[:-1, None] + np.diff(_EDGES)[:, None] * (1 + _NODES) / 2).ravel()
_LOG_W = np.log((np.diff(_EDGES)[:, None] * _WEIGHTS / 2).ravel())


class Clustering(NamedTuple):
    """By how much correlations inside members enlarge variances, at least 1."""

    exponent: float  # of the exponent
    ratios: tuple[float, float]  # of what decides for a lognormal and for a cut-off


def clustering(y: np.ndarray) -> Clustering:
    """Variance of the members' sums over that of as many independent levels.

    y: ln(x/xmin), shape (members, levels), negative below the tail. The sums are those of the scores at the
    power law: y − ⟨y⟩, and t(y) of an alternative less its regression on y.
    """
    inside = y >= 0
    scale = y[inside].mean()
    u = np.where(inside, y / scale, 0.0)

    def inflation(score: np.ndarray) -> float:
        total = np.square(score[inside]).sum()
        return max(1.0, float(np.square(score.sum(axis=1, where=inside)).sum() / total)) if total > 0 else 1.0

    found = []
    for t in (u**2, np.expm1(np.minimum(scale * u, 300.0))):
        slope = np.cov(t[inside], u[inside])[0, 1] / u[inside].var(ddof=1)
        found.append(inflation(t - t[inside].mean() - slope * (u - 1)))
    return Clustering(inflation(u - 1), (found[0], found[1]))


def likelihood_ratios(y: np.ndarray, inflation: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """R = ln L(power law) − ln L(alternative), maximised over each, and its p-value.

    y: ln(x/xmin) of the tail, shape (points,), not all zero. inflation: of the variance, by correlations, for
    each alternative; R itself is not divided by it, its p-value is. Returns shape (2, 2): rows lognormal and
    truncated power law, columns (R ≤ 0, p). A small p means that the alternative fits better.
    """
    scale = y.mean()
    u = y / scale
    # e^y − 1 would overflow at the far nodes; there any λ that matters has suppressed the density anyway.
    cut = [np.expm1(np.minimum(scale * v, 300.0)) for v in (u, _U)]
    result = np.empty((2, 2))
    for row, (t_data, t_nodes) in enumerate([(u**2, _U**2), (cut[0], cut[1])]):
        gain = len(y) * max(0.0, _best_gain(t_data.mean(), t_nodes, t_data.max()))
        result[row] = 0.0 - gain, 0.5 * special.erfc(np.sqrt(gain / inflation[row])) if gain > 0 else 1.0
    return result


def _best_gain(t_mean: float, t_nodes: np.ndarray, t_max: float) -> float:
    """Largest mean log-likelihood over θ and λ > 0, less that of the power law (which is −1 at ⟨u⟩ = 1).

    It is concave, with the slope ⟨t⟩ of the power law − t_mean at λ = 0: where that is not positive the
    power law is the best.
    """
    if np.exp(_LOG_W - _U) @ t_nodes <= t_mean:
        return 0.0
    low, high = np.log(1e-8 / max(t_max, t_mean)), np.log(1e3 / max(t_mean, 1e-300))
    known, theta = np.array([low, high]), np.ones(2)
    for points in (41, 15, 15):
        grid = np.linspace(low, high, points)
        value, theta = _profile(np.exp(grid), t_mean, t_nodes, np.interp(grid, known, theta))
        known = grid
        best = int(np.argmax(value))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, points - 1)]
    around = value[max(best - 1, 0) : best + 2]
    bend = around[0] - 2 * around[1] + around[2] if around.size == 3 else 0.0
    # The top of the parabola through the three highest points.
    top = value[best] - (around[2] - around[0]) ** 2 / (8 * bend) if bend < 0 else value[best]
    return float(top) + 1.0


def _profile(
    lam: np.ndarray, t_mean: float, t_nodes: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """max over θ of −θ − λ⟨t⟩ − ln Z(θ, λ), for every λ, and where it is: concave in θ, solved by safeguarded
    Newton steps from `theta` on."""
    with np.errstate(over="ignore"):
        fixed = _LOG_W - lam[:, None] * t_nodes
    # ⟨u⟩ under (θ, λ) falls with θ: bracket the root ⟨u⟩ = 1.
    below, above = np.full_like(lam, -1e4), np.full_like(lam, 1.0)
    for _ in range(60):
        mean, var = _moments(theta, fixed)[1:]
        miss = mean - 1.0
        below, above = np.where(miss > 0, theta, below), np.where(miss <= 0, theta, above)
        step = theta + miss / np.maximum(var, 1e-300)
        following = np.where((step > below) & (step < above), step, 0.5 * (below + above))
        # Where the law is narrow θ is large; the value changes with the square of what is left.
        moved = (np.abs(following - theta) / (1 + np.abs(theta))).max()
        theta = following
        if moved < 1e-8:
            break
    return -theta - lam * t_mean - _moments(theta, fixed)[0], theta


def _moments(theta: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln Z and mean and variance of u at every θ."""
    exponent = fixed - theta[:, None] * _U
    top = exponent.max(axis=1)
    weight = np.exp(exponent - top[:, None])
    z = weight.sum(axis=1)
    mean = weight @ _U / z
    return top + np.log(z), mean, weight @ _U**2 / z - mean**2
