"""Curvature and noise of the loss that a network sees, from gradients of mini-batches alone.

The direction v in which the mean gradient changes most is found by power iteration on finite differences;
h_b = v·(g_b(θ + εv) − g_b(θ))/ε is the curvature of batch b along it. Along v a step multiplies an error by
1 − α h_b, so that it shrinks in the mean for α < 2/⟨h⟩ and in the mean square for α < 2⟨h⟩/⟨h²⟩.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dysonjax import threefry
from dysonjax.ensemble import Grid
from dysonjax.keys import Key, keyed
from dysonjax.models.base import Model, normal, split

DRAWS = 64  # mini-batches over which means and variances are taken
ITERATIONS = 12  # of the power method; the top curvature is well apart from the rest after a few
RELATIVE_STEP = 1e-3  # of finite differences, times the norm of the weights
WARM_STEPS = 300  # of training before the curvature is taken that matters for the end
WARM_SHARE = 0.25  # of the first edge: the step of that training


@keyed
@threefry.settled()
def curvature(model: Model, grid: Grid, seeds: int = 4, key: Key = 0) -> xr.Dataset:
    """Curvature, edges of stability and signal-to-noise ratio at every sigma_w of a grid.

    Taken after a short training at a quarter of the edge that is found before it. Returns dims
    (sigma_w, seed): `curvature` ⟨h⟩, `lr_stable` 2/⟨h⟩, `lr_mean_square` 2⟨h⟩/⟨h²⟩ (NaN where ⟨h⟩ ≤ 0: the
    loss falls off along v, and no step is unstable for that reason), `signal_to_noise` |⟨g⟩|²/tr Var(g) of
    one batch before training. key: an integer or a key of JAX. The first batch size of the grid is used.
    """
    batch_size = grid.batch_size[0]
    keys = jax.vmap(lambda index: threefry.derive(threefry.root(key), index))(jnp.arange(seeds))
    widths = jnp.asarray(grid.sigma_w, jnp.float32)
    one = functools.partial(_measure, model, batch_size)
    over_seeds = jax.vmap(one, (0, None, 0, None))
    program = jax.jit(jax.vmap(over_seeds, (None, 0, 0, None)))
    with jax.default_matmul_precision("highest"):
        first = jax.device_get(program(keys, widths, jnp.zeros((len(widths), seeds)), jnp.int32(0)))
        edge = _edges(first)["lr_mean_square"]
        # Where the loss is concave or flat at first there is no edge; the smallest one found is safe there.
        known = np.isfinite(edge)
        safe = np.where(known, edge, np.min(edge[known]) if known.any() else min(grid.lr))
        warm = jnp.asarray(WARM_SHARE * safe, jnp.float32)
        later = jax.device_get(program(keys, widths, warm, jnp.int32(WARM_STEPS)))
    found = {"curvature": later["mean"], **_edges(later)}
    found["signal_to_noise"] = first["signal"] / np.maximum(first["noise"], 1e-30)
    dims = ("sigma_w", "seed")
    return xr.Dataset(
        {name: (dims, np.asarray(values, np.float64)) for name, values in found.items()},
        {"sigma_w": list(grid.sigma_w), "seed": np.arange(seeds)},
    )


def _edges(measured: dict) -> dict[str, np.ndarray]:
    mean, square = np.asarray(measured["mean"], float), np.asarray(measured["square"], float)
    with np.errstate(divide="ignore", invalid="ignore"):
        stable = np.where(mean > 0, 2 / mean, np.nan)
        mean_square = np.where(mean > 0, 2 * mean / square, np.nan)
    return {"lr_stable": stable, "lr_mean_square": mean_square}


def _measure(model: Model, batch_size: int, key, sigma_w, lr, steps) -> dict[str, jax.Array]:
    """Of one network after `steps` plain steps at `lr`, both traced."""
    key_world, key_init, key_batch, key_v = split(key, 4)
    point = {"lr": lr, "sigma_w": sigma_w}
    world = model.world(key_world, batch_size)
    start = model.init(key_init, world, point)

    def batch(index):
        return model.batch(threefry.derive(key_batch, index), world, index, batch_size)

    def step(index, state):
        params, memory = state
        update = model.update(params, memory, batch(index), world, point)
        params = jax.tree.map(lambda p, d: p - lr * d, params, update.direction)
        return params, update.memory

    params, memory = jax.lax.fori_loop(0, steps, step, (start.params, start.memory))
    batches = jax.vmap(batch)(jnp.arange(DRAWS) + steps)

    def gradients(at):
        return jax.vmap(lambda b: model.update(at, memory, b, world, point).direction)(batches)

    here = gradients(params)
    mean = _mean(here)
    size = RELATIVE_STEP * jnp.sqrt(_dot(params, params))

    def products(v):
        """H_b v of every batch."""
        there = gradients(jax.tree.map(lambda p, x: p + size * x, params, v))
        return jax.tree.map(lambda a, b: (a - b) / size, there, here)

    def iterate(_, v):
        return _unit(_mean(products(v)))

    leaves, tree = jax.tree.flatten(params)
    keys = split(key_v, len(leaves))
    normals = [normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    v = jax.lax.fori_loop(0, ITERATIONS, iterate, _unit(jax.tree.unflatten(tree, normals)))
    h = jax.vmap(lambda product: _dot(product, v))(products(v))
    noise = sum(jnp.sum(jnp.var(leaf, axis=0)) for leaf in jax.tree.leaves(here))
    return {
        "mean": jnp.mean(h),
        "square": jnp.mean(h * h),
        "signal": _dot(mean, mean),
        "noise": noise,
    }


def _mean(stacked):
    return jax.tree.map(lambda a: jnp.mean(a, axis=0), stacked)


def _dot(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def _unit(v):
    norm = jnp.sqrt(_dot(v, v))
    return jax.tree.map(lambda x: x / jnp.where(norm > 0, norm, 1.0), v)
