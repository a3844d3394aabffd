"""A plain NumPy implementation of PCD for the Gaussian RBM, for comparison."""

import numpy as np


def ring_precision(mass: float, sites: int) -> np.ndarray:
    """The lattice Laplacian plus mass² as a matrix, built site by site."""
    precision = (mass**2 + 2.0) * np.eye(sites)
    for n in range(sites):
        precision[n, (n + 1) % sites] -= 1
        precision[(n + 1) % sites, n] -= 1
    return precision


def pcd_levels(seeds, steps, lr=0.1, batch_size=16, k=3, mu=3.0, mass=2.0, sites=10, width=0.1):
    """Eigenvalues of WᵀW, (seeds, sites), after `steps` steps from W ~ N(0, width²); sigma_h = 1."""
    rng = np.random.default_rng(0)
    covariance = np.linalg.inv(ring_precision(mass, sites))
    weight = width * rng.standard_normal((seeds, sites, sites))
    chains = (seeds, batch_size, sites)
    phi = np.ones(chains)
    for _ in range(steps):
        for _ in range(k):
            h = phi @ weight + rng.standard_normal(chains)
            phi = h @ weight.swapaxes(1, 2) / mu**2 + rng.standard_normal(chains) / mu
        weight = weight + lr * (covariance - phi.swapaxes(1, 2) @ phi / batch_size) @ weight
    return np.linalg.eigvalsh(weight.swapaxes(1, 2) @ weight)
