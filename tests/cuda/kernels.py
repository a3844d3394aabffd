"""Kernels of a model's step as C, beside XLA's own program: what the tests of the CUDA target share."""

import functools
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np

import dysonjax as dj
from dysonjax import threefry
from dysonjax.compile import layouts
from dysonjax.compile.cuts import Cut
from dysonjax.ensemble import cuda, jobs, targets, xla
from dysonjax.ensemble.contract import Executable, Task, Tile
from dysonjax.ensemble.jobs import per_device

MODELS = {
    "student": (lambda: dj.models.teacher_student(batches=7), 4),
    "online": (lambda: dj.models.teacher_student(data="online"), 4),
    "all": (lambda: dj.models.teacher_student(train="all", batches=7), 4),
    "identity": (lambda: dj.models.teacher_student(activation="identity", label_noise=0.1, batches=7), 3),
    "deep": (lambda: dj.models.teacher_student(widths=[3, 8, 6, 5, 1], batches=7), 2),
    "linear": (lambda: dj.models.linear(), 8),
    "gibbs": (lambda: dj.models.rbm(), 16),
    "collapsed": (lambda: dj.models.rbm(sampler="collapsed"), 16),
}


class Case(NamedTuple):
    """A tile of networks before their first step."""

    task: Task
    tile: Tile
    world: Any
    state: Any  # as XLA's programs have it
    ready: cuda.Prepared

    def plain(self, state: Any) -> list[np.ndarray]:
        return [np.asarray(self.tile.points.plain(leaf)) for leaf in jax.tree.leaves(state)]


@functools.cache
def case(name, rates, seeds=2, optimizer="sgd", x64=False) -> Case:
    make, batch_size = MODELS[name]
    return of_model(make(), batch_size, rates, seeds, optimizer, x64)


def of_model(model, batch_size, rates, seeds=2, optimizer="sgd", x64=False) -> Case:
    found = []

    def lower(task, tile):
        found.append((task, tile))
        raise StopIteration

    grid = dj.Grid(lr=list(rates), sigma_w=0.5, batch_size=batch_size, seeds=seeds)
    config = dj.ensemble.Config(grid, 100, 1, devices=1, optimizer=optimizer, x64=x64, tile=10**6)
    one = (xla.TARGET._replace(lower=lower),)
    with jax.enable_x64(x64), threefry.settled():
        with mock.patch.object(targets, "TARGETS", one):
            try:
                jobs.job(model, config, 0, range(seeds))
            except StopIteration:
                pass
        (task, tile) = found[0]
        return Case(task, tile, *task.programs.start(tile.identity), cuda.prepared(task, tile))


def by_xla(one: Case, steps: int) -> list[np.ndarray]:
    """The state after some steps, plain leaves (worlds, points, ...)."""
    with jax.enable_x64(_double(one)):
        copy = jax.tree.map(lambda leaf: leaf + 0, one.state)
        first, count = np.zeros(1, np.int32), np.full(1, steps, np.int32)
        found = one.task.programs.advance(one.tile.identity, one.world, copy, first, count)
        return [leaf[0] for leaf in one.plain(found)]


def kernel(one: Case, found: list[layouts.Layout] | layouts.Layout, packed: Cut | None = None) -> Executable:
    """The compiled step of the layout that costs the least.

    packed: how the state is handed over, if not as it should be.
    """
    found = [found] if isinstance(found, layouts.Layout) else found
    with jax.enable_x64(_double(one)):
        machine = cuda.machine(one.task.devices, one.ready.step, found)
        if packed is not None:
            machine = machine._replace(source=machine.source._replace(how=packed))
        return cuda.executable(one.tile, one.ready, machine, None, None)


def by_threads(one: Case, run: Executable, pieces: list[int]) -> list[np.ndarray]:
    """The same as `by_xla` by a kernel, in pieces."""
    with jax.enable_x64(_double(one)):
        plain = jax.tree.unflatten(jax.tree.structure(one.state), one.plain(one.state))
        state, now = run.pack(plain), 0
        for count in pieces:
            ends = per_device(now, 1), per_device(count, 1)
            state = run.advance(one.tile.identity, one.world, state, *ends).result()
            now += count
        return [leaf[0] for leaf in jax.tree.leaves(run.unpack(state))]


def layout(one: Case, threads: int, block: int = 1) -> layouts.Layout:
    """The best way to cut a network over some threads, whether it fits into registers or not."""
    _, worlds, points = one.tile.shape
    few = {"MOST_REGISTERS": 10**6, "THREADS": tuple(sorted({1, threads}))}
    with mock.patch.multiple(layouts, **few):
        found = layouts.ranked(one.ready.step, worlds, points)
    best = next(way for way in found if way.how.threads == threads)
    return best._replace(block=block)


def cut(threads: int, axes, scatter: bool = False, block: int = 1) -> layouts.Layout:
    return layouts.Layout(Cut(threads, tuple(axes), scatter), block, 1, 1, 0, 0, 0)


def difference(found: list[np.ndarray], expected: list[np.ndarray], members=slice(None)) -> float:
    """The largest one between numbers, over the largest of a network's array."""
    worst = 0.0
    for a, b in zip(found[:-1], expected[:-1], strict=True):
        if b.dtype.kind == "f" and b.size:
            a, b = a[members].reshape(-1, b[0, 0].size), b[members].reshape(-1, b[0, 0].size)
            worst = max(
                worst, float(np.max(np.abs(a - b) / np.maximum(np.abs(b).max(-1, keepdims=True), 1e-6)))
            )
    return worst


def _double(one: Case) -> bool:
    return any(leaf.dtype == np.float64 for leaf in jax.tree.leaves(one.state))
