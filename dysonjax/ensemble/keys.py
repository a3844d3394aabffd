"""Every random key of a run, from the identity of a world alone.

A key is derived from (root seed, seed index, point identity, stream, global step) and never from a position
in an array: no result depends on tiles, devices, record times or restarts.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import threefry

# Streams of randomness within a world. A batch folds in its global step as well.
WORLD, INIT, BATCH, OBSERVE = range(4)


class Identity(NamedTuple):
    """Who the members of a tile are; shapes as the engine passes them in."""

    root: jax.Array | np.ndarray  # (devices,), uint32: root seed of the run
    seed: jax.Array | np.ndarray  # (devices, worlds), uint32
    # (devices, worlds, words), uint32; enters the keys of independent randomness only
    point_id: jax.Array | np.ndarray
    point: Mapping[str, jax.Array | np.ndarray]  # each (devices, worlds, points)

    def key_words(self, common: bool, stream: int) -> np.ndarray:
        """Of the key of a stream of every world, (devices, worlds, 2) uint32."""
        root, seed = np.asarray(self.root)[:, None], np.asarray(self.seed)
        of_point = () if common else np.moveaxis(np.asarray(self.point_id), -1, 0)
        return np.stack(_words(threefry.rounds, root, seed, *of_point, np.uint32(stream)), axis=-1)


def stream_key(root, seed, point_id, stream) -> jax.Array:
    """The key of one stream of a world; point_id: words, None if a seed's points share their randomness."""
    of_point = () if point_id is None else (point_id[word] for word in range(len(point_id)))
    numbers = [threefry.word(number) for number in (root, seed, *of_point, stream)]
    return jax.random.wrap_key_data(jnp.stack(_words(threefry.block, *numbers)), impl="threefry2x32")


def _words(rounds, root, *numbers):
    """The two words of a key: those of `jax.random.key(root)`, with one number after the other folded in."""
    found = root - root, root
    for number in numbers:
        found = rounds(found, np.uint32(0), number)
    return found
