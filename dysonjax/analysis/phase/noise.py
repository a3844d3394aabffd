"""The noise line: up to which temperature learning keeps the levels in order against the noise.

With K and V of a network (`models.teacher_student`) and r = M/N, its drift exceeds its noise if
K/(√r (N−1)) ≥ T V/(4σ_W²); at initialisation 4σ_W²/√r is the Marchenko-Pastur width of X, so that the
criterion then reads K · (mean level distance) ≥ T V. It is evaluated for every network at its own temperature
T = lr/batch_size, at the last record. There are two V:

"published": from UᵀVU, with V the variances of single elements and U the eigenvectors, as the data of arXiv
    2509.01349 were analysed. That is no variance: its elements off the diagonal have the signs of the
    eigenvectors, which are arbitrary, so that about half of the networks have a negative one, and about half
    pass however hot they are. Its 68 % line is the published one.
"variance": the variance of the turned matrix, which is what pushes the levels in Dyson's equation. Its line
    lies at about a fifth of the published temperature.
"""

import numpy as np
import xarray as xr

from dysonjax import checks, renamed
from dysonjax.analysis.phase.matrix import main_matrix, matrix_shape
from dysonjax.keys import Key, keyed

CONTOURS = (0.68, 0.95, 0.997)
CRITERIA = {"published": "noise_gap_published", "variance": "noise_gap"}  # the variable that holds V


def criteria(dataset: xr.Dataset) -> tuple[str, ...]:
    """The criteria that a dataset can be asked for.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network.

    Returns
    -------
    tuple of str
        Those of `CRITERIA`. Runs of version 0.1 before it was released lack the published V.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> dj.phase.criteria(run)
    ('published', 'variance')
    """
    return tuple(name for name, variable in CRITERIA.items() if variable in dataset)


def noise_threshold(dataset: xr.Dataset, record: int = -1, criterion: str = "published") -> xr.DataArray:
    """The temperature up to which every member passes the criterion with the K and V of one record.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network.
    record : int, default -1
        Which record, counted as in Python: −1 is the last.
    criterion : {"published", "variance"}, default "published"
        Which V, see `CRITERIA` and Notes.

    Returns
    -------
    xarray.DataArray
        Shape of the members. Infinite if K > 0 and V ≤ 0: the member passes at any temperature. NaN if there
        is no temperature below which it passes: K ≤ 0, or no numbers.

    Raises
    ------
    InputError
        For an unknown criterion, or if the run lacks the V that it needs.

    Notes
    -----
    Drift exceeds noise if K/(√r (N−1)) ≥ T V/(4σ_W²), with r = M/N and T = lr/batch_size. The V called
    "published" comes from UᵀVU, with V the variances of single elements and U the eigenvectors, as the data
    of arXiv 2509.01349 were analysed. It is no variance: its sign depends on the arbitrary signs of the
    eigenvectors. The V called "variance" is that of the turned matrix, which pushes the levels in Dyson's
    equation. Its line lies at about a fifth of the published temperature.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> limit = dj.phase.noise_threshold(run, criterion="variance")
    >>> hot = run["lr"] / run["batch_size"] > limit
    >>> bool((hot & dj.phase.noise_passes(run, criterion="variance")).any())
    False
    """
    drift, noise = _sides(dataset, record, criterion)
    with np.errstate(divide="ignore", invalid="ignore"):
        threshold = (drift / noise).where(noise > 0, np.inf)
    return threshold.where((drift > 0) & np.isfinite(noise)).transpose(
        *dataset["drift_gap"].isel(record=0).dims
    )


def noise_passes(dataset: xr.Dataset, record: int = -1, criterion: str = "published") -> xr.DataArray:
    """Whether drift exceeds noise in every member at its own temperature.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network.
    record : int, default -1
        Which record, counted as in Python: −1 is the last.
    criterion : {"published", "variance"}, default "published"
        Which V, see `CRITERIA` and Notes.

    Returns
    -------
    xarray.DataArray of bool
        Shape of the members. False for those that diverged.

    Raises
    ------
    InputError
        For an unknown criterion, or if the run lacks the V that it needs.

    Notes
    -----
    The criterion and the two V are those of `noise_threshold`.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> passes = dj.phase.noise_passes(run)
    >>> bool(passes.mean("seed").equals(dj.phase.noise_fraction(run)))
    True
    """
    drift, noise = _sides(dataset, record, criterion)
    temperature = dataset["lr"] / dataset["batch_size"]
    passes = (drift >= temperature * noise) & dataset["alive"].isel(record=record)
    return passes.transpose(*dataset["drift_gap"].isel(record=0).dims)


def noise_fraction(dataset: xr.Dataset, record: int = -1, criterion: str = "published") -> xr.DataArray:
    """The fraction of the members of every grid point in which drift exceeds noise.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network.
    record : int, default -1
        Which record, counted as in Python: −1 is the last.
    criterion : {"published", "variance"}, default "published"
        Which V, see `CRITERIA` and Notes.

    Returns
    -------
    xarray.DataArray
        Dims of the grid without `seed`, from `noise_passes`. NaN where no member has reached the record.

    Raises
    ------
    InputError
        For an unknown criterion, or if the run lacks the V that it needs.

    Notes
    -----
    Drift exceeds noise if K/(√r (N−1)) ≥ T V/(4σ_W²), with r = M/N and T = lr/batch_size. The V called
    "published" comes from UᵀVU, with V the variances of single elements and U the eigenvectors, as the data
    of arXiv 2509.01349 were analysed. It is no variance: its sign depends on the arbitrary signs of the
    eigenvectors. The V called "variance" is that of the turned matrix, which pushes the levels in Dyson's
    equation. Its line lies at about a fifth of the published temperature.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> fraction = dj.phase.noise_fraction(run).sel(sigma_w=0.5)
    >>> bool((fraction > 0.5).all())
    True
    """
    passes = noise_passes(dataset, record, criterion)
    known = dataset["alive"].isel(record=record) | (dataset["diverged_at"] >= 0)
    return (passes.where(known).mean("seed")).rename("noise_fraction")


def noise_line(
    dataset: xr.Dataset,
    contours: tuple[float, ...] = CONTOURS,
    criterion: str = "published",
    record: int = -1,
) -> xr.DataArray:
    """For each sigma_w, the temperature above which fewer than a fraction of the members pass.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network.
    contours : tuple of float, default (0.68, 0.95, 0.997)
        The fractions.
    criterion : {"published", "variance"}, default "published"
        Which V, see `CRITERIA` and Notes.
    record : int, default -1
        Which record, counted as in Python: −1 is the last.

    Returns
    -------
    xarray.DataArray
        Dims (contour, sigma_w), from `noise_fraction` by `falling_line`. Infinite if the fraction is still
        reached at the hottest point of the grid, NaN if it is reached at none.

    Raises
    ------
    InputError
        For an unknown criterion, or if the run lacks the V that it needs.

    Notes
    -----
    Drift exceeds noise if K/(√r (N−1)) ≥ T V/(4σ_W²), with r = M/N and T = lr/batch_size. The V called
    "published" comes from UᵀVU, with V the variances of single elements and U the eigenvectors, as the data
    of arXiv 2509.01349 were analysed. It is no variance: its sign depends on the arbitrary signs of the
    eigenvectors. The V called "variance" is that of the turned matrix, which pushes the levels in Dyson's
    equation. Its line lies at about a fifth of the published temperature. The 68 % line of the published V is
    the published one.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> line = dj.phase.noise_line(run, contours=(0.5,))
    >>> line.dims, line.shape
    (('contour', 'sigma_w'), (1, 2))
    """
    fraction = noise_fraction(dataset, record, criterion).mean(
        [
            dim
            for dim in dataset["drift_gap"].dims
            if dim not in ("batch_size", "lr", "sigma_w", "seed", "record")
        ]
    )
    points = fraction.stack(point=("batch_size", "lr"))
    points = (
        points.assign_coords(temperature=points["lr"] / points["batch_size"]).groupby("temperature").mean()
    )
    points = points.transpose("sigma_w", "temperature")
    lines = [
        [falling_line(points["temperature"].values, row, contour) for row in points.values]
        for contour in contours
    ]
    return xr.DataArray(
        np.array(lines, dtype=float).reshape(len(contours), -1),
        {"contour": list(contours), "sigma_w": dataset["sigma_w"]},
        ("contour", "sigma_w"),
        name="temperature",
    )


@renamed.arguments(n_resamples="resamples")
@keyed
def noise_line_error(
    dataset: xr.Dataset,
    contour: float = CONTOURS[0],
    criterion: str = "published",
    n_resamples: int = 200,
    key: Key = 0,
) -> xr.DataArray:
    """Standard error of log₂ of `noise_line` at one contour, by a bootstrap over networks, dims (sigma_w,).

    Parameters
    ----------
    dataset : xarray.Dataset
        A run with one batch size.
    contour : float
        Fraction of the networks, by default the lowest of `CONTOURS`.
    criterion : str, default "published"
        Which line, one of `CRITERIA`.
    n_resamples : int, default 200
        Number of resampled ensembles. Those without a line, where the fraction stays above or below the
        contour, are left out.
    key : int or jax.Array, default 0
        Decides the resampling.

    Returns
    -------
    xarray.DataArray, dims (sigma_w,)
        The error; NaN where fewer than nine in ten resampled ensembles have a line.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> dj.phase.noise_line_error(run, n_resamples=20).dims
    ('sigma_w',)
    """
    passes = noise_passes(dataset, criterion=criterion).isel(batch_size=0)
    known = dataset["alive"].isel(record=-1) | (dataset["diverged_at"] >= 0)
    passes = passes.where(known.isel(batch_size=0)).transpose("sigma_w", "lr", "seed", ...)
    shares = passes.mean(passes.dims[3:]).values
    temperature = (dataset["lr"] / dataset["batch_size"].values[0]).values
    rng, found = np.random.default_rng(key), []
    for _ in range(n_resamples):
        drawn = shares[..., rng.integers(shares.shape[-1], size=shares.shape[-1])]
        with np.errstate(invalid="ignore"):
            fraction = np.nansum(drawn, axis=-1) / np.isfinite(drawn).sum(axis=-1)
        found.append([falling_line(temperature, row, contour) for row in fraction])
    lines = np.log2(np.array(found))
    lines[~np.isfinite(lines)] = np.nan
    enough = np.isfinite(lines).mean(axis=0) >= 0.9
    error = np.full(len(enough), np.nan)
    error[enough] = np.nanstd(lines[:, enough], axis=0, ddof=1)
    return xr.DataArray(error, {"sigma_w": dataset["sigma_w"]}, ("sigma_w",), name="log2_noise_line_err")


@renamed.arguments(contour="level")
def falling_line(temperature: np.ndarray, fraction: np.ndarray, contour: float) -> float:
    """Where a fraction that falls with the temperature passes a contour, by interpolation in log T.

    Parameters
    ----------
    temperature : array, shape (points,)
        Ascending, above 0.
    fraction : array, shape (points,)
        The fraction at each temperature. NaN where it is not known.
    contour : float
        Of the line, above 0 and below 1.

    Returns
    -------
    float
        A temperature. Infinite if the contour is still reached at the hottest point, NaN if the maximum is
        below it.

    Notes
    -----
    Beyond its maximum the fraction is made to fall by averaging neighbours that do not (isotonic regression),
    so that the scatter of a finite number of members does not choose among several crossings. What it does at
    temperatures below its maximum is left out.

    Examples
    --------
    >>> round(dj.phase.falling_line(np.array([0.01, 0.1, 1.0]), np.array([1.0, 0.75, 0.25]), 0.5), 3)
    0.316
    """
    known = np.isfinite(fraction)
    temperature, fraction = np.asarray(temperature)[known], np.asarray(fraction)[known]
    if not len(fraction) or fraction.max() < contour:
        return np.nan
    top = int(np.flatnonzero(fraction == fraction.max())[-1])
    falling = _made_to_fall(fraction[top:])
    below = np.flatnonzero(falling < contour)
    if not len(below):
        return np.inf
    k = top + int(below[0])
    high, low = falling[below[0] - 1], falling[below[0]]
    part = (high - contour) / (high - low)
    return float(temperature[k - 1] * (temperature[k] / temperature[k - 1]) ** part)


def _made_to_fall(values: np.ndarray) -> np.ndarray:
    """The falling sequence nearest to the values in mean square, by pooling neighbours that rise.

    As `scipy.optimize.isotonic_regression`, which takes a quarter of a second to import.
    """
    pools: list[tuple[float, int]] = []  # sum, number of values
    for value in values:
        total, count = float(value), 1
        while pools and pools[-1][0] / pools[-1][1] < total / count:
            more, others = pools.pop()
            total, count = total + more, count + others
        pools.append((total, count))
    return np.concatenate([np.full(count, total / count) for total, count in pools])


def _sides(dataset: xr.Dataset, record: int, criterion: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Both sides of the criterion at T = 1, with the factor 4σ_W²/(√r (N−1)) on the left."""
    variable = CRITERIA[checks.one_of("criterion", criterion, list(CRITERIA))]
    if variable not in dataset:
        raise checks.InputError(
            f"the run holds no {variable}, which criterion={criterion!r} needs; "
            f"use {' or '.join(repr(name) for name in criteria(dataset)) or 'a run of teacher_student'}"
        )
    levels = dataset[main_matrix(dataset)]
    rows, columns = matrix_shape(dataset)
    size, ratio = levels.sizes[levels.dims[-1]], max(rows, columns) / min(rows, columns)
    at = dataset.isel(record=record)
    return at["drift_gap"] * 4 * dataset["sigma_w"] ** 2 / (np.sqrt(ratio) * (size - 1)), at[variable]
