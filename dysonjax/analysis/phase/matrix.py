"""Which matrix of a network the phases are about, and its shape."""

import xarray as xr

from dysonjax import checks
from dysonjax.ensemble import configuration


def main_matrix(dataset: xr.Dataset) -> str:
    """The name of the spectrum that the phases are about: of the learned matrix before the last hidden layer.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run.

    Returns
    -------
    str
        Name of a variable of the dataset.

    Raises
    ------
    InputError
        If the dataset holds no eigenvalues.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> dj.phase.main_matrix(run)
    'eigenvalues'
    """
    names = sorted(name for name in dataset.data_vars if str(name).startswith("eigenvalues"))
    if not names:
        raise checks.InputError("the dataset holds no eigenvalues; is it the dataset of a run?")
    if names == ["eigenvalues"] or "config" not in dataset.attrs:
        return names[0]
    last_hidden = f"eigenvalues_w{len(widths(dataset)) - 2}"
    return last_hidden if last_hidden in names else names[-1]


def widths(dataset: xr.Dataset) -> list[int]:
    """Neurons of each layer, input first."""
    return configuration(dataset)["model"]["widths"]


def matrix_shape(dataset: xr.Dataset) -> tuple[int, int]:
    """Rows and columns (n_in, n_out) of the main matrix."""
    return tuple(widths(dataset)[-3:-1])
