"""Whether there is room for a run, on disk and in memory, before anything is made."""

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp

from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.ensemble.grid import Grid, check_range
from dysonjax.models.base import Model

MARGIN_BYTES = 16 * 2**20  # figures, summary, metadata
BYTES_PER_MEMBER = 64  # places, keys and marks, without any state or result
LARGE_BATCH = 2**16  # from which a single network is looked at


def check_space(folder: Path, needed: int) -> None:
    """Raise InputError if the file system of a folder, made or not, has no room for so many bytes."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed + MARGIN_BYTES > free:
        raise InputError(
            f"the run needs up to {size(needed + MARGIN_BYTES)} on disk, but {place} has {size(free)}; "
            "make room, choose another folder, or take fewer records, seeds or stored weights"
        )


def check_memory(model: Model, grid: Grid, x64: bool) -> None:
    """Raise InputError if a grid, or a single network of it, cannot be held; from shapes alone.

    The members of a tile are chosen by the memory that there is; what is checked here is what no tile helps.
    """
    check_range(grid, x64)
    checks.memory(
        f"a grid of {grid.members} networks", BYTES_PER_MEMBER * grid.members, "take fewer values or seeds"
    )
    largest = max(grid.batch_size)
    if largest < LARGE_BATCH:
        return

    def step():
        point = {name: jnp.asarray(value) for name, value in grid.points()[0].items()}
        key = jax.random.key(0)
        world = model.world(key, largest)
        start = model.init(key, world, point)
        return model.update(*start, model.batch(key, world, jnp.int32(0), largest), world, point)

    with jax.enable_x64(x64):
        needed = 2 * _largest(jax.make_jaxpr(step)().jaxpr)  # what is read and what is made of it
    checks.memory(f"one network at batch_size = {largest}", needed, "take a smaller batch")


def _largest(jaxpr) -> int:
    """Bytes of the largest array in a program."""
    found = [0]
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            if hasattr(variable.aval.dtype, "itemsize"):
                found.append(variable.aval.size * variable.aval.dtype.itemsize)
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                found.append(_largest(inner))
    return max(found)


def state_bytes(jobs: list) -> int:
    """Bytes of the largest state that a checkpoint of these jobs holds."""
    return max(sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(job.state)) for job in jobs)


def size(count: int) -> str:
    """In words."""
    for unit, bytes_of in {"GB": 1e9, "MB": 1e6, "kB": 1e3}.items():
        if count >= bytes_of:
            return f"{count / bytes_of:.3g} {unit}"
    return f"{count} bytes"
