"""From what the devices observe at a record to the variables of the results."""

import re

import jax
import numpy as np

from dysonjax.checks import InputError
from dysonjax.ensemble import overlaps, tiles
from dysonjax.ensemble.config import Config
from dysonjax.ensemble.results import Results
from dysonjax.ensemble.spectrum import squared_singular_values
from dysonjax.ensemble.step import Observed
from dysonjax.models.base import Model

NAME = re.compile(r"\w[\w.-]*")  # in particular no slash, which would be a folder of the store


def variables(model: Model, config: Config, observed: Observed) -> dict[str, tuple]:
    """What a run records: name -> (dims, extra ones with lengths, dtype, fill value, long name).

    observed: the shapes of what the devices observe.
    """
    grid, matrices = config.grid, observed.matrices
    base, each = dict.fromkeys(grid.dims), dict.fromkeys((*grid.dims, "record"))
    first = {
        "diverged_at": (base, np.int32, -1, "step at which the member was frozen, -1 if it never was"),
        "alive": (each, np.bool_, False, "the member is trained and finite at this record"),
    }
    numbers = {name: (each, config.dtype, np.nan, model.observables[name]) for name in observed.numbers}
    spectra: dict[str, tuple] = {}
    modes = {name: min(leaf.shape[-2:]) for name, leaf in matrices.items()}
    for name, leaf in matrices.items():
        suffix = f"_{name}" if len(matrices) > 1 else ""
        mode = "mode" if len(set(modes.values())) == 1 else f"mode{suffix}"
        long_name = f"eigenvalues of X = WᵀW of {name}, {leaf.shape[-2]}×{leaf.shape[-1]}, ascending"
        spectra[f"eigenvalues{suffix}"] = (each | {mode: modes[name]}, np.float64, np.nan, long_name)
        if name in observed.targets:
            aim = f"eigenvalues that {name} is to learn, ascending"
            spectra[f"target_eigenvalues{suffix}"] = (base | {mode: modes[name]}, np.float64, np.nan, aim)
        for reference in config.compared:
            if reference != "target" or name in observed.targets:
                for part in overlaps.parts(model, reference):
                    about = f"{overlaps.MEANING[part]} of {name}'s modes with {overlaps.LONG[reference]}"
                    spectra[f"overlap_{reference}_{part}{suffix}"] = (
                        each | {mode: modes[name]}, np.float64, np.nan, about,
                    )  # fmt: skip
        if config.keep_weights != "none":
            dims = each if config.keep_weights == "all" else base
            dims = dims | {f"row{suffix}": leaf.shape[-2], f"column{suffix}": leaf.shape[-1]}
            spectra[f"weights{suffix}"] = (dims, config.dtype, np.nan, f"weight matrix {name}")
    _check_names(model.name, set(numbers), first | spectra)
    return first | numbers | spectra


def _check_names(model: str, numbers: set[str], others: dict[str, tuple]) -> None:
    """Raise InputError if an observable would hide something else, or has a name that no store takes."""
    dims = {dim for dims, *_ in others.values() for dim in dims}
    for name in sorted(numbers & (dims | others.keys())):
        raise InputError(
            f"the observable {name} of {model} has a name that is taken by what every run records; rename it"
        )
    for name in sorted(numbers | dims | others.keys()):
        if not NAME.fullmatch(name):
            raise InputError(
                f"{name!r} of the model {model} cannot be the name of a variable; "
                "take letters, digits and underscores"
            )


def record(
    results: Results,
    config: Config,
    batch_index: int,
    wave: tiles.Wave,
    number: int,
    observed: Observed,
    compared: overlaps.Overlaps,
) -> None:
    """Enter record `number` of a wave into the results. compared: the wave's overlaps."""
    numbers, matrices, targets, diverged_at, levels_of = jax.device_get(observed)
    kept = wave.index >= 0
    members = wave.index[kept]

    def put(name, values, *record):
        results.put(name, batch_index, members, values, *record)

    put("diverged_at", diverged_at[kept])
    put("alive", diverged_at[kept] < 0, number)
    for name, values in numbers.items():
        put(name, values[kept], number)
    names = matrices | levels_of
    for name in names:
        suffix = f"_{name}" if len(names) > 1 else ""
        weights = matrices[name][kept] if name in matrices else None
        if name in targets and number == 0:
            levels = squared_singular_values(targets[name].reshape(-1, *targets[name].shape[2:]))
            levels = np.repeat(levels, wave.index.shape[-1], axis=0)[kept.ravel()]
            scale, point = compared.model.target_scale, wave.identity.point
            usual = compared.model.scalars[scale].default if scale is not None and scale in point else None
            if scale is not None and usual is not None:
                factor = np.asarray(point[scale], np.float64)[kept] / usual
                levels = levels * factor[:, None] ** 2
            put(f"target_eigenvalues{suffix}", levels)
        levels = levels_of[name][kept] if name in levels_of else squared_singular_values(weights)
        put(f"eigenvalues{suffix}", levels, number)
        for variable, values in compared.of(name, weights, targets):
            put(f"{variable}{suffix}", values, number)
        if config.keep_weights == "all":
            put(f"weights{suffix}", weights, number)
        elif config.keep_weights == "last" and number == len(config.records) - 1:
            put(f"weights{suffix}", weights)
