"""`Programs.advance` on a CPU by a compiled C step of one large network, see `dysonjax.native.large`.

Each core trains one network after the other; each of them draws its batches for itself.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from dysonjax import native
from dysonjax.ensemble import lanes, programs
from dysonjax.ensemble.programs import Identity
from dysonjax.native import large


class Lowered:
    """The step of a tile, ready to be compiled; as `lanes.Lowered`."""

    def __init__(self, model, optimizer, batch_size, common, identity: Identity, world: Any, state: Any):
        self.common, self.identity, self.out_info = common, identity, state
        step, fixed, members, self.tree, self.names = lanes.step_on_arrays(
            model, optimizer, batch_size, identity, world, state
        )
        last = programs.points_last(model, identity.point["lr"].shape[2])
        self.axes = [programs.point_axis(leaf.ndim, last) for leaf in jax.tree.leaves(state)]
        # The last leaf of a state is its `diverged_at`.
        self.source = large.write_step(step, fixed, members, len(members) - 1)

    def compile(self) -> "Advance":
        """Raises native.CompilerError if there is no C compiler or if it fails."""
        return Advance(self, large.Kernel(self.source))


class Advance:
    """Like the compiled `Programs.advance`, but what it returns is `lanes.Pending`."""

    def __init__(self, lowered: Lowered, kernel: large.Kernel):
        self.lowered, self.kernel = lowered, kernel
        devices = len(lowered.identity.seed)
        self.threads = ThreadPoolExecutor(devices, "dysonjax-native")
        self.space = [native.aligned((kernel.space,), np.uint8) for _ in range(devices)]

    def __call__(self, identity: Identity, world: Any, state: Any, first: np.ndarray, count: np.ndarray):
        keys = lanes.keys_of(identity, self.lowered.common)
        worlds = [lanes.by_device(lanes.data(leaf)) for leaf in jax.tree.leaves(world)]
        states = [lanes.by_device(leaf) for leaf in jax.tree.leaves(state)]
        running = [
            self.threads.submit(
                self._train,
                device,
                [keys[device], *(leaf[device] for leaf in worlds)],
                [identity.point[name][device] for name in self.lowered.names],
                [leaf[device] for leaf in states],
                int(first[0]),
                int(count[0]),
            )
            for device in range(len(keys))
        ]
        return lanes.Pending(self.lowered, running, state)

    def _train(self, device: int, worlds: list, points: list, leaves: list, first: int, count: int) -> list:
        """Advance the states (worlds, ...) of one device."""
        new = [np.array(leaf) for leaf in leaves]
        members = [np.moveaxis(leaf, axis - 1, 1) for leaf, axis in zip(new, self.lowered.axes, strict=True)]
        for world, point in np.ndindex(*members[0].shape[:2]):
            fixed = [_memory(leaf[world]) for leaf in worlds] + [
                _memory(leaf[world, point]) for leaf in points
            ]
            carried = [_memory(leaf[world, point]) for leaf in members]
            self.kernel(fixed, carried, self.space[device], first, count)
            for leaf, values in zip(members, carried, strict=True):
                leaf[world, point] = values
        return new


def _memory(values: np.ndarray) -> np.ndarray:
    """A copy as the kernel keeps it; truth values as int32."""
    return large.aligned(np.asarray(values))
