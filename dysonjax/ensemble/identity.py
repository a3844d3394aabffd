"""What a member was made of, made again from its identity: its realisation, its start, its test inputs.

A run keeps what it recorded, not the teacher or the data set, which are as large as the run and follow from
its seeds. Whoever wants to measure something else of a stored network needs them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import xarray as xr

from dysonjax import checks, threefry
from dysonjax.ensemble.grid import point_identity
from dysonjax.ensemble.keys import INIT, OBSERVE, WORLD, stream_key
from dysonjax.ensemble.results import configuration
from dysonjax.models.base import Model


class Member(NamedTuple):
    """What one member was made of."""

    world: Any
    """the realisation: teacher, data set and what else all members of a seed share"""
    params: Any
    """its weights before the first step, in the model's own structure"""
    memory: Any
    """what else it carried, such as Markov chains"""
    observation_key: jax.Array
    """the key of its observables, such as of their fresh inputs"""
    point: dict[str, jax.Array]
    """its learning rate, width and scalars"""


@threefry.settled()
def member_of(
    model: Model, run: xr.Dataset, *, seed: int, batch_size: int, lr: float, sigma_w: float, **scalars: float
) -> Member:
    """Make again what the member of a run at this place of its grid was made of.

    Parameters
    ----------
    model : Model
        The one with which the run was made.
    run : Dataset
        Of the run. Its configuration gives root seed, randomness and precision.
    seed : int
        Index of the seed, as in the coordinate `seed`.
    batch_size : int
        Mini-batch size |B|.
    lr : float
        Learning rate α.
    sigma_w : float
        Width of the initial weights.
    **scalars : float
        Those that the grid of the run varies.

    Returns
    -------
    Member
        Realisation, weights before the first step, memory and key of the observables, equal to those of the
        run up to rounding. The place need not be in the grid, since a member is what its identity makes it.

    Raises
    ------
    InputError
        If the run was made with another model, or a scalar of its grid is not given.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> member = dj.member_of(model, run, seed=1, batch_size=4, lr=0.5, sigma_w=8.0)
    >>> first = run.weights.sel(seed=1, batch_size=4, lr=0.5, sigma_w=8.0, record=0)
    >>> bool(abs(member.params["w2"] - first.values).max() < 1e-5)
    True
    """
    config = configuration_with(model, run)
    for name in sorted(config["grid"]["scalars"].keys() ^ scalars.keys()):
        known = name in scalars
        reason = (
            f"the grid of this run does not vary {name}; leave it out"
            if known
            else (f"the grid of this run varies {name}; say which value by {name}=…")
        )
        raise checks.InputError(reason)
    seed = checks.positive_int("seed", seed, 0)
    batch_size = checks.positive_int("batch_size", batch_size)
    point = {"lr": checks.positive("lr", lr), "sigma_w": checks.positive("sigma_w", sigma_w)}
    point |= {name: checks.finite(name, value) for name, value in scalars.items()}
    identity = (
        None
        if config["randomness"] == "common"
        else point_identity(point, batch_size, config.get("identity_bits", 32))
    )
    with jax.enable_x64(config["dtype"] == "float64"), jax.default_matmul_precision("highest"):
        keys = [stream_key(config["seed"], seed, identity, stream) for stream in (WORLD, INIT, OBSERVE)]
        traced = {name: jnp.asarray(value, config["dtype"]) for name, value in point.items()}
        world = jax.jit(model.world, static_argnums=1)(keys[0], batch_size)
        params, memory = jax.jit(model.init)(keys[1], world, traced)
        return Member(world, params, memory, keys[2], traced)


def world_of(model: Model, run: xr.Dataset, *, seed: int, batch_size: int) -> Any:
    """Make again the realisation (teacher, data set) that all members of a seed of a run share.

    Parameters
    ----------
    model : Model
        The one with which the run was made.
    run : Dataset
        Of the run.
    seed : int
        Index of the seed.
    batch_size : int
        Mini-batch size |B|.

    Returns
    -------
    Any
        The realisation, in the model's own structure.

    Raises
    ------
    InputError
        For another model, and for a run with randomness="independent", where every member has a realisation
        of its own: use `member_of(...).world`.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> world = dj.world_of(model, run, seed=1, batch_size=4)
    >>> member = dj.member_of(model, run, seed=1, batch_size=4, lr=0.5, sigma_w=8.0)
    >>> same = jax.tree.map(lambda a, b: bool((a == b).all()), world, member.world)
    >>> all(jax.tree.leaves(same))
    True
    """
    config = configuration_with(model, run)
    if config["randomness"] != "common":
        raise checks.InputError("every member of this run has its own realisation; use member_of(...).world")
    scalars = {name: values[0] for name, values in config["grid"]["scalars"].items()}
    return member_of(model, run, seed=seed, batch_size=batch_size, lr=1.0, sigma_w=1.0, **scalars).world


def configuration_with(model: Model, run: xr.Dataset) -> dict[str, Any]:
    """That of the run; raises InputError unless it was made with this model."""
    config = configuration(run)
    made = {"name": model.name, **model.config}
    differ = sorted(k for k in made.keys() | config["model"].keys() if made.get(k) != config["model"].get(k))
    if differ:
        raise checks.InputError(f"the run was made with another model; they differ in {', '.join(differ)}")
    return config
