"""The programs of a run on a CPU by compiled C, see `dysonjax.native` and `packing`."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dysonjax import native, threefry
from dysonjax.ensemble.packing import Own, Shared, by_device, shards
from dysonjax.ensemble.programs import BATCH, INIT, OBSERVE, Identity, Observed, State
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
        direction, optimizer_state = optimizer.update(update.direction, state.optimizer, state.params)
        alive = (state.diverged_at < 0) & update.healthy

        def keep(new, old):
            return jnp.where(alive, new, old)

        moved = jax.tree.map(lambda p, d: p - point["lr"].astype(p.dtype) * d, state.params, direction)
        return State(
            jax.tree.map(keep, moved, state.params),
            jax.tree.map(keep, update.memory, state.memory),
            jax.tree.map(keep, optimizer_state, state.optimizer),
            jnp.where(alive | (state.diverged_at >= 0), state.diverged_at, index),
        )

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
    """Like the compiled `Programs.advance`, but what it returns is `Pending`."""

    def __init__(self, step: Step):
        self.shared, self.states = step.shared, step.states
        self.kernel = native.Kernel(step.source)
        self.threads = ThreadPoolExecutor(len(step.identity.seed), "dysonjax-native")
        self.fixed = _Kept(self.shared, self.kernel)

    def __call__(self, identity: Identity, world: Any, state: Any, first: np.ndarray, count: np.ndarray):
        on_devices = [by_device(leaf) for leaf in jax.tree.leaves(state)]
        running = [
            self.threads.submit(
                self._train,
                fixed,
                [leaf[device] for leaf in on_devices],
                int(first[device]),
                int(count[device]),
            )
            for device, fixed in enumerate(self.fixed(identity, world))
        ]

        return Pending(running, lambda parts: joined(parts, state))

    def _train(self, fixed: list[list], leaves: list[np.ndarray], first: int, count: int) -> list[np.ndarray]:
        """Advance the states (worlds, ...) of one device."""
        packed = self.states.pack(self.shared, leaves)
        for inputs, carried in zip(fixed, packed, strict=True):
            self.kernel(inputs, carried, first, count)
        return self.states.unpack(self.shared, packed, leaves)


class Observation:
    """The numbers that a model observes, ready to be compiled.

    out_info: shapes of what `Programs.observe` returns; show: the lowered `Programs.show`.
    Raises native.Unsupported if they cannot be computed in C.
    """

    def __init__(self, model: Model, common: bool, identity, world, state: State, out_info: Observed, show):
        self.identity, self.out_info, self.show = identity, out_info, show
        self.shared = Shared(model, common, identity, world, (INIT, OBSERVE))
        self.params = Own(model, identity.point["lr"].shape[-1], state.params)
        self.kinds = {name: leaf.dtype for name, leaf in sorted(out_info.numbers.items())}
        if bool in self.kinds.values():
            raise native.Unsupported("a truth value among the observables")
        count = len(self.shared.inputs)

        def observe(fixed, carried, index):
            (key_init, key), world, point = self.shared.of_one(fixed[:count])
            initial = model.init(key_init, world, point).params
            found = model.observe(self.params.of_one(fixed[count:]), initial, world, key, point)
            return [jnp.asarray(found[name], kind) for name, kind in self.kinds.items()]

        params = (native.Input(s.shape, s.dtype, native.NETWORK, True) for s in self.params.shapes)
        numbers = [jax.ShapeDtypeStruct((), kind) for kind in self.kinds.values()]
        self.source = native.write_step(
            observe, [*self.shared.inputs, *params], numbers, most_scratch=OBSERVED_BYTES
        )

    def compile(self) -> "Observe":
        """Raises native.CompilerError if there is no C compiler or if it fails."""
        return Observe(self)


class Observe:
    """Like the compiled `Programs.observe`, but what it returns is `Pending`."""

    def __init__(self, observation: Observation):
        self.shared, self.params, self.kinds = observation.shared, observation.params, observation.kinds
        self.shape = observation.identity.point["lr"].shape[1:]
        self.show, self.kernel = observation.show.compile(), native.Kernel(observation.source, seldom=True)
        self.threads = ThreadPoolExecutor(len(observation.identity.seed), "dysonjax-native")
        self.fixed = _Kept(self.shared, self.kernel)

    def __call__(self, identity: Identity, world: Any, state: State) -> "Pending":
        on_devices = [by_device(leaf) for leaf in jax.tree.leaves(state.params)]
        matrices, targets = self.show(identity, world, state)
        running = [
            self.threads.submit(self._numbers, fixed, [leaf[device] for leaf in on_devices])
            for device, fixed in enumerate(self.fixed(identity, world))
        ]

        def joined(parts):
            numbers = {name: np.stack([part[n] for part in parts]) for n, name in enumerate(self.kinds)}
            return Observed(numbers, matrices, targets, state.diverged_at)

        return Pending(running, joined)

    def _numbers(self, fixed: list[list], leaves: list[np.ndarray]) -> list[np.ndarray]:
        """Of one device, each (worlds, points)."""
        calls = []
        for inputs, params in zip(fixed, self.params.pack(self.shared, leaves), strict=True):
            shape = (len(params[0]), 1, native.LANES)
            numbers = [native.aligned(shape, kind) for kind in self.kinds.values()]
            self.kernel([*inputs, *params], numbers, 0, 1)
            calls.append(numbers)
        return [self.shared.unpack(list(groups), *self.shape)[:, :, 0] for groups in zip(*calls, strict=True)]


class _Kept:
    """The inputs of the last wave, as a kernel reads them."""

    def __init__(self, shared: Shared, kernel: native.Kernel):
        self.shared, self.kernel = shared, kernel
        self.last: tuple[Any, Any, list] | None = None

    def __call__(self, identity: Identity, world: Any) -> list[list[list]]:
        if self.last is None or self.last[0] is not identity or self.last[1] is not world:
            self.last = (identity, world, self.shared.arrays(identity, world, self.kernel.used))
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


def joined(parts: list[list[np.ndarray]], like: Any) -> Any:
    """The state whose leaves (worlds, ...) were computed on each device."""
    leaves, tree = jax.tree.flatten(like)
    found = [_on_devices([part[n] for part in parts], leaf) for n, leaf in enumerate(leaves)]
    return jax.tree.unflatten(tree, found)


def _on_devices(parts: list[np.ndarray], like: jax.Array) -> jax.Array:
    rows = [
        jax.device_put(np.ascontiguousarray(part)[None], shard.device)
        for part, shard in zip(parts, shards(like), strict=True)
    ]
    return jax.make_array_from_single_device_arrays(like.shape, like.sharding, rows)
