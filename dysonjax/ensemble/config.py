"""The configuration of a run: one value from the command line and `train` through the engine to the store.

A new option is a field here, with its check, and is read where it is used.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import jax
import numpy as np

from dysonjax import checks, keys
from dysonjax.ensemble import disk, optimizers, overlaps, soundness, targets
from dysonjax.ensemble.devices import resolve
from dysonjax.ensemble.grid import Grid, record_steps
from dysonjax.ensemble.optimizers import Optimizer
from dysonjax.ensemble.programs import PRECISIONS
from dysonjax.models.base import Model

if TYPE_CHECKING:
    import optax

SAVE_EVERY_SECONDS = 300.0
F = TypeVar("F", bound=Callable[..., Any])


class How(TypedDict, total=False):
    """Options of a run that say how it is computed, as users give them."""

    tile: int | str | None
    devices: int | str | Sequence[jax.Device] | None
    backend: str
    save_every: float


class Options(How, total=False):
    """All options of a run, as users give them."""

    optimizer: str | Optimizer | optax.GradientTransformation
    randomness: str
    key: keys.Key
    x64: bool
    precision: str
    keep_weights: str
    keep: str | Sequence[str]
    identity_bits: int


@dataclasses.dataclass(frozen=True, init=False)
class Config:
    """What a run computes and how, in canonical form; raises InputError for what cannot be.

    What it computes is stored with the results, and stays as it is when the run is resumed:

    grid: the members. steps: of training. records: number of records in equal distances, or the steps
    themselves. optimizer: "sgd", "momentum", "adam", "adamw", "muon", an `Optimizer`, or an optax transform
    WITHOUT learning rate. randomness: "common" gives all grid points of a seed the same teacher, data and
    noise, "independent" gives each its own. seed: root of all randomness. x64: train in double precision.
    precision: the lowest in which products may be computed while training on a GPU or a TPU: "float32",
    "tf32" (10 bits of a factor's mantissa) or "bfloat16" (7 bits; sums are in float32). What is observed is
    always computed in full. keep_weights: "none", "last" or "all" records. keep: "overlaps" of the singular
    vectors of every weight matrix with those of its target, of the start and of the record before, without
    its weights; or some of "overlaps-target", "overlaps-start", "overlaps-previous", with commas between (see
    `ensemble.overlaps` for signs and degenerate levels). identity_bits: of the names of grid points from
    which independent randomness is drawn; 32 for runs that were started before 64 were used.

    How it is computed:

    tile: the largest number of members trained at once on a device; "tune" measures which is the fastest and
    remembers it; None takes what is remembered, else a rule from the memory of a device, and tunes before a
    run that is announced to be long. devices: a number, or a kind ("cpu", "gpu", "tpu"); None: all. backend:
    what compiles a training step: "cuda" is a kernel for an NVIDIA GPU that keeps the weights of small
    networks on the chip; "native" is C for a CPU, with sixteen small networks in the lanes of a vector or one
    large network a core; "xla" does everything, everywhere; "auto" takes the first of these that can, and
    says why where one cannot. save_every: the longest time between two checkpoints, seconds; some
    are also written at records.
    """

    grid: Grid
    steps: int
    records: tuple[int, ...]
    optimizer: Optimizer | optax.GradientTransformation
    randomness: str
    seed: int
    x64: bool
    precision: str
    keep_weights: str
    keep: tuple[str, ...]
    identity_bits: int
    tile: int | str | None
    devices: list[jax.Device]
    backend: str
    save_every: float

    def __init__(
        self,
        grid: Grid,
        steps: int,
        records: int | Sequence[int] = 11,
        optimizer: str | Optimizer | optax.GradientTransformation = "sgd",
        randomness: str = "common",
        seed: int = 0,
        x64: bool = False,
        precision: str = "float32",
        keep_weights: str = "none",
        keep: str | Sequence[str] = "none",
        identity_bits: int = 64,
        tile: int | str | None = None,
        devices: int | str | Sequence[jax.Device] | None = None,
        backend: str = "auto",
        save_every: float = SAVE_EVERY_SECONDS,
    ) -> None:
        _check_grid(grid)
        steps = checks.positive_int("steps", steps)
        canonical = {
            "grid": grid,
            "steps": steps,
            "records": record_steps(records, steps),
            "optimizer": optimizers.resolve(optimizer, steps),
            "randomness": checks.one_of("randomness", randomness, ["common", "independent"]),
            "seed": checks.seed("seed", seed),
            "x64": checks.flag("x64", x64),
            "precision": checks.one_of("precision", precision, list(PRECISIONS)),
            "keep_weights": checks.one_of("keep_weights", keep_weights, ["none", "last", "all"]),
            "keep": overlaps.parse(keep),
            "identity_bits": identity_bits,
            "tile": _tile(tile),
            "devices": resolve(devices),
            "backend": checks.one_of("backend", backend, targets.BACKENDS),
            "save_every": checks.positive("save_every", save_every),
        }
        if identity_bits not in (32, 64):
            raise checks.InputError(f"identity_bits must be 32 or 64, got {identity_bits!r}")
        if x64 and precision != "float32":
            raise checks.InputError(f"x64 and precision {precision!r} exclude each other; leave one out")
        for name, value in canonical.items():
            object.__setattr__(self, name, value)

    @property
    def common(self) -> bool:
        """Whether the points of a seed share its randomness."""
        return self.randomness == "common"

    @property
    def compared(self) -> tuple[str, ...]:
        """What singular vectors are compared with at every record."""
        return tuple(word.removeprefix("overlaps-") for word in self.keep)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float64 if self.x64 else np.float32)

    @functools.cached_property
    def transform(self) -> optax.GradientTransformation:
        return optimizers.transform(self.optimizer, self.steps)

    def stored(self, model: Model) -> dict[str, Any]:
        """What the run computes, as JSON values; `restored` is the inverse."""
        found = {
            "model": {"name": model.name, **model.config},
            "grid": dataclasses.asdict(self.grid),
            "steps": self.steps,
            "records": list(self.records),
            "optimizer": optimizers.label(self.optimizer),
            "randomness": self.randomness,
            "seed": self.seed,
            "dtype": self.dtype.name,
            "keep_weights": self.keep_weights,
        }
        if self.keep:
            found["keep"] = list(self.keep)
        if self.precision != "float32":
            found["precision"] = self.precision
        if not self.common and self.identity_bits > 32:
            found["identity_bits"] = self.identity_bits
        return found


def takes_options(function: F) -> F:
    """A function whose `**options` are fields of `Config`, with these in its signature: `help` lists them."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    known = {parameter.name for parameter in own}
    fields = [
        option.replace(name="key", kind=option.KEYWORD_ONLY, annotation="int | jax.Array")
        if name == "seed"
        else option.replace(kind=option.KEYWORD_ONLY)
        for name, option in inspect.signature(Config).parameters.items()
        if name not in known
    ]
    shown: Any = function
    shown.__signature__ = inspect.Signature([*own, *fields])
    return function


def configured(grid: Grid, steps: int, records: int | Sequence[int], given: Mapping[str, Any]) -> Config:
    """The configuration that the arguments of `train` mean: what they call `key` is the run's root seed."""
    options = dict(given)
    if "seed" in options and "key" not in options:
        text = "the argument seed of training is now called key"
        warnings.warn(text, DeprecationWarning, stacklevel=3)
    elif "key" in options:
        options["seed"] = keys.number("key", options.pop("key"))
    return Config(grid, steps, records, **options)


def restored(stored: dict[str, Any], **how: Any) -> Config:
    """The configuration of a stored run. how: the fields that may change, and an optimizer of one's own."""
    what = {key: value for key, value in stored.items() if key not in ("model", "dtype")}
    what |= {"grid": Grid(**stored["grid"]), "x64": stored["dtype"] == "float64"}
    what["identity_bits"] = stored.get("identity_bits", 32)
    if how.get("optimizer") is None:
        if stored["optimizer"] == "custom":
            raise checks.InputError("the run has an optimizer of its own; pass it as optimizer")
        how["optimizer"] = optimizers.from_label(stored["optimizer"])
    return Config(**what | how)


def check(model: Model, config: Config) -> None:
    """Raise InputError if a model cannot be trained on the grid of a configuration, or needs more memory than
    there is."""
    check_grid(model, config.grid)
    own = None if isinstance(config.optimizer, Optimizer) else config.optimizer
    soundness.check(model, config.grid, config.x64, own)
    overlaps.check(model, config.compared)
    disk.check_memory(model, config.grid, config.x64)


def check_grid(model: Model, grid: Grid) -> None:
    """Raise InputError if a model cannot be trained on a grid."""
    if not isinstance(model, Model):
        raise checks.InputError(f"model must be a dysonjax Model, got {type(model).__name__}")
    _check_grid(grid)
    for name, values in grid.scalars.items():
        if name not in model.scalars:
            known = f"takes {', '.join(model.scalars)}" if model.scalars else "takes none"
            raise checks.InputError(f"the model {model.name} has no scalar {name} to vary; it {known}")
        for value in values:
            model.scalars[name].check(name, value)


def _check_grid(grid: Grid) -> None:
    if not isinstance(grid, Grid):
        raise checks.InputError(f"grid must be a dysonjax Grid, got {type(grid).__name__}")


def _tile(tile: int | str | None) -> int | str | None:
    if tile is None or tile == "tune":
        return tile
    if isinstance(tile, str) and not checks.digits(tile):
        raise checks.InputError(f"tile must be a positive integer or tune, got {tile!r}")
    return checks.positive_int("tile", int(tile) if isinstance(tile, str) else tile)
