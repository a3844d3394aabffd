"""Hyperparameter advice: where in (α/|B|, σ_W) will training converge, from short runs at a few points.

Two kinds of evidence. **Curvature and noise of the gradient** after a short training at a small step: with h
the curvature of a mini-batch's loss along the direction in which the mean gradient curves most, steps are
stable in the mean for α < 2/⟨h⟩ and in the mean square for α < 2⟨h⟩/⟨h²⟩. The second depends on α/|B| alone
where the noise rules, and on α alone where the batch is large: that is where the linear scaling rule ends.
**Pilot runs** on a coarse grid of (α, σ_W), a tenth of the steps or fewer. Below the edge of stability the
loss depends on α t alone, so that a pilot of few steps at a large α says what many steps at a small one will
give; above it the loss stays where the noise holds it, and a pilot shows that floor.

A prediction is made for every seed by itself; the share of seeds that converge is its uncertainty.

How good it is, is stated in `advise`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dysonjax import checks, ensemble, keys
from dysonjax.advice.curvature import curvature
from dysonjax.keys import Key, keyed
from dysonjax.models.base import Model

CONVERGED = 0.03  # of the reference loss, as in `phase.Thresholds`
FINE = 49  # values of α on which edges are searched, per seed
SLOPE_FROM = 0.35  # share of a pilot after which its records say with what power of time it goes on
MAX_GAIN = 2.0  # steepest such power


class Advice(NamedTuple):
    """A predicted converged window with its evidence."""

    pilot: xr.Dataset
    """of the pilot runs, dims (batch_size, lr, sigma_w, seed, record)"""
    window: xr.Dataset
    """dims (sigma_w, quantile): lr_low, lr_high, the edges over seeds; dim sigma_w: share"""
    evidence: xr.Dataset
    """dims (sigma_w, seed): curvature, lr_stable, lr_mean_square, signal_to_noise"""
    best: dict[str, float]
    """lr, sigma_w, temperature, share, loss: the lowest predicted median loss"""
    steps: int
    """the length of training that the advice is for"""
    threshold: float
    """the loss below which a network counts as converged"""

    def loss(self, lr, sigma_w) -> np.ndarray:
        """Predict the training loss after `steps` steps.

        Parameters
        ----------
        lr, sigma_w : array_like, shape (pairs,)
            Learning rates and widths, pair by pair.

        Returns
        -------
        ndarray, shape (pairs, seeds)
            Predicted losses, infinite where networks diverge.
        """
        return predict(self.pilot, np.atleast_1d(lr), np.atleast_1d(sigma_w), self.steps)

    def share(self, lr, sigma_w) -> np.ndarray:
        """Predict the share of seeds that converge.

        Parameters
        ----------
        lr, sigma_w : array_like, shape (pairs,)
            Learning rates and widths, pair by pair.

        Returns
        -------
        ndarray, shape (pairs,)
            The share, between 0 and 1.
        """
        return (self.loss(lr, sigma_w) < self.threshold).mean(axis=-1)


@keyed
def advise(
    model: Model,
    lr: Sequence[float] = (0.125, 256.0),
    sigma_w: Sequence[float] = (0.125, 256.0),
    batch_size: int = 4,
    steps: int = 20_000,
    *,
    points: int = 6,
    seeds: int = 8,
    pilot_steps: int | None = None,
    threshold: float = CONVERGED,
    reference: float | None = None,
    key: Key = 0,
    devices: int | str | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Advice:
    """Predict where networks of a kind converge within `steps` plain gradient steps, from short pilot runs.

    Parameters
    ----------
    model : Model
        What is to be trained.
    lr : tuple of float, default (0.125, 256.0)
        First and last learning rate of the region of interest.
    sigma_w : tuple of float, default (0.125, 256.0)
        First and last width of the initial weights.
    batch_size : int, default 4
        Mini-batch size |B|.
    steps : int, default 20_000
        Length of the training that the advice is for.
    points : int, default 6
        Values of lr, and of sigma_w, in equal ratios, at which pilots are run.
    seeds : int, default 8
        Networks at each point.
    pilot_steps : int, optional
        Length of the pilot runs; by default a tenth of `steps`, at least 200.
    threshold : float, default 0.03
        A network has converged when its training loss is below this fraction of `reference`.
    reference : float, optional
        By default the smallest median loss over the widths before training.
    key : int or jax.Array, default 0
        Root of all randomness.
    devices : int or str, optional
        As in `train`.
    progress : callable, optional
        Called with network-steps done and in all.

    Returns
    -------
    Advice
        The window of convergence, the best point, and the evidence.

    Raises
    ------
    InputError
        On bad input.

    Notes
    -----
    Hit rate against measured phase diagrams of the teacher-student network: the share of grid points whose
    membership of the converged phase (most seeds, by test loss) is predicted. With the defaults, other seeds,
    and 121 points between those of the pilots it is 0.983 ± 0.012 at |B| = 4 (always "no" scores 0.65), 0.950
    ± 0.020 at |B| = 16 (0.51), and 0.934 ± 0.023 for twice the widths (0.75). These grids had been looked at
    while the method was made. On one that was defined before and run once (widths 3, 40, 20, 1, |B| = 6) it
    was 0.975 ± 0.014 (0.66). The pilots took 3 % of the steps of those grids. Misses lie at the edge. The
    edges of `curvature` alone are no substitute: where sigma_w ≤ 2, such networks go on to learn, to a higher
    loss, at 2 to 8 times `lr_mean_square`. The lowest loss lies close to the edge.

    Of other models less is known. Where the loss does not fall as a power of time, pilots of a tenth of the
    steps mislead. The Gaussian RBM, whose levels are learned one after the other down to a floor of noise,
    needs half of the steps: 0.93 ± 0.03 of 100 points, |B| = 8, threshold 0.1; always "no" scores 0.51, and a
    tenth of the steps is no better than that. Regressions by small flax networks, which wait before they
    learn, gave 0.75 to 0.85 ± 0.04 (0.55). Optimisers other than plain gradient steps, such as AdamW, are not
    covered.

    Examples
    --------
    Linear networks learn at a small step and not at a large one. Compilation takes some seconds.

    >>> model, region = dj.models.linear(), {"lr": (0.1, 10.0), "sigma_w": (0.5, 2.0)}
    >>> found = dj.advise(model, **region, steps=400, points=2, seeds=2)
    >>> found.share([0.1, 10.0], [1.0, 1.0])
    array([1., 0.])
    """
    grid, pilot_steps = check(
        lr, sigma_w, batch_size, steps,
        points=points, seeds=seeds, pilot_steps=pilot_steps, threshold=threshold, key=key, devices=devices,
        reference=reference,
    )  # fmt: skip
    records = ensemble.log_spaced(min(25, pilot_steps), pilot_steps)
    pilot = ensemble.train(
        model, grid, pilot_steps, records, key=key, devices=devices, progress=progress
    ).dataset
    if reference is None:
        first = pilot["train_loss"].isel(record=0).median(("batch_size", "lr", "seed"))
        reference = float(first.min())
    level = threshold * reference
    evidence = curvature(model, grid, key=key)
    return Advice(pilot, _window(pilot, steps, level), evidence, _best(pilot, steps, level), steps, level)


def check(
    lr, sigma_w, batch_size, steps, *, points, seeds, pilot_steps, threshold, key, devices, reference=None
) -> tuple[ensemble.Grid, int]:
    """The pilots' grid and length for these arguments of `advise`; raises InputError for bad ones."""
    grid = ensemble.Grid(
        lr=_ratios("lr", lr, points),
        sigma_w=_ratios("sigma_w", sigma_w, points),
        batch_size=checks.positive_int("batch_size", batch_size),
        seeds=seeds,
    )
    steps = checks.positive_int("steps", steps, 2)
    pilot_steps = max(steps // 10, min(200, steps)) if pilot_steps is None else pilot_steps
    pilot_steps = checks.positive_int("pilot_steps", pilot_steps, 2)
    if pilot_steps > steps:
        raise checks.InputError(f"pilot_steps must be at most steps ({steps}), got {pilot_steps}")
    checks.positive("threshold", threshold)
    if reference is None and threshold >= 1:
        raise checks.InputError(f"threshold must be a fraction of the first loss, below 1, got {threshold}")
    if reference is not None:
        checks.positive("reference", reference)
    keys.number("key", key)
    ensemble.devices.resolve(devices)
    return grid, pilot_steps


def predict(pilot: xr.Dataset, lr: np.ndarray, sigma_w: np.ndarray, steps: int) -> np.ndarray:
    """Predicted training loss after `steps` steps, shape (pairs, seeds); infinite where networks diverge.

    log loss is interpolated linearly in (ln α, ln σ_W) between the four pilots around a pair, each taken at
    the time when its α t is that of the prediction; beyond its end it goes on with the power of time of its
    last two thirds (median over seeds of straight lines), if it falls at all. Where a pilot at a larger α
    has come as far in α t, and lower, its loss is taken instead: it is that of the same path with more noise,
    and so a bound. Outside the pilots' grid the nearest edge is used. A floor that no pilot has come to is
    not known: the loss predicted where pilots still fall may lie below it.
    """
    lr, sigma_w = np.broadcast_arrays(np.asarray(lr, float), np.asarray(sigma_w, float))
    loss = pilot["train_loss"].where(pilot["alive"])
    curves = loss.isel(batch_size=0).transpose("lr", "sigma_w", "seed", "record").values
    with np.errstate(divide="ignore"):
        # A frozen member has no loss any more; infinity keeps it, and whatever is next to it, unconverged.
        logs = np.log(np.where(np.isfinite(curves), curves, np.inf))
    times, rates = pilot["record"].values.astype(float), pilot["lr"].values
    a, wa = _neighbours(rates, lr)
    s, ws = _neighbours(pilot["sigma_w"].values, sigma_w)

    def read(rate, weight):
        """log loss from the pilots at one rate for each pair, mixed over the two widths around it."""
        total = np.zeros(())
        for j in (0, 1):
            share = (weight * np.abs(1 - j - ws))[:, None]
            value = _at(times, logs[rate, s + j], lr * steps / rates[rate])
            with np.errstate(invalid="ignore"):  # 0 times infinity, not used
                total = total + np.where(share > 0, share * value, 0.0)
        return total

    near = read(a, 1 - wa) + read(a + 1, wa)
    ahead = np.searchsorted(rates * times[-1], lr * steps)  # the first pilot that has come as far in α t
    known = (ahead > a) & (ahead < len(rates))
    bound = read(np.minimum(ahead, len(rates) - 1), 1.0)
    return np.exp(np.where(known[:, None], np.minimum(near, bound), near))


def _at(times: np.ndarray, logs: np.ndarray, when: np.ndarray) -> np.ndarray:
    """log loss of curves (pairs, seeds, records) at a time for each pair, extrapolated as a power."""
    x = np.log(np.maximum(times, 0.5))
    when = np.log(np.maximum(when, 0.5))
    result = np.empty(logs.shape[:2])
    half, early = (int(np.argmin(np.abs(times - share * times[-1]))) for share in (0.5, SLOPE_FROM))
    early = min(early, len(times) - 2)  # a slope needs two records
    centered = x[early:] - x[early:].mean()
    for p, row in enumerate(logs):
        if when[p] <= x[-1]:
            k = int(np.clip(np.searchsorted(x, when[p]) - 1, 0, len(x) - 2))
            f = np.clip((when[p] - x[k]) / (x[k + 1] - x[k]), 0, 1)
            low, high = row[:, k], row[:, k + 1]
            with np.errstate(invalid="ignore"):
                mixed = low + f * (high - low)
            result[p] = np.where(np.isfinite(high), mixed, np.inf)
        else:
            # Medians over the second half, which stand for its middle, tame the noise of single records.
            end, middle = np.median(row[:, half:], axis=-1), np.median(x[half:])
            # Of all seeds together: cutting each seed's noisy power at 0 would keep only its falls.
            whole = row[np.isfinite(row).all(axis=1), early:]
            power = np.median(whole @ centered / (centered @ centered)) if len(whole) else 0.0
            power = np.clip(power, -MAX_GAIN, 0.0)
            result[p] = np.where(np.isfinite(row[:, -1]), end + power * (when[p] - middle), np.inf)
    return result


def _neighbours(grid: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the lower neighbour in an ascending grid, and the weight of the upper one, in logarithms."""
    low = np.clip(np.searchsorted(grid, values, side="right") - 1, 0, len(grid) - 2)
    weight = (np.log(values) - np.log(grid[low])) / (np.log(grid[low + 1]) - np.log(grid[low]))
    return low, np.clip(weight, 0, 1)


def _ratios(name: str, region: Any, points: int) -> np.ndarray:
    try:
        first, last = (checks.positive(name, value) for value in region)
    except TypeError:
        raise checks.InputError(f"{name} must be a pair (first, last), got {region!r}") from None
    if first >= last:
        raise checks.InputError(f"{name} needs first < last, got {first:g} and {last:g}")
    return np.geomspace(first, last, checks.positive_int("points", points, 2))


def _window(pilot: xr.Dataset, steps: int, level: float) -> xr.Dataset:
    """For every width the lowest and highest α at which each seed converges, as quantiles over seeds."""
    widths = _spanned(pilot["sigma_w"], 25)
    rates = _spanned(pilot["lr"], FINE)
    quantiles = [0.16, 0.5, 0.84]
    low, high = np.full((2, len(widths), len(quantiles)), np.nan)
    share = np.zeros(len(widths))
    for i, width in enumerate(widths):
        good = predict(pilot, rates, np.full(FINE, width), steps) < level  # (rates, seeds)
        share[i] = good.mean(axis=-1).max()
        any_good = good.any(axis=0)
        if share[i] < 0.5:  # a window is where most seeds converge
            continue
        first = rates[np.argmax(good, axis=0)][any_good]
        last = rates[FINE - 1 - np.argmax(good[::-1], axis=0)][any_good]
        low[i], high[i] = np.quantile(first, quantiles), np.quantile(last, quantiles)
    return xr.Dataset(
        {
            "lr_low": (("sigma_w", "quantile"), low),
            "lr_high": (("sigma_w", "quantile"), high),
            "share": ("sigma_w", share),
        },
        {"sigma_w": widths, "quantile": quantiles},
    )


def _best(pilot: xr.Dataset, steps: int, level: float) -> dict[str, float]:
    rates = _spanned(pilot["lr"], FINE)
    widths = _spanned(pilot["sigma_w"], 25)
    lr, width = (a.ravel() for a in np.meshgrid(rates, widths, indexing="ij"))
    losses = predict(pilot, lr, width, steps)
    middle = np.median(losses, axis=-1)
    at = int(np.argmin(middle))
    return {
        "lr": float(lr[at]),
        "sigma_w": float(width[at]),
        "temperature": float(lr[at] / pilot["batch_size"].values[0]),
        "share": float((losses[at] < level).mean()),
        "loss": float(middle[at]),
    }


def _spanned(axis: xr.DataArray, count: int) -> np.ndarray:
    """Values in equal ratios from the first to the last of an axis."""
    first, *_, last = axis.values
    return np.geomspace(first, last, count)
