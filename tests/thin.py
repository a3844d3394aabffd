"""Models that compile fast, for tests of the engine that look at weights and levels alone."""

import dataclasses

from dysonjax.models.base import Model


def observing(model: Model, *names: str) -> Model:
    """The model, of whose observables these alone are recorded."""

    def observe(*args):
        found = model.observe(*args)
        return {name: found[name] for name in names}

    return dataclasses.replace(model, observe=observe)


def loss_only(model: Model) -> Model:
    """The model, of whose observables the training loss alone is recorded."""
    return observing(model, "train_loss")
