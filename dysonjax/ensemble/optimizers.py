"""Optimisers by name. Each is an optax transform WITHOUT its learning rate: the engine scales by -lr, so
that lr stays an axis of the grid and never causes a recompilation."""

import optax

from dysonjax import checks

OPTIMIZERS = {
    "sgd": optax.identity,
    "momentum": lambda: optax.trace(decay=0.9),
    "adamw": lambda: optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.01)),
}


def resolve(optimizer: str | optax.GradientTransformation) -> tuple[str, optax.GradientTransformation]:
    """Name and transform; a transform of the user's own is called "custom"."""
    if isinstance(optimizer, str):
        return optimizer, OPTIMIZERS[checks.one_of("optimizer", optimizer, list(OPTIMIZERS))]()
    if not isinstance(optimizer, optax.GradientTransformation):
        raise checks.InputError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)} or an optax transform, got {optimizer!r}"
        )
    return "custom", optimizer
