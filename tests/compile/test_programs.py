"""Programs drawn at random, by both compilers, against XLA."""

import shutil
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import drawn, state
from wholes import plain, write_whole

from dysonjax import compile as compiler

LANES, STEPS = compiler.LANES, 2
KINDS = [("float32", "int32"), ("float64", "int64"), ("float32", "uint8"), ("float64", "uint32")]

pytestmark = pytest.mark.skipif(compiler.compiler_path() is None, reason="needs a C compiler")


def spread(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays of sixteen networks, (LANES, ...), each turned on by one element."""
    return [np.stack([np.roll(a, 5 * lane).reshape(a.shape) for lane in range(LANES)]) for a in arrays]


def in_lanes(function, states, world, over_worlds: bool) -> list[np.ndarray]:
    """over_worlds: whether the networks differ in their worlds too."""
    kinds = [compiler.Input(w.shape[1:], w.dtype, compiler.WORLD, over_worlds) for w in world]
    shapes = [jax.ShapeDtypeStruct(s.shape[1:], s.dtype) for s in states]

    def flat(values, lanes):
        values = compiler.in_memory(values, lanes)
        values = values.reshape(LANES, -1).T if lanes else values[0]
        copy = compiler.empty_aligned(values.shape, values.dtype)
        copy[...] = values
        return copy

    source = compiler.write_step(function, kinds, shapes, most_scratch=2**30)
    inputs, memory = [flat(w, over_worlds) for w in world], [flat(s, True)[None] for s in states]
    compiler.Kernel(source, seldom=True)(inputs, memory, 0, STEPS)
    return [m[0].T.reshape(s.shape) for m, s in zip(memory, states, strict=True)]


def one_a_core(function, states, world) -> list[np.ndarray]:
    def step(fixed, carried, index):
        return [*function(fixed, carried[:-1], index), carried[-1]]

    fixed = [jax.ShapeDtypeStruct(w.shape[1:], w.dtype) for w in world]
    shapes = [jax.ShapeDtypeStruct(s.shape[1:], s.dtype) for s in states]
    written = write_whole(step, fixed, [*shapes, jax.ShapeDtypeStruct((), np.int32)], len(shapes))
    kernel, found = compiler.Kernel(written), []
    for lane in range(LANES):
        memory = [plain(s[lane]) for s in states] + [plain(np.asarray(-1, np.int32))]
        kernel([plain(w[lane]) for w in world], memory, 0, STEPS)
        found.append(memory[:-1])
    return [np.stack(leaves) for leaves in zip(*found, strict=True)]


def by_xla(function, states, world) -> list[np.ndarray]:
    each = jax.jit(jax.vmap(lambda w, s, i: function(w, s, i), (0, 0, None)))
    for index in range(STEPS):
        states = each(world, states, jnp.int32(index))
    return [np.asarray(s) for s in states]


def agree(found, expected, true: int, names: list[str]):
    for number, (got, right) in enumerate(zip(found, expected, strict=True)):
        name = names[number // (len(found) // len(names))]
        if right.dtype == bool:
            assert set(np.unique(got)) <= {0, true}, name
            got = got != 0
        close = {"float32": 2e-3, "float64": 1e-9}.get(right.dtype.name, 0)
        np.testing.assert_allclose(got, right, rtol=close, atol=close, err_msg=name)


def together(programs):
    """Some programs as one, which is compiled in less time."""

    def function(world, arrays, index):
        size = len(arrays) // len(programs)
        states = [arrays[n * size : (n + 1) * size] for n in range(len(programs))]
        return [new for p, state in zip(programs, states, strict=True) for new in p(world, state, index)]

    return function


def try_some(seeds: Sequence[int], steps: int, kinds: tuple[str, str], over_worlds: bool):
    with jax.enable_x64(True):
        function = together([drawn(seed, steps) for seed in seeds])
        arrays, world = state(*kinds)
        states, worlds = spread(arrays) * len(seeds), spread(world)
        if not over_worlds:
            worlds = [np.stack([w] * LANES) for w in world]
        expected = by_xla(function, states, worlds)
        names = [f"program {seed} of {steps} steps" for seed in seeds]
        agree(in_lanes(function, states, worlds, over_worlds), expected, -1, names)
        agree(one_a_core(function, states, worlds), expected, 1, names)


@pytest.mark.parametrize("group", [*(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1)), 2])
def test_programs_drawn_at_random_agree(group):
    try_some(range(5 * group, 5 * group + 5), 8, KINDS[group], group % 2 == 1)


@pytest.mark.slow
@pytest.mark.parametrize("group", range(3, 63))
def test_many_programs_drawn_at_random_agree(group):
    try_some(range(5 * group, 5 * group + 5), 30, KINDS[group % 4], group % 3 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_each_compiler_agrees(cc, monkeypatch):
    if shutil.which(cc) is None:
        pytest.skip(f"there is no {cc}")
    monkeypatch.setenv("CC", cc)
    try_some([1000], 20, KINDS[1], False)
