"""A plain NumPy implementation of PCD for the Gaussian RBM, one seed after the other, for comparison."""

import numpy as np


def ring_precision(mass: float, sites: int) -> np.ndarray:
    """The lattice Laplacian plus mass² as a matrix, built site by site."""
    precision = (mass**2 + 2.0) * np.eye(sites)
    for n in range(sites):
        precision[n, (n + 1) % sites] -= 1
        precision[(n + 1) % sites, n] -= 1
    return precision


def pcd_levels(seed, steps, lr=0.1, batch_size=16, k=3, mu=3.0, mass=2.0, sites=10, width=0.1):
    """Eigenvalues of WᵀW, ascending, after `steps` steps from W ~ N(0, width²); sigma_h = 1."""
    rng = np.random.default_rng(seed)
    covariance = np.linalg.inv(ring_precision(mass, sites))
    weight = width * rng.standard_normal((sites, sites))
    phi = np.ones((batch_size, sites))
    for _ in range(steps):
        for _ in range(k):
            h = phi @ weight + rng.standard_normal((batch_size, sites))
            phi = h @ weight.T / mu**2 + rng.standard_normal((batch_size, sites)) / mu
        weight = weight + lr * (covariance - phi.T @ phi / batch_size) @ weight
    return np.linalg.eigvalsh(weight.T @ weight)
