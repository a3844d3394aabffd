"""Models that compile fast, for tests of the engine that look at weights and levels alone."""

import dataclasses

from dysonjax.models.base import Model


def loss_only(model: Model) -> Model:
    """The model, of whose observables the training loss alone is recorded."""

    def observe(*args):
        return {"train_loss": model.observe(*args)["train_loss"]}

    return dataclasses.replace(model, observe=observe)
