"""The training step on a CPU by compiled C of one large network, see `dysonjax.native.large`.

Each core trains one network after the other; each of them draws its batches for itself.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from dysonjax import native
from dysonjax.ensemble import lanes
from dysonjax.ensemble.packing import Own, Packed, Shared, by_device, keys_of, packed, words
from dysonjax.ensemble.programs import BATCH, Identity
from dysonjax.native import large


class Step:
    """The step of a tile, ready to be compiled; as `lanes.Step`."""

    def __init__(self, model, optimizer, batch_size, common, identity: Identity, world: Any, state: Any):
        self.identity, self.out_info = identity, state
        self.shared = Shared(model, common, identity, world, (BATCH,))
        self.states = Own(model, identity.point["lr"].shape[-1], state)
        step = lanes.on_arrays(model, optimizer, batch_size, self.shared, self.states)
        fixed = [jax.ShapeDtypeStruct(i.shape, i.dtype) for i in self.shared.inputs]
        # The last leaf of a state is its `diverged_at`.
        self.source = large.write_step(step, fixed, self.states.shapes, len(self.states.shapes) - 1)

    def compile(self) -> "Advance":
        """Raises native.CompilerError if there is no C compiler or if it fails."""
        return Advance(self)


class Advance:
    """Like the compiled `Programs.advance`, but it takes and returns `Packed` states, as `lanes.Pending`."""

    def __init__(self, step: Step):
        self.shared, self.states, self.kernel = step.shared, step.states, large.Kernel(step.source)
        devices = len(step.identity.seed)
        self.threads = ThreadPoolExecutor(devices, "dysonjax-native")
        self.space = [native.aligned((self.kernel.space,), np.uint8) for _ in range(devices)]

    def __call__(self, identity: Identity, world: Any, state: Any, first: np.ndarray, count: np.ndarray):
        keys = keys_of(identity, self.shared.common, BATCH)
        worlds = [by_device(words(leaf)) for leaf in jax.tree.leaves(world)]
        states = packed(self.states, state, self._apart, self._together)
        running = [
            self.threads.submit(
                self._train,
                device,
                [keys[device], *(leaf[device] for leaf in worlds)],
                [identity.point[name][device] for name in self.shared.names],
                networks,
                int(first[device]),
                int(count[device]),
            )
            for device, networks in enumerate(states.calls)
        ]
        return lanes.Pending(running, lambda parts: Packed(self.states, parts, self._together))

    def _train(self, device: int, worlds: list, points: list, networks: list, first: int, count: int) -> list:
        """The states of the networks of one device `count` steps later."""
        moved = []
        places = np.ndindex(*points[0].shape)
        for (world, point), leaves in zip(places, networks, strict=True):
            fixed = [leaf[world] for leaf in worlds] + [leaf[world, point] for leaf in points]
            moved.append([large.aligned(leaf) for leaf in leaves])
            self.kernel(
                [large.aligned(np.asarray(v)) for v in fixed], moved[-1], self.space[device], first, count
            )
        return moved

    def _apart(self, leaves: list[np.ndarray]) -> list[list[np.ndarray]]:
        """Leaves (worlds, ...) of one device as the arrays of each network."""
        members = [
            np.moveaxis(leaf, axis - 1, 1) for leaf, axis in zip(leaves, self.states.axes, strict=True)
        ]
        return [
            [large.aligned(np.asarray(leaf[place])) for leaf in members]
            for place in np.ndindex(*members[0].shape[:2])
        ]

    def _together(self, networks: list[list[np.ndarray]]) -> list[np.ndarray]:
        """The inverse of `_apart`."""
        found = []
        for values, leaf, axis in zip(
            zip(*networks, strict=True), self.states.leaves, self.states.axes, strict=True
        ):
            values = np.stack(values).astype(leaf.dtype, copy=False)
            values = values.reshape(leaf.shape[1], leaf.shape[axis], *values.shape[1:])
            found.append(np.moveaxis(values, 1, axis - 1))
        return found
