"""The five rungs: how the levels of each are drawn. All return float64 (members, levels), ascending."""

import itertools
import warnings
from collections.abc import Callable, Sequence

import jax
import numpy as np
import xarray as xr

from dysonjax import checks, dyson, renamed
from dysonjax.compare.systems import System
from dysonjax.dyson.noise import Strength
from dysonjax.spectra import sample_beta_hermite, sample_wishart

SGD, LANGEVIN, DYSON, GAS, CLOSED = RUNGS = (
    "SGD",
    "matrix Langevin",
    "Dyson Brownian motion",
    "Coulomb gas",
    "closed forms",
)
WINDOW = 100  # intervals from which drift and noise are measured
MEASURED_STEP = 0.05  # interval of that, relative to the fastest relaxation time
RESOLUTION = 0.05  # step of the integrator, relative to the fastest relaxation time


@renamed.arguments(records="steps")
def trained(
    system: System, dataset: xr.Dataset, index: tuple[int, int], records: Sequence[int]
) -> tuple[np.ndarray, int]:
    """Levels of a trained ensemble at one grid point.

    Parameters
    ----------
    system : System
        From `rbm_system` or `linear_system`.
    dataset : xarray.Dataset
        The run.
    index : (int, int)
        Numbers of the batch size and of the learning rate in the grid.
    records : sequence of int
        Those that are wanted, by their steps.

    Returns
    -------
    levels : float64 array, shape (members, records, levels)
        Ascending.
    diverged : int
        How many members diverged and are missing.

    Raises
    ------
    InputError
        If fewer than two members are left.

    Examples
    --------
    >>> system = dj.compare.linear_system(lr=0.1, batch_size=16)
    >>> run = dj.train(system.sgd, dj.Grid(lr=0.1, batch_size=16, sigma_w=0.1, seeds=8), steps=100)
    >>> levels, diverged = dj.compare.trained(system, run.dataset, (0, 0), [100])
    >>> levels.shape, diverged, levels.mean().round()
    ((8, 1, 2), 0, np.float64(2.0))
    """
    point = dataset.isel(batch_size=index[0], lr=index[1], sigma_w=0).transpose("seed", "record", ...)
    point = point.sel(record=list(records))
    levels = point["eigenvalues"].values.astype(np.float64)
    kept = point["alive"].values[:, -1] & np.isfinite(levels).all(axis=(1, 2))
    if kept.sum() < 2:
        raise checks.InputError(
            f"{system.sgd.name} diverged in all but {kept.sum()} members at lr = {float(point['lr']):g}; "
            f"lower lr"
        )
    levels = np.maximum(levels[kept], 0.0)
    return (np.sqrt(levels) if system.singular_values else levels), int((~kept).sum())


def window(system: System, steps: int) -> tuple[int, ...]:
    """Record steps at the end of training, close enough together to measure drift and noise."""
    interval = max(1, round(MEASURED_STEP / (system.unit * system.omega.max())))
    count = min(WINDOW, steps // (2 * interval))
    if count < 10:
        raise checks.InputError(f"measuring drift and noise needs more steps, got {steps}")
    return tuple(steps - interval * k for k in range(count, -1, -1))


def start_levels(system: System, sigma_w: float, members: int, key: jax.Array | int) -> np.ndarray:
    """Spectra of random square weights N(0, sigma_w²/n), the law with which training starts.

    Parameters
    ----------
    system : System
        From `rbm_system` or `linear_system`.
    sigma_w : float
        Width of the initial weights times √n.
    members : int
        Number of spectra.
    key : JAX key or int
        Randomness.

    Returns
    -------
    float64 array, shape (members, levels)
        Ascending.

    Examples
    --------
    >>> system = dj.compare.linear_system(lr=0.1, batch_size=16)
    >>> start = dj.compare.start_levels(system, sigma_w=0.1, members=1000, key=jax.random.key(0))
    >>> bool(start.max() < system.targets.min())
    True
    """
    size = len(system.targets)
    eigenvalues = system.scale * sample_wishart(key, size, size, sigma_w / np.sqrt(size), (members,))
    if system.singular_values:
        return np.sqrt(eigenvalues)
    return np.minimum(eigenvalues, 0.99 * float(np.max(system.potential.upper)))


def dyson_levels(
    system: System, potential: dyson.Potential, g2: Strength, start: np.ndarray, steps: int, key: jax.Array,
    *, pairs: dyson.Pairwise | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> np.ndarray:  # fmt: skip
    """Levels of Dyson Brownian motion after the time of a number of training steps.

    Members that leave the domain are missing at the end: with noise that grows towards μ², a machine of
    second order can diverge as a trained one can. Where species share a target, members take turns in which
    of them is the lower level.

    Parameters
    ----------
    system : System
        From `rbm_system` or `linear_system`.
    potential : dyson.Potential
        Drift and domain, `system.potential` or a measured one.
    g2 : array or callable
        Noise strengths, as for `dyson.integrate`.
    start : array, shape (members, levels)
        Levels at the start, ascending.
    steps : int
        Number of training steps.
    key : JAX key
        Randomness.
    pairs : dyson.Pairwise, optional
        Smooth forces between levels.
    progress : callable, optional
        Called with (steps done, steps).

    Returns
    -------
    float64 array, shape (members, levels)
        Ascending.

    Examples
    --------
    >>> system = dj.compare.linear_system(lr=0.1, batch_size=16)
    >>> start = np.tile([0.1, 0.2], (16, 1))
    >>> end = dj.compare.dyson_levels(
    ...     system, system.potential, system.g2, start, steps=100, key=jax.random.key(0)
    ... )
    >>> float(end.mean().round())
    2.0
    """
    duration = system.unit * steps
    count = max(100, int(np.ceil(duration * system.omega.max() / RESOLUTION)))
    if potential is system.potential and system.several_species:
        turns = np.array(list(itertools.permutations(range(len(system.targets)))))
        turn = turns[np.arange(len(start)) % len(turns)]
        potential = dyson.quadratic(system.omega[turn], system.targets)
        g2 = np.asarray(g2)[turn]
    records = 2 if progress is None else 21
    path = dyson.integrate(
        potential, g2, start, duration, count, key=key, pairs=pairs, records=records, progress=progress
    )
    levels = path.levels[:, -1]
    return levels[np.isfinite(levels).all(axis=1)]


def gas_levels(gas: dyson.CoulombGas, members: int, key: jax.Array | int) -> tuple[np.ndarray, list[str]]:
    """Draws of the stationary law, and what the sampler warned of.

    Parameters
    ----------
    gas : dyson.CoulombGas
        The law.
    members : int
        Number of draws.
    key : JAX key or int
        Randomness.

    Returns
    -------
    levels : float64 array, shape (members, levels)
        Ascending.
    warned : list of str
        Warnings of the sampler.

    Examples
    --------
    >>> gas = dj.dyson.CoulombGas(dj.dyson.quadratic(center=2.0), g2=0.01, n=2)
    >>> levels, warned = dj.compare.gas_levels(gas, 1000, jax.random.key(0))
    >>> float(levels.mean().round(1)), warned
    (2.0, [])
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        drawn = gas.sample(key, members)
    return drawn, [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)]


def species_gas_levels(system: System, members: int, key) -> tuple[np.ndarray, list[str]]:
    """The same for a pair of two species; by symmetry each is the lower one in half of the draws."""
    size = len(system.targets)
    drawn, notes = [], []
    turns = (slice(None), members - members // 2), (slice(None, None, -1), members // 2)
    for turn, part in turns:
        key, own = jax.random.split(key)
        potential = dyson.quadratic(system.omega[turn], system.targets)
        levels, warned = gas_levels(dyson.CoulombGas(potential, system.g2[turn], 1.0, size), part, own)
        drawn.append(levels)
        notes += warned
    return np.concatenate(drawn), notes


def closed_forms(targets: np.ndarray, sigma: np.ndarray, members: int, key: jax.Array) -> np.ndarray:
    """Every degenerate block of levels, drawn from its own law.

    Parameters
    ----------
    targets : array, shape (levels,)
        Target levels, ascending. Equal ones make a block.
    sigma : array, shape (levels,)
        Width of a single level.
    members : int
        Number of draws.
    key : JAX key
        Randomness.

    Returns
    -------
    float64 array, shape (members, levels)
        Ascending.

    Notes
    -----
    The law of a block of m levels is ∝ Π|x_i − x_j| exp(−Σ(x_i − x_t)²/2σ_i²): Gaussian for a single level;
    for a pair the surmise of its spacing with the two-mode density, or the two-species law where the widths
    differ. Blocks ignore each other, and may then overlap.

    Examples
    --------
    The mean spacing of a pair is √π σ:

    >>> pair = dj.compare.closed_forms(np.ones(2), np.full(2, 0.1), 20_000, jax.random.key(0))
    >>> bool(abs(np.diff(pair).mean() / (np.sqrt(np.pi) * 0.1) - 1) < 0.02)
    True
    """
    same = np.diff(targets) <= 1e-5 * np.abs(targets).max()
    blocks = np.split(np.arange(len(targets)), np.flatnonzero(~same) + 1)
    keys = jax.random.split(key, len(blocks))
    drawn = []
    for block, own in zip(blocks, keys, strict=True):
        if len(block) == 2 and np.ptp(sigma[block]) > 1e-9:
            levels = _two_species(sigma[block], members, own)
        else:
            levels = sample_beta_hermite(own, len(block), 1.0, sigma[block].mean() / np.sqrt(2), (members,))
        drawn.append(targets[block].mean() + levels)
    return np.sort(np.concatenate(drawn, axis=1), axis=1)


def _two_species(sigma: np.ndarray, members: int, key) -> np.ndarray:
    """Pairs ∝ |x₁ − x₂| exp(−x₁²/2σ₁² − x₂²/2σ₂²): the distance is Rayleigh, the rest Gaussian given it."""
    keys = jax.random.split(key, 3)
    square = sigma**2
    exponential = np.asarray(jax.random.exponential(keys[0], (members,)), np.float64)
    distance = np.sqrt(2 * square.sum() * exponential)
    distance = distance * np.where(np.asarray(jax.random.bernoulli(keys[1], shape=(members,))), 1, -1)
    normal = np.asarray(jax.random.normal(keys[2], (members,)), np.float64)
    first = square[0] / square.sum() * distance + np.sqrt(square.prod() / square.sum()) * normal
    return np.stack([first, first - distance], axis=1)
