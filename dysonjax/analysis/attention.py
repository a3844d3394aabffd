"""Spectra of a transformer's attention matrices: spacings, Marchenko-Pastur fits, tails. [A] 3.2, Figs. 3, 4.

Everything takes one grid point of a run of `models.nanogpt`: a dataset with dims (seed, record, ...) and a
variable `eigenvalues_layer1_head1_key` for each matrix. A member is a seed; the heads of its layer are
further matrices of the same member and are resampled with it.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from dysonjax import renamed, spectra
from dysonjax.checks import InputError

KINDS = ("key", "query", "value")
MIN_MEMBERS = 2  # below, nothing can be resampled
MIN_TAIL_LEVELS = 50
TAIL_SAMPLES = 400  # ensembles of members behind error and p-value of a tail
TAIL_CANDIDATES = 60  # values of xmin that are tried

REPORTED = {  # a field of a fit: its name in a summary
    "sigma2": "sigma2",
    "sigma2_err": "sigma2_error",
    "area": "area",
    "area_err": "area_error",
    "p_value": "p",
    "area_p": "area_p",
    "scale_spread": "scale_spread",
    "note": "note",
}
FITTED = tuple(name for name in REPORTED if name != "note")

_NAME = re.compile(r"eigenvalues_layer(\d+)_head(\d+)_(\w+)")


def points(dataset: xr.Dataset) -> Iterator[tuple[dict, xr.Dataset]]:
    """Every grid point of a run with its hyperparameters. Raises InputError if the run has no heads."""
    if not any(_NAME.fullmatch(str(name)) for name in dataset.data_vars):
        raise InputError(
            "the run holds no attention matrices; it must come from dysonjax nanogpt or its model"
        )
    dims = [dim for dim in dataset["alive"].dims if dim not in ("seed", "record")]
    for index in np.ndindex(*(dataset.sizes[dim] for dim in dims)):
        point = dataset.isel(dict(zip(dims, index, strict=True)))
        yield {str(dim): point[dim].item() for dim in dims}, point


def size(point: xr.Dataset) -> tuple[int, int]:
    """Numbers of layers and of heads."""
    found = [_NAME.fullmatch(str(name)) for name in point.data_vars]
    numbers = [(int(match[1]), int(match[2])) for match in found if match]
    return max(layer for layer, _ in numbers), max(head for _, head in numbers)


def levels(
    point: xr.Dataset, layer: int, record: int = -1, kind: str = "key", head: int | None = None
) -> np.ndarray:
    """Eigenvalues of X = WᵀW of one layer, shape (members, heads, modes), ascending; members alive then.

    layer and head count from 1; head=None takes all. record: position of the record.
    """
    heads = range(1, size(point)[1] + 1) if head is None else [head]
    at = point.isel(record=record)
    values = np.stack([at[f"eigenvalues_layer{layer}_head{h}_{kind}"].values for h in heads], axis=1)
    return values[at["alive"].values & np.isfinite(values).all(axis=(1, 2))]


@renamed.arguments(n_resamples="n")
def marchenko_pastur(
    point: xr.Dataset,
    kind: str = "key",
    head: int | None = None,
    n_resamples: int = 300,
    common_scale: bool = False,
) -> xr.Dataset:
    """σ² and A of every layer at every record, dims (layer, record), with errors over members.

    head: one head as in [A] Fig. 4, or None for all heads of the layer together. n_resamples: of the
    bootstrap. r = N/M is one over the number of heads. NaN where fewer than two members are alive. p_value,
    area_p, scale_spread and note are those of `spectra.fit_marchenko_pastur`.

    common_scale: bring every matrix to the same median level first. Matrices of different size, pooled, look
    like a bulk with a tail, and in the first layer, where heads grow and shrink independently, that is most
    of it.
    """
    layers, heads = size(point)
    records = point["record"].values
    found = {name: np.full((layers, len(records)), np.nan) for name in FITTED}
    found["note"] = np.full((layers, len(records)), "", dtype=object)
    for layer in range(layers):
        for record in range(len(records)):
            x = levels(point, layer + 1, record, kind, head)
            if len(x) < MIN_MEMBERS:
                continue
            flat = x.reshape(len(x), -1)
            fit = spectra.fit_marchenko_pastur(
                flat, 1 / heads, n_resamples=n_resamples, n_matrices=x.shape[1], common_scale=common_scale
            )
            for name in FITTED:
                found[name][layer, record] = getattr(fit, name)
            found["note"][layer, record] = str(fit.note)
    dims = ("layer", "record")
    found["note"] = found["note"].astype(str)
    return xr.Dataset(
        {name: (dims, values) for name, values in found.items()},
        {"layer": np.arange(1, layers + 1), "record": records},
    )


def tails(point: xr.Dataset, kind: str = "key", record: int = -1) -> list[spectra.PowerLawFit | None]:
    """A power-law fit to the levels of each layer, all heads; errors and p-values over members.

    None if fewer than two members are alive or there are fewer than 50 levels above zero.
    """
    result: list[spectra.PowerLawFit | None] = []
    for layer in range(1, size(point)[0] + 1):
        x = levels(point, layer, record, kind)
        x = x.reshape(len(x), x.shape[1] * x.shape[2])
        if len(x) < MIN_MEMBERS or np.count_nonzero(x) < MIN_TAIL_LEVELS:
            result.append(None)
            continue
        x = np.maximum(x, x[x > 0].min())  # a level of zero is no part of a tail, wherever it lies below
        result.append(spectra.fit_power_law(x, TAIL_SAMPLES, max_candidates=TAIL_CANDIDATES, member_axis=-2))
    return result


def spacings(
    point: xr.Dataset, layer: int, record: int = -1, kind: str = "key", common_scale: bool = True
) -> np.ndarray:
    """Spacings of unit mean, (members, spacings of all heads); each head unfolded by index, s_i = S_i/⟨S_i⟩.

    common_scale: divide the levels of each matrix by their mean first. In trained networks some heads of
    the first layer have grown and others shrunk, in each network others: unfolded by index alone, their
    different sizes widen P(s), ⟨s²⟩ from 1.3 to 1.55. Raises InputError for fewer than two members.
    """
    x = levels(point, layer, record, kind)
    if len(x) < MIN_MEMBERS:
        raise InputError(f"spacings are unfolded over members and need at least 2 alive, got {len(x)}")
    if common_scale:
        x = x / x.mean(axis=-1, keepdims=True)
    s = np.diff(spectra.unfold(x.swapaxes(0, 1)), axis=-1)
    return s.swapaxes(0, 1).reshape(len(x), -1)


def summarise(dataset: xr.Dataset, kind: str = "key") -> dict:
    """What the command reports, as JSON values. Lists run over grid points, then layers, then records; the
    tails are those of the last record. `mp_common_…` are the fits with a common scale."""
    columns: dict[str, list] = {"points": []}
    for coordinates, point in points(dataset):
        values: dict[str, Any] = {}
        for prefix, common_scale in (("mp", False), ("mp_common", True)):
            fits = marchenko_pastur(point, kind, common_scale=common_scale)
            values |= {f"{prefix}_{name}": fits[variable].values for variable, name in REPORTED.items()}
        tail = tails(point, kind)
        for name in ("alpha", "alpha_err", "p_value", "xmin"):
            column = [np.nan if fit is None else float(getattr(fit, name)) for fit in tail]
            values["tail_" + {"alpha_err": "alpha_error", "p_value": "p"}.get(name, name)] = column
        values["tail_accepted"] = [fit is not None and bool(fit.accepted()) for fit in tail]
        alive = point.where(point["alive"])
        for name in ("val_loss", "train_loss"):
            values[name] = alive[name].mean("seed").values
            values[f"{name}_error"] = (
                alive[name].std("seed", ddof=1) / alive[name].count("seed") ** 0.5
            ).values
        columns["points"].append(coordinates)
        for name, value in values.items():
            columns.setdefault(name, []).append(_json(value))
    return {"points": columns.pop("points"), "matrix": kind, **columns}


def _json(value):
    if isinstance(value, np.ndarray):
        return _json(value.tolist())
    if isinstance(value, list):
        return [_json(item) for item in value]
    return value if isinstance(value, str | bool) or np.isfinite(value) else None
