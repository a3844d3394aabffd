"""Dyson Brownian motion of the Gaussian RBM and the linear network to second order in √T, T = α/|B|.

RBM. In a step of matrix Langevin W′ = (1 + aD) W with a = ασ_h², D = C − Ŝ = C − K⁻¹ + n. Where X = σ_h² W Wᵀ
is diagonal, ⟨n_ij²⟩ = (1 + δ_ij)/(λ_i λ_j |B|), λ = μ² − x, and X′ = (1 + aD) X (1 + aD) has
    δX_ij = a (x_i + x_j) n_ij                  noise, beside its mean a {C − K⁻¹, X},
    a² ⟨(n X n)_ii⟩ = (a²/|B|) [Σ_{j≠i} x_j/(λ_i λ_j) + 2 x_i/λ_i²],
    δx_i = δX_ii + Σ_{j≠i} δX_ij²/(x_i − x_j)   second-order perturbation.
In the time τ, 2a a step, and with t = σ_h² α/|B| the noise is 2g_i² = 4t x_i²/λ_i². In the sum of squares
(x_i + x_j)² = 4 x_i x_j + (x_i − x_j)²: the first part is a repulsion g_i g_j/(x_i − x_j), the second adds
x_i − x_j to the x_j of the second line. Altogether
    dx_i = [(⟨C⟩_i − 1/λ_i) x_i + Σ_{j≠i} g_i g_j/(x_i − x_j)
            + (t/2)(x_i/λ_i)(Σ_j 1/λ_j + 1/λ_i)] dτ + √2 g_i dB_i
with g_i = √(2t) x_i/λ_i at the moving level and ⟨C⟩_i = u_iᵀ C u_i = Σ_k (u_i·e_k)²/κ_k. An element X_ik
between different targets relaxes at (x_i + x_k)/(2κ_i κ_k) in τ and has the stationary variance
v_ik = t (x_i + x_k)/2; that gives ⟨C⟩_i by `mixing_share`. For levels far apart mixing takes away half of the
repulsion. A step of finite length makes fluctuations larger by 1/(1 − r/2), r being what an element relaxes
in one step.

Linear network, equal z_i and symmetric teacher: W − W_t is a symmetric Ornstein-Uhlenbeck matrix, so that
noise is additive and mixing alone remains, K_i = z² (Σ_k (u_i·e_k)² ξ_k − ξ).
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dysonjax.dyson.learning_potentials import rbm
from dysonjax.dyson.noise import Strength
from dysonjax.dyson.pairwise import Pairwise, mixing_share
from dysonjax.dyson.potential import Potential
from dysonjax.dyson.wells import quadratic


class SecondOrder(NamedTuple):
    """Arguments of `integrate` for the motion to second order.

    Attributes
    ----------
    potential : Potential
        The drift of every level by itself.
    g2 : float, array or callable
        Noise strength, units of x² over time.
    pairs : Pairwise
        The smooth forces between levels.
    """

    potential: Potential
    g2: Strength
    pairs: Pairwise


@dataclasses.dataclass(frozen=True)
class RBMNoise:
    """g²(x) = 2t x²/λ² over 1 − a x/λ², what discrete steps add."""

    mu2: float
    strength: float  # t = σ_h² α/|B|
    step: float  # a = σ_h² α

    def __call__(self, x):
        precision = self.mu2 - x
        # Beyond 1/2 steps overshoot, and the machine is about to diverge anyway.
        relaxed = jnp.minimum(self.step * x / precision**2, 0.5)
        return 2 * self.strength * (x / precision) ** 2 / (1 - relaxed)


def rbm_second_order(
    kappa: ArrayLike, mu2: float, lr: float, batch_size: int, sigma_h: float = 1.0
) -> SecondOrder:
    """The Gaussian RBM to second order in √(α/|B|): levels x of X = σ_h² WᵀW.

    Parameters
    ----------
    kappa : array, shape (levels,)
        Eigenvalues of the target precision, descending, 0 < κ < `mu2`.
    mu2 : float
        μ².
    lr : float
        Learning rate α.
    batch_size : int
        Number of chains, |B|.
    sigma_h : float, default 1.0
        Width of the hidden units.

    Returns
    -------
    SecondOrder
        In the time τ = 2σ_h²αt.

    Raises
    ------
    InputError
        If `kappa` is not as `rbm` asks for.

    Notes
    -----
    To first order repulsion has the strength g_i² and eigenvectors stay at those of the target. Here
    repulsion is g_i g_j, g is read at the moving level with its Itô drift, eigenvectors mix (`mixing_share`),
    and steps of finite length make fluctuations larger. The module `dysonjax.dyson.second_order` has the
    derivation.

    Examples
    --------
    >>> machine = dj.dyson.rbm_second_order(kappa=[8.0, 6.0, 4.0], mu2=9.0, lr=0.1, batch_size=16)
    >>> machine.potential.name
    'rbm, second order'
    >>> levels = np.array([1.0, 3.0, 5.0])
    >>> bool((machine.g2(levels) > 0).all()), machine.pairs(levels).shape
    (True, (3,))
    """
    first = rbm(mu2, kappa)
    kappa = np.asarray(kappa, np.float64)
    strength, step = sigma_h**2 * lr / batch_size, sigma_h**2 * lr
    potential = Potential(
        "rbm, second order", _rbm_drift, _rbm_potential, (*first.params, np.asarray(strength)), lower=0.0,
        upper=first.upper, reflecting=first.reflecting, expansion=first.expansion,
    )  # fmt: skip
    x = mu2 - kappa
    total, product = x[:, None] + x, kappa[:, None] * kappa
    variance = 0.5 * strength * total / (1 - np.minimum(0.5 * step * total / product, 0.5))
    one = np.ones_like(product)
    noise = RBMNoise(float(mu2), float(strength), float(step))
    params = (
        one * mu2,
        one * strength,
        one * step,
        1 / kappa - 1 / kappa[:, None],
        np.abs(x[:, None] - x),
        variance,
    )
    return SecondOrder(potential, noise, Pairwise(_rbm_pair, params))


def linear_second_order(teacher: ArrayLike, sigma2: float, omega: float = 1.0) -> SecondOrder:
    """The linear network to second order in √(α/|B|): singular values ξ, for equal z_i and a symmetric W_t.

    Parameters
    ----------
    teacher : array, shape (levels,)
        Singular values of the teacher, ascending.
    sigma2 : float
        Stationary variance of a single level, σ_i² = g²/Ω.
    omega : float, default 1.0
        Ω = z², the rate that all levels share.

    Returns
    -------
    SecondOrder
        In the time αt.

    Notes
    -----
    W − W_t is a symmetric Ornstein–Uhlenbeck matrix. Noise is therefore additive, and what is left of second
    order is the mixing of eigenvectors, K_i = z² (Σ_k (u_i·e_k)² ξ_k − ξ). Derived here.

    Examples
    --------
    Mixing pulls neighbours with different targets towards each other:

    >>> network = dj.dyson.linear_second_order([1.0, 2.0], sigma2=0.1)
    >>> down, up = network.pairs(np.array([1.0, 2.0]))
    >>> bool(down > 0), bool(up < 0)
    (True, True)
    """
    teacher = np.asarray(teacher, np.float64)
    gap = teacher - teacher[:, None]
    params = (omega * gap, np.abs(gap), np.full_like(gap, 0.5 * sigma2))
    return SecondOrder(quadratic(omega, teacher), np.float64(omega * sigma2), Pairwise(_linear_pair, params))


def _rbm_drift(x, kappa, mu2, strength):
    precision = mu2 - x
    return (1 / kappa - 1 / precision) * x + strength * x / precision**2


def _rbm_potential(x, kappa, mu2, strength):
    precision = mu2 - x
    first = -0.5 * x**2 / kappa - x - mu2 * jnp.log(precision)
    return first - strength * (mu2 / precision + jnp.log(precision))


def _rbm_pair(x, other, mu2, strength, step, difference, target_gap, variance):
    here, there = mu2 - x, mu2 - other
    noise = RBMNoise(mu2, strength, step)
    g, g_other = jnp.sqrt(noise(x)), jnp.sqrt(noise(other))
    distance = x - other
    # Where levels meet, the quotient is a derivative; the distance is then lost in rounding.
    near = jnp.abs(distance) < 1e-7 * mu2
    apart = jnp.where(near, 1e-7 * mu2, distance)
    g_next = jnp.where(near, jnp.sqrt(noise(x - apart)), g_other)
    repulsion = -g * (g - g_next) / apart
    ito = 0.5 * strength * x / (here * there)
    return repulsion + ito + x * difference * mixing_share(distance, target_gap, variance)


def _linear_pair(x, other, difference, target_gap, variance):
    return difference * mixing_share(x - other, target_gap, variance)
