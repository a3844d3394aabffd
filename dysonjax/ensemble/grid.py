"""The grid of hyperparameters and seeds, and the steps at which a run is recorded."""

import dataclasses
import hashlib
import itertools
import math
import types
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dysonjax import checks

OUTER = ("batch_size", "lr", "sigma_w")  # dimensions of every grid; a model's own scalars and seed follow
RESERVED = (*OUTER, "seed", "record", "mode")


Axis = Sequence[float] | float | np.ndarray  # values of a hyperparameter, or one


@dataclasses.dataclass(frozen=True, init=False)
class Grid:
    """Every combination of learning rate, batch size, initial width and a model's scalars, times seeds.

    Parameters
    ----------
    lr : float or sequence of float
        Learning rates α, positive.
    batch_size : int or sequence of int
        Mini-batch sizes |B|.
    sigma_w : float or sequence of float, default 1.0
        Standard deviations of the initial weights times √n_in, positive.
    seeds : int, default 1
        Number of seeds.
    first_seed : int, default 0
        Index of the first seed, so that a second run can go on where a first one ended.
    scalars : mapping of str to float or sequence of float, optional
        Further axes by name, among those that the model declares in `Model.scalars`, such as
        `{"epsilon": [0.05, 0.1]}` for the linear network. What is not named keeps the model's own value.

    Raises
    ------
    InputError
        If a value is not finite (the first three must be positive), if a value stands twice, or if a list is
        empty.

    Examples
    --------
    >>> grid = dj.Grid(lr=[0.1, 0.2], batch_size=16, scalars={"epsilon": [0.05, 0.1, 0.2]}, seeds=10)
    >>> grid.dims, grid.shape, grid.members
    (('batch_size', 'lr', 'sigma_w', 'epsilon', 'seed'), (1, 2, 1, 3, 10), 60)
    """

    lr: tuple[float, ...]
    batch_size: tuple[int, ...]
    sigma_w: tuple[float, ...]
    seeds: int
    first_seed: int
    scalars: dict[str, tuple[float, ...]] = dataclasses.field(hash=False)

    def __init__(
        self,
        lr: Axis,
        batch_size: Sequence[int] | int,
        sigma_w: Axis = 1.0,
        seeds: int = 1,
        first_seed: int = 0,
        scalars: Mapping[str, Axis] = types.MappingProxyType({}),
    ) -> None:
        if not isinstance(scalars, Mapping):
            raise checks.InputError(f"scalars must be a dict of names and values, got {scalars!r}")
        for name in scalars:
            if name in RESERVED:
                raise checks.InputError(f"{name} is a dimension of every result, not a scalar of a model")
        canonical = {
            "lr": _axis("lr", lr, checks.positive),
            "batch_size": _axis("batch_size", batch_size, checks.positive_int),
            "sigma_w": _axis("sigma_w", sigma_w, checks.positive),
            "seeds": checks.positive_int("seeds", seeds),
            "first_seed": checks.seed("first_seed", first_seed),
            "scalars": {name: _axis(name, values, checks.finite) for name, values in scalars.items()},
        }
        for name, value in canonical.items():
            object.__setattr__(self, name, value)
        if self.first_seed + self.seeds > 2**32:
            raise checks.InputError(
                f"first_seed + seeds must be at most 4294967296, got {self.first_seed} + {self.seeds}; "
                "beyond it random numbers repeat"
            )

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions: batch_size, lr, sigma_w, the scalars, seed."""
        return (*OUTER, *self.scalars, "seed")

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the dimensions."""
        return len(self.batch_size), *(len(values) for values in self._traced.values()), self.seeds

    @property
    def members(self) -> int:
        """The number of networks."""
        return math.prod(self.shape)

    def points(self) -> list[dict[str, float]]:
        """Traced hyperparameters of all points at one batch size.

        Returns
        -------
        list of dict
            Values by name; the first dimension makes the outermost loop.
        """
        return [dict(zip(self._traced, p, strict=True)) for p in itertools.product(*self._traced.values())]

    @property
    def _traced(self) -> dict[str, tuple[float, ...]]:
        return {"lr": self.lr, "sigma_w": self.sigma_w, **self.scalars}


def check_range(grid: Grid, x64: bool) -> None:
    """Raise InputError for a value that the floating-point type of the training makes zero or infinite."""
    kind = np.float64 if x64 else np.float32
    for name, values in {"lr": grid.lr, "sigma_w": grid.sigma_w, **grid.scalars}.items():
        for value in values:
            with np.errstate(over="ignore", under="ignore"):
                number = float(kind(value))
            if not np.isfinite(number) or (abs(number) < np.finfo(kind).tiny and value != 0):
                remedy = "" if x64 else "; train in double precision with x64"
                raise checks.InputError(f"{name} = {value:g} is beyond the range of {kind.__name__}{remedy}")


def _axis(name: str, values, check) -> tuple:
    if isinstance(values, str | bytes | Mapping):
        raise checks.InputError(f"{name} must be a number or a list of numbers, got {values!r}")
    values = tuple(values) if isinstance(values, Iterable) else (values,)
    values = tuple(check(name, value) for value in values)
    if not values:
        raise checks.InputError(f"{name} must hold at least one value")
    if len(set(values)) < len(values):
        raise checks.InputError(f"{name} holds a value twice: {list(values)}")
    return values


def point_identity(point: dict[str, float], batch_size: int, bits: int = 64) -> tuple[int, ...]:
    """A name for a grid point, in words of 32 bits, that depends on its values alone, not on its place.

    bits: 32 for the names of runs that were started before 64 were used; those of two points can be the same.
    """
    text = ",".join(f"{name}={float(value).hex()}" for name, value in sorted(point.items()))
    name = f"{text},batch_size={batch_size}".encode()
    if bits == 32:
        return (zlib.crc32(name),)
    digest = hashlib.blake2b(name, digest_size=bits // 8).digest()
    return tuple(int.from_bytes(digest[place : place + 4], "big") for place in range(0, bits // 8, 4))


def identities(points: Sequence[dict[str, float]], batch_size: int, bits: int = 64) -> np.ndarray:
    """The names of all points, (points, words) uint32. Raises InputError if two of 64 bits are the same."""
    found = np.array([point_identity(point, batch_size, bits) for point in points], np.uint32)
    if bits > 32 and len(np.unique(found, axis=0)) < len(found):  # of a million points once in 3e7 grids
        raise checks.InputError(
            "two points of the grid would share their random numbers; change one of its values a little"
        )
    return found


def record_steps(records: int | Sequence[int], steps: int) -> tuple[int, ...]:
    """The steps after which observables are recorded, ascending; the last one is always `steps`.

    records: a number of records in equal distances from step 0 to the end (1: the end alone), or the steps
    themselves. Raises InputError for more records than steps or a step outside 0...steps.
    """
    steps = checks.positive_int("steps", steps)
    if isinstance(records, Iterable):
        chosen = {checks.positive_int("records", step, 0) for step in records}
        if not chosen:
            raise checks.InputError("records must hold at least one step")
        if max(chosen) > steps:
            raise checks.InputError(f"records must not lie beyond the last step {steps}, got {max(chosen)}")
        return tuple(sorted(chosen | {steps}))
    count = checks.positive_int("records", records)
    if count > steps:
        raise checks.InputError(f"records must be at most the number of steps ({steps}), got {count}")
    checks.memory(f"{count} records", 200 * count, "take fewer records")
    return tuple(int(step) for step in np.linspace(0, steps, count).round()) if count > 1 else (steps,)


def log_spaced(count: int, steps: int) -> tuple[int, ...]:
    """Steps of records in logarithmic distances: 0, 1, ... `steps`.

    Parameters
    ----------
    count : int
        The largest number of records, at least 2.
    steps : int
        Length of the training.

    Returns
    -------
    tuple of int
        The steps, ascending. They are fewer than `count` where neighbours coincide.

    Raises
    ------
    InputError
        If an argument is no positive integer, or so many records do not fit the memory.

    Examples
    --------
    >>> dj.log_spaced(6, 10_000)
    (0, 1, 10, 100, 1000, 10000)
    """
    count = checks.positive_int("records", count, 2)
    checks.memory(f"{count} records", 200 * count, "take fewer records")
    inner = np.geomspace(1, checks.positive_int("steps", steps), count - 1).round()
    return (0, *sorted({int(step) for step in inner}))
