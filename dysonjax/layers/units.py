"""What is to be analysed in a source: matrices of a checkpoint, or the recorded levels of a run."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.layers.change import Change, compare
from dysonjax.spectra.checkpoint import MatrixSpectrum, analyse_levels, analyse_matrix
from dysonjax.weights import Account, Matrix, open_checkpoint, plan
from dysonjax.weights.formats.run_store import is_run, open_run
from dysonjax.weights.mapping import from_memory


@dataclass(frozen=True)
class Unit:
    """One row of the table to be: a matrix of a checkpoint, or the recorded levels of a run."""

    name: str
    """of the matrix, with its place in the grid if it is of a run"""
    role: str
    """as in `dysonjax.weights.Matrix`"""
    members: int
    """matrices of the ensemble"""
    rows: int
    """M, the longer side"""
    modes: int
    """N, the shorter side"""
    analyse: Callable[..., tuple[MatrixSpectrum, Change | None]] = field(repr=False)
    """(n, seed, nulls, quick, progress) -> statistics and change since the start; raises InputError"""


@dataclass(frozen=True)
class Units:
    """All that is to be analysed in a source.

    Examples
    --------
    >>> from dysonjax.layers import units_of
    >>> found = units_of({"first.weight": np.zeros((4, 3)), "second.weight": np.zeros((3, 2))})
    >>> [(unit.name, unit.rows, unit.modes) for unit in found.only("second").units]
    [('second.weight', 3, 2)]
    """

    source: str
    """path of the source, or `memory`"""
    format: str
    """such as `safetensors` or `run`"""
    framework: str | None
    """`torch`, `keras`, `flax`, `onnx` or `mlx`, where that is known"""
    units: tuple[Unit, ...]
    """what can be analysed"""
    accounts: tuple[Account, ...]
    """what became of every tensor"""
    notes: tuple[str, ...]
    """what was left aside"""

    def only(self, text: str | None) -> "Units":
        """Keep what has a text in its name.

        Parameters
        ----------
        text : str or None
            The text; None keeps everything.

        Returns
        -------
        Units
            Units and accounts whose name contains the text.

        Raises
        ------
        InputError
            If there are none.
        """
        if text is None:
            return self
        units = tuple(unit for unit in self.units if text in unit.name)
        accounts = tuple(account for account in self.accounts if text in account.name)
        if not (units or accounts):
            raise InputError(f"no tensor of {self.source} has {text!r} in its name")
        return Units(self.source, self.format, self.framework, units, accounts, self.notes)


def units_of(source: Any, layout: Iterable[str] = (), split: Iterable[str] = (), start: Any = None) -> Units:
    """Find everything to analyse in a path, a mapping of arrays, flax parameters or a torch module.

    Parameters
    ----------
    source : path, mapping, module or array
        As for `spectrum`. Of a run folder, every matrix at every grid point and record is an ensemble over
        the seeds.
    layout, split : iterable of str, default ()
        Rules, as for `dysonjax.weights.plan`.
    start : path, mapping, module or array, optional
        The same network before training, in any of these forms. Its matrices are found by name.

    Returns
    -------
    Units
        What can be analysed, and an account of every tensor.

    Raises
    ------
    InputError
        For what cannot be opened, and if no matrix of `start` has a name of `source`.

    Examples
    --------
    >>> from dysonjax.layers import units_of
    >>> found = units_of({"layer.weight": np.zeros((4, 3)), "layer.bias": np.zeros(3)})
    >>> [unit.name for unit in found.units], [account.done for account in found.accounts]
    (['layer.weight'], ['matrix', 'skipped'])
    """
    if isinstance(source, str | os.PathLike):
        path = checks.path("file", source)
        if path.is_dir() and is_run(path):
            recorded = tuple(_records(path))
            if recorded:
                if start is not None:
                    raise InputError(f"{path} is a run, whose first record is its start; leave out start")
                return Units(str(path), "run", None, recorded, (), ())
    found = _planned(source, layout, split)
    checkpoint, planned = found
    before = {}
    if start is not None:
        before = {matrix.name: matrix for matrix in _planned(start, layout, split)[1].matrices}
        if not before.keys() & {matrix.name for matrix in planned.matrices}:
            raise InputError(f"start has no matrix with a name of {checkpoint.path or 'the weights'}")
    units = tuple(_unit(matrix, before.get(matrix.name)) for matrix in planned.matrices)
    missing = [m.name for m in planned.matrices if start is not None and m.name not in before]
    notes = checkpoint.notes + tuple(f"{name} is not in the start" for name in missing[:20])
    name = str(checkpoint.path or "memory")
    return Units(name, checkpoint.format, checkpoint.framework, units, planned.accounts, notes)


def _planned(source: Any, layout, split):
    is_path = isinstance(source, str | os.PathLike)
    checkpoint = open_checkpoint(source) if is_path else from_memory(source)
    return checkpoint, plan(checkpoint, layout, split)


def _unit(matrix: Matrix, before: Matrix | None) -> Unit:
    def analyse(
        n: int, seed: int, nulls: int | None, quick: bool, progress=None
    ) -> tuple[MatrixSpectrum, Change | None]:
        weights = matrix.read()
        found = analyse_matrix(weights, matrix.name, matrix.how, n, seed, nulls, progress, quick)
        change = None
        if before is not None:
            change = compare(weights, before.read(), max(1, min(found.outliers or 1, 20)))
        return found, change

    modes, rows = sorted((matrix.inputs, matrix.outputs))
    return Unit(matrix.name, matrix.role, matrix.members, rows, modes, analyse)


def _records(path: Path) -> Iterator[Unit]:
    """Ensembles of recorded levels: every matrix, grid point and record of a run."""
    data = open_run(path)
    for name in map(str, data.data_vars):
        variable = data[name]
        shape = re.search(r"(\d+)×(\d+)", str(variable.attrs.get("long_name", "")))
        if not re.match(r"eigenvalues(_|$)", name) or shape is None or "seed" not in variable.dims:
            continue
        rows = max(int(shape[1]), int(shape[2]))
        mode = variable.dims[-1]
        over = [dim for dim in variable.dims if dim not in ("seed", mode)]
        for index in np.ndindex(*(variable.sizes[dim] for dim in over)):
            point = variable.isel(dict(zip(over, index, strict=True)))
            at = ", ".join(f"{dim}={_value(point, dim, i)}" for dim, i in zip(over, index, strict=True))
            yield _recorded(f"{name} [{at}]", point.transpose("seed", mode), rows)


def _recorded(name: str, point, rows: int) -> Unit:
    def analyse(
        n: int, seed: int, nulls: int | None, quick: bool, progress=None
    ) -> tuple[MatrixSpectrum, None]:
        levels = np.asarray(point.values)
        # A diverged member is data about itself, not about the others.
        alive = np.isfinite(levels).all(axis=1)
        if not alive.any():
            raise InputError("no member is alive at this record")
        found = analyse_levels(
            levels[alive], rows, name, "as recorded", n, seed, progress=progress, quick=quick
        )
        return found, None

    members, modes = point.shape
    return Unit(name, "members", members, rows, modes, analyse)


def _value(point, dim: str, index: int) -> str:
    return f"{point[dim].item():g}" if dim in point.coords else str(index)


def nothing_in(source: str | Path, units: Units, refused: list[tuple[str, str]]) -> str:
    """The sentence about a source of which no matrix is left; refused: names and reasons."""
    left = [(account.name, account.why) for account in units.accounts if account.done == "skipped"]
    detail = ""
    if refused:
        detail = f" ({len(refused)} could not be analysed: {refused[0][1]})"
    elif left:
        number = "1 tensor" if len(left) == 1 else f"{len(left)} tensors"
        detail = f" ({number} left out, the first of them {left[0][0]}: {left[0][1]})"
    name = "what was given" if str(source) == "memory" else source
    return f"{name} holds no weight matrix that can be analysed{detail}"
