"""The grid of hyperparameters and seeds, and the steps at which a run is recorded."""

import dataclasses
import itertools
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from dysonjax import checks

DIMS = ("batch_size", "lr", "sigma_w", "seed")


@dataclasses.dataclass(frozen=True)
class Grid:
    """Every combination of learning rate, batch size and initial weight width, times seeds.

    lr: learning rates alpha. batch_size: mini-batch sizes |B|. sigma_w: std of the initial weights times
    sqrt(n_in). Each may be one number or a sequence. seeds: number of seeds; first_seed: index of the first,
    so that a second run can go on where a first one ended. Raises InputError if a value is not positive and
    finite, if a value stands twice, or if a list is empty.
    """

    lr: Sequence[float] | float
    batch_size: Sequence[int] | int
    sigma_w: Sequence[float] | float = 1.0
    seeds: int = 1
    first_seed: int = 0

    def __post_init__(self):
        for name, check in (
            ("lr", checks.positive),
            ("batch_size", checks.positive_int),
            ("sigma_w", checks.positive),
        ):
            values = getattr(self, name)
            values = tuple(values) if isinstance(values, Iterable) else (values,)
            values = tuple(check(name, value) for value in values)
            if not values:
                raise checks.InputError(f"{name} must hold at least one value")
            if len(set(values)) < len(values):
                raise checks.InputError(f"{name} holds a value twice: {list(values)}")
            object.__setattr__(self, name, values)
        object.__setattr__(self, "seeds", checks.positive_int("seeds", self.seeds))
        object.__setattr__(self, "first_seed", checks.positive_int("first_seed", self.first_seed, 0))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Lengths of the dimensions batch_size, lr, sigma_w, seed."""
        return len(self.batch_size), len(self.lr), len(self.sigma_w), self.seeds

    @property
    def members(self) -> int:
        """The number of networks."""
        return int(np.prod(self.shape))

    def points(self) -> list[dict[str, float]]:
        """The traced hyperparameters at one batch size, lr the outer and sigma_w the inner loop."""
        return [{"lr": lr, "sigma_w": s} for lr, s in itertools.product(self.lr, self.sigma_w)]


def point_identity(point: dict[str, float], batch_size: int) -> int:
    """A 32-bit name for a grid point that depends on its values alone, not on its place in a grid."""
    text = ",".join(f"{name}={float(value).hex()}" for name, value in sorted(point.items()))
    return zlib.crc32(f"{text},batch_size={batch_size}".encode())


def record_steps(records: int | Sequence[int], steps: int) -> tuple[int, ...]:
    """The steps after which observables are recorded, ascending; the last one is always `steps`.

    records: a number of records in equal distances from step 0 to the end (1: the end alone), or the steps
    themselves. Raises InputError for more records than steps or a step outside 0...steps.
    """
    steps = checks.positive_int("steps", steps)
    if isinstance(records, Iterable):
        chosen = {checks.positive_int("records", step, 0) for step in records}
        if chosen and max(chosen) > steps:
            raise checks.InputError(f"records must not lie beyond the last step {steps}, got {max(chosen)}")
        return tuple(sorted(chosen | {steps}))
    count = checks.positive_int("records", records)
    if count > steps:
        raise checks.InputError(f"records must be at most the number of steps ({steps}), got {count}")
    return tuple(int(step) for step in np.linspace(0, steps, count).round()) if count > 1 else (steps,)


def log_spaced(count: int, steps: int) -> tuple[int, ...]:
    """Record steps 0, 1, ... `steps` in logarithmic distances; at most `count` of them."""
    count = checks.positive_int("records", count, 2)
    inner = np.geomspace(1, checks.positive_int("steps", steps), count - 1).round()
    return (0, *sorted({int(step) for step in inner}))
