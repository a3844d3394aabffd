"""Closed forms for isolated pairs of levels of the RBM and the linear network.

Two levels that the target makes degenerate form a 2 x 2 block with Gaussian fluctuations of variance v off
the diagonal and 2v on it. Their distance then follows the surmise P(S) = S/(2σ²) e^{−S²/4σ²} with σ² = 2v and
mean ⟨S⟩ = √π σ. [A] 2.5, [C]; the prefactors are derived here and tested against simulation.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ellipe


class PairLaw(NamedTuple):
    """The surmise of an isolated pair; arrays where the arguments were."""

    sigma: np.ndarray  # σ of the surmise and of the two-mode density, units of the level
    mean_spacing: np.ndarray  # ⟨S⟩ = √π σ

    @classmethod
    def of(cls, off_diagonal_variance: ArrayLike) -> "PairLaw":
        """The law for fluctuations of this variance v off the diagonal: σ² = 2v."""
        sigma = np.sqrt(2 * np.asarray(off_diagonal_variance, np.float64))
        return cls(sigma, np.sqrt(np.pi) * sigma)


def rbm_pair(
    kappa: ArrayLike,
    lr: ArrayLike,
    batch_size: ArrayLike,
    mu: float = 3.0,
    sigma_h: float = 1.0,
    k: int = 3,
    order: int = 1,
) -> PairLaw:
    """Law of a degenerate pair of levels of the RBM at rest.

    The levels x are those of X = σ_h² WᵀW, near μ² − κ.

    Parameters
    ----------
    kappa : float or array
        Eigenvalue κ of the target's precision, below μ². It broadcasts against `lr` and `batch_size`.
    lr : float or array
        Learning rate α.
    batch_size : float or array
        Number of chains |B|.
    mu, sigma_h : float, default 3.0 and 1.0
        Parameters of the energy, as in `rbm`.
    k : int, default 3
        Gibbs sweeps in a step; used by order 2 alone.
    order : int, default 1
        1 is the limit of small α and of independent chains. 2 is exact for small fluctuations at any α and k.

    Returns
    -------
    PairLaw
        Width σ of the surmise and mean spacing ⟨S⟩, units of x, with the shape of the arguments.

    Notes
    -----
    Order 1: σ² = 2 σ_h² (α/|B|)(μ² − κ), so that ⟨S⟩ = √(2π σ_h² (α/|B|)(μ² − κ)).

    Order 2: with s the deviation of Ŝ from 1/κ and δ that of the block of X from μ² − κ,

        s′ = ρ s + (1 − ρ) δ/κ² + noise of variance (1 − ρ²)/(κ²|B|),   ρ = ((μ² − κ)/μ²)^{2k},
        δ′ = δ − 2 α σ_h² (μ² − κ) s′.

    The first line is the chains' memory and their pursuit of the moving weights. The stationary variance of δ
    solves the discrete Lyapunov equation of these two lines.

    "Isolated" and "small fluctuations" matter: in the published target the pairs lie 0.4 to 1.2 from their
    neighbours, and at α = 0.1, |B| = 4 their mean spacing is only 0.7 to 0.8 of this.

    Source: [A] 2.5 and [C]. The prefactors are derived here and tested against simulation.

    Examples
    --------
    The spacing grows with the square root of α/|B|:

    >>> law = dj.models.predictions.rbm_pair(kappa=5.0, lr=np.array([0.01, 0.04]), batch_size=4)
    >>> law.mean_spacing.round(3)
    array([0.251, 0.501])

    Order 2, with the memory of the chains, adds one percent here:

    >>> exact = dj.models.predictions.rbm_pair(kappa=5.0, lr=np.array([0.01, 0.04]), batch_size=4, order=2)
    >>> (exact.mean_spacing / law.mean_spacing).round(3)
    array([1.009, 1.011])
    """
    kappa, lr, batch_size = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (kappa, lr, batch_size)))
    x = mu**2 - kappa
    if order == 1:
        return PairLaw.of(sigma_h**2 * lr / batch_size * x)
    rho = (x / mu**2) ** (2 * k)
    pull = 2 * lr * sigma_h**2 * x
    chains = np.stack([rho, (1 - rho) / kappa**2], axis=-1)  # s′ as a row over (s, δ)
    weights = np.stack([np.zeros_like(x), np.ones_like(x)], axis=-1) - pull[..., None] * chains
    step = np.stack([chains, weights], axis=-2)
    source = np.stack([np.ones_like(x), -pull], axis=-1)
    noise = source[..., :, None] * source[..., None, :]
    noise = noise * ((1 - rho**2) / (kappa**2 * batch_size))[..., None, None]
    # vec(V) = (1 − step ⊗ step)⁻¹ vec(noise)
    product = np.einsum("...ij,...kl->...ikjl", step, step).reshape(*x.shape, 4, 4)
    variance = np.linalg.solve(np.eye(4) - product, noise.reshape(*x.shape, 4, 1))
    return PairLaw.of(variance[..., 3, 0])


def linear_pair(
    epsilon: ArrayLike, lr: ArrayLike, batch_size: ArrayLike, z: float | np.ndarray = 1.0, order: int = 1
) -> PairLaw:
    """Law of a degenerate pair of levels of the linear network at rest, where all |z_i| = z.

    The levels are SINGULAR VALUES ξ of W, not their squares.

    Parameters
    ----------
    epsilon : float or array
        Standard deviation ε of the gradient noise of one sample. It broadcasts against `lr` and `batch_size`.
    lr : float or array
        Learning rate α, with α z² < 2.
    batch_size : float or array
        Mini-batch size |B|.
    z : float or array, default 1.0
        The singular value of Z, the same for all of its directions.
    order : int, default 1
        1 leaves out, and 2 adds, what the fluctuating x xᵀ of the mini-batch does to the fluctuations
        themselves.

    Returns
    -------
    PairLaw
        Width σ of the surmise and mean spacing ⟨S_ξ⟩, units of ξ, with the shape of the arguments.

    Notes
    -----
    Let b = α² z⁴/|B| and q = α z² (2 − α z²), and v the variance of the fluctuations off the diagonal.

    Order 1: v = α² ε²/(|B| q), that is, for z = 1, ⟨S_ξ⟩ = √(2π α ε²/(|B|(2 − α))).

    Order 2: the second moments close, and for two levels

        v = α² ε²/(|B| q) · q²/((q − 3b)(q + b)),

    a factor 1 + b/q + … = 1 + α/(|B|(2 − α)) + … in ⟨S_ξ⟩ at z = 1. For small |B| and large α the law of S is
    then no longer exactly the surmise, since this noise is multiplicative.

    Source: [B] for the model. The prefactors are derived here and tested against simulation.

    Examples
    --------
    >>> law = dj.models.predictions.linear_pair(epsilon=0.1, lr=np.array([0.01, 0.04]), batch_size=4)
    >>> law.mean_spacing.round(5)
    array([0.00888, 0.0179 ])

    With few samples in a batch their own fluctuations widen the spacing:

    >>> small = [dj.models.predictions.linear_pair(0.1, lr=0.5, batch_size=2, order=o) for o in (1, 2)]
    >>> round(float(small[1].mean_spacing / small[0].mean_spacing), 2)
    1.31
    """
    epsilon, lr, batch_size = (np.asarray(a, np.float64) for a in (epsilon, lr, batch_size))
    rate = lr * z**2
    q, b = rate * (2 - rate), rate**2 / batch_size
    variance = lr**2 * epsilon**2 / (batch_size * q)
    return PairLaw.of(variance if order == 1 else variance * q**2 / ((q - 3 * b) * (q + b)))


def linear_two_species_spacing(
    epsilon: ArrayLike, lr: ArrayLike, batch_size: ArrayLike, z1: ArrayLike, z2: ArrayLike
) -> np.ndarray:
    """Mean spacing ⟨S_ξ⟩ of a pair of the linear network at rest, where Z has two singular values.

    It holds for gradient noise and a symmetric teacher.

    Parameters
    ----------
    epsilon : float or array
        Standard deviation ε of the gradient noise of one sample. All arguments broadcast.
    lr : float or array
        Learning rate α.
    batch_size : float or array
        Mini-batch size |B|.
    z1, z2 : float or array
        Singular values of Z.

    Returns
    -------
    array
        ⟨S_ξ⟩, units of the singular values of W, with the shape of the arguments.

    See Also
    --------
    linear_pair : the case z1 = z2.

    Notes
    -----
    With r_i = 1 − α z_i², entries of δ = W − W_t have ⟨δ_ij δ_kl⟩ = v_ik ⟨G_ij G_kl⟩,

        v_ik = α² ε²/(|B|(1 − r_i r_k)),

    as row i forgets by r_i a step and G is symmetric noise. The splitting is that of the symmetric part,
    S² = (δ_11 − δ_22)² + (δ_12 + δ_21)², of two independent Gaussian numbers of variances
    a² = 2(v_11 + v_22) and b² = v_11 + v_22 + 2v_12. Hence ⟨S⟩ = √(2/π) a E(1 − b²/a²), with E the complete
    elliptic integral.

    The gas of two species of [B], in which each level keeps a rate of its own, has √(π(v_11 + v_22)). The
    eigenvectors mix the rates, which makes the true spacing smaller.

    Examples
    --------
    The slower the second direction relaxes, the wider the spacing:

    >>> wide = dj.models.predictions.linear_two_species_spacing(0.1, 0.01, 4, z1=1.0, z2=np.array([1.0, 0.5]))
    >>> wide.round(5)
    array([0.00888, 0.01337])
    """
    epsilon, lr, batch_size, z1, z2 = (np.asarray(a, np.float64) for a in (epsilon, lr, batch_size, z1, z2))
    r1, r2 = 1 - lr * z1**2, 1 - lr * z2**2

    def correlation(r, s):
        return lr**2 * epsilon**2 / (batch_size * (1 - r * s))

    own = correlation(r1, r1) + correlation(r2, r2)
    diagonal, off_diagonal = 2 * own, own + 2 * correlation(r1, r2)
    return np.sqrt(2 / np.pi * diagonal) * ellipe(1 - off_diagonal / diagonal)


def degenerate_pairs(targets: ArrayLike, tolerance: float = 1e-5) -> np.ndarray:
    """Places of the pairs of levels that a target spectrum holds exactly twice.

    Parameters
    ----------
    targets : array, shape (mode,)
        Target spectrum, ascending.
    tolerance : float, default 1e-5
        Levels whose distance is at most this part of the largest of them count as equal.

    Returns
    -------
    array of int
        Index i of every pair (i, i + 1). Levels that stand alone or more than twice are left out.

    Examples
    --------
    The eigenvalues of a lattice field come in pairs, except for the two at the ends:

    >>> kappa = dj.models.rbm(visible=6).config["kappa"]
    >>> kappa
    [4.0, 5.0, 5.0, 7.0, 7.0, 8.0]
    >>> dj.models.predictions.degenerate_pairs(kappa)
    array([1, 3])
    """
    targets = np.asarray(targets, np.float64)
    same = np.diff(targets) <= tolerance * max(abs(targets[-1]), abs(targets[0]))
    padded = np.concatenate([[False], same, [False]])
    return np.flatnonzero(padded[1:-1] & ~padded[:-2] & ~padded[2:])
