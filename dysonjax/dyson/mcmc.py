"""Hamiltonian Monte Carlo over many chains at once, with jumps between wells.

Trajectories in log-gaps move all levels together but never over a high barrier. Where the law has several
maxima, each update therefore ends with a jump: the outermost level of a well is drawn anew from its
conditional law between its two neighbours, on the near and the far side of the barrier, by a table of cells
and a Metropolis step that makes it exact. Chains start in different wells, so that R̂ sees what does not mix.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import renamed, threefry
from dysonjax.checks import InputError
from dysonjax.dyson.chart import OrderedChart
from dysonjax.dyson.diagnostics import diagnose, verdict

TARGET_ACCEPTANCE = 0.85
QUARTER_TURN = np.pi / 2  # a trajectory of this length decorrelates a whitened Gaussian
SEGMENT = 200  # draws of a chain between two looks at the diagnostics
LONGEST = 64  # segments after which chains that have not mixed are given up
STUCK = 1.1  # R̂ above which draws are refused: chains are still where they began


@dataclasses.dataclass(frozen=True)
class Chains:
    """Samples of Markov chains with their diagnostics, as `CoulombGas.run_mcmc` returns them.

    Attributes
    ----------
    samples : float64 array, shape (chains, draws, levels)
        The draws of every chain, units of x.
    r_hat : float
        Largest rank-normalised split-R̂ over levels and log-gaps. Below 1.01 is good.
    ess : float
        Smallest effective sample size, of bulk or tails, over the same quantities.
    acceptance : float
        Mean acceptance rate.
    jumps : float
        Share of updates in which a level went to another well. NaN for a law with one maximum.

    Examples
    --------
    Ten draws of two chains, in which every other draw counts as independent of the last:

    >>> chains = dj.dyson.Chains(np.arange(20.0).reshape(2, 10, 1), r_hat=1.0, ess=13.4, acceptance=0.8)
    >>> chains.stride
    2
    >>> chains.independent().ravel()
    array([ 0., 10.,  2., 12.,  4., 14.,  6., 16.,  8., 18.])
    """

    samples: np.ndarray
    r_hat: float
    ess: float
    acceptance: float
    jumps: float = float("nan")

    @renamed.arguments(n_samples="n")
    def flat(self, n_samples: int) -> np.ndarray:
        """The first draws of all chains, in turn.

        Parameters
        ----------
        n_samples : int
            Number of draws.

        Returns
        -------
        float64 array, shape (n_samples, levels)
            Fewer rows if the chains hold fewer draws.
        """
        return np.swapaxes(self.samples, 0, 1).reshape(-1, self.samples.shape[-1])[:n_samples]

    @property
    def stride(self) -> int:
        """Every so many draws of a chain one counts as independent of the last.

        Two autocorrelation times: after one, a memory that fades exponentially is still e^−2.
        """
        size = self.samples.shape[0] * self.samples.shape[1]
        return max(1, int(np.ceil(2 * size / self.ess - 1))) if self.ess > 0 else self.samples.shape[1]

    def independent(self) -> np.ndarray:
        """Draws thinned to the effective sample size.

        Returns
        -------
        float64 array, shape (n, levels)
            Every `stride`-th draw of every chain.
        """
        return self.thinned(self.stride)

    def thinned(self, stride: int) -> np.ndarray:
        """Every so many draws of every chain.

        Parameters
        ----------
        stride : int
            Distance of the draws that are kept.

        Returns
        -------
        float64 array, shape (n, levels)
            The draws that are kept, of all chains in turn.
        """
        thin = self.samples[:, ::stride]
        return np.swapaxes(thin, 0, 1).reshape(-1, thin.shape[-1])


class Wells(NamedTuple):
    """What jumps between wells need.

    barriers: (barriers,), points at which levels are counted. edges: (cells + 1,). energy: U_i in the middle
    of the cells, (levels, cells).
    """

    barriers: jax.Array
    edges: jax.Array
    energy: jax.Array


@dataclasses.dataclass(frozen=True)
class Target:
    """A law of ordered levels x = chart.positions(z).

    log_prob: of x, without the Jacobian of the chart.
    """

    log_prob: Callable
    chart: OrderedChart
    beta: float

    def __call__(self, z):
        x, jacobian = self.chart.levels(z)
        return self.log_prob(x) + jacobian


class Frames(NamedTuple):
    """Factors of the covariance of z that whiten trajectories, one for each occupation of the wells.

    codes: number of each occupation, (occupations,). factors: (occupations + 1, levels, levels), the last for
    all others.
    """

    codes: jax.Array
    factors: jax.Array


class Walk(NamedTuple):
    """Chains that have been warmed up and can go on; jax arrays need `jax.enable_x64(True)`.

    z: (chains, levels). draws: a tuple of (levels, acceptance, jumps) of each segment so far.
    """

    target: Target
    wells: Wells | None
    frames: Frames
    key: jax.Array
    step: jax.Array
    z: jax.Array
    draws: tuple = ()


@threefry.settled()
def warm_up(
    target: Target, starts: np.ndarray, curvatures: np.ndarray, wells: Wells | None, key, chains: int = 32,
    warmup: int = 400,
) -> Walk:  # fmt: skip
    """Chains that start at the maxima in turn, whitened by Laplace's approximation, then by their own draws.

    starts: positions of the maxima, shape (maxima, levels), the best first. curvatures: minus the Hessian in
    x there, (maxima, levels, levels). wells: None for one maximum. Chains start wider than the approximation,
    so that R̂ can see what they miss.
    """
    keys = jax.random.split(key, 4)
    slopes = np.asarray(jax.jit(jax.vmap(jax.jacfwd(target.chart.coordinates)))(jnp.asarray(starts)))
    factors = np.stack([_laplace(*pair) for pair in zip(curvatures, slopes, strict=True)])
    modes = np.asarray(jax.vmap(target.chart.coordinates)(jnp.asarray(starts)))
    which = np.arange(chains) % len(modes)
    mode, levels = modes[which], modes.shape[1]
    noise = np.asarray(jax.random.normal(keys[0], (chains, levels), jnp.float64))
    z = mode + 1.5 * np.einsum("cij,cj->ci", factors[which], noise)
    # From far out in a steep tail no proposal is ever accepted: such starts move towards their mode.
    height = jax.jit(jax.vmap(target))
    lowest = np.asarray(height(mode)) - levels - 5 * np.sqrt(levels)
    for _ in range(30):
        far = ~(np.asarray(height(z)) > lowest)
        z = np.where(far[:, None], mode + 0.7 * (z - mode), z)
    codes = _codes(wells, starts)
    frames = Frames(jnp.asarray(codes), jnp.asarray(np.concatenate([factors, factors[:1]])))
    step = jnp.asarray(np.float64(0.5 * levels**-0.25))  # of strong type, as `_stage` returns it
    half = warmup // 2
    z, step, trail, *_ = _stage(target, keys[1], z, frames, step, wells, True, half)
    frames = _learned(np.asarray(trail)[:, half // 2 :], target, wells, frames)
    z, step, *_ = _stage(target, keys[2], z, frames, step, wells, True, half)
    return Walk(target, wells, frames, keys[3], step, z)


@threefry.settled()
def extend(walk: Walk, segments: int) -> Walk:
    """`segments` times `SEGMENT` more draws of every chain."""
    to_levels = jax.jit(jax.vmap(jax.vmap(walk.target.chart.positions)))
    for _ in range(segments):
        key = jax.random.fold_in(walk.key, len(walk.draws))
        z, step, trail, rate, jumps = _stage(
            walk.target, key, walk.z, walk.frames, walk.step, walk.wells, False, SEGMENT
        )
        new = (np.asarray(to_levels(trail)), float(rate), float(jumps))
        walk = walk._replace(z=z, step=step, draws=(*walk.draws, new))
    return walk


def chains_of(walk: Walk) -> Chains:
    """All draws so far with their diagnostics."""
    samples = np.concatenate([draws for draws, _, _ in walk.draws], axis=1)
    gaps = np.log(np.maximum(np.diff(samples, axis=-1), np.finfo(float).tiny))
    found = diagnose(np.concatenate([samples, gaps], axis=-1))
    rate, jumps = np.mean([row[1:] for row in walk.draws], axis=0)
    jumps = float(jumps) if walk.wells is not None else float("nan")
    return Chains(samples, float(np.max(found.r_hat)), float(np.min(found.ess)), float(rate), jumps)


def draw_independent(walk: Walk, n: int) -> np.ndarray:
    """n draws that count as independent, (n, levels): chains go on until their effective size is n.

    Raises InputError if they have not forgotten where they began after `LONGEST` segments; warns if they have
    not quite mixed.
    """
    walk = extend(walk, 2)
    chains = chains_of(walk)
    while len(walk.draws) < LONGEST:
        done = len(walk.draws)
        if verdict(chains.r_hat, chains.ess):
            wanted = 2 * done
        elif len(chains.independent()) < n:
            wanted = int(np.ceil(2.1 * done * n / chains.ess)) + 1
        else:
            break
        walk = extend(walk, min(wanted, 3 * done, LONGEST) - done)
        chains = chains_of(walk)
    if not chains.r_hat < STUCK:
        raise InputError(
            f"the law cannot be sampled: chains do not mix between its wells (R-hat {chains.r_hat:.2f}); "
            "raise g2 or lower the barriers, or look at the chains of run_mcmc"
        )
    warn_if_poor(chains)
    draws = chains.independent()
    if len(draws) < n:
        draws = chains.thinned(max(1, chains.samples[..., 0].size // n))
    return draws[:n]


def _laplace(curvature: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """A factor of the covariance of z = z(x), from minus the Hessian in x and ∂z/∂x."""
    values, vectors = np.linalg.eigh(curvature)
    spread = slope @ (vectors / np.sqrt(np.maximum(np.abs(values), 1e-6 * np.abs(values).max())))
    values, vectors = np.linalg.eigh(spread @ spread.T)
    return vectors * np.sqrt(np.clip(values, 1e-12 * values.max(), None))


def _codes(wells: Wells | None, x: np.ndarray) -> np.ndarray:
    """Number of the occupation of the wells by levels x of shape (rows, levels)."""
    if wells is None:
        return np.zeros(len(x), np.int64)
    return np.asarray(jax.vmap(functools.partial(_code, wells))(jnp.asarray(x)))


def _code(wells: Wells, x):
    counts = jnp.sum(x[:, None] < wells.barriers, axis=0)
    # Hashed, as (N + 1)^barriers numbers need not fit an integer.
    return jnp.sum((counts + 1) * (7919 * (2 * jnp.arange(wells.barriers.size) + 1) ** 3))


def _learned(trail, target: Target, wells: Wells | None, frames: Frames) -> Frames:
    """Frames from draws (chains, draws, levels); occupations with too few draws keep theirs."""
    levels = trail.shape[-1]
    flat = trail.reshape(-1, levels)
    codes = _codes(wells, np.asarray(jax.vmap(target.chart.positions)(jnp.asarray(flat))))
    found, factors = np.unique(np.concatenate([np.asarray(frames.codes), codes])), []
    for code in found:
        same = flat[codes == code]
        known = np.flatnonzero(np.asarray(frames.codes) == code)
        factor = np.asarray(frames.factors)[known[0] if known.size else -1]
        if len(same) >= 20 * levels:
            try:
                factor = np.linalg.cholesky(np.cov(same, rowvar=False).reshape(levels, levels))
            except np.linalg.LinAlgError:
                pass
        factors.append(factor)
    common = factors[int(np.argmax([(codes == code).sum() for code in found]))]
    kept = len(frames.codes)  # a fixed number, so that nothing is compiled anew
    order = np.argsort([-(codes == code).sum() for code in found], kind="stable")[:kept]
    order = np.resize(order, kept)
    return Frames(jnp.asarray(found[order]), jnp.asarray(np.stack([*(factors[k] for k in order), common])))


def warn_if_poor(chains: Chains) -> None:
    """A warning that says what is wrong and what helps."""
    wrong = verdict(chains.r_hat, chains.ess)
    if wrong:
        warnings.warn(
            f"the Coulomb gas chains have not mixed ({wrong}); draw more samples or lengthen the warm-up",
            RuntimeWarning,
            stacklevel=3,
        )


@functools.partial(jax.jit, static_argnums=(0, 7))
def _stage(target, key, z, frames, step, wells, adapt, iterations: int):
    """`iterations` updates of all chains; with `adapt` the common step follows the mean acceptance."""
    value_and_slope = jax.vmap(jax.value_and_grad(target))

    def occupation(z):
        if wells is None:
            return jnp.zeros(z.shape[0], int)
        code = jax.vmap(lambda z: _code(wells, target.chart.positions(z)))(z)
        same = code[:, None] == frames.codes
        return jnp.where(same.any(axis=1), jnp.argmax(same, axis=1), frames.codes.size)

    def update(carry, index):
        z, height, slope, log_step, log_mean = carry
        now = threefry.derive(key, index)
        momentum_key, jitter_key, accept_key = (threefry.derive(now, number) for number in range(3))
        momentum = threefry.normals(momentum_key, z.size, z.dtype).reshape(z.shape)
        size = jnp.exp(log_step) * (0.6 + 0.6 * threefry.uniforms(jitter_key, 1, dtype=z.dtype)[0])
        count = jnp.clip(jnp.ceil(QUARTER_TURN / size), 1, 200).astype(jnp.int32)
        before = occupation(z)
        factor = frames.factors[before]

        def leap(_, state):
            position, speed, _, slope = state
            speed = speed + 0.5 * size * jnp.einsum("cji,cj->ci", factor, slope)
            position = position + size * jnp.einsum("cij,cj->ci", factor, speed)
            height, slope = value_and_slope(position)
            return position, speed + 0.5 * size * jnp.einsum("cji,cj->ci", factor, slope), height, slope

        new, speed, new_height, new_slope = jax.lax.fori_loop(0, count, leap, (z, momentum, height, slope))
        gain = new_height - height + 0.5 * jnp.sum(momentum**2 - speed**2, axis=1)
        rate = jnp.where(jnp.isfinite(gain), jnp.exp(jnp.minimum(gain, 0.0)), 0.0)
        # The way back from another occupation would be whitened differently.
        same = occupation(new) == before
        take = (threefry.uniforms(accept_key, rate.size, dtype=z.dtype) < rate) & same
        z = jnp.where(take[:, None], new, z)
        height = jnp.where(take, new_height, height)
        slope = jnp.where(take[:, None], new_slope, slope)
        mean = jnp.mean(rate)
        weight = (index + 1.0) ** -0.75
        stepped = log_step + (mean - TARGET_ACCEPTANCE) / (index + 5.0) ** 0.6
        log_step = jnp.where(adapt, stepped, log_step)
        log_mean = jnp.where(adapt, weight * log_step + (1 - weight) * log_mean, log_mean)
        jumped = jnp.zeros(())
        if wells is not None:
            dice = threefry.uniforms(threefry.derive(now, 3), 5 * z.shape[0], dtype=z.dtype).reshape(5, -1)
            x = jax.vmap(target.chart.positions)(z)
            moved, taken, jumped = jax.vmap(functools.partial(_jump, target, wells))(dice.T, x)
            z = jnp.where(taken[:, None], jax.vmap(target.chart.coordinates)(moved), z)
            height, slope = value_and_slope(z)
            jumped = jnp.mean(jumped)
        return (z, height, slope, log_step, log_mean), (z, mean, jumped)

    height, slope = value_and_slope(z)
    begin = (z, height, slope, jnp.log(step), jnp.log(step))
    (z, _, _, _, log_mean), (trail, rates, jumps) = jax.lax.scan(update, begin, jnp.arange(iterations))
    return z, jnp.exp(log_mean), jnp.swapaxes(trail, 0, 1), jnp.mean(rates), jnp.mean(jumps)


def _jump(target: Target, wells: Wells, dice, x):
    """One level drawn anew between its neighbours: new x, whether it was accepted, whether it changed wells.

    A barrier is chosen, and the last level below it or the first above it. After a jump the other of the two
    choices names the same level, so that forth and back are as likely.
    """
    levels = x.shape[0]
    number = wells.barriers.shape[0]
    barrier = wells.barriers[jnp.minimum((dice[0] * number).astype(int), number - 1)]
    level = jnp.sum(x < barrier) - (dice[1] < 0.5)
    exists = (level >= 0) & (level < levels)
    level = jnp.clip(level, 0, levels - 1)
    padded = jnp.concatenate([jnp.array([-jnp.inf]), x, jnp.array([jnp.inf])])
    middle, width = 0.5 * (wells.edges[1:] + wells.edges[:-1]), jnp.diff(wells.edges)
    distance = jnp.abs(middle[:, None] - x)
    own = jnp.arange(levels) == level
    logs = jnp.sum(jnp.log(jnp.where(own, 1.0, distance)), axis=1)
    between = (middle > padded[level]) & (middle < padded[level + 2])
    log_density = jnp.where(between, target.beta * logs - wells.energy[level], -jnp.inf)
    weight = jnp.exp(log_density - jnp.max(log_density)) * width
    total = jnp.cumsum(weight)
    cell = jnp.clip(jnp.searchsorted(total, dice[2] * total[-1], side="right"), 0, width.size - 1)
    new = jnp.where(own, wells.edges[cell] + width[cell] * dice[3], x)
    old_cell = jnp.searchsorted(wells.edges, x[level], side="right") - 1
    covered = (old_cell >= 0) & (old_cell < width.size)
    old_cell = jnp.clip(old_cell, 0, width.size - 1)
    gain = target.log_prob(new) - target.log_prob(x) + log_density[old_cell] - log_density[cell]
    taken = exists & covered & jnp.isfinite(gain) & (jnp.log(dice[4]) < gain)
    crossed = taken & ((new[level] < barrier) != (x[level] < barrier))
    return jnp.where(taken, new, x), taken, crossed.astype(x.dtype)
