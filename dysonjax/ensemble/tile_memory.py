"""Sizes of tiles that were found to be the fastest, remembered in the user's cache folder.

A size is kept under everything that changes the compiled step or the machine below it. Losing one costs speed
alone, so that a cache that cannot be read or written is passed over in silence.
"""

import contextlib
import hashlib
import json
import math
import uuid
from pathlib import Path
from typing import Any

import jax

from dysonjax import cache
from dysonjax.ensemble import optimizers, results
from dysonjax.ensemble.config import Config
from dysonjax.models.base import Model


def key(
    model: Model, config: Config, batch_size: int, state: Any, target: str, worlds: int, points: int
) -> dict[str, Any]:
    """What the size of a tile is remembered under.

    state: shapes of the state of one network. worlds, points: what the rule of
    `tiles` gives; grids that differ a little, in their seeds above all, have the same key.
    """
    device, found = config.devices[0], results.versions()
    return {
        "model": model.name,
        "config": model.config,
        "optimizer": optimizers.label(config.optimizer),
        "batch_size": batch_size,
        "randomness": config.randomness,
        "state": [[leaf.shape, str(leaf.dtype)] for leaf in jax.tree.leaves(state)],
        "points": points,
        "worlds_about": 2 ** round(math.log2(worlds)),
        "target": target,
        "devices": len(config.devices),
        "device": [device.device_kind, cache.processor() if device.platform == "cpu" else ""],
        "versions": [found["dysonjax"], found["jax"]],
    }


def recall(key: dict[str, Any]) -> int | None:
    """The most members of a tile, if a size is remembered under this key."""
    try:
        members = json.loads(_path(key).read_text())["members"]
        return members if type(members) is int and members > 0 else None
    except (OSError, ValueError, KeyError, TypeError):  # none, damaged, or the cache is turned off
        return None


def remember(key: dict[str, Any], members: int) -> None:
    """Keep a size, as a whole or not at all."""
    with contextlib.suppress(OSError, TypeError):
        path = _path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{uuid.uuid4().hex}.part")
        try:
            partial.write_text(json.dumps({"members": members, "of": key}, default=str, indent=1) + "\n")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _path(key: dict[str, Any]) -> Path:
    mark = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:20]
    root = cache.root()
    if root is None:
        raise FileNotFoundError("the cache is turned off")
    return root / "tiles" / f"{mark}.json"
