"""Maximum likelihood for a whole stack of bootstrap replicates at once, by Newton steps."""

from collections.abc import Callable

import numpy as np
from scipy import sparse

_STEP = 1e-4  # of the finite differences; parameters are of order one, so errors are near 1e-8


def member_weights(members: int, n: int, seed: int) -> np.ndarray:
    """How often each member occurs: once in the data (row 0), multinomially in `n` replicates."""
    draws = np.random.default_rng(seed).multinomial(members, np.full(members, 1 / members), size=n)
    return np.concatenate([np.ones((1, members)), draws]) if members > 1 else np.ones((1, 1))


def standard_errors(replicates: np.ndarray, members: int) -> np.ndarray:
    """Bootstrap error of every column from rows 1, 2, …; NaN for a single member, which has no spread."""
    if members < 2:
        return np.full(replicates.shape[1], np.nan)
    return replicates[1:].std(axis=0, ddof=1) * np.sqrt(members / (members - 1))


def grouped(x: np.ndarray, most: int = 1024) -> tuple[np.ndarray, sparse.csr_array]:
    """Values with equal weight up to `most` of them, else means of neighbours in equal groups.

    x: shape (members, k). Returns (points, counts) with counts of shape (members, points), so that
    `member weights @ counts` weighs the points. A thousand groups err far less than the data do.
    """
    order = np.argsort(x, axis=None)
    group = np.empty(x.size, dtype=int)
    group[order] = np.arange(x.size) * min(most, x.size) // x.size
    size = np.bincount(group)
    points = np.bincount(group, weights=x.ravel()) / size
    member = np.repeat(np.arange(len(x)), x.shape[1])
    return points, sparse.csr_array((np.ones(x.size), (member, group)), shape=(len(x), len(size)))


def maximise(
    log_density: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, start, iterations: int = 40
) -> tuple[np.ndarray, np.ndarray]:
    """Maximise Σ weight × log_density(θ) for every row of weights.

    log_density: θ of shape (rows, parameters) to values of shape (rows, points), parameters of order one.
    weights: shape (rows, points). start: shape (parameters,) or (rows, parameters).
    Returns (θ, maximum), shapes (rows, parameters) and (rows,). Where the likelihood is not concave, the
    step follows the gradient scaled by the modulus of the curvature; steps that do not improve are halved.
    """
    rows = len(weights)
    theta = np.array(np.broadcast_to(start, (rows, np.shape(start)[-1])), dtype=np.float64)
    total = weights.sum(axis=1)

    def value(at):
        return np.einsum("rp,rp->r", weights, log_density(at)) / total

    best = value(theta)
    for _ in range(iterations):
        gradient, curvature = _derivatives(value, theta, best)
        size, axes = np.linalg.eigh(curvature)
        along = np.einsum("rij,ri->rj", axes, gradient) / np.maximum(np.abs(size), 1e-6)
        step = np.einsum("rij,rj->ri", axes, along)
        step *= np.minimum(1, 0.5 / np.maximum(np.linalg.norm(step, axis=1), 1e-300))[:, None]
        for _ in range(12):
            trial = value(theta + step)
            worse = ~(trial >= best - 1e-13)
            if not worse.any():
                break
            step[worse] *= 0.5
        step[worse] = 0
        theta, best = theta + step, np.where(worse, best, trial)
        if np.abs(step).max() < 1e-7:
            break
    return theta, best * total


def _derivatives(value, theta, center) -> tuple[np.ndarray, np.ndarray]:
    size = theta.shape[1]
    move = _STEP * np.eye(size)
    ahead = np.array([value(theta + e) for e in move])
    behind = np.array([value(theta - e) for e in move])
    gradient = (ahead - behind).T / (2 * _STEP)
    curvature = np.empty((len(theta), size, size))
    for i in range(size):
        curvature[:, i, i] = (ahead[i] - 2 * center + behind[i]) / _STEP**2
        for j in range(i):
            cross = value(theta + move[i] + move[j]) - ahead[i] - ahead[j] + center
            curvature[:, i, j] = curvature[:, j, i] = cross / _STEP**2
    return gradient, curvature
