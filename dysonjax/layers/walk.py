"""One layer after the other, or several at a time in processes of their own."""

import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

from dysonjax import cache
from dysonjax.checks import InputError
from dysonjax.layers.change import Change
from dysonjax.layers.units import Unit, Units, units_of
from dysonjax.spectra.checkpoint import MatrixSpectrum
from dysonjax.spectra.matrix_nulls import default_draws


@dataclass(frozen=True)
class Options:
    n: int = 200
    seed: int = 0
    nulls: int | None = None
    quick: bool = False


@dataclass(frozen=True)
class Result:
    """The statistics of a unit, or the reason why there are none."""

    unit: Unit
    spectrum: MatrixSpectrum | None
    change: Change | None
    problem: str = ""


@dataclass(frozen=True)
class Recipe:
    """How another process finds the same units."""

    source: Any
    layout: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    start: Any = None
    only: str | None = None


def work(unit: Unit, options: Options) -> float:
    """Multiplications, about, of levels, nulls and all else."""
    gram, levels = unit.rows * unit.modes**2, unit.modes**3
    draws = default_draws(unit.rows, unit.modes) if options.nulls is None else options.nulls
    if unit.members > 1 or options.quick:
        draws = 0
    null = gram + levels / 2 + 60 * unit.rows * unit.modes
    # Fits and tests take a tenth of a second, more with many levels.
    return unit.members * (gram + 3 * levels) + draws * null + 2e9 + 1e6 * unit.modes


def memory(unit: Unit, options: Options) -> float:
    """Bytes, about, while a unit is analysed: its entries as stored and in single precision, the Gram matrix
    with the work space of its eigenvalues, and of a null the order of the entries and two copies."""
    size = unit.members * unit.rows * unit.modes
    null = 0 if unit.members > 1 or options.quick or options.nulls == 0 else 13
    return size * (8 + null) + 8 * 3 * unit.modes**2


def walk(
    units: Units,
    options: Options,
    progress: Callable[[float, float], None] | None = None,
    jobs: int = 1,
    recipe: Recipe | None = None,
    known: Collection[int] = (),
) -> Iterator[Result | None]:
    """Results in the order of the units. progress: called as progress(done, total) in multiplications.

    jobs: processes; above 1 a recipe of paths is needed, since every process opens the files itself.
    known: numbers of units that are left out; None stands in their place.
    """
    left = [index for index in range(len(units.units)) if index not in known]
    total = sum(work(units.units[index], options) for index in left)
    done = 0.0
    outcomes = None
    if jobs > 1 and recipe is not None and len(left) > 1:
        outcomes = _in_processes(left, options, jobs, recipe)
    for index, unit in enumerate(units.units):
        if index in known:
            yield None
            continue
        cost = work(unit, options)
        if outcomes is not None:
            spectrum, change, problem = next(outcomes)
        else:
            inner = None
            if progress is not None:

                def inner(part: int, whole: int, done=done, cost=cost) -> None:
                    progress(done + cost * part / max(whole, 1), total)

            spectrum, change, problem = _one(unit, options, inner)
        done += cost
        if progress is not None:
            progress(done, total)
        yield Result(unit, spectrum, change, problem)


def _one(unit: Unit, options: Options, progress=None):
    try:
        return *unit.analyse(options.n, options.seed, options.nulls, options.quick, progress), ""
    except InputError as error:
        return None, None, str(error)


def _in_processes(indices: list[int], options: Options, jobs: int, recipe: Recipe):
    # Forked processes could inherit the threads of JAX or of BLAS in the middle of their work.
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_few_threads, initargs=(jobs,)
    ) as pool:
        yield from pool.map(_work, [(recipe, options, index) for index in indices])


def _few_threads(jobs: int) -> None:
    share = str(max(1, cache.cores() // jobs))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, share)


@lru_cache(maxsize=2)
def _units(recipe: Recipe) -> Units:
    return units_of(recipe.source, recipe.layout, recipe.split, recipe.start).only(recipe.only)


def _work(task: tuple[Recipe, Options, int]):
    recipe, options, index = task
    return _one(_units(recipe).units[index], options)
