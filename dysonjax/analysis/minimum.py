"""Fluctuations of SGD about the minimum of a softmax classifier, from its data alone.

Loss L(W) = ⟨−log p_y⟩ + λ|W|²/2 with p = softmax(x W), convex, with one minimum W*. Near it, with the Hessian
A and the covariance C of the gradient of one sample, both at W*, a step of a batch of |B| samples drawn with
replacement is δ′ = (1 − αA)δ − α ξ, ⟨ξξᵀ⟩ = C/|B|. At rest, in the eigenbasis of A,

    ⟨δ_i δ_j⟩ = α C_ij / (|B| (a_i + a_j − α a_i a_j)),

which depends on α/|B| alone but for αa: the linear scaling rule. The excess of the loss is Σ a_i⟨δ_i²⟩/2, to
first order (α/4|B|) tr C, whatever the Hessian. A singular value ξ_k of W moves by u_kᵀ δ v_k.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax


class Minimum(NamedTuple):
    """The minimum of the loss and the noise there."""

    weights: np.ndarray  # W*, (n_in, classes)
    loss: float
    rates: np.ndarray  # a, eigenvalues of A, ascending, (n_in · classes,)
    basis: np.ndarray  # columns: eigenvectors of A
    noise: np.ndarray  # C in that basis

    def covariance(self, lr: float, batch_size: int) -> np.ndarray:
        """Of vec(δ) in the basis of A, at rest."""
        a = self.rates
        return lr * self.noise / (batch_size * (a[:, None] + a - lr * a[:, None] * a))

    def excess_loss(self, lr: float, batch_size: int) -> float:
        """⟨L⟩ − L(W*)."""
        return float(0.5 * self.rates @ np.diag(self.covariance(lr, batch_size)))

    def level_variance(self, lr: float, batch_size: int) -> np.ndarray:
        """Of each singular value of W, ascending."""
        u, _, vt = np.linalg.svd(self.weights, full_matrices=False)
        moved = (u[:, None, :] * vt.T[None, :, :]).reshape(self.weights.size, -1)[:, ::-1]
        moved = self.basis.T @ moved
        return np.einsum("ik,ij,jk->k", moved, self.covariance(lr, batch_size), moved)


def loss(weights: np.ndarray, x: np.ndarray, y: np.ndarray, decay: float) -> np.ndarray:
    """L of weights (…, n_in, classes)."""
    scores = log_softmax(x @ weights, axis=-1)
    return -scores[..., np.arange(len(y)), y].mean(axis=-1) + 0.5 * decay * (weights**2).sum(axis=(-2, -1))


def minimum(x: np.ndarray, y: np.ndarray, decay: float) -> Minimum:
    """Of the classifier of inputs x (samples, n_in) with labels y, for decay λ > 0."""
    classes = int(y.max()) + 1
    size, target = x.shape[1], np.eye(classes)[y]

    def value(flat):
        weights = flat.reshape(size, classes)
        p = np.exp(log_softmax(x @ weights, axis=-1))
        return loss(weights, x, y, decay), (x.T @ (p - target) / len(x) + decay * weights).ravel()

    found = minimize(value, np.zeros(size * classes), jac=True, method="L-BFGS-B",
                     options={"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-9})  # fmt: skip
    weights = found.x.reshape(size, classes)
    p = np.exp(log_softmax(x @ weights, axis=-1))
    # ∂²/∂W_ia∂W_jb = ⟨x_i x_j (p_a δ_ab − p_a p_b)⟩
    curvature = -np.einsum("si,sj,sa,sb->iajb", x, x, p, p, optimize=True)
    for a in range(classes):
        curvature[:, a, :, a] += (x * p[:, a : a + 1]).T @ x
    hessian = curvature.reshape(size * classes, -1) / len(x) + decay * np.eye(size * classes)
    gradients = (x[:, :, None] * (p - target)[:, None, :]).reshape(len(x), -1)
    rates, basis = np.linalg.eigh(hessian)
    return Minimum(weights, float(found.fun), rates, basis, basis.T @ np.cov(gradients.T, bias=True) @ basis)
