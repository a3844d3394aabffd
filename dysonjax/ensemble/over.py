"""The same ensemble for several models: an axis of what changes shapes, such as the width of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

from dysonjax import checks
from dysonjax.ensemble.grid import RESERVED, Grid
from dysonjax.ensemble.training import train
from dysonjax.models.base import Model


def train_each(
    models: Mapping[float, Model],
    grid: Grid,
    steps: int,
    records: int | Sequence[int] = 11,
    *,
    axis: str = "width",
    progress: Callable[[float, float], None] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Train the same grid with several models and put the results side by side, along an axis of their own.

    models: by the value on the axis, such as {32: teacher_student((3, 32, 32, 1)), ...}. Learning rates,
    batch sizes and so on are axes of a grid; a width is none, since each is compiled by itself. axis: its
    name. options: of `train`, but `out`. Returns the datasets with the dimension `axis` in front; levels and
    weights that a narrower model does not have are NaN. A seed has the same randomness in every model, as far
    as shapes allow. Raises InputError for an empty mapping, or an axis that a grid has already.

    >>> import dysonjax as dj
    >>> models = {n: dj.models.teacher_student((2, n, n, 1), batches=3) for n in (4, 8)}
    >>> data = dj.train_each(models, dj.Grid(lr=0.1, batch_size=2, seeds=2), 2, 2)
    >>> dict(data.sizes)["width"], data.eigenvalues.sel(width=4).isel(mode=-1).isnull().all().item()
    (2, True)
    """
    if not models:
        raise checks.InputError("models must hold at least one model")
    if axis in RESERVED or axis in grid.dims:
        raise checks.InputError(f"axis must be a name that the grid does not have, got {axis!r}")
    if "out" in options:
        raise checks.InputError("train_each keeps its results in memory; train each model for files")
    found, work = [], grid.members * checks.positive_int("steps", steps)
    for number, model in enumerate(models.values()):

        def told(done: float, total: float, number: int = number) -> None:
            if progress is not None:
                progress(number * work + done, len(models) * work)

        found.append(train(model, grid, steps, records, progress=told, **options).dataset)
    bare = {dim for data in found for dim in data.dims if dim not in data.coords}
    sizes = {dim: max(data.sizes.get(dim, 0) for data in found) for dim in bare}
    padded = [
        data.pad({dim: (0, size - data.sizes[dim]) for dim, size in sizes.items() if dim in data.sizes})
        for data in found
    ]
    return xr.concat(padded, xr.Variable(axis, list(models)), join="outer", combine_attrs="override")
