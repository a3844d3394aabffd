"""Levels and degenerate pairs of a trained ensemble, held against the closed forms for isolated pairs.

Everything here takes levels of shape (points, members, modes), ascending, with NaN for members that diverged;
a point is one combination of hyperparameters. Errors are over members.
"""

import itertools
from typing import NamedTuple

import numpy as np
import xarray as xr

from dysonjax import renamed, spectra
from dysonjax.keys import Key, keyed
from dysonjax.models.predictions import degenerate_pairs
from dysonjax.spectra.averages import mean_and_sem
from dysonjax.spectra.likelihood import member_weights, standard_errors
from dysonjax.spectra.spacings import of_unit_mean

MIN_MEMBERS = 20  # fewer members do not support the fit of a density


class Means(NamedTuple):
    """Ensemble means with standard errors, each (points, modes or modes − 1)."""

    levels: np.ndarray
    levels_err: np.ndarray
    spacings: np.ndarray  # S_i = x_{i+1} − x_i
    spacings_err: np.ndarray

    @property
    def levels_sem(self) -> np.ndarray:
        """Former name of `levels_err`."""
        renamed.warned("levels_sem", "levels_err")
        return self.levels_err

    @property
    def spacings_sem(self) -> np.ndarray:
        """Former name of `spacings_err`."""
        renamed.warned("spacings_sem", "spacings_err")
        return self.spacings_err


class Exponent(NamedTuple):
    """⟨S⟩ ∝ (α/|B|)^value over the pairs of all points; NaN with fewer than two temperatures."""

    value: float
    error: float


def final_levels(dataset: xr.Dataset, singular_values: bool = False) -> tuple[np.ndarray, list[dict]]:
    """Levels at the last record, (points, seeds, modes), and each point's batch_size, lr, sigma_w, scalars.

    singular_values: take singular values of W instead of the recorded eigenvalues of X.
    """
    last = dataset.isel(record=-1)
    recorded = last["eigenvalues"].where(last["alive"])
    axes = [dim for dim in recorded.dims if dim not in ("seed", "mode")]
    levels = recorded.transpose(*axes, "seed", "mode").values
    points = [
        dict(zip(axes, values, strict=True))
        for values in itertools.product(*(dataset[dim].values.tolist() for dim in axes))
    ]
    levels = levels.reshape(len(points), *levels.shape[-2:])
    return (np.sqrt(levels) if singular_values else levels), points


def means(levels: np.ndarray) -> Means:
    """Mean levels and spacings of each point."""

    return Means(*mean_and_sem(levels, axis=1), *mean_and_sem(np.diff(levels, axis=-1), axis=1))


def scalar_groups(points: list[dict]) -> np.ndarray:
    """A number for each point, the same for points that differ in batch_size, lr and sigma_w alone."""
    scalars = [tuple(v for k, v in p.items() if k not in ("batch_size", "lr", "sigma_w")) for p in points]
    return np.array([scalars.index(values) for values in scalars])


@renamed.arguments(n_resamples="n")
@keyed
def scaling_exponent(
    levels: np.ndarray, points: list[dict], pairs: np.ndarray, n_resamples: int = 1000, key: Key = 0
) -> Exponent:
    """Slope of ln ⟨S⟩ over ln(α/|B|), common to all; each pair and set of scalars has its prefactor.

    levels: (points, seeds, modes), NaN where a member diverged. The error is that of a bootstrap of
    `n_resamples` replicates, in which a seed is drawn with all its points and pairs: the points of a seed
    share its noise, so that much of it leaves the slope alone. NaN with fewer than two temperatures or
    members.
    """
    averages = means(levels)
    weight = slope_weights(averages, points, pairs)
    s = np.diff(levels, axis=-1)[:, :, pairs]
    alive = np.asarray(np.isfinite(s).all(axis=-1))
    counts = member_weights(levels.shape[1], n_resamples, int(key))
    number = np.einsum("rm,pm->rp", counts, alive)[..., None]
    total = np.einsum("rm,pmk->rpk", counts, np.where(alive[..., None], s, 0.0))
    # A replicate may draw none of the few seeds that are alive at a point; it then keeps the data's mean.
    mean = np.where(number > 0, total / np.maximum(number, 1), averages.spacings[:, pairs])
    slopes = common_slope(mean, weight, points)
    return Exponent(float(slopes[0]), float(standard_errors(slopes[:, None], levels.shape[1])[0]))


def slope_weights(averages: Means, points: list[dict], pairs: np.ndarray) -> np.ndarray:
    """Weight of every ln ⟨S⟩ in the slope, 1/(its variance), (points, pairs); 0 where it has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = (averages.spacings[:, pairs] / averages.spacings_err[:, pairs]) ** 2
    return np.where(np.isfinite(weight), weight, 0.0)


def common_slope(spacings: np.ndarray, weight: np.ndarray, points: list[dict]) -> np.ndarray:
    """Weighted least-squares slope of ln(spacings) over ln(α/|B|), one for all, each column its own level.

    spacings: (..., points, pairs). weight: (points, pairs). Columns of points with other scalars are apart.
    """
    temperature = np.log([p["lr"] / p["batch_size"] for p in points])
    t = np.broadcast_to(temperature[:, None], weight.shape).copy()
    groups = scalar_groups(points)
    for group in np.unique(groups):
        here = groups == group
        t[here] -= (weight[here] * t[here]).sum(axis=0) / np.maximum(weight[here].sum(axis=0), 1e-300)
    spread = (weight * t**2).sum()
    if not spread > 1e-18 * max(weight.sum(), 1.0):
        return np.full(spacings.shape[:-2], np.nan)
    y = np.log(np.where(weight > 0, spacings, 1.0))
    return (weight * t * y).sum(axis=(-2, -1)) / spread


def normalised_spacings(levels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """s = S/⟨S⟩ of every pair at every point, (members, spacings): unfolding by index.

    Points without any living member are left out, then members that are not alive at all other points: those
    of one seed share its noise, and stay together.
    """
    s = np.diff(levels, axis=-1)[:, :, pairs]
    alive = np.asarray(np.isfinite(s).all(axis=-1))
    there = alive.any(axis=1)
    s = s[there][:, np.asarray(alive[there].all(axis=0))]
    if not s.size:
        return np.empty((0, 0))
    return np.moveaxis(of_unit_mean(s), 1, 0).reshape(s.shape[1], -1)


def summarise(levels: np.ndarray, points: list[dict], targets: np.ndarray, theory: np.ndarray) -> dict:
    """What the commands report, as JSON values; lists run over points, then over levels or spacings.

    targets: (modes,). theory: ⟨S⟩ of each spacing, (points, modes − 1), NaN where the target has no isolated
    pair. For pairs also: sigma_from_spacing = ⟨S⟩/√π, sigma_from_density (fit of the two-mode density) and
    the Binder cumulant.
    """
    averages = means(levels)
    pairs = degenerate_pairs(targets)
    exponent = scaling_exponent(levels, points, pairs)
    result = {
        "points": points,
        "levels_mean": averages.levels,
        "levels_sem": averages.levels_err,
        "targets": targets,
        "spacing_mean": averages.spacings,
        "spacing_sem": averages.spacings_err,
        "spacing_theory": theory,
        "pairs": pairs,
        "scaling_exponent": exponent.value,
        "scaling_exponent_error": exponent.error,
        **_densities(levels, averages, pairs),
    }
    return {name: _json(value) for name, value in result.items()}


def _densities(levels: np.ndarray, averages: Means, pairs: np.ndarray) -> dict:
    shape = (len(levels), len(pairs))
    names = ("sigma_from_density", "sigma_from_density_error", "binder", "binder_error")
    found = {name: np.full(shape, np.nan) for name in names}
    for p, members in enumerate(levels):
        members = members[np.isfinite(members).all(axis=-1)]
        if len(members) < MIN_MEMBERS:
            continue
        for i, pair in enumerate(pairs):
            both = members[:, pair : pair + 2]
            fit = spectra.fit_two_mode(both, n_resamples=50)
            binder = spectra.bootstrap(both, spectra.binder_cumulant, n_resamples=200)
            found["sigma_from_density"][p, i] = fit.sigma
            found["sigma_from_density_error"][p, i] = fit.sigma_err
            found["binder"][p, i], found["binder_error"][p, i] = binder.estimate, binder.estimate_err
    sigma = averages.spacings[:, pairs] / np.sqrt(np.pi)
    return {"sigma_from_spacing": sigma, **found}


def _json(value):
    if isinstance(value, np.ndarray):
        return _json(value.tolist())
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
