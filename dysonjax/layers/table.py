"""`dj.spectrum`: the spectra of all layers as one labelled dataset."""

import os
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from dysonjax import renamed
from dysonjax.checks import InputError, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.layers.units import nothing_in, units_of
from dysonjax.layers.walk import Options, Recipe, Result, walk


@renamed.arguments(n_resamples="n")
@keyed
def spectrum(
    source: Any,
    *,
    only: str | None = None,
    layout: Iterable[str] = (),
    split: Iterable[str] = (),
    start: Any = None,
    n_resamples: int = 200,
    key: Key = 0,
    nulls: int | None = None,
    jobs: int = 1,
    quick: bool = False,
):
    """Spectral statistics of every weight matrix of a network, in one labelled table.

    Parameters
    ----------
    source : path, mapping, module or array
        A path (any format that `dysonjax spectrum` reads), a mapping of arrays, flax parameters, a torch
        module or its `state_dict()`, a Keras model, or one array.
    only : str, optional
        Analyse only tensors whose name contains this text.
    layout : str or iterable of str, default ()
        What the axes of tensors are, as on the command line, such as `["query/kernel=ieo"]`. See
        `dysonjax.weights.plan`.
    split : str or iterable of str, default ()
        How fused tensors are cut, in the same way.
    start : path, mapping, module or array, optional
        The same network before training, for its change.
    n_resamples : int, default 200
        Simulated spectra and samples behind each p-value, at least 20.
    key : int or JAX key, default 0
        Their randomness.
    nulls : int, optional
        Draws of matrices with shuffled and with signed entries, 0 for none. By default as many as the size
        allows.
    jobs : int, default 1
        Processes, for paths.
    quick : bool, default False
        Leave out what no verdict needs: spacings, and shuffled and signed matrices.

    Returns
    -------
    Dataset
        Over the dimension `matrix`. Variables are the columns of the table, NaN or "" where there is none.
        `level` holds the eigenvalues of WᵀW, all members pooled, ascending and padded with NaN. The attribute
        `tensors` says for every tensor of the source what was done and why.

    Raises
    ------
    InputError
        If no matrix can be analysed.

    Examples
    --------
    >>> w = np.random.default_rng(0).normal(size=(60, 30))
    >>> found = dj.spectrum({"layer.weight": w, "layer.bias": np.zeros(60)}, quick=True)
    >>> str(found.verdict.sel(matrix="layer.weight").item())
    'noise'
    >>> [account["done"] for account in found.attrs["tensors"]]
    ['matrix', 'skipped']
    """
    rules = tuple([layout] if isinstance(layout, str) else layout)
    cuts = tuple([split] if isinstance(split, str) else split)
    options = Options(positive_int("n_resamples", n_resamples, minimum=20), int(key), nulls, quick)
    units = units_of(source, rules, cuts, start).only(only)
    paths = all(isinstance(s, str | os.PathLike) for s in (source, start) if s is not None)
    recipe = Recipe(source, rules, cuts, start, only) if paths else None
    walked = walk(units, options, None, positive_int("jobs", jobs), recipe)
    results = [result for result in walked if result is not None]
    found = [result for result in results if result.spectrum is not None]
    if not found:
        refused = [(a.name, a.why) for a in units.accounts if a.done == "refused"]
        refused += [(unit.name, r.problem) for unit, r in zip(units.units, results, strict=True) if r.problem]
        raise InputError(nothing_in(units.source, units, refused))
    return _dataset(units, results, found)


def row_of(result: Result) -> dict:
    """The columns of one matrix: plain values, None where there is none."""
    assert result.spectrum is not None, "of a unit that was analysed"
    row = result.spectrum.row()
    row = {"name": row.pop("name"), "role": result.unit.role, **row}
    notes = row.pop("notes")
    if result.change is not None:
        row |= {f"start_{key}": value for key, value in asdict(result.change).items()}
    return {**row, "notes": notes}


def _dataset(units, results: list[Result], found: list[Result]):
    import xarray as xr

    # Names of Python end in `_err`.
    rows = [{k.replace("_error", "_err"): v for k, v in row_of(result).items()} for result in found]
    names = list(dict.fromkeys(key for row in rows for key in row))
    pooled = [np.sort(r.spectrum.levels, axis=None) for r in found if r.spectrum is not None]
    levels = np.full((len(found), max(one.size for one in pooled)), np.nan)
    for index, one in enumerate(pooled):
        levels[index, : one.size] = one
    variables: dict[str, tuple] = {
        key: ("matrix", _column([row.get(key) for row in rows])) for key in names if key != "name"
    }
    variables["level"] = (("matrix", "index"), levels)
    accounts = [asdict(account) | {"shape": list(account.shape)} for account in units.accounts]
    attributes = {"source": units.source, "format": units.format, "tensors": accounts}
    attributes["skipped"] = [{"name": r.unit.name, "reason": r.problem} for r in results if r.problem]
    return xr.Dataset(variables, {"matrix": [row["name"] for row in rows]}, attributes)


def _column(values: list) -> np.ndarray:
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else str(value) for value in values])
    if all(isinstance(value, bool) for value in values):
        return np.array(values)
    if all(type(value) is int for value in values):
        return np.array(values)
    return np.array([np.nan if value is None else value for value in values], np.float64)
