"""What a run says, in sentences, from the summary that its command wrote."""

import numpy as np
import xarray as xr

AGREES = 3.0  # standard errors
MOVES, MOVES_BY = 5.0, 0.01  # standard errors, and fraction of the largest level


def sentences(summary: dict) -> list[str]:
    """One sentence a finding; empty for a run without a summary."""
    own = [summary["verdict"]] if isinstance(summary.get("verdict"), str) else []
    return [*_divergence(summary), *_phases(summary), *_pairs(summary), *_exponent(summary), *own]


def _divergence(summary: dict) -> list[str]:
    if not isinstance(summary.get("diverged"), int) or not summary.get("members"):
        return []
    if summary["diverged"] == 0:
        return [f"All {summary['members']} networks were trained to the end."]
    return [f"{summary['diverged']} of {summary['members']} networks diverged and were frozen."]


def _phases(summary: dict) -> list[str]:
    counts = summary.get("phases")
    if not isinstance(counts, dict):
        return []
    listed = ", ".join(f"{number} {name}" for name, number in counts.items())
    found = [f"Of {sum(counts.values())} grid points: {listed}."]
    if counts.get("undecided"):
        found.append(
            f"{counts['undecided']} points are undecided: two phases have equally many of their seeds. More "
            "seeds decide, best an odd number."
        )
    line = summary.get("boundary_noise", {})
    widths, temperatures = line.get("sigma_w"), line.get("temperature_converged")
    if widths and temperatures:
        pairs = [(w, t) for w, t in zip(widths, temperatures, strict=True) if t is not None]
        if pairs:
            width, hottest = max(pairs, key=lambda pair: pair[1])
            found.append(
                f"Training converges up to α/|B| = {hottest:g} (at σ_W = {width:g}) and up to "
                f"σ_W = {max(w for w, _ in pairs):g}."
            )
    return found


def _pairs(summary: dict) -> list[str]:
    """Spacings of degenerate pairs against the closed form of an isolated pair."""
    names = ("spacing_mean", "spacing_sem", "spacing_theory", "pairs", "targets")
    if not all(summary.get(name) for name in names):
        return []
    mean, sem, theory = (np.array(summary[name], float)[:, summary["pairs"]] for name in names[:3])
    with np.errstate(divide="ignore", invalid="ignore"):
        z, ratio = (mean - theory) / sem, mean / theory
    if not np.isfinite(z).any():
        return []
    agree = int((np.abs(z) < AGREES).sum())
    return [
        f"{agree} of {int(np.isfinite(z).sum())} mean spacings of degenerate pairs lie within {AGREES:g} "
        "standard errors of the closed form for an isolated pair; measured over predicted is between "
        f"{np.nanmin(ratio):.3f} and {np.nanmax(ratio):.3f}, the largest deviation is "
        f"{np.nanmax(np.abs(z)):.1f} standard errors."
    ]


def _exponent(summary: dict) -> list[str]:
    value, error = summary.get("scaling_exponent"), summary.get("scaling_exponent_error")
    if value is None or not error:
        return []
    return [
        f"The mean spacing grows as (α/|B|)^({value:.3f} ± {error:.3f}); the linear scaling rule says 1/2 "
        f"({(value - 0.5) / error:+.1f} standard errors)."
    ]


def still_moving(dataset: xr.Dataset) -> str | None:
    """A warning if the levels have not come to rest, which the laws of rest take for granted.

    Compared are the last record and the one nearest to three quarters of the run, member by member; a level
    moves if its mean change is more than five standard errors and one per cent of the largest level.
    """
    names = [str(name) for name in dataset.data_vars if str(name).startswith("eigenvalues")]
    steps = dataset["record"].values
    if not names or f"target_{names[0]}" not in dataset or len(steps) < 4 or dataset.sizes["seed"] < 10:
        return None
    levels = dataset[names[0]].where(dataset["alive"].isel(record=-1))
    earlier = int(np.argmin(np.abs(steps - 0.75 * steps[-1])))
    change = levels.isel(record=-1) - levels.isel(record=earlier)
    error = change.std("seed", ddof=1) / np.sqrt(change.count("seed"))
    mean, largest = change.mean("seed"), float(levels.isel(record=-1).max())
    moving = (abs(mean) > MOVES * error) & (abs(mean) > MOVES_BY * largest)
    if not bool(moving.any()):
        return None
    point_dims = [dim for dim in moving.dims if dim in ("batch_size", "lr", "sigma_w")]
    points = moving.any([dim for dim in moving.dims if dim not in point_dims])
    return (
        f"The levels still move in the last quarter of the run at {int(points.sum())} of {points.size} grid "
        "points: laws of the stationary state do not apply there yet. Train longer."
    )
