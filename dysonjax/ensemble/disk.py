"""Whether there is room for a run before it starts."""

import shutil
from pathlib import Path

import jax

from dysonjax.checks import InputError

MARGIN_BYTES = 16 * 2**20  # figures, summary, metadata


def check_space(folder: Path, needed: int) -> None:
    """Raise InputError if the file system of a folder, made or not, has no room for so many bytes."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed + MARGIN_BYTES > free:
        raise InputError(
            f"the run needs up to {_size(needed + MARGIN_BYTES)} on disk, but {place} has {_size(free)}; "
            "make room, choose another folder, or take fewer records, seeds or stored weights"
        )


def state_bytes(jobs: list) -> int:
    """Bytes of the largest state that a checkpoint of these jobs holds."""
    return max(sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(job.state)) for job in jobs)


def _size(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
