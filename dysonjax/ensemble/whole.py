"""The training step on a CPU by compiled C of one large network, see `dysonjax.native.large`.

Each core trains one network after the other; each of them draws its batches for itself.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from dysonjax import native
from dysonjax.ensemble import lanes
from dysonjax.ensemble.packing import Own, Shared, by_device, keys_of, words
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
    """Like the compiled `Programs.advance`, but what it returns is `lanes.Pending`."""

    def __init__(self, step: Step):
        self.shared, self.states, self.kernel = step.shared, step.states, large.Kernel(step.source)
        devices = len(step.identity.seed)
        self.threads = ThreadPoolExecutor(devices, "dysonjax-native")
        self.space = [native.aligned((self.kernel.space,), np.uint8) for _ in range(devices)]

    def __call__(self, identity: Identity, world: Any, state: Any, first: np.ndarray, count: np.ndarray):
        keys = keys_of(identity, self.shared.common, BATCH)
        worlds = [by_device(words(leaf)) for leaf in jax.tree.leaves(world)]
        states = [by_device(leaf) for leaf in jax.tree.leaves(state)]
        running = [
            self.threads.submit(
                self._train,
                device,
                [keys[device], *(leaf[device] for leaf in worlds)],
                [identity.point[name][device] for name in self.shared.names],
                [leaf[device] for leaf in states],
                int(first[device]),
                int(count[device]),
            )
            for device in range(len(keys))
        ]
        return lanes.Pending(running, lambda parts: lanes.joined(parts, state))

    def _train(self, device: int, worlds: list, points: list, leaves: list, first: int, count: int) -> list:
        """Advance the states (worlds, ...) of one device."""
        new = [np.array(leaf) for leaf in leaves]
        members = [np.moveaxis(leaf, axis - 1, 1) for leaf, axis in zip(new, self.states.axes, strict=True)]
        for world, point in np.ndindex(*members[0].shape[:2]):
            fixed = [leaf[world] for leaf in worlds] + [leaf[world, point] for leaf in points]
            fixed, carried = (
                [large.aligned(np.asarray(values)) for values in arrays]
                for arrays in (fixed, [leaf[world, point] for leaf in members])
            )
            self.kernel(fixed, carried, self.space[device], first, count)
            for leaf, values in zip(members, carried, strict=True):
                leaf[world, point] = values
        return new
