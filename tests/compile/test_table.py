"""Every operation that the compilers claim, at the edges of every type, against JAX, on both targets."""

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from table import ROWS, TYPES, Case
from wholes import plain, write_whole

from dysonjax import compile as compiler
from dysonjax.compile import lower
from dysonjax.compile.operations import ELEMENTWISE, OF_MODELS, REDUCTIONS

LANES, TOGETHER = compiler.LANES, 120  # cases of a C function: compiling takes longer than in proportion
pytestmark = pytest.mark.skipif(compiler.compiler_path() is None, reason="needs a C compiler")


class Trial(NamedTuple):
    """A case with some of its arrays the same for all networks."""

    name: str
    case: Case
    shared: tuple[bool, ...]

    def arrays(self, lane: int) -> list[np.ndarray]:
        """Those of one network: what is not shared is turned on by one element from lane to lane."""
        return [
            a if shared or not a.size else np.roll(a, lane).reshape(a.shape)
            for a, shared in zip(self.case.arrays, self.shared, strict=True)
        ]

    def results(self, *arrays) -> list:
        return jax.tree.leaves(self.case.function(*arrays))


def accepted(case: Case) -> bool:
    """Whether JAX takes numbers of this type."""
    try:
        jax.eval_shape(case.function, *case.arrays)
    except (TypeError, OverflowError, ValueError, NotImplementedError):
        return False
    return True


def trials(dtype: str, names=None, everything: bool = True) -> list[Trial]:
    """The cases of a type, with what varies: all arrays or none, and also only the first or all but it.

    everything: False for the first case of each operation alone, and not the latter two.
    """
    found = []
    for name in names or ROWS:
        cases = list(filter(accepted, ROWS[name](dtype)))
        for case in cases if everything else cases[:1]:
            rest = (len(case.arrays) - 1) * (True,)
            some = tuple(not shared for shared in rest)
            sharing = [(False, *some), (True, *rest)]
            if everything and rest:
                sharing += [(False, *rest), (True, *some)]
            if case.shared is not None:
                sharing = [case.shared]
            found += [Trial(f"{name} of {dtype}", case, shared) for shared in sharing]
    return found


def expected(trials: list[Trial]) -> list[list[np.ndarray]]:
    """By one XLA program: for each trial its results, (LANES, ...)."""
    inputs = [[np.stack(arrays) for arrays in zip(*map(t.arrays, range(LANES)), strict=True)] for t in trials]

    def each(inputs):
        return [t.results(*arrays) for t, arrays in zip(trials, inputs, strict=True)]

    # Quick ones, see tests/conftest.py, clamp no truth values.
    emitters = "xla_cpu_use_fusion_emitters"
    options = {emitters: True} if emitters in os.environ.get("XLA_FLAGS", "") else {}
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(each), compiler_options=options)(inputs))


def in_lanes(trials: list[Trial], results: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """The same by one compiled function of sixteen networks."""
    kinds, memory = [], []
    for trial in trials:
        for place, shared in enumerate(trial.shared):
            lanes = [trial.arrays(lane)[place] for lane in range(LANES)]
            values = lanes[0] if shared else np.stack([a.ravel() for a in lanes], -1)
            level = compiler.WORLD if shared else compiler.NETWORK
            kinds.append(compiler.Input(lanes[0].shape, lanes[0].dtype, level, not shared))
            memory.append(copied(compiler.in_memory(values, not shared)))
    found = [aligned_like(r.reshape(LANES, -1).T[None]) for leaves in results for r in leaves]
    shapes = [jax.ShapeDtypeStruct(r.shape[1:], r.dtype) for leaves in results for r in leaves]

    def step(fixed, carried, index):
        rest = iter(fixed)
        return [r for t in trials for r in t.results(*(next(rest) for _ in t.shared))]

    source = compiler.write_step(step, kinds, shapes, most_scratch=2**40)
    compiler.Kernel(source, seldom=True)(memory, found, 0, 1)
    return unflattened([f[0].T.reshape(LANES, *s.shape) for f, s in zip(found, shapes, strict=True)], results)


def one_a_core(trials: list[Trial], results: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """The same by one compiled function of one network; what differs between them is part of its state."""
    varying = [(t, place) for t in trials for place, shared in enumerate(t.shared) if not shared]
    shared = [(t, place) for t in trials for place, s in enumerate(t.shared) if s]
    shapes = [jax.ShapeDtypeStruct(r.shape[1:], r.dtype) for leaves in results for r in leaves]

    def step(fixed, carried, index):
        common, own = iter(fixed), iter(carried[len(shapes) :])
        new = [r for t in trials for r in t.results(*(next(common if s else own) for s in t.shared))]
        return [*new, *carried[len(shapes) :]]

    states = [jax.ShapeDtypeStruct(t.case.arrays[p].shape, t.case.arrays[p].dtype) for t, p in varying]
    fixed = [jax.ShapeDtypeStruct(t.case.arrays[p].shape, t.case.arrays[p].dtype) for t, p in shared]
    carried = [*shapes, *states, jax.ShapeDtypeStruct((), np.int32)]
    kernel = compiler.Kernel(write_whole(step, fixed, carried, stopped=len(carried) - 1))
    inputs = [plain(t.case.arrays[p]) for t, p in shared]
    found = []
    for lane in range(LANES):
        memory = [plain(np.zeros(s.shape, s.dtype)) for s in shapes]
        memory += [plain(t.arrays(lane)[p]) for t, p in varying]
        memory.append(plain(np.asarray(-1, np.int32)))
        kernel(inputs, memory, 0, 1)
        found.append([m.reshape(s.shape) for m, s in zip(memory, shapes, strict=False)])
    return unflattened([np.stack(leaves) for leaves in zip(*found, strict=True)], results)


def copied(values: np.ndarray) -> np.ndarray:
    copy = compiler.empty_aligned(values.shape, values.dtype)
    copy[...] = values
    return copy


def aligned_like(values: np.ndarray) -> np.ndarray:
    return compiler.empty_aligned(values.shape, np.int32 if values.dtype == bool else values.dtype)


def unflattened(found: list[np.ndarray], results) -> list[list[np.ndarray]]:
    rest = iter(found)
    return [[next(rest) for _ in leaves] for leaves in results]


def distance(got: np.ndarray, right: np.ndarray, zeros: bool, of_largest: bool) -> np.ndarray:
    """How many numbers of the type lie between; subnormal ones count as zero, as on a CPU in XLA."""
    if right.dtype.kind != "f":
        return np.where(got != right, np.inf, 0)
    info = np.finfo(right.dtype)
    kind = np.dtype(f"i{right.dtype.itemsize}")

    def place(x):
        bits = np.abs(x).view(kind)
        above = np.maximum(bits - (np.array(info.tiny).view(kind) - 1), 0).astype(float)
        return np.where(np.signbit(x), -above, above)

    apart = abs(place(got) - place(right))
    if of_largest:
        largest = np.maximum(np.nanmax(abs(right), initial=0), info.tiny)
        apart = abs(got / largest - right / largest) / info.eps
    if zeros:
        apart = np.where(np.signbit(got) == np.signbit(right), apart, np.inf)
    nan = np.isnan(right)
    return np.where(nan | np.isnan(got), np.where(nan == np.isnan(got), 0, np.inf), apart)


def check(found, results, trials, true):
    wrong = []
    for got, right, trial in zip(found, results, trials, strict=True):
        for a, b in zip(got, right, strict=True):
            if b.dtype == bool:
                assert set(np.unique(a)) <= {0, true}, f"{trial.name}: {np.unique(a)}"
                a = a != 0
            apart = distance(a, b, trial.case.zeros, trial.case.of_largest)
            if (apart > trial.case.ulps).any():
                lane, *place = np.argwhere(apart > trial.case.ulps)[0]
                inputs = [x if x.shape != b.shape[1:] else x[tuple(place)] for x in trial.arrays(lane)]
                wrong.append(
                    f"{trial.name} (shared: {trial.shared}) at {tuple(place)} of {b.shape[1:]}: "
                    f"{a[(lane, *place)]!r} instead of {b[(lane, *place)]!r} for {inputs}, {apart.max()} ulps"
                )
    assert not wrong, "\n".join(wrong)


def test_every_operation_that_is_claimed_has_a_row():
    assert set(ROWS) == lower.CLAIMED


@pytest.mark.parametrize(
    "dtype", ["float32", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("int32", "bool"))]
)
def test_operations_agree_at_the_edges_of_their_types(dtype):
    agree(dtype, sorted((ELEMENTWISE | REDUCTIONS) & OF_MODELS), everything=False)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES)
def test_every_case_of_every_operation_agrees_whatever_varies(dtype):
    agree(dtype, ROWS, everything=True)


def batched(rows: list[Trial], size: int) -> list[list[Trial]]:
    return [rows[place : place + size] for place in range(0, len(rows), size)]


def agree(dtype: str, names, everything: bool):
    with jax.enable_x64(True):
        for rows in batched(trials(dtype, names, everything), TOGETHER):
            results = expected(rows)
            check(in_lanes(rows, results), results, rows, -1)
            check(one_a_core(rows, results), results, rows, 1)


@pytest.mark.parametrize("change", [lambda x: -x, lambda x: np.where(x == 0, np.nan, x), np.nextafter])
def test_a_zero_of_the_wrong_sign_a_missing_nan_and_a_last_bit_are_seen(change):
    rows = trials("float32", ["sub"], everything=False)
    results = expected(rows)
    found = [[change(a, np.float32(9)) if change is np.nextafter else change(a) for a in r] for r in results]
    check(results, results, rows, -1)
    with pytest.raises(AssertionError, match="sub of float32"):
        check(found, results, rows, -1)


REFUSED = {
    "numbers of type float16": lambda x: x.astype(jnp.float16),
    "bits of another width": lambda x: jax.lax.bitcast_convert_type(x, jnp.uint8),
    "padding of negative width": lambda x: jax.lax.pad(x, np.float32(0), ((-1, 0, 0),)),
    "the operation reduce, in line": lambda x: jax.lax.reduce(x, np.float32(0), lambda a, b: a * 2 + b, (0,)),
    "the operation lgamma": jax.lax.lgamma,
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_refusal_names_the_operation_and_the_line_of_the_model(what):
    def step(fixed, carried, index):
        return [carried[0] + REFUSED[what](carried[0]).sum().astype(carried[0].dtype), carried[1]]

    shapes = [jax.ShapeDtypeStruct((4,), np.float32), jax.ShapeDtypeStruct((), np.int32)]
    for write in (compiler.write_step, write_whole):
        with pytest.raises(compiler.Unsupported, match=what) as refusal:
            write(step, [], shapes, 1)
        assert "test_table.py" in str(refusal.value)
