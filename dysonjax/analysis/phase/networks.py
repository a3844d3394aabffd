"""What needs the networks themselves: features at all records, the gradient of a whole epoch.

A run keeps numbers, and weights if it is told to; teacher, data and test inputs are made again from the
identity of a member (`ensemble.member_of`).
"""

import functools
import json
from typing import Any

import jax
import numpy as np
import xarray as xr

from dysonjax import checks, threefry
from dysonjax.analysis.phase.averages import mean_of_members
from dysonjax.ensemble import configuration, member_of
from dysonjax.models import Model, teacher_student


def model_of(dataset: xr.Dataset) -> Model:
    """The teacher-student network with which a run was made.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network.

    Returns
    -------
    Model
        The same record of functions, made again from the stored configuration.

    Raises
    ------
    InputError
        For a run of another model.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> dj.phase.model_of(run).config["widths"]
    [3, 8, 6, 1]
    """
    config = configuration(dataset)["model"]
    if config["name"] != "teacher-student":
        raise checks.InputError(
            f"this needs a run of the teacher-student network, got one of {config['name']}"
        )
    return _model(json.dumps({name: value for name, value in config.items() if name != "name"}))


@functools.lru_cache(maxsize=4)
def _model(settings: str) -> Model:
    return teacher_student(**json.loads(settings))


def features(dataset: xr.Dataset) -> xr.DataArray:
    """Features φ of the last hidden layer on the test inputs of every member, at all its records.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network with one learned matrix, whose weights were kept at all records.

    Returns
    -------
    xarray.DataArray
        Dims (batch_size, lr, sigma_w, seed, record, sample, feature).

    Raises
    ------
    InputError
        If the run keeps no weights, or is one of another model.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> phi = dj.phase.features(run)
    >>> overlap = (phi * phi.isel(record=0)).mean(("sample", "feature"))
    >>> bool(np.allclose(overlap, run["feature_overlap"], atol=1e-4))
    True
    """
    weights = _weights(dataset)
    model_of(dataset)
    config = configuration(dataset)["model"]
    known: dict[str, Any] = {"identity": np.asarray, "tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}
    activation = known[config["activation"]]
    found = []
    for index in np.ndindex(weights.shape[:4]):
        place = {name: weights[name].values[i].item() for name, i in zip(weights.dims, index, strict=False)}
        member = _member(dataset, place)
        below = activation(_inputs(member, config) @ np.asarray(member.world.teacher[0]))
        found.append(activation(below @ weights.values[index]))
    shape = (*weights.shape[:5], config["test_samples"], config["widths"][-2])
    return xr.DataArray(
        np.reshape(found, shape), {name: weights[name] for name in weights.dims[:5]},
        (*weights.dims[:5], "sample", "feature"), name="features",
    )  # fmt: skip


def two_time_correlation(features: xr.DataArray) -> xr.Dataset:
    """Correlation of the features at all pairs of records, averages over members with standard errors.

    Parameters
    ----------
    features : xarray.DataArray
        From `features`. Every point is averaged by itself.

    Returns
    -------
    xarray.Dataset
        Dims (batch_size, lr, sigma_w, record, later). `correlation` is G(t, t'), the mean of φ(t) φ(t') over
        test inputs and features. `connected` takes off every feature's mean over the inputs first.
        `normalised` is G(t, t')/√(G(t, t) G(t', t')). Each has its error in `NAME_err`.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> found = dj.phase.two_time_correlation(dj.phase.features(run))
    >>> start, end = found["normalised"].isel(batch_size=0, lr=0, sigma_w=0, record=0, later=[0, -1]).values
    >>> round(float(start), 4), bool(0 < end < 1)
    (1.0, True)
    """
    later = features.rename(record="later")
    centred = features - features.mean("sample")
    averaged = ("sample", "feature")
    size = features.sizes["sample"] * features.sizes["feature"]
    both = xr.dot(features, later, dim=averaged) / size
    own = (features**2).mean(averaged) ** 0.5
    members = {
        "correlation": both,
        "connected": xr.dot(centred, centred.rename(record="later"), dim=averaged) / size,
        "normalised": both / own / own.rename(record="later"),
    }
    result = {}
    for name, values in members.items():
        result[name], result[f"{name}_err"] = mean_of_members(values)
    return xr.Dataset(result)


def epoch_gradient_norm(dataset: xr.Dataset) -> xr.DataArray:
    """Norm of the gradient averaged over an epoch of training, as published; for every member.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network by plain SGD, whose weights were kept at all records.

    Returns
    -------
    xarray.DataArray
        Dims (batch_size, lr, sigma_w, seed, record), at the first record of each pair that lies an epoch
        apart.

    Raises
    ------
    InputError
        If the run keeps no weights, has another optimizer, or has no two records an epoch apart.

    Notes
    -----
    Between two records that lie an epoch (`batches` steps) apart the weights move by the learning rate times
    the sum of the gradients. The mean gradient is therefore ΔW/(α · batches): of gradients along the way, not
    at one place.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=400, records=5, keep_weights="all").dataset
    >>> norm = dj.phase.epoch_gradient_norm(run).sel(lr=0.5, sigma_w=0.5).mean("seed").squeeze()
    >>> norm["record"].values, bool(norm[-1] < norm[0])
    (array([  0, 100, 200, 300]), True)
    """
    weights, config = _weights(dataset), configuration(dataset)
    batches = config["model"]["batches"]
    if config["optimizer"] != "sgd":
        raise checks.InputError(
            "the mean gradient of an epoch follows from the weights for optimizer sgd alone"
        )
    steps = dataset["record"].values
    first = [i for i, step in enumerate(steps) if step + batches in steps]
    if not first:
        raise checks.InputError(f"no two records of the run lie an epoch ({batches} steps) apart")
    second = [int(np.flatnonzero(steps == steps[i] + batches)[0]) for i in first]
    moved = weights.isel(record=second).values - weights.isel(record=first).values
    norm = np.sqrt((np.asarray(moved, np.float64) ** 2).sum(axis=(-2, -1)))
    base = weights.isel(record=first, row=0, column=0, drop=True)
    return base.copy(data=norm) / (dataset["lr"] * batches)


def full_gradient_norm(dataset: xr.Dataset, record: int = 0) -> xr.DataArray:
    """Norm of the gradient averaged over all training samples, at the weights of one record.

    `grad_norm` of a run is that of 256 samples. Both are norms of a mean: 256 samples leave more of the
    single gradients in it than 4000 do, and most where a gradient is small beside its scatter, at large σ_W.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run that kept its weights.
    record : int, default 0
        Number of the record.

    Returns
    -------
    xarray.DataArray, dims (batch_size, lr, sigma_w, seed)
        The Frobenius norm, units of the loss over those of a weight.

    Raises
    ------
    InputError
        Without the weights, for fresh samples, and for other networks than a tanh one with a fixed first and
        last matrix.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> norm = dj.phase.full_gradient_norm(run)  # at the start, which is the same for all learning rates
    >>> norm.dims, bool((norm.sel(lr=0.05) == norm.sel(lr=0.5)).all())
    (('batch_size', 'lr', 'sigma_w', 'seed'), True)
    """
    weights, config = _weights(dataset).isel(record=record), configuration(dataset)["model"]
    if config["data"] != "fixed" or config["activation"] != "tanh":
        raise checks.InputError("the gradient of all samples needs a run with data='fixed' and tanh")
    model_of(dataset)
    found = []
    for index in np.ndindex(weights.shape[:4]):
        place = {name: weights[name].values[i].item() for name, i in zip(weights.dims, index, strict=False)}
        world = _member(dataset, place).world
        below, targets = (
            np.asarray(a, float).reshape(-1, a.shape[-1]) for a in (world.inputs, world.targets)
        )
        readout = np.asarray(world.teacher[-1], float)
        features = np.tanh(below @ np.asarray(weights.values[index], float))
        signal = (features @ readout - targets) @ readout.T * (1 - features**2)
        found.append(np.sqrt(((below.T @ signal / len(below)) ** 2).sum()))
    base = weights.isel(row=0, column=0, drop=True)
    return base.copy(data=np.reshape(found, base.shape))


def _weights(dataset: xr.Dataset) -> xr.DataArray:
    """The one learned matrix at all records, dims (batch_size, lr, sigma_w, seed, record, row, column)."""
    if "weights" not in dataset or "record" not in dataset["weights"].dims:
        raise checks.InputError(
            "the run keeps no weights at its records; train one learned matrix with keep_weights='all' "
            "(--keep-weights all)"
        )
    return dataset["weights"].transpose("batch_size", "lr", "sigma_w", "seed", "record", "row", "column")


def _member(dataset, place):
    """A member; with common randomness that of a seed is found again."""
    if configuration(dataset)["randomness"] == "common":
        place = place | {"lr": 1.0, "sigma_w": 1.0}
    return _kept(dataset.attrs["config"], **place)


@functools.lru_cache(maxsize=128)
def _kept(config, **place):
    dataset = xr.Dataset(attrs={"config": config})
    return member_of(model_of(dataset), dataset, **place)


@threefry.settled()
def _inputs(member, config) -> np.ndarray:
    """The fresh inputs on which the run observed this member."""
    shape, dtype = (config["test_samples"], config["widths"][0]), member.world.teacher[0].dtype
    with jax.enable_x64(dtype == np.float64):
        return np.asarray(jax.random.normal(member.observation_key, shape, dtype))
