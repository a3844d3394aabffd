"""One layer after the other, or several at a time in processes of their own."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

from dysonjax.checks import InputError
from dysonjax.layers.change import Change
from dysonjax.layers.units import Unit, Units, units_of
from dysonjax.spectra.checkpoint import MatrixSpectrum


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


def walk(
    units: Units,
    options: Options,
    progress: Callable[[float, float], None] | None = None,
    jobs: int = 1,
    recipe: Recipe | None = None,
) -> Iterator[Result]:
    """Results in the order of the units. progress: called as progress(done, total) in units of their cost.

    jobs: processes; above 1 a recipe of paths is needed, since every process opens the files itself.
    """
    total = sum(unit.cost for unit in units.units)
    done = 0.0
    if jobs > 1 and recipe is not None and len(units.units) > 1:
        outcomes = _in_processes(len(units.units), options, jobs, recipe)
    else:
        outcomes = None
    for unit in units.units:
        if outcomes is not None:
            spectrum, change, problem = next(outcomes)
        else:
            inner = None
            if progress is not None:

                def inner(part: int, whole: int, done=done, cost=unit.cost) -> None:
                    progress(done + cost * part / max(whole, 1), total)

            spectrum, change, problem = _one(unit, options, inner)
        done += unit.cost
        if progress is not None:
            progress(done, total)
        yield Result(unit, spectrum, change, problem)


def _one(unit: Unit, options: Options, progress=None):
    try:
        return *unit.analyse(options.n, options.seed, options.nulls, options.quick, progress), ""
    except InputError as error:
        return None, None, str(error)


def _in_processes(count: int, options: Options, jobs: int, recipe: Recipe):
    # Forked processes could inherit the threads of JAX or of BLAS in the middle of their work.
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_few_threads, initargs=(jobs,)
    ) as pool:
        yield from pool.map(_work, [(recipe, options, index) for index in range(count)])


def _few_threads(jobs: int) -> None:
    share = str(max(1, (os.cpu_count() or 1) // jobs))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, share)


@lru_cache(maxsize=2)
def _units(recipe: Recipe) -> Units:
    return units_of(recipe.source, recipe.layout, recipe.split, recipe.start).only(recipe.only)


def _work(task: tuple[Recipe, Options, int]):
    recipe, options, index = task
    return _one(_units(recipe).units[index], options)
