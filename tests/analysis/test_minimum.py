"""Fluctuations about the minimum of a classifier beside SGD written in NumPy."""

import numpy as np

from dysonjax.analysis import minimum

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = np.argmax(X @ RNG.normal(size=(3, 3)) + RNG.gumbel(size=(120, 3)), axis=1)
DECAY, LR, BATCH, MEMBERS = 0.3, 0.2, 4, 600


def trained():
    """Weights of many classifiers at rest, (members, 3, 3), by SGD with replacement."""
    weights = np.zeros((MEMBERS, 3, 3))
    for _ in range(200):
        chosen = RNG.integers(len(X), size=(MEMBERS, BATCH))
        x, target = X[chosen], np.eye(3)[Y[chosen]]
        scores = np.exp(x @ weights)
        p = scores / scores.sum(axis=-1, keepdims=True)
        gradient = np.einsum("msi,msa->mia", x, p - target) / BATCH
        weights -= LR * (gradient + DECAY * weights)
    return weights


def test_sgd_at_rest_has_the_covariance_that_follows_from_the_data():
    best = minimum.minimum(X, Y, DECAY)
    slope = [minimum.loss(best.weights + h, X, Y, DECAY) for h in 1e-3 * RNG.normal(size=(20, 3, 3))]
    assert min(slope) > best.loss  # it is the minimum
    weights = trained()
    distance = ((weights - best.weights) ** 2).sum(axis=(1, 2))
    excess = minimum.loss(weights, X, Y, DECAY) - best.loss
    top = np.linalg.svd(weights, compute_uv=False)[:, 0]
    level = (top - top.mean()) ** 2
    theory = (
        np.trace(best.covariance(LR, BATCH)),
        best.excess_loss(LR, BATCH),
        best.level_variance(LR, BATCH)[-1],
    )
    for found, expected in zip((distance, excess, level), theory, strict=True):
        error = found.std(ddof=1) / np.sqrt(MEMBERS)
        assert (
            abs(found.mean() - expected) < 4 * error + 0.06 * expected
        )  # small fluctuations are not infinitesimal
        assert (
            abs(found.mean() - 2 * expected) > 4 * error + 0.06 * expected
        )  # the twin: noise twice as strong


def test_the_excess_loss_is_the_trace_of_the_noise_whatever_the_hessian():
    best = minimum.minimum(X, Y, DECAY)
    small = 1e-6
    np.testing.assert_allclose(best.excess_loss(small, 1), small / 4 * np.trace(best.noise), rtol=1e-5)
    np.testing.assert_allclose(
        best.covariance(small, 1), best.covariance(8 * small, 8), rtol=1e-4, atol=1e-15
    )
