"""Gaussian restricted Boltzmann machine, trained by persistent contrastive divergence. [A] 3.1; [C].

Energy E = μ²φᵀφ/2 + hᵀh/(2σ_h²) − φᵀWh, with φ of N_v and h of N_h real components, W (N_v, N_h):
h|φ ~ N(σ_h² Wᵀφ, σ_h²), φ|h ~ N(Wh/μ², 1/μ²). The model's precision is K = μ² − σ_h² W Wᵀ, with eigenvalues
λ_i = μ² − x_i; the levels x_i are the eigenvalues of X = σ_h² WᵀW. Training climbs the likelihood,
W′ = W + α σ_h² (C − Ŝ) W, with the data's second moments C = K_target⁻¹ and those of |B| persistent chains,
Ŝ = (1/|B|) Σ φφᵀ, advanced by k Gibbs sweeps in every step. A level rests where λ_i meets an eigenvalue κ_i
of K_target.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dysonjax import checks
from dysonjax.models import dense
from dysonjax.models.base import Model, Start, Update, normal, split
from dysonjax.models.rbm_moments import MOMENTS, Shape
from dysonjax.models.rbm_target import Target, rbm_target

OBSERVABLES = {
    "train_loss": "Kullback-Leibler divergence of the model from the target, nats",
    "grad_norm": "Frobenius norm of the gradient of train_loss",
}


class World(NamedTuple):
    """What all members of a seed share."""

    chains: jax.Array  # the chains before the first sweep, (batch_size, visible): all at 1


class Noise(NamedTuple):
    """The randomness of one step."""

    data: jax.Array  # second moments of the data term, (visible, visible)
    normals: tuple[jax.Array, ...]


def rbm(
    visible: int | None = None,
    hidden: int | None = None,
    mu: float = 3.0,
    sigma_h: float = 1.0,
    k: int = 3,
    *,
    mass: float = 2.0,
    kappa: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    data: ArrayLike | None = None,
    sampler: str = "gibbs",
    dynamics: str = "pcd",
) -> Model:
    """Gaussian restricted Boltzmann machine, trained by persistent contrastive divergence.

    The defaults are the published setting. The target is one of four: a lattice scalar field, `kappa`,
    `covariance` or `data`.

    Parameters
    ----------
    visible : int, optional
        Number of visible components. By default that of the target, or 10 for a lattice field.
    hidden : int, optional
        Number of hidden components, by default as many as visible ones.
    mu, sigma_h : float, default 3.0 and 1.0
        Parameters μ and σ_h of the energy, positive.
    k : int, default 3
        Gibbs sweeps in a step, at least 1.
    mass : float, default 2.0
        Mass of a lattice scalar field on a ring of `visible` sites, lattice units. It is the target unless
        another one is given: κ_n = mass² + 2 − 2cos(2πn/visible).
    kappa : array, shape (visible,), optional
        Eigenvalues of the target's precision K_target.
    covariance : array, shape (visible, visible), optional
        Covariance of the target, symmetric and positive definite.
    data : array, shape (samples, visible), optional
        Data set whose second moments (about zero: the model has no bias) are drawn in mini-batches of |B|
        samples.
    sampler : {"gibbs", "collapsed"}, default "gibbs"
        Whether the sweeps run one by one, or k sweeps are drawn at once from the same law.
    dynamics : {"pcd", "langevin", "langevin-chains"}, default "pcd"
        "pcd" is the real thing. "langevin" replaces Ŝ by its exact mean plus Gaussian noise with its
        equal-time covariance, fresh in every step ([A] 2.1); "langevin-chains" lets mean and noise relax as
        the chains do. Both Langevin forms keep the mini-batches of `data`.

    Returns
    -------
    Model
        Its recorded levels are eigenvalues of X = σ_h² WᵀW, its stored weights σ_h W of shape (visible,
        hidden).

    Raises
    ------
    InputError
        If a number is not positive, if more than one target is given, if shapes do not fit, if a covariance
        is not symmetric positive definite, or if a κ_i ≥ μ², where learning has no fixed point.

    Notes
    -----
    Energy E = μ²φᵀφ/2 + hᵀh/(2σ_h²) − φᵀWh. The precision of the model is K = μ² − σ_h² W Wᵀ, and a level
    x_i rests where μ² − x_i meets an eigenvalue κ_i of K_target. A step takes W to W + α σ_h² (C − Ŝ) W, with
    the second moments C of the data and Ŝ of |B| persistent chains. Source: [A] 3.1 and [C].

    A member is healthy while K is positive definite. Weights start from N(0, sigma_w²/visible): published
    sigma_w = 0.1·√10.

    Examples
    --------
    >>> dj.models.rbm(mass=1.0, visible=4).config["kappa"]
    [1.0, 3.0, 3.0, 5.0]
    >>> dj.models.rbm(kappa=[4.0, 10.0])
    Traceback (most recent call last):
    ...
    dysonjax.checks.InputError: the target's largest precision 10 must lie below mu² = 9, ...
    """
    mu, sigma_h = checks.positive("mu", mu), checks.positive("sigma_h", sigma_h)
    k = checks.positive_int("k", k)
    checks.one_of("sampler", sampler, ["gibbs", "collapsed"])
    checks.one_of("dynamics", dynamics, ["pcd", "langevin", "langevin-chains"])
    target = rbm_target(visible, mu, mass=mass, kappa=kappa, covariance=covariance, data=data)
    visible = target.covariance.shape[0]
    hidden = visible if hidden is None else checks.positive_int("hidden", hidden)
    checks.memory(f"an RBM of {visible} x {hidden} units", 16 * visible * hidden, "take fewer")
    moments = MOMENTS[sampler if dynamics == "pcd" else dynamics](Shape(visible, hidden, mu, sigma_h, k))

    def world(key, batch_size):
        return World(jnp.ones((batch_size, visible)))

    def init(key, world, point):
        weight = point["sigma_w"] / jnp.sqrt(visible) * normal(key, (visible, hidden))
        return Start({"w": weight}, moments.start(world.chains))

    def batch(key, world, step, batch_size):
        key_noise, key_data = split(key)
        return Noise(_data_moments(target, key_data, batch_size), moments.draw(key_noise, batch_size))

    def update(params, memory, noise, world, point):
        weight = params["w"]
        measured, memory = moments.advance(memory, noise.normals, weight, len(world.chains))
        direction = -(sigma_h**2) * ((noise.data - measured) @ weight)
        factor = dense.cholesky(precision(weight))
        return Update({"w": direction}, memory, divergence(weight, factor), dense.is_factor(factor))

    def precision(weight):
        """K, or for fewer hidden than visible components its part that can fail to be positive."""
        gram = weight @ weight.T if visible <= hidden else weight.T @ weight
        return mu**2 * jnp.eye(len(gram), dtype=gram.dtype) - sigma_h**2 * gram

    def divergence(weight, factor):
        """Kullback-Leibler divergence of the model from the target, by the factor of `precision`."""
        c = jnp.asarray(target.covariance, weight.dtype)
        trace = mu**2 * jnp.trace(c) - sigma_h**2 * jnp.sum(weight * (c @ weight))
        log_det = dense.log_det(factor) + (visible - len(factor)) * np.log(mu**2)
        return 0.5 * (trace - visible - log_det + np.sum(np.log(target.kappa)))

    def observe(params, initial, world, key, point):
        weight = params["w"]
        factor = dense.cholesky(precision(weight), often=False)
        # (C − K⁻¹) W needs the inverse on one side only: K⁻¹ W = W (μ² − σ_h² WᵀW)⁻¹.
        inverse = dense.inverse_lower(factor, often=False)
        solved = inverse.T @ (inverse @ weight) if visible <= hidden else weight @ inverse.T @ inverse
        gradient = sigma_h**2 * (jnp.asarray(target.covariance, weight.dtype) @ weight - solved)
        return {
            "train_loss": divergence(weight, factor),
            "grad_norm": jnp.sqrt(jnp.sum(gradient**2)),
        }

    def targets(world):
        # Only min(visible, hidden) levels can move; the softest directions of the target win them.
        levels = np.sqrt(mu**2 - target.kappa)[:rank]
        return {"w": jnp.zeros((visible, hidden)).at[:, :rank].set(softest * levels)}

    rank = min(visible, hidden)
    # Of hidden components any rotation is as good; the directions of visible ones are those of the data.
    softest = np.linalg.eigh(target.covariance)[1][:, ::-1][:, :rank]
    return Model(
        name="rbm",
        world=world,
        init=init,
        batch=batch,
        update=update,
        matrices=lambda params: {"w": sigma_h * params["w"]},
        observe=observe,
        observables=OBSERVABLES,
        targets=targets,
        target_sides=("left",),
        config={
            "visible": visible,
            "hidden": hidden,
            "mu": mu,
            "sigma_h": sigma_h,
            "k": k,
            **target.description,
            "sampler": sampler,
            "dynamics": dynamics,
        },
    )


def _data_moments(target: Target, key, batch_size: int) -> jax.Array:
    """C itself, or the second moments of a mini-batch drawn with replacement from the data set."""
    if target.data is None:
        return jnp.asarray(target.covariance, jnp.zeros(()).dtype)
    chosen = jax.random.randint(key, (batch_size,), 0, len(target.data))
    samples = jnp.asarray(target.data, jnp.zeros(()).dtype)[chosen]
    return samples.T @ samples / batch_size
