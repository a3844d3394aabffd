"""Spikes during learning: where theory has the outliers of a linear network.

W_t = W* (1 − (1−αΛ)^t) + W_0 (1−αΛ)^t + noise, for the model `spiked_teacher` with inputs of variances
Λ = diag λ: 1, or one value λ_b for each of its blocks. In a block spikes have the strength
θ_kb(t) = s_k (1 − (1−αλ_b)^t) and the noise the width σ_b(t). The law of such a matrix is `spectra.spiked`
with white inputs, else `spectra.spiked_blocks`.
"""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.ensemble import configuration
from dysonjax.spectra import TracyWidom, spiked, spiked_blocks
from dysonjax.spectra.spiked_blocks import strength_at as blocks_strength


class Setting(NamedTuple):
    """What the theory needs to know of a member. Arrays broadcast against times."""

    lr: np.ndarray
    batch_size: np.ndarray
    sigma_w: np.ndarray
    s: np.ndarray  # of the spike looked at
    epsilon: np.ndarray
    rows: int
    columns: int
    noise: str = "gradient"
    total: np.ndarray | float = 0.0  # Σ_k s_k² of the teacher, which feeds the noise of fresh inputs
    blocks: tuple[float, ...] = (1.0,)  # λ_b, variances of the inputs in blocks of equal size


ARRAYS = ("lr", "batch_size", "sigma_w", "s", "epsilon", "total")  # of a setting


class Course(NamedTuple):
    """Strength of a spike and width of the noise at times t, (..., block)."""

    theta: np.ndarray
    sigma: np.ndarray


def course(setting: Setting, time) -> Course:
    """θ_b(t) and σ_b(t) after `time` steps.

    Gradient noise: σ²(t+1) = (1−αλ)² σ²(t) + α²ε²M/|B|, exactly. Fresh inputs: the mean square d_b of an
    element of W − W* in block b obeys
    d_b(t+1) = [(1−αλ_b)² + α²λ_b²/|B|] d_b(t) + (α²λ_b/|B|) [Σ_c n_c λ_c d_c(t) + ε²], n_c the columns of a
    block, exactly, with ε = 0 for "data"; σ_b² is M times what d_b has beyond the mean, as if that part were
    white. It is not where the noise of the inputs outweighs that of the labels: its left directions are those
    of W − W* itself.
    """
    lr, batch, sigma_w, s, epsilon = (np.asarray(v, np.float64)[..., None] for v in setting[:5])
    m, n = setting.rows, setting.columns
    time, rate = np.asarray(time, np.float64)[..., None], lr * np.array(setting.blocks)
    shrunk = np.abs(1 - rate) ** (2 * time)
    # For αλ > 1 the signal alternates; between two steps its sign goes through zero.
    sign = np.where(rate > 1, np.cos(np.pi * time), 1.0)
    theta = s * (1 - sign * np.abs(1 - rate) ** time)
    if setting.noise == "gradient":
        sigma2 = shrunk * sigma_w**2 + m * lr**2 * epsilon**2 / batch * _series((1 - rate) ** 2, time)
        return Course(*np.broadcast_arrays(theta, np.sqrt(sigma2)))
    start = sigma_w**2 / m + np.asarray(setting.total)[..., None] / (m * n)
    # d_b √n_b, whose map is symmetric, in the eigenbasis of that map.
    root = np.sqrt(n / len(setting.blocks))
    source = 0.0 if setting.noise == "data" else epsilon**2
    growth, basis = np.linalg.eigh(_growth(setting))
    first, fed = (
        np.einsum("...bk,...b->...k", basis, root * v)
        for v in np.broadcast_arrays(start, source * lr * rate / batch)
    )
    with np.errstate(over="ignore", invalid="ignore"):
        modes = growth**time * first + fed * _series(growth, time)
        d = np.einsum("...bk,...k->...b", basis, modes) / root
        sigma2 = m * (d - shrunk * start) + shrunk * sigma_w**2
    return Course(*np.broadcast_arrays(theta, np.sqrt(np.maximum(sigma2, 0))))


def _growth(setting: Setting) -> np.ndarray:
    """The symmetric map of d_b √n_b in a step with fresh inputs, (..., block, block)."""
    lr, batch = (np.asarray(v, np.float64)[..., None] for v in setting[:2])
    variance = np.array(setting.blocks)
    rate = lr * variance
    n = setting.columns / len(variance)
    diagonal = (1 - rate) ** 2 + rate**2 / batch
    return diagonal[..., None] * np.eye(len(variance)) + n * (
        rate[..., :, None] * rate[..., None, :] / batch[..., None]
    )


def _series(rate, time):
    """Σ_{j<t} rate^j."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(np.abs(rate - 1) < 1e-12, time, (1 - rate**time) / (1 - rate))


class Law(NamedTuple):
    """What `spectra.spiked` or `spectra.spiked_blocks` says of a course. Arrays without the blocks."""

    strength: np.ndarray  # 1 at the transition
    position: np.ndarray
    overlap_right: np.ndarray
    overlap_left: np.ndarray
    spread: np.ndarray  # √M × the standard deviation of the position; NaN with blocks


def law(setting: Setting, time) -> Law:
    """Outlier and overlaps at `time`."""
    found, ratio = course(setting, time), setting.columns / setting.rows
    theta, sigma = np.maximum(found.theta, 0), np.maximum(found.sigma, 1e-150)
    if len(setting.blocks) == 1:
        one = spiked(theta[..., 0], sigma[..., 0], ratio)
        strength = theta[..., 0] / one.threshold
        return Law(strength, one.position, one.overlap_right, one.overlap_left, one.spread)
    many = spiked_blocks(theta, sigma**2, ratio)
    nothing = np.full(many.position.shape, np.nan)
    return Law(many.strength, many.position, many.overlap_right, many.overlap_left, nothing)


def strength(setting: Setting, time) -> np.ndarray:
    """How many times stronger than at the transition a spike is at `time`."""
    found, ratio = course(setting, time), setting.columns / setting.rows
    if len(setting.blocks) == 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (found.theta / found.sigma)[..., 0] / ratio**0.25
    finite = np.isfinite(found.sigma).all(axis=-1)
    sigma2 = np.where(finite[..., None], np.maximum(found.sigma, 1e-150) ** 2, 1.0)
    beyond = spiked_blocks(np.maximum(found.theta, 0), sigma2, ratio).strength
    return np.where(finite, beyond, 0.0)


def stable(setting: Setting) -> np.ndarray:
    """Whether the mean square of W stays finite: αλ < 2 in every block, and with fresh inputs a mean square
    that does not grow, for white ones α < 2/(1 + (N+1)/|B|)."""
    lr = np.asarray(setting.lr, np.float64)
    if setting.noise == "gradient":
        return lr * max(setting.blocks) < 2
    return (np.linalg.eigvalsh(_growth(setting))[..., -1] < 1) & (lr * max(setting.blocks) < 2)


def visible(setting: Setting, time) -> np.ndarray:
    """Whether the spike lies outside the bulk at `time`, of a member that is stable."""
    return stable(setting) & (strength(setting, time) > 1)


class Times(NamedTuple):
    """When a spike leaves the bulk, and when it is first back after that: steps, interpolated."""

    emergence: np.ndarray  # NaN if it does not within the run
    disappearance: np.ndarray  # NaN if it does not within the run


def times(setting: Setting, steps: int) -> Times:
    """Within `steps`."""
    time = np.unique(np.concatenate([np.arange(min(steps, 100) + 1), np.geomspace(1, steps, 1000)]))
    shape = np.broadcast_shapes(*(np.shape(v) for v in setting[:5]))
    spread = _spread(setting, shape)
    found = np.full((2, *shape), np.nan)
    for place in np.ndindex(shape):
        at = spread._replace(**{name: getattr(spread, name)[place] for name in ARRAYS})
        beyond = strength(at, time) - 1
        out = beyond > 0
        if not out.any():
            continue
        first = int(np.argmax(out))
        found[(0, *place)] = _crossing(time, beyond, first)
        if not out[first:].all():
            found[(1, *place)] = _crossing(time, beyond, first + int(np.argmin(out[first:])))
    return Times(*found)


def emergence(setting: Setting, steps: int) -> np.ndarray:
    """`times` of leaving the bulk alone."""
    return times(setting, steps).emergence


def _crossing(time, beyond, place: int) -> float:
    """Where a line from the time before to that of `place` is zero; 0 if there is none before."""
    if not place:
        return 0.0
    low, high = beyond[place - 1 : place + 1]
    if not np.isfinite(low):
        return float(time[place])
    return float(time[place - 1] + (time[place] - time[place - 1]) * low / (low - high))


def _spread(setting: Setting, shape) -> Setting:
    """With arrays of this shape, and a last axis for times."""
    spread: dict[str, Any] = {
        name: np.broadcast_to(getattr(setting, name), shape)[..., None] for name in ARRAYS
    }
    return setting._replace(**spread)


def settings(dataset: xr.Dataset, spike: int = 0) -> Setting:
    """The setting of every point of a run of `spiked_teacher`, arrays (batch_size, lr, sigma_w[, scalars]).

    spike: 0 for the strongest. Raises InputError for a run of another model, or of outputs that are not
    linear, whose law is not known.
    """
    model = configuration(dataset)["model"]
    if model["name"] != "spiked-teacher":
        raise InputError(f"the theory of spikes is that of the model spiked-teacher, not of {model['name']}")
    if model["activation"] != "identity":
        raise InputError("the theory of spikes is that of linear outputs; look at the run alone")
    profile = np.sort(model["profile"])[::-1]
    spike = checks.positive_int("spike", spike, 0, len(profile) - 1)
    dims = _dims(dataset)

    def along(name, default):
        if name not in dims:
            return np.asarray(float(default))
        axis = dims.index(name)
        return dataset[name].values.astype(float).reshape([-1 if k == axis else 1 for k in range(len(dims))])

    strength = along("s", model["s"])
    return Setting(
        along("lr", 0),
        along("batch_size", 0),
        along("sigma_w", 0),
        strength * profile[spike],
        along("epsilon", model["epsilon"]),
        model["rows"],
        model["columns"],
        model["noise"],
        strength**2 * float(np.sum(profile**2)),
        tuple(model["blocks"]) or (1.0,),
    )


def theory(dataset: xr.Dataset, spike: int = 0) -> xr.Dataset:
    """`position`, `overlap_right`, `overlap_left`, `strength` θ/θ_c of a spike at every point and record, and
    `emergence` and `disappearance`, the times at which it leaves the bulk and is back (steps; NaN: not within
    the run). `theta` and `sigma` are root mean squares over the blocks of inputs.

    As `settings`, which see, for arguments and errors.
    """
    setting = settings(dataset, spike)
    dims = _dims(dataset)
    shape = tuple(dataset.sizes[dim] for dim in dims)
    spread, time = _spread(setting, shape), dataset["record"].values
    found, at = law(spread, time), course(spread, time)
    coords = {dim: dataset[dim] for dim in (*dims, "record")}
    values = {
        "position": found.position,
        "spread": found.spread / np.sqrt(setting.rows),
        "overlap_right": found.overlap_right,
        "overlap_left": found.overlap_left,
        "strength": found.strength,
        "theta": np.sqrt(np.mean(at.theta**2, axis=-1)),
        "sigma": np.sqrt(np.mean(at.sigma**2, axis=-1)),
    }
    data: dict[str, tuple] = {
        name: ((*dims, "record"), np.broadcast_to(v, (*shape, len(time)))) for name, v in values.items()
    }
    for name, value in times(setting, int(time[-1]))._asdict().items():
        data[name] = (dims, np.broadcast_to(value, shape))
    data["visible"] = (dims, np.broadcast_to(visible(setting, time[-1]), shape))
    return xr.Dataset(data, coords)


def law_of_means(dataset: xr.Dataset) -> Law:
    """What `law` would be for one block with the mean squares of signal and noise; arrays as in `theory`."""
    setting = settings(dataset)
    shape = tuple(dataset.sizes[dim] for dim in _dims(dataset))
    at = course(_spread(setting, shape), dataset["record"].values)
    theta, sigma = (np.sqrt(np.mean(v**2, axis=-1)) for v in at)
    one = spiked(theta, np.maximum(sigma, 1e-150), setting.columns / setting.rows)
    return Law(theta / one.threshold, one.position, one.overlap_right, one.overlap_left, one.spread)


def edge(dataset: xr.Dataset, probability: float) -> xr.DataArray:
    """What the largest level of the noise of one member exceeds with this probability at every point and
    record: the edge of theory and the law of Tracy and Widom."""
    setting, dims = settings(dataset), _dims(dataset)
    shape = tuple(dataset.sizes[dim] for dim in dims)
    time = dataset["record"].values
    at = course(_spread(setting, shape), time)
    law = spiked_blocks(
        np.maximum(at.theta, 0), np.maximum(at.sigma, 1e-150) ** 2, setting.columns / setting.rows
    )
    z = float(TracyWidom(1).ppf(1 - probability))
    coords = {dim: dataset[dim] for dim in (*dims, "record")}
    return xr.DataArray(law.edge + z * law.edge_scale * setting.rows ** (-2 / 3), coords, (*dims, "record"))


def strength_at(dataset: xr.Dataset, position: xr.DataArray, spike: int = 0) -> xr.DataArray:
    """The strength that outliers at `position` mean in the noise of theory, at every point and record."""
    setting, dims = settings(dataset, spike), _dims(dataset)
    shape = tuple(dataset.sizes[dim] for dim in dims)
    at = course(_spread(setting, shape), dataset["record"].values)
    x = position.transpose(*dims, "record")
    sigma2 = np.maximum(at.sigma, 1e-150) ** 2
    return x.copy(data=blocks_strength(x.values, at.theta, sigma2, setting.columns / setting.rows))


def _dims(dataset: xr.Dataset) -> list[str]:
    return [str(dim) for dim in dataset["diverged_at"].dims if dim != "seed"]


def margin(dataset: xr.Dataset, fine: int = 200) -> xr.Dataset:
    """How far outside the bulk the strongest spike is at the end of a run, θ/θ_c − 1, on a fine grid.

    Dims (batch_size, lr, sigma_w), over the range of the run's own; −1 where learning is not stable; scalars
    have their last value.
    """
    setting = settings(dataset)
    last = {name: np.asarray(getattr(setting, name)).ravel()[-1] for name in ("s", "epsilon", "total")}
    lr, sigma_w = (
        np.geomspace(v.min() / 1.5, 1.5 * v.max(), fine) for v in (dataset["lr"], dataset["sigma_w"])
    )
    sizes = dataset["batch_size"].values
    setting = setting._replace(
        lr=lr[:, None], sigma_w=sigma_w, batch_size=sizes[:, None, None].astype(float), **last
    )
    value = strength(setting, int(dataset["record"][-1])) - 1
    value = np.where(stable(setting) & np.isfinite(value), np.clip(value, -1, 1), -1.0)
    dims = ("batch_size", "lr", "sigma_w")
    return xr.Dataset({"margin": (dims, value)}, dict(zip(dims, (sizes, lr, sigma_w), strict=True)))
