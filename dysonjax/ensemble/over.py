"""The same ensemble for several models: an axis of what changes shapes, such as the width of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Unpack

import xarray as xr

from dysonjax import checks
from dysonjax.ensemble.config import Options
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
    **options: Unpack[Options],
) -> xr.Dataset:
    """Train the same grid with several models, and put the results side by side along an axis of their own.

    Learning rates, batch sizes and so on are axes of a grid. A width is none, since a network of each width
    is compiled by itself.

    Parameters
    ----------
    models : mapping of float to Model
        The models by their value on the axis, such as `{32: teacher_student((3, 32, 32, 1)), ...}`.
    grid : Grid
        The members, of every model.
    steps : int
        Length of the training.
    records : int or sequence of int, default 11
        Number of records in equal distances, or the steps themselves.
    axis : str, default "width"
        Name of the axis.
    progress : callable, optional
        Called with network-steps done and in all, of all models together.
    **options
        Of `train`, but `out`.

    Returns
    -------
    Dataset
        With the dimension `axis` in front. Levels and weights that a narrower model does not have are NaN. A
        seed has the same randomness in every model, as far as shapes allow.

    Raises
    ------
    InputError
        For an empty mapping, or an axis that the grid has already.

    Examples
    --------
    >>> models = {n: dj.models.linear(np.eye(n), values=np.full(n, 2.0)) for n in (2, 3)}
    >>> data = dj.train_each(models, dj.Grid(lr=0.1, batch_size=4, seeds=3), 2, 2)
    >>> dict(data.sizes)["width"], data.eigenvalues.sel(width=2).isel(mode=-1).isnull().all().item()
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
