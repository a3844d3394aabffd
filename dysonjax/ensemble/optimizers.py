"""Optimisers as optax transforms WITHOUT their learning rate: the engine scales by -lr, so that lr stays an
axis of the grid and never causes a recompilation. A schedule is a factor on every lr of the grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from dysonjax import checks

if TYPE_CHECKING:  # it takes a quarter of a second to import, and plain gradient steps do without it
    import optax


class Plain(NamedTuple):
    """What `optax.identity()` is: the direction as it comes."""

    init: Callable[[Any], tuple] = lambda params: ()
    update: Callable[..., tuple] = lambda direction, state, params=None: (direction, state)


SCALINGS = ("sgd", "momentum", "adam", "adamw", "muon")
SCHEDULES = ("constant", "cosine")
MOMENTUM = {"sgd": 0.0, "momentum": 0.9, "adam": 0.9, "adamw": 0.9, "muon": 0.95}  # where none is asked for
ADAMW_DECAY = 0.01
COSINE_END = 0.1  # the last step's share of the learning rate


@dataclasses.dataclass(frozen=True, init=False)
class Optimizer:
    """How a direction becomes a step of length lr.

    Parameters
    ----------
    name : {"sgd", "momentum", "adam", "adamw", "muon"}, default "sgd"
        "momentum" is m′ = μm + g. "adam" and "adamw" take the averages of g and g² with the same μ and 0.999.
        "muon" makes μm + (1 − μ)g of the averages orthogonal in five Newton-Schulz steps, for the matrices,
        and is Adam for whatever else is learned. Its steps are lr times a matrix with singular values between
        0.7 and 1.2, of any shape.
    weight_decay : float, optional
        Decoupled: shrinks weights by lr · weight_decay a step. By default 0.01 for adamw, else none.
    schedule : {"constant", "cosine"}, default "constant"
        "cosine" falls to a tenth of lr at the last step.
    warmup : int, default 0
        Steps during which lr rises from zero in equal parts.
    momentum : float, optional
        μ, at least 0 and below 1. By default 0.9, for muon 0.95. There is none for sgd, which takes none.

    Raises
    ------
    InputError
        For an unknown name or schedule, or an option that the optimiser does not take.

    Examples
    --------
    >>> optimizer = dj.Optimizer("adamw", schedule="cosine", warmup=2)
    >>> optimizer.label
    'adamw(schedule=cosine, warmup=2)'
    >>> run = dj.train(dj.models.linear(), dj.Grid(lr=0.01, batch_size=4), 4, 2, optimizer=optimizer)
    """

    name: str
    weight_decay: float
    schedule: str
    warmup: int
    momentum: float

    def __init__(
        self,
        name: str = "sgd",
        weight_decay: float | None = None,
        schedule: str = "constant",
        warmup: int = 0,
        momentum: float | None = None,
    ) -> None:
        checks.one_of("optimizer", name, SCALINGS)
        checks.one_of("schedule", schedule, SCHEDULES)
        momentum = MOMENTUM[name] if momentum is None else checks.finite("momentum", momentum)
        if not 0 <= momentum < 1:
            raise checks.InputError(f"momentum must be at least 0 and below 1, got {momentum:g}")
        if name == "sgd" and momentum:
            raise checks.InputError(f"sgd has no momentum, got {momentum:g}; use the optimizer momentum")
        usual = ADAMW_DECAY if name == "adamw" else 0.0
        decay = usual if weight_decay is None else checks.finite("weight_decay", weight_decay)
        if decay < 0:
            raise checks.InputError(f"weight_decay must be zero or positive, got {decay}")
        canonical = {
            "name": name,
            "weight_decay": decay,
            "schedule": schedule,
            "warmup": checks.positive_int("warmup", warmup, 0),
            "momentum": momentum,
        }
        for field, value in canonical.items():
            object.__setattr__(self, field, value)

    @property
    def label(self) -> str:
        """The name, with every option that is not the name's default."""
        default = Optimizer(self.name)
        chosen = dataclasses.asdict(self).items() - dataclasses.asdict(default).items()
        options = ", ".join(f"{key}={value}" for key, value in sorted(chosen))
        return f"{self.name}({options})" if options else self.name

    def transform(self, steps: int) -> optax.GradientTransformation | Plain:
        """Make the transform of optax, without learning rate, for a run.

        Parameters
        ----------
        steps : int
            Length of the run.

        Returns
        -------
        GradientTransformation
            The transform.

        Raises
        ------
        InputError
            If the warm-up takes all steps.
        """
        if self.warmup >= steps:
            raise checks.InputError(
                f"warmup must be shorter than the run of {steps} steps, got {self.warmup}"
            )
        if self == Optimizer():
            return Plain()
        import optax

        adam = optax.scale_by_adam(b1=self.momentum)
        scaling = {
            "sgd": Plain,
            "momentum": lambda: optax.trace(decay=self.momentum),
            "adam": lambda: adam,
            "adamw": lambda: adam,
            "muon": lambda: _muon(self.momentum, adam),
        }
        parts = [scaling[self.name]()]
        if self.weight_decay:
            parts.append(optax.add_decayed_weights(self.weight_decay))
        if self.schedule == "cosine":
            parts.append(
                optax.scale_by_schedule(
                    optax.warmup_cosine_decay_schedule(
                        0.0 if self.warmup else 1.0, 1.0, self.warmup, steps, COSINE_END
                    )
                )
            )
        elif self.warmup:
            parts.append(optax.scale_by_schedule(optax.linear_schedule(0.0, 1.0, self.warmup)))
        return optax.chain(*parts) if len(parts) > 1 else parts[0]


def _muon(momentum: float, other: optax.GradientTransformation) -> optax.GradientTransformation:
    """Muon for matrices, `other` for arrays of another rank."""
    import optax.contrib

    def shapes(tree):
        return jax.tree.map(lambda leaf: optax.contrib.MuonDimensionNumbers(), tree)

    def kinds(tree):
        return jax.tree.map(lambda leaf: "matrix" if leaf.ndim == 2 else "other", tree)

    matrices = optax.contrib.scale_by_muon(beta=momentum, weight_dimension_numbers=shapes)
    return optax.partition({"matrix": matrices, "other": other}, kinds)


def from_label(label: str) -> Optimizer:
    """The optimiser that has this label."""
    name, _, options = label.rstrip(")").partition("(")
    chosen = dict(option.split("=") for option in options.split(", ")) if options else {}
    kinds = {"weight_decay": float, "warmup": int, "momentum": float}
    return Optimizer(name, **{key: kinds.get(key, str)(value) for key, value in chosen.items()})


def resolve(
    optimizer: str | Optimizer | optax.GradientTransformation, steps: int
) -> Optimizer | optax.GradientTransformation:
    """An `Optimizer` that suits a run of so many steps, or a transform of the user's own; else InputError."""
    if isinstance(optimizer, str):
        optimizer = Optimizer(optimizer)
    if isinstance(optimizer, Optimizer):
        optimizer.transform(steps)
        return optimizer
    import optax

    if not isinstance(optimizer, optax.GradientTransformation):
        raise checks.InputError(
            f"optimizer must be one of {', '.join(SCALINGS)}, an Optimizer or an optax transform, got "
            f"{optimizer!r}"
        )
    return optimizer


def label(optimizer: Optimizer | optax.GradientTransformation) -> str:
    """Under which it is stored; a transform of the user's own is called "custom"."""
    return optimizer.label if isinstance(optimizer, Optimizer) else "custom"


def transform(
    optimizer: Optimizer | optax.GradientTransformation, steps: int
) -> optax.GradientTransformation | Plain:
    return optimizer.transform(steps) if isinstance(optimizer, Optimizer) else optimizer
