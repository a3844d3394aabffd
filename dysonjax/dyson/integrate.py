"""Dyson Brownian motion dx_i = (K_i + β Σ_{j≠i} g_i²/(x_i − x_j)) dt + √2 g_i dB_i. [A] Eq. 2.3.

Levels, members and grids of parameters go in as arrays of shape (..., members, levels). Inside, members lie
in the minor axis of tiles that fit the cache; tiles are dealt out to all local devices, and one compiled
segment takes every tile from one record to the next.
"""

import dataclasses
import functools
import math
import time as clock
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import ArrayLike

from dysonjax.checks import (
    random_key,
)
from dysonjax.dyson import steppers
from dysonjax.dyson.implicit import WALL
from dysonjax.dyson.lamperti import Chart, lamperti
from dysonjax.dyson.noise import SquareRoot, Strength, key_words
from dysonjax.dyson.pairwise import Pairwise, total_force
from dysonjax.dyson.potential import UNBOUNDED, Potential
from dysonjax.dyson.problem import METHODS, check, check_start  # noqa: F401  (two formerly here)

TILE_NUMBERS = 8192  # levels × members of a tile; with its temporaries a tile stays in the L2 cache


@dataclasses.dataclass(frozen=True)
class Path:
    """Trajectories of an ensemble, as `integrate` returns them.

    Attributes
    ----------
    levels : float64 array, shape (..., members, records, levels)
        Ascending, units of x. Statistics take the labelled `dataset["levels"]`, or this array with
        `member_axis=-3`: the axis before the last holds the records, which are no members.
    times : float64 array, shape (records,)
        From 0 to the end.
    method : str
        The integrator.
    steps : int
        Steps of the compiled loop from 0 to the end.
    work : float
        Mean number of force evaluations of a member. Above `steps` only for the safeguarded "euler".
    seconds, compile_seconds : float
        Wall time of stepping and of compiling.
    """

    levels: np.ndarray
    times: np.ndarray
    method: str
    steps: int
    work: float
    seconds: float
    compile_seconds: float

    @functools.cached_property
    def dataset(self) -> xr.Dataset:
        """`levels` with dims (..., member, record, mode) and the coordinate `time` of the records."""
        grid = [f"axis_{k}" for k in range(self.levels.ndim - 3)]
        return xr.Dataset(
            {"levels": ((*grid, "member", "record", "mode"), self.levels)},
            {"time": ("record", self.times), "record": range(len(self.times))},
        )

    @property
    def level_steps_per_second(self) -> float:
        """Levels × members × steps over wall time, compilation excluded."""
        size = math.prod(self.levels.shape[:-2]) * self.levels.shape[-1]
        return size * self.steps / max(self.seconds, 1e-9)


def integrate(
    potential: Potential,
    g2: Strength,
    x0: ArrayLike,
    time: float,
    steps: int,
    beta: ArrayLike = 1.0,
    key: jax.Array | int | None = None,
    *,
    pairs: Pairwise | None = None,
    method: str = "implicit",
    records: int = 11,
    safeguard: int = 6,
    progress: Callable[[float, float], None] | None = None,
) -> Path:
    """Trajectories of Dyson Brownian motion from a start at time 0 to `time`.

    Parameters
    ----------
    potential : Potential
        Drift and domain. Parameters of shape (..., members, levels) give every member its own.
    g2 : float, array, SquareRoot or callable
        Noise strength g², units of x² over time: a number, one for each level, an array that broadcasts to
        `x0`, `SquareRoot(c)`, or an elementwise jax function of x, which is read at the start of a step
        (Itô).
    x0 : array, shape (..., members, levels)
        Start, ascending within a member. Equal levels are allowed.
    time : float
        End, above 0.
    steps : int
        Number of equal steps. The implicit method takes more where K expands so fast that Δt K′ > 1.
    beta : float or array, default 1.0
        Dyson index, at least 1: a number or an array that broadcasts to `x0` with a last axis of 1.
    key : JAX key or int
        Randomness. A member's noise depends on the key and on its index along the members axis only: not on
        how many members there are, nor on records, tiles or devices. Points of a grid (leading axes) share
        it, so that they differ by their parameters alone.
    pairs : Pairwise, optional
        A smooth force between levels beside the repulsion. Not with `SquareRoot` or method "matrix".
    method : {"implicit", "matrix", "euler"}, default "implicit"
        "implicit" takes any g and keeps the levels in order at every step size; it has weak order 1, and
        exact second moments for a linear drift. "matrix" needs equal g and β = 1, 2 or 4, and is exact in law
        for one Ornstein–Uhlenbeck drift. "euler" is there for comparison.
    records : int, default 11
        Number of stored times, equally spaced from 0 to the end, rounded to whole steps.
    safeguard : int, default 6
        How often "euler" halves a step where gaps are small, from 0 (never) to 30.
    progress : callable, optional
        Called with (steps done, steps) after every segment.

    Returns
    -------
    Path
        Levels at the stored times.

    Raises
    ------
    InputError
        For starts that are crossed, not finite or out of the domain; for g² ≤ 0, β < 1 or a time or number of
        steps that is not positive; and for a method that does not fit the noise.

    Warns
    -----
    RuntimeWarning
        If steps of the implicit method did not converge.

    Notes
    -----
    The equation is dx_i = (K_i + β Σ_{j≠i} g_i²/(x_i − x_j)) dt + √2 g_i dB_i, [A] Eq. 2.3.

    Examples
    --------
    >>> x0 = np.tile([-1.0, 0.0, 1.0], (4, 1))
    >>> path = dj.dyson.integrate(dj.dyson.quadratic(), 0.5, x0, time=1.0, steps=50, key=0)
    >>> path.levels.shape
    (4, 11, 3)
    >>> bool((np.diff(path.levels) > 0).all())
    True
    """
    problem = check(
        potential, g2, x0, time, steps, beta, key, pairs=pairs, method=method, records=records,
        safeguard=safeguard,
    )  # fmt: skip
    x0, g2, time, steps, beta, records, fixed = problem
    key = random_key("key", key)
    with jax.enable_x64(True):
        system = lamperti(potential, g2, x0) if isinstance(g2, SquareRoot) and method == "implicit" else None
        chart = system or Chart(potential, g2, x0, False, WALL, pairs)
        if method == "implicit":
            steps = _refine(chart.potential, time, steps)
        levels, times, info = _run(chart, beta, time, steps, key, method, fixed, records, progress)
        if system is not None and isinstance(g2, SquareRoot):
            levels = 0.25 * g2.c * levels**2
    if info["failed"]:
        warnings.warn(
            f"{info['failed']} of {steps} steps did not converge; use more steps or look at the drift",
            RuntimeWarning,
            stacklevel=2,
        )
    levels = levels.reshape(x0.shape[:-1] + levels.shape[-2:])
    return Path(levels, times, method, steps, info["work"], info["seconds"], info["compile_seconds"])


def _refine(potential: Potential, time: float, steps: int) -> int:
    """Steps so small that x − (Δt/2) K(x) increases: below, the implicit equation has one solution."""
    rate = float(np.max(potential.expansion))
    if not rate < UNBOUNDED:
        return steps
    # The first, backward Euler step is the strictest: Δt K′ < 0.7.
    return max(steps, steps * math.ceil(rate * time / steps / 0.7))


def _run(chart, beta, time, steps, key, method, fixed, records, progress):
    levels = chart.x0.shape[-1]
    total = math.prod(chart.x0.shape[:-1])
    members = chart.x0.shape[-2]
    # LAPACK's eigensolver blocks for ever when two CPU devices of one process call it inside loops.
    devices = jax.local_devices()[: 1 if method == "matrix" else None]
    tile, tiles = _tiling(total, levels, devices)

    def into_lanes(array):
        """(..., members, levels) -> (tiles, levels, tile), the last member repeated to fill up."""
        flat = np.broadcast_to(array, chart.x0.shape).reshape(total, levels)
        flat = np.concatenate([flat, np.repeat(flat[-1:], tiles * tile - total, axis=0)])
        return np.ascontiguousarray(flat.reshape(tiles, tile, levels).transpose(0, 2, 1))

    leaves, tree = jax.tree.flatten((chart.potential.params, beta, _constant(chart.g2)))
    limits = [np.asarray(v, dtype=np.float64) for v in (chart.potential.lower, chart.potential.upper)]
    low, high = (bool(np.isfinite(v).all()) for v in limits)
    finite_limits = low, high
    leaves += [v for v, used in zip(limits, finite_limits, strict=True) if used]
    shared, own, is_own = [], [], []
    for leaf in map(np.asarray, leaves):
        is_own.append(leaf.ndim > 1)
        if leaf.ndim > 1:
            own.append(into_lanes(leaf))
        else:
            shared.append(leaf.reshape(-1, 1))
    if chart.pairs is not None:
        shared += [np.asarray(value, np.float64) for value in chart.pairs.params]
    problem = _Problem(
        drift=chart.potential.drift_fn,
        g2=chart.g2 if callable(chart.g2) else None,
        tree=tree,
        is_own=tuple(is_own),
        finite_limits=finite_limits,
        reflecting=chart.potential.reflecting,
        images=chart.images,
        wall=chart.wall,
        method=method,
        fixed=fixed,
        pair_force=None if chart.pairs is None else chart.pairs.force,
    )
    ids = np.tile(np.arange(members, dtype=np.uint32), total // members)
    ids = np.concatenate([ids, np.repeat(ids[-1:], tiles * tile - total)]).reshape(tiles, tile)
    mesh = Mesh(np.array(devices), ("tiles",))
    spread = NamedSharding(mesh, PartitionSpec("tiles"))
    state = steppers.start(into_lanes(chart.x0))
    state, own, ids = jax.device_put((state, own, ids), spread)
    words = jax.device_put(key_words(key), NamedSharding(mesh, PartitionSpec()))
    advance = functools.partial(_segment, problem, mesh)
    dt = time / steps

    begin = clock.perf_counter()
    state = jax.block_until_ready(advance(shared, own, ids, words, state, 0, 0, dt))
    compile_seconds = clock.perf_counter() - begin
    marks = np.unique(np.rint(np.linspace(0, steps, min(records, steps + 1))).astype(int))
    stored = np.empty((total, len(marks), levels))
    seconds = 0.0
    for record, mark in enumerate(marks):
        if record:
            begin = clock.perf_counter()
            state = jax.block_until_ready(
                advance(shared, own, ids, words, state, int(marks[record - 1]), int(mark), dt)
            )
            seconds += clock.perf_counter() - begin
            if progress is not None:
                progress(float(mark), float(steps))
        snapshot = np.asarray(state.x).transpose(0, 2, 1).reshape(tiles * tile, levels)
        stored[:, record] = snapshot[:total]
    work = np.asarray(state.work).reshape(-1)[:total].mean()
    info = {
        "work": float(work),
        "failed": int(np.asarray(state.failed).sum()),
        "seconds": seconds,
        "compile_seconds": compile_seconds,
    }
    return stored, marks * dt, info


def _constant(g2):
    return () if callable(g2) else np.asarray(g2, dtype=np.float64)


def _tiling(total: int, levels: int, devices) -> tuple[int, int]:
    """Members of a tile and number of tiles, the latter a multiple of the number of devices."""
    share = -(-total // len(devices))
    if devices[0].platform == "cpu":
        tile = max(64, 2 ** round(math.log2(TILE_NUMBERS / levels)))
        tile = min(tile, max(8, 2 ** math.ceil(math.log2(share))))
    else:
        tile = share
    return tile, -(-total // (tile * len(devices))) * len(devices)


@dataclasses.dataclass(frozen=True)
class _Problem:
    """All that decides what is compiled."""

    drift: Callable
    g2: Callable | None
    tree: Any  # of potential.params, beta and constant g2
    is_own: tuple[bool, ...]
    finite_limits: tuple[bool, bool]
    reflecting: tuple[bool, bool]
    images: bool
    wall: float
    method: str
    fixed: tuple
    pair_force: Callable | None

    def system(self, shared, own, words, ids) -> steppers.System:
        shared, own = iter(shared), iter(own)
        leaves = [next(own) if mine else next(shared) for mine in self.is_own]
        count = self.tree.num_leaves
        params, beta, g2 = jax.tree.unflatten(self.tree, leaves[:count])
        limits = iter(leaves[count:])
        lower = next(limits)[:1] if self.finite_limits[0] else None
        upper = next(limits)[:1] if self.finite_limits[1] else None
        matrices, force = tuple(shared), self.pair_force  # what is left belongs to the pairwise force
        return steppers.System(
            drift=lambda x: self.drift(x, *params),
            g2=self.g2 if self.g2 is not None else lambda x: jnp.broadcast_to(g2, (x.shape[0], g2.shape[-1])),
            beta=beta[:1],
            lower=lower,
            upper=upper,
            reflecting=self.reflecting,
            images=self.images,
            wall=self.wall,
            words=words,
            members=ids,
            pairs=None if force is None else lambda x: total_force(force, matrices, x),
        )

    def step(self, system, state, index, dt):
        if self.method == "implicit":
            return steppers.implicit_step(system, state, index, dt)
        if self.method == "matrix":
            return steppers.matrix_step(system, state, index, dt, *self.fixed)
        return steppers.euler_step(system, state, index, dt, *self.fixed)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(6,))
def _segment(problem: _Problem, mesh: Mesh, shared, own, ids, words, state, begin, end, dt):
    """Every tile from step `begin` to step `end`, each tile's steps in one go while it sits in the cache."""

    def on_device(shared, own, ids, words, state, begin, end, dt):
        def one_tile(args):
            own, ids, state = args
            system = problem.system(shared, own, words, ids)
            return jax.lax.fori_loop(
                begin, end, lambda index, state: problem.step(system, state, index, dt), state
            )

        return jax.lax.map(one_tile, (own, ids, state))

    spread, same = PartitionSpec("tiles"), PartitionSpec()
    return jax.shard_map(
        on_device, mesh=mesh, in_specs=(same, spread, spread, same, spread, same, same, same),
        out_specs=spread, check_vma=False,
    )(shared, own, ids, words, state, begin, end, dt)  # fmt: skip
