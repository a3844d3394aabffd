"""From what the devices observe at a record to the variables of the results."""

import jax
import numpy as np

from dysonjax.ensemble import tiles
from dysonjax.ensemble.config import Config
from dysonjax.ensemble.results import Results
from dysonjax.ensemble.spectrum import squared_singular_values
from dysonjax.ensemble.step import Observed
from dysonjax.models.base import Model


def variables(model: Model, config: Config, observed: Observed) -> dict[str, tuple]:
    """What a run records: name -> (dims, extra ones with lengths, dtype, fill value, long name).

    observed: the shapes of what the devices observe.
    """
    grid, matrices = config.grid, observed.matrices
    base, each = dict.fromkeys(grid.dims), dict.fromkeys((*grid.dims, "record"))
    found = {
        "diverged_at": (base, np.int32, -1, "step at which the member was frozen, -1 if it never was"),
        "alive": (each, np.bool_, False, "the member is trained and finite at this record"),
    }
    for name in observed.numbers:
        found[name] = (each, config.dtype, np.nan, model.observables[name])
    modes = {name: min(leaf.shape[-2:]) for name, leaf in matrices.items()}
    for name, leaf in matrices.items():
        suffix = f"_{name}" if len(matrices) > 1 else ""
        mode = "mode" if len(set(modes.values())) == 1 else f"mode{suffix}"
        long_name = f"eigenvalues of X = WᵀW of {name}, ascending"
        found[f"eigenvalues{suffix}"] = (each | {mode: modes[name]}, np.float64, np.nan, long_name)
        if name in observed.targets:
            aim = f"eigenvalues that {name} is to learn, ascending"
            found[f"target_eigenvalues{suffix}"] = (base | {mode: modes[name]}, np.float64, np.nan, aim)
        if config.keep_weights != "none":
            dims = each if config.keep_weights == "all" else base
            dims = dims | {f"row{suffix}": leaf.shape[-2], f"column{suffix}": leaf.shape[-1]}
            found[f"weights{suffix}"] = (dims, config.dtype, np.nan, f"weight matrix {name}")
    return found


def record(
    results: Results, config: Config, batch_index: int, wave: tiles.Wave, number: int, observed: Observed
) -> None:
    """Enter record `number` of a wave into the results."""
    numbers, matrices, targets, diverged_at = jax.device_get(observed)
    kept = wave.index >= 0
    members = wave.index[kept]

    def put(name, values, *record):
        results.put(name, batch_index, members, values, *record)

    put("diverged_at", diverged_at[kept])
    put("alive", diverged_at[kept] < 0, number)
    for name, values in numbers.items():
        put(name, values[kept], number)
    for name, values in matrices.items():
        suffix = f"_{name}" if len(matrices) > 1 else ""
        weights = values[kept]
        if name in targets and number == 0:
            levels = squared_singular_values(targets[name].reshape(-1, *targets[name].shape[2:]))
            put(f"target_eigenvalues{suffix}", np.repeat(levels, wave.index.shape[-1], axis=0)[kept.ravel()])
        put(f"eigenvalues{suffix}", squared_singular_values(weights), number)
        if config.keep_weights == "all":
            put(f"weights{suffix}", weights, number)
        elif config.keep_weights == "last" and number == len(config.records) - 1:
            put(f"weights{suffix}", weights)
