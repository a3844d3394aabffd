"""The programs of a run on a CPU by compiled C, see `dysonjax.native` and `packing`."""

import math
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dysonjax import native, threefry
from dysonjax.ensemble.packing import Own, Packed, Shared, aligned, unpacked
from dysonjax.ensemble.programs import BATCH, INIT, OBSERVE, Identity, Observed, State, after_step
from dysonjax.models.base import Model

# State of a network above which sixteen of them take half of a 1 MB cache. Of a [3, n, n, 1] student sixteen
# in lanes were 2.0 times as fast as one after the other at 12 kB, 1.1 times at 36 kB, 0.65 times at 100 kB.
MOST_BYTES = 32 * 1024
OBSERVED_BYTES = 2**25  # of intermediate arrays of sixteen networks: samples by neurons, several times


def check(devices: list) -> None:
    """Raise native.Unsupported if no step can be compiled here."""
    if devices[0].platform != "cpu":
        raise native.Unsupported("it needs a CPU")
    if native.compiler_path() is None:
        raise native.Unsupported("there is no C compiler (install one, or set CC to its path)")


def step_of_one(model: Model, optimizer: optax.GradientTransformation, batch_size: int):
    """One step of one network, as `Programs.advance` does it for many."""

    def step(key, world, point, state, index):
        batch = model.batch(threefry.derive(key, index), world, index, batch_size)
        update = model.update(state.params, state.memory, batch, world, point)
        return after_step(state, update, optimizer.update, point["lr"], index, lambda value, leaf: value)

    return step


def on_arrays(model, optimizer, batch_size: int, shared: Shared, states: Own):
    """The step of one network as a function of lists of arrays, `step(fixed, carried, index) -> carried`."""
    one = step_of_one(model, optimizer, batch_size)

    def step(fixed, carried, index):
        (key,), world, point = shared.of_one(fixed)
        return jax.tree.leaves(one(key, world, point, states.of_one(carried), index))

    return step


class Step:
    """The training step of a tile, ready to be compiled; like the result of `jax.jit(...).lower`.

    identity, world, state: as `Programs.advance` takes them, the latter two as shapes. Raises
    native.Unsupported if the step cannot be written in C.
    """

    def __init__(self, model, optimizer, batch_size, common, identity: Identity, world: Any, state: Any):
        self.identity, self.out_info = identity, state
        self.shared = Shared(model, common, identity, world, (BATCH,))
        self.states = Own(model, identity.point["lr"].shape[-1], state)
        step = on_arrays(model, optimizer, batch_size, self.shared, self.states)
        # The last leaf of a state is its `diverged_at`.
        last = len(self.states.shapes) - 1
        self.source = native.write_step(step, self.shared.inputs, self.states.shapes, last)

    def compile(self) -> "Advance":
        """Raises native.CompilerError if there is no C compiler or if it fails."""
        return Advance(self)


class Advance:
    """Like the compiled `Programs.advance`, but it takes and returns `Packed` states, as `Pending`."""

    def __init__(self, step: Step):
        self.shared, self.states = step.shared, step.states
        self.kernel = native.Kernel(step.source)
        self.threads = ThreadPoolExecutor(len(step.identity.seed), "dysonjax-native")
        self.fixed = _Kept(lambda *wave: self.shared.arrays(*wave, self.kernel.used))

    def __call__(self, identity: Identity, world: Any, state: Any, first: np.ndarray, count: np.ndarray):
        states = self.states.in_lanes(self.shared, state)
        devices = zip(self.fixed(identity, world), states.calls, first, count, strict=True)
        running = [self.threads.submit(self._train, *device) for device in devices]
        return Pending(running, lambda parts: Packed(self.states, parts, states.unpack))

    def _train(self, fixed: list[list], calls: list[list[np.ndarray]], first: int, count: int) -> list[list]:
        """The states of one device `count` steps later."""
        new = [[aligned(leaf) for leaf in leaves] for leaves in calls]
        for inputs, carried in zip(fixed, new, strict=True):
            self.kernel(inputs, carried, int(first), int(count))
        return new


class Observation:
    """What is observed at a record, ready to be compiled.

    out_info: shapes of what `Programs.observe` returns; targets: the lowered `Programs.targets`.
    Raises native.Unsupported if it cannot be computed in C.
    """

    def __init__(
        self, model: Model, common: bool, identity, world, state: State, out_info: Observed, targets
    ):
        self.identity, self.out_info, self.targets = identity, out_info, targets
        self.shared = Shared(model, common, identity, world, (INIT, OBSERVE))
        self.states = Own(model, identity.point["lr"].shape[-1], state)
        results = jax.tree.leaves((out_info.numbers, out_info.matrices))
        self.results = [jax.ShapeDtypeStruct(leaf.shape[3:], leaf.dtype) for leaf in results]
        count = len(self.shared.inputs)

        def observe(fixed, carried, index):
            (key_init, key), world, point = self.shared.of_one(fixed[:count])
            params = self.states.of_one(fixed[count:]).params
            initial = model.init(key_init, world, point).params
            numbers = model.observe(params, initial, world, key, point)
            found = jax.tree.leaves((numbers, model.matrices(params)))
            return [jnp.asarray(value, kind.dtype) for value, kind in zip(found, self.results, strict=True)]

        states = (native.Input(s.shape, s.dtype, native.NETWORK, True) for s in self.states.shapes)
        self.source = native.write_step(
            observe, [*self.shared.inputs, *states], self.results, most_scratch=OBSERVED_BYTES
        )

    def compile(self) -> "Observe":
        """Raises native.CompilerError if there is no C compiler or if it fails."""
        return Observe(self)


class Observe:
    """Like the compiled `Programs.observe`, but it takes `Packed` states too and returns `Pending`."""

    def __init__(self, observation: Observation):
        self.shared, self.states, self.results = (
            observation.shared,
            observation.states,
            observation.results,
        )
        numbers, matrices = observation.out_info.numbers, observation.out_info.matrices
        self.tree = jax.tree.structure((numbers, matrices))
        self.shape = observation.identity.point["lr"].shape[1:]
        self.kernel = native.Kernel(observation.source, seldom=True)
        self.threads = ThreadPoolExecutor(len(observation.identity.seed), "dysonjax-native")
        self.fixed = _Kept(lambda *wave: self.shared.arrays(*wave, self.kernel.used))
        self.targets = _Kept(observation.targets.compile())

    def __call__(self, identity: Identity, world: Any, state: State | Packed) -> "Pending":
        states = self.states.in_lanes(self.shared, state)
        targets = self.targets(identity, world)
        devices = zip(self.fixed(identity, world), states.calls, strict=True)
        running = [self.threads.submit(self._results, *device) for device in devices]

        def joined(parts):
            *results, diverged_at = (np.stack(of_devices) for of_devices in zip(*parts, strict=True))
            return Observed(*jax.tree.unflatten(self.tree, results), targets, diverged_at)

        return Pending(running, joined)

    def _results(self, fixed: list[list], calls: list[list[np.ndarray]]) -> list[np.ndarray]:
        """Of one device, each (worlds, points, ...); the last one is `diverged_at`."""
        found = []
        for inputs, leaves in zip(fixed, calls, strict=True):
            results = [
                native.aligned(
                    (len(leaves[0]), math.prod(result.shape), native.LANES),
                    np.int32 if result.dtype == bool else result.dtype,
                )
                for result in self.results
            ]
            self.kernel([*inputs, *leaves], results, 0, 1)
            found.append([*results, leaves[-1]])
        shapes = [*(result.shape for result in self.results), ()]
        kinds = [*(result.dtype for result in self.results), np.int32]
        return [
            self.shared.unpack(list(groups), *self.shape)
            .astype(kind, copy=False)
            .reshape(*self.shape, *shape)
            for groups, shape, kind in zip(zip(*found, strict=True), shapes, kinds, strict=True)
        ]


class OfUnpacked:
    """XLA's `Programs.observe`, lowered or compiled, for states that are `Packed`."""

    def __init__(self, program: Any):
        self.program = program

    @property
    def out_info(self) -> Observed:
        return self.program.out_info

    def compile(self) -> "OfUnpacked":
        return OfUnpacked(self.program.compile())

    def __call__(self, identity: Identity, world: Any, state: State | Packed) -> Observed:
        return self.program(identity, world, unpacked(state))


class _Kept:
    """A function of a wave, `function(identity, world)`, that remembers its last result."""

    def __init__(self, function):
        self.function, self.last = function, (None, None, None)

    def __call__(self, identity: Identity, world: Any) -> Any:
        if self.last[0] is not identity or self.last[1] is not world:
            self.last = (identity, world, self.function(identity, world))
        return self.last[2]


class Pending:
    """What is being computed, a part on each device, and how the parts are joined."""

    def __init__(self, running: list[Future], joined):
        self.running, self.joined = running, joined

    def result(self) -> Any:
        return self.joined([work.result() for work in self.running])


def settled(found: Any) -> Any:
    """What a program returned, when it is there."""
    return found.result() if isinstance(found, Pending) else jax.block_until_ready(found)
