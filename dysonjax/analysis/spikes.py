"""Spikes of a run as it learns: outliers, overlaps, times of emergence, all of them beside the theory."""

import numpy as np
import xarray as xr

from dysonjax.analysis import spikes_theory
from dysonjax.checks import InputError
from dysonjax.ensemble import configuration
from dysonjax.spectra import count_outliers
from dysonjax.spectra.fit_marchenko_pastur import MIN_LEVELS
from dysonjax.spectra.spiked import squared_strength

FALSE_POSITIVES = 0.01  # of the edge beyond which a level counts as an outlier, all seeds of a point together
MOST_FITS = 20_000  # of a Marchenko-Pastur law, 10 ms each; of more only the last record is looked at
FAR = 1.5  # θ/θ_c from which on deviations from the law of large matrices are judged
CLEAR = 1.15  # θ/θ_c at which the mean position stands clear of the fluctuations of the edge
SEEN = 0.5  # of the seeds: what counts as outside


def observed(dataset: xr.Dataset, spike: int = 0, suffix: str = "") -> xr.Dataset:
    """A spike of a run of any model: means and standard errors over the seeds alive, by point and record.

    `position`: the level that is the (spike + 1)-th from above; `overlap_right`, `overlap_left` with the
    target, if the run kept them; each with `_err`. suffix: of the variables' names, for a model of several
    matrices, as in "_w2".
    """
    alive = dataset["alive"]
    mode = f"mode{suffix}" if f"mode{suffix}" in dataset.dims else "mode"
    levels = dataset[f"eigenvalues{suffix}"].where(alive)
    if spike >= dataset.sizes[mode]:
        raise InputError(f"spike must be below the number of levels, {dataset.sizes[mode]}, got {spike}")
    made = {}
    kept = {"position": levels}
    for side in ("right", "left", "signed"):
        name = f"overlap_target_{side}{suffix}"
        if name in dataset:
            kept[f"overlap_{side}"] = dataset[name].where(alive)
    for name, array in kept.items():
        top = array.isel({mode: -1 - spike})
        made[name], count = top.mean("seed"), top.count("seed")
        made[f"{name}_err"] = top.std("seed", ddof=1) / np.sqrt(count)
    return xr.Dataset(made)


def outliers(levels: xr.DataArray, ratio: float, spike: int = 0) -> xr.Dataset:
    """The fraction of seeds with more than `spike` levels beyond the edge of noise, the edge and σ².

    levels: with the dimensions seed and mode, without the zeros of a matrix with more columns than rows;
    seeds with NaN are left out. ratio: r = N/M. Points where all seeds are lost, or with too few
    levels for a fit of the noise, have a fraction of 0.
    """
    mode = next(dim for dim in levels.dims if str(dim).startswith("mode"))
    ordered = levels.transpose(..., "seed", mode)
    lead = ordered.shape[:-2]
    fraction, edge, sigma2 = np.zeros(lead), np.full(lead, np.nan), np.full(lead, np.nan)
    for place in np.ndindex(lead):
        x = ordered.values[place]
        x = x[np.isfinite(x).all(axis=-1)]
        if x.size >= MIN_LEVELS and np.median(x) > 1e-12 * x.max():
            # WᵀW and WWᵀ share their levels; of the turned matrix σ² counts per column.
            found = count_outliers(x, min(ratio, 1 / ratio), FALSE_POSITIVES)
            fraction[place] = (found.count > spike).sum() / ordered.shape[-2]
            edge[place], sigma2[place] = found.edge, found.sigma2 / max(ratio, 1)
    dims = ordered.dims[:-2]
    coords = {dim: ordered[dim] for dim in dims if dim in ordered.coords}
    data = {"outside": (dims, fraction), "edge": (dims, edge), "sigma2": (dims, sigma2)}
    return xr.Dataset(data, coords)


def emergence_of(time, strength) -> float:
    """When a spike left the bulk: where the line through its strength θ/θ_c was 1, steps.

    Inside the bulk nothing is seen, and a finite matrix shows a spike late; so the line through the first two
    records of the last time that the strength which the positions mean stays above 1.15, for two records or
    more, is continued back to 1, at most to two records before. time, strength: (records,). NaN if it never
    stays.
    """
    first, end = _last_stay(strength)
    if end - first < 2:
        return np.nan
    slope = (strength[first + 1] - strength[first]) / (time[first + 1] - time[first])
    back = time[first] - (strength[first] - 1) / slope if slope > 0 else -np.inf
    return float(np.clip(back, time[max(first - 2, 0)], time[first]))


def disappearance_of(time, strength) -> float:
    """When it was back, by the line through the last two records of that stay, in the same way; NaN if it is
    outside at the end, or never stayed."""
    time, strength = np.asarray(time), np.asarray(strength)
    if _last_stay(strength)[1] == len(strength):
        return np.nan
    return -emergence_of(-time[::-1], strength[::-1])


def _last_stay(strength) -> tuple[int, int]:
    """First and one past the last of the last two or more records in a row above 1.15; (0, 0) if none."""
    seen = np.concatenate([[False], np.asarray(strength) > CLEAR, [False]])
    starts, ends = np.flatnonzero(seen[1:] & ~seen[:-1]), np.flatnonzero(seen[:-1] & ~seen[1:])
    long = [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if b - a > 1]
    return long[-1] if long else (0, 0)


def compare(dataset: xr.Dataset) -> xr.Dataset:
    """Every spike of a run of `spiked_teacher` beside its theory, by point and record; dims (spike, ...).

    `position`, `overlap_right`, `overlap_left` with `_err` and `_theory`; `strength` θ/θ_c by the position
    and `strength_theory`; `outside`, the fraction of seeds with an outlier, the `edge` and σ² of their fit;
    `emergence` and `disappearance` with `_theory`, steps; `visible_theory` at the end. Outputs that are not
    linear have no theory: NaN. Inputs in blocks make a bulk that is not that of Marchenko and Pastur: with a
    theory its edge and scale are those of theory, and σ² is NaN.
    """
    model = configuration(dataset)["model"]
    if model["name"] != "spiked-teacher":
        raise InputError(
            f"only runs of the model spiked-teacher have spikes that are known, not {model['name']}"
        )
    ratio = model["columns"] / model["rows"]
    points = int(np.prod([n for dim, n in dataset["diverged_at"].sizes.items() if dim != "seed"]))
    whole = points * dataset.sizes["record"] <= MOST_FITS
    levels = dataset["eigenvalues"].where(dataset["alive"])
    chosen = levels if whole else levels.isel(record=[-1])
    made = []
    for spike in range(len(model["profile"])):
        theory = _theory(dataset, spike)
        found = observed(dataset, spike)
        if model["blocks"] and model["activation"] == "identity":
            found = found.assign(_beside_blocks(dataset, levels, found["position"], spike))
        else:
            found = found.merge(outliers(chosen, ratio, spike), join="left")
            y = squared_strength(found["position"] / found["sigma2"], ratio)
            found["strength"] = found["position"].copy(data=np.sqrt(y) / ratio**0.25)
        found["strength"] = found["strength"].where(np.isfinite(found["position"]))
        for name, measure in (("emergence", emergence_of), ("disappearance", disappearance_of)):
            found[name] = xr.apply_ufunc(
                measure, found["record"].astype(float), found["strength"],
                input_core_dims=[["record"]] * 2, vectorize=True,
            )  # fmt: skip
        made.append(found.merge(theory))
    return xr.concat(made, "spike")


def _beside_blocks(dataset: xr.Dataset, levels: xr.DataArray, position: xr.DataArray, spike: int) -> dict:
    """`outside`, `edge`, `sigma2` and `strength` by the bulk that theory has for inputs in blocks."""
    edge = spikes_theory.edge(dataset, FALSE_POSITIVES / dataset.sizes["seed"])
    return {
        "outside": ((levels > edge).sum("mode") > spike).mean("seed"),
        "edge": edge,
        "sigma2": xr.full_like(edge, np.nan),
        "strength": spikes_theory.strength_at(dataset, position, spike),
    }


def _theory(dataset: xr.Dataset, spike: int) -> xr.Dataset:
    try:
        found = spikes_theory.theory(dataset, spike)
    except InputError:
        point = dataset["alive"].isel(seed=0, drop=True)
        nothing = xr.full_like(point, np.nan, float)
        names = ("position", "overlap_right", "overlap_left", "strength", "theta", "sigma", "spread")
        found = xr.Dataset(dict.fromkeys(names, nothing))
        for name in ("emergence", "disappearance", "visible"):
            found[name] = nothing.isel(record=0, drop=True)
    return found.rename({name: f"{name}_theory" for name in found.data_vars})


def margin(dataset: xr.Dataset) -> xr.DataArray | None:
    """`spikes_theory.margin` of the last batch size, None for a run without a theory."""
    try:
        return spikes_theory.margin(dataset)["margin"].isel(batch_size=-1)
    except InputError:
        return None


def caption(dataset: xr.Dataset) -> str:
    """What a figure of a run says below or above it."""
    model = configuration(dataset)["model"]
    noise = {"gradient": "gradient noise", "label": "label noise", "data": "fresh data"}[model["noise"]]
    spikes = ", ".join(f"{value * model['s']:.3g}" for value in model["profile"])
    return (
        f"{model['rows']}×{model['columns']}, s = {spikes}, {noise}, ε = {model['epsilon']:.3g}, "
        f"{dataset.sizes['seed']} seeds, {int(dataset['record'][-1])} steps"
    )


def deviations(found: xr.Dataset) -> dict[str, dict[str, float]]:
    """Relative deviations of means over seeds from theory, at records where θ ≥ 1.5 θ_c; see `compare`."""
    far = found["strength_theory"] >= FAR
    result = {}
    for name in ("position", "overlap_right", "overlap_left"):
        if name in found and bool(far.any()):
            off = abs(found[name] / found[f"{name}_theory"] - 1).where(far)
            if np.isfinite(off).any():
                result[name] = {
                    "points": int(np.isfinite(off).sum()),
                    "mean": float(off.mean()),
                    "largest": float(off.max()),
                    "within_2_percent": float((off < 0.02).sum() / np.isfinite(off).sum()),
                }
    return result


def border(dataset: xr.Dataset, found: xr.Dataset) -> dict[str, int] | None:
    """In how many columns of the grid, one for each σ_W, |B| and scalar, the borders of trainability agree.

    Measured is that half of the seeds show the strongest spike at the end, predicted that θ > θ_c. A column
    agrees if the two differ only next to a predicted border, by one step in α; the border may lie between
    the grid and what would be its next α. None without a theory, or with fewer than three learning rates.
    """
    one = found.isel(spike=0).sortby("lr")
    if one["visible_theory"].isnull().any() or one.sizes["lr"] < 3:
        return None
    lr = one["lr"].values
    lr = np.concatenate([[lr[0] ** 2 / lr[1]], lr, [lr[-1] ** 2 / lr[-2]]])
    dims = list(one["visible_theory"].dims)
    axis = dims.index("lr")
    setting = spikes_theory.settings(dataset)
    setting = setting._replace(lr=lr.reshape([-1 if k == axis else 1 for k in range(len(dims))]))
    shape = [one.sizes[dim] if dim != "lr" else len(lr) for dim in dims]
    beyond = np.broadcast_to(spikes_theory.visible(setting, int(one["record"][-1])), shape)
    beyond = np.moveaxis(beyond, axis, 0).reshape(len(lr), -1)
    outside = one["outside"].isel(record=-1).transpose("lr", *(dim for dim in dims if dim != "lr"))
    measured = (outside >= SEEN).values.reshape(len(lr) - 2, -1)
    flips = beyond[1:] != beyond[:-1]
    beside, predicted = flips[1:] | flips[:-1], beyond[1:-1]
    agree = ((measured == predicted) | beside).all(axis=0)
    return {
        "columns": len(agree),
        "within": int(agree.sum()),
        "points_that_differ": int((measured != predicted).sum()),
        "points": int(predicted.size),
    }


def emergence(found: xr.Dataset, name: str = "emergence") -> dict[str, float] | None:
    """How far measured times of emergence (or "disappearance") lie from the predicted ones, in distances of
    records there."""
    steps = found["record"].values
    theory, measured = (found[key].values.ravel() for key in (f"{name}_theory", name))
    both = np.isfinite(theory) & np.isfinite(measured)
    if not both.any() or len(steps) < 2:
        return None
    place = np.clip(np.searchsorted(steps, theory[both], side="right"), 1, len(steps) - 1)
    off = np.abs(measured[both] - theory[both]) / np.diff(steps)[place - 1]
    return {
        "points": int(both.sum()),
        "within_one_record": int((off <= 1).sum()),
        "mean_in_records": float(off.mean()),
        "largest_in_records": float(off.max()),
    }


def points(found: xr.Dataset) -> list[dict[str, float | None]]:
    """What every point and spike has at the end, and when it emerged, as JSON values."""
    last = found.isel(record=-1).drop_vars("record").stack(place=found["emergence"].dims)
    names = ["spike", *(str(dim) for dim in found["emergence"].dims if dim != "spike")]
    names += sorted(str(name) for name in last.data_vars)
    one = np.zeros(last.sizes["place"])  # of a run with a single spike
    columns = {n: last[n].values if n in last.coords or n in last else one for n in names}
    return [
        {name: float(v[k]) if np.isfinite(v[k]) else None for name, v in columns.items()}
        for k in range(last.sizes["place"])
    ]
