"""Hamiltonian Monte Carlo over many chains at once, with the diagnostics that say whether to trust it."""

import dataclasses
import functools
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import threefry
from dysonjax.dyson.diagnostics import diagnose, verdict

TARGET_ACCEPTANCE = 0.85
QUARTER_TURN = np.pi / 2  # a trajectory of this length decorrelates a whitened Gaussian


@dataclasses.dataclass(frozen=True)
class Chains:
    """Samples with their diagnostics.

    samples: float64, shape (chains, draws, levels). r_hat: largest rank-normalised split-R̂ over levels and
    log-gaps; below 1.01 is good. ess: smallest effective sample size, of bulk or tails, over the same.
    acceptance: mean acceptance rate.
    """

    samples: np.ndarray
    r_hat: float
    ess: float
    acceptance: float

    def flat(self, n: int) -> np.ndarray:
        """The first n draws of all chains in turn, shape (n, levels)."""
        return np.swapaxes(self.samples, 0, 1).reshape(-1, self.samples.shape[-1])[:n]


def climb(log_density: Callable, z: np.ndarray, steps: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """A maximum of log_density from z, and the negative Hessian there; damped Newton (Levenberg).

    Call under `jax.enable_x64(True)`.
    """
    value = jax.jit(log_density)
    gradient, hessian = jax.jit(jax.grad(log_density)), jax.jit(jax.hessian(log_density))
    best, damping = float(value(z)), 1.0
    eye = np.eye(z.size)
    for _ in range(steps):
        slope, curvature = np.asarray(gradient(z)), -np.asarray(hessian(z))
        scale = np.abs(np.diag(curvature)).mean() + 1e-12
        for _ in range(40):
            try:
                np.linalg.cholesky(curvature + damping * scale * eye)
                trial = z + np.linalg.solve(curvature + damping * scale * eye, slope)
                height = float(value(trial))
            except np.linalg.LinAlgError:
                height = -np.inf
            if np.isfinite(height) and height >= best:
                break
            damping = max(damping * 4, 1e-8)
        else:
            break
        done = np.abs(trial - z).max() < 1e-9 * (1 + np.abs(z).max()) and damping < 1e-3
        z, best, damping = trial, height, damping / 8
        if done:
            break
    return np.asarray(z), -np.asarray(hessian(z))


@threefry.settled()
def sample_chains(
    log_density: Callable, to_levels: Callable, mode: np.ndarray, curvature: np.ndarray, key, draws: int,
    chains: int = 64, warmup: int = 400,
) -> Chains:  # fmt: skip
    """HMC on `log_density(z)`, whitened by the Laplace approximation and then by the chains' own covariance.

    log_density: of one point z, including the Jacobian of the chart. to_levels: z -> x. Chains start wider
    than the Laplace approximation, so that R̂ can see what they miss.
    """
    levels = mode.size
    values, vectors = np.linalg.eigh(curvature)
    spread = vectors / np.sqrt(np.maximum(np.abs(values), 1e-6 * np.abs(values).max()))
    keys = jax.random.split(key, 4)
    z = mode + 1.5 * np.asarray(jax.random.normal(keys[0], (chains, levels), jnp.float64)) @ spread.T
    # From far out in a steep tail no proposal is ever accepted: such starts move towards the mode.
    height = jax.jit(jax.vmap(log_density))
    lowest = float(log_density(jnp.asarray(mode))) - levels - 5 * np.sqrt(levels)
    for _ in range(30):
        far = ~(np.asarray(height(z)) > lowest)
        z = np.where(far[:, None], mode + 0.7 * (z - mode), z)
    step = jnp.asarray(np.float64(0.5 * levels**-0.25))  # of strong type, as `_stage` returns it
    half = warmup // 2
    z, step, trail, _ = _stage(
        log_density, keys[1], z, jnp.asarray(mode), jnp.asarray(spread), step, half, True
    )
    recent = np.asarray(trail)[:, half // 2 :].reshape(-1, levels)
    center = mode
    if len(recent) >= 20 * levels:
        center = recent.mean(axis=0)
        try:
            spread = np.linalg.cholesky(np.cov(recent, rowvar=False).reshape(levels, levels))
        except np.linalg.LinAlgError:
            pass
    args = (jnp.asarray(center), jnp.asarray(spread))
    z, step, _, _ = _stage(log_density, keys[2], z, *args, step, warmup - half, True)
    z, step, trail, acceptance = _stage(log_density, keys[3], z, *args, step, draws, False)
    samples = np.asarray(jax.jit(jax.vmap(jax.vmap(to_levels)))(trail))
    gaps = np.log(np.maximum(np.diff(samples, axis=-1), np.finfo(float).tiny))
    observed = np.concatenate([samples, gaps], axis=-1)
    found = diagnose(observed)
    return Chains(samples, float(np.max(found.r_hat)), float(np.min(found.ess)), float(acceptance))


def warn_if_poor(chains: Chains) -> None:
    """A warning that says what is wrong and what helps."""
    wrong = verdict(chains.r_hat, chains.ess)
    if wrong:
        warnings.warn(
            f"the Coulomb gas chains have not mixed ({wrong}); draw more samples or lengthen the warm-up",
            RuntimeWarning,
            stacklevel=3,
        )


@functools.partial(jax.jit, static_argnums=(0, 6, 7))
def _stage(log_density, key, z, center, spread, step, iterations: int, adapt: bool):
    """`iterations` HMC updates of all chains; in warm-up the common step follows the mean acceptance."""

    def value(w):
        return log_density(center + spread @ w)

    value_and_slope = jax.vmap(jax.value_and_grad(value))
    w = jnp.linalg.solve(spread, (z - center).T).T

    def update(carry, index):
        w, height, slope, log_step, log_mean = carry
        now = threefry.derive(key, index)
        momentum_key, jitter_key, accept_key = (threefry.derive(now, number) for number in range(3))
        momentum = threefry.normals(momentum_key, w.size, w.dtype).reshape(w.shape)
        size = jnp.exp(log_step) * (0.6 + 0.6 * threefry.uniforms(jitter_key, 1, dtype=w.dtype)[0])
        count = jnp.clip(jnp.ceil(QUARTER_TURN / size), 1, 200).astype(jnp.int32)

        def leap(_, state):
            position, speed, _, slope = state
            speed = speed + 0.5 * size * slope
            position = position + size * speed
            height, slope = value_and_slope(position)
            return position, speed + 0.5 * size * slope, height, slope

        new, speed, new_height, new_slope = jax.lax.fori_loop(0, count, leap, (w, momentum, height, slope))
        gain = new_height - height + 0.5 * jnp.sum(momentum**2 - speed**2, axis=1)
        rate = jnp.where(jnp.isfinite(gain), jnp.exp(jnp.minimum(gain, 0.0)), 0.0)
        take = threefry.uniforms(accept_key, rate.size, dtype=w.dtype) < rate
        w = jnp.where(take[:, None], new, w)
        height = jnp.where(take, new_height, height)
        slope = jnp.where(take[:, None], new_slope, slope)
        mean = jnp.mean(rate)
        if adapt:
            log_step = log_step + (mean - TARGET_ACCEPTANCE) / (index + 5.0) ** 0.6
            weight = (index + 1.0) ** -0.75
            log_mean = weight * log_step + (1 - weight) * log_mean
        return (w, height, slope, log_step, log_mean), (w, mean)

    height, slope = value_and_slope(w)
    begin = (w, height, slope, jnp.log(step), jnp.log(step))
    (w, _, _, _, log_mean), (trail, rates) = jax.lax.scan(update, begin, jnp.arange(iterations))
    trail = jnp.swapaxes(trail, 0, 1) @ spread.T + center
    return w @ spread.T + center, jnp.exp(log_mean), trail, jnp.mean(rates)
