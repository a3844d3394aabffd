"""Spikes during learning: where theory has the outliers of a linear network.

W_t = (1 − (1−α)^t) W* + (1−α)^t W_0 + noise, for the model `spiked_teacher` with white inputs: spikes of
strength θ_k(t) = s_k (1 − (1−α)^t) in noise of width σ(t), of which `spectra.spiked` says the rest.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.ensemble import configuration
from dysonjax.spectra import Spiked, spiked


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


class Course(NamedTuple):
    """Strength of a spike and width of the noise at times t."""

    theta: np.ndarray
    sigma: np.ndarray

    @property
    def strength(self) -> np.ndarray:
        """θ/σ, to be compared with r^{1/4}."""
        return self.theta / self.sigma


def course(setting: Setting, time) -> Course:
    """θ(t) and σ(t) after `time` steps.

    Gradient noise: σ²(t+1) = (1−α)² σ²(t) + α²ε²M/|B|, exactly. Fresh inputs: the mean square d of an element
    of W − W* obeys d(t+1) = [(1−α)² + α²(N+1)/|B|] d(t) + α²ε²/|B|, exactly, with ε = 0 for "data"; σ² is M
    times what d has beyond the mean, as if that part were white. It is not where the noise of the inputs
    outweighs that of the labels: its left directions are those of W − W* itself.
    """
    lr, batch, m, n = setting.lr, setting.batch_size, setting.rows, setting.columns
    time = np.asarray(time, np.float64)
    shrunk = np.abs(1 - lr) ** (2 * time)
    # For α > 1 the signal alternates; between two steps its sign goes through zero.
    sign = np.where(lr > 1, np.cos(np.pi * time), 1.0)
    theta = setting.s * (1 - sign * np.abs(1 - lr) ** time)
    if setting.noise == "gradient":
        sigma2 = shrunk * setting.sigma_w**2 + m * lr**2 * setting.epsilon**2 / batch * _series(
            (1 - lr) ** 2, time
        )
        return Course(theta, np.sqrt(sigma2))
    rate = (1 - lr) ** 2 + lr**2 * (n + 1) / batch
    source = 0.0 if setting.noise == "data" else lr**2 * setting.epsilon**2 / batch
    start = setting.sigma_w**2 / m + setting.total / (m * n)
    with np.errstate(over="ignore", invalid="ignore"):
        d = rate**time * start + source * _series(rate, time)
        sigma2 = m * (d - shrunk * start) + shrunk * setting.sigma_w**2
    return Course(theta, np.sqrt(np.maximum(sigma2, 0)))


def _series(rate, time):
    """Σ_{j<t} rate^j."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(np.abs(rate - 1) < 1e-12, time, (1 - rate**time) / (1 - rate))


def law(setting: Setting, time) -> Spiked:
    """Outlier and overlaps at `time`: `spectra.spiked` of `course`."""
    found = course(setting, time)
    return spiked(np.maximum(found.theta, 0), np.maximum(found.sigma, 1e-300), setting.columns / setting.rows)


def stable(setting: Setting) -> np.ndarray:
    """Whether the mean square of W stays finite: α < 2, and with fresh inputs α < 2/(1 + (N+1)/|B|)."""
    n = 0 if setting.noise == "gradient" else (setting.columns + 1) / setting.batch_size
    return np.asarray(setting.lr < 2 / (1 + n))


def visible(setting: Setting, time) -> np.ndarray:
    """Whether the spike lies outside the bulk at `time`, of a member that is stable."""
    return stable(setting) & (course(setting, time).strength > (setting.columns / setting.rows) ** 0.25)


def emergence(setting: Setting, steps: int) -> np.ndarray:
    """The time at which the spike leaves the bulk, steps, interpolated; NaN if it does not within `steps`."""
    time = np.unique(np.concatenate([np.arange(min(steps, 100) + 1), np.geomspace(1, steps, 4000)]))
    shape = np.broadcast_shapes(*(np.shape(v) for v in setting[:5]))
    spread = Setting(
        *(np.broadcast_to(v, shape)[..., None] for v in setting[:5]), *setting[5:8], _tail(setting)
    )
    beyond = course(spread, time).strength - (setting.columns / setting.rows) ** 0.25
    found = np.full(shape, np.nan)
    for place in np.ndindex(shape):
        first = int(np.argmax(beyond[place] > 0))
        if beyond[place][first] > 0 and first:
            low, high = beyond[place][first - 1 : first + 1]
            found[place] = time[first - 1] + (time[first] - time[first - 1]) * low / (low - high)
        elif beyond[place][first] > 0:
            found[place] = 0.0
    return found


def _tail(setting: Setting):
    total = np.asarray(setting.total)
    return total[..., None] if total.ndim else total


def settings(dataset: xr.Dataset, spike: int = 0) -> Setting:
    """The setting of every point of a run of `spiked_teacher`, arrays (batch_size, lr, sigma_w[, scalars]).

    spike: 0 for the strongest. Raises InputError for a run of another model, or one whose law is not known:
    inputs that are not white, outputs that are not linear.
    """
    model = configuration(dataset)["model"]
    if model["name"] != "spiked-teacher":
        raise InputError(f"the theory of spikes is that of the model spiked-teacher, not of {model['name']}")
    if model["activation"] != "identity" or model["blocks"]:
        raise InputError(
            "the theory of spikes is that of linear outputs and white inputs; look at the run alone"
        )
    profile = np.sort(model["profile"])[::-1]
    spike = checks.positive_int("spike", spike, 0, len(profile) - 1)
    dims = [dim for dim in dataset["diverged_at"].dims if dim != "seed"]

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
    )


def theory(dataset: xr.Dataset, spike: int = 0) -> xr.Dataset:
    """`position`, `overlap_right`, `overlap_left`, `strength` θ/θ_c of a spike at every point and record, and
    `emergence`, the time at which it leaves the bulk (steps; NaN: not within the run).

    As `settings`, which see, for arguments and errors.
    """
    setting = settings(dataset, spike)
    dims = [str(dim) for dim in dataset["diverged_at"].dims if dim != "seed"]
    shape = tuple(dataset.sizes[dim] for dim in dims)
    spread = Setting(
        *(np.broadcast_to(v, shape)[..., None] for v in setting[:5]),
        *setting[5:8],
        np.broadcast_to(setting.total, shape)[..., None],
    )
    time = dataset["record"].values
    found, at = law(spread, time), course(spread, time)
    coords = {dim: dataset[dim] for dim in (*dims, "record")}
    values = {
        "position": found.position,
        "spread": found.spread / np.sqrt(setting.rows),
        "overlap_right": found.overlap_right,
        "overlap_left": found.overlap_left,
        "strength": at.theta / found.threshold,
        "theta": at.theta,
        "sigma": at.sigma,
    }
    data = {name: ((*dims, "record"), np.broadcast_to(v, (*shape, len(time)))) for name, v in values.items()}
    data["emergence"] = (dims, np.broadcast_to(emergence(setting, int(time[-1])), shape))
    data["visible"] = (dims, np.broadcast_to(visible(setting, time[-1]), shape))
    return xr.Dataset(data, coords)


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
    found = course(setting, int(dataset["record"][-1]))
    with np.errstate(invalid="ignore"):
        value = found.strength / (setting.columns / setting.rows) ** 0.25 - 1
    value = np.where(stable(setting) & np.isfinite(value), np.clip(value, -1, 1), -1.0)
    dims = ("batch_size", "lr", "sigma_w")
    return xr.Dataset({"margin": (dims, value)}, dict(zip(dims, (sizes, lr, sigma_w), strict=True)))
