"""Summary, table and figure of a trained ensemble whose targets are known: shared by `rbm` and `linear`."""

from pathlib import Path

import numpy as np
import xarray as xr

from dysonjax.cli.common import draw, speed, write_summary
from dysonjax.cli.terminal import Terminal


def report(command: str, run, folder: Path, terminal: Terminal, predict, singular_values=False, extra=None):
    """Write figure and summary.json into the folder; return the summary.

    predict(target, point) -> mean spacing of an isolated pair at that target (pairs,), point holding arrays
    (points, 1) by name. extra: more entries for the summary. Where a grid has further scalars, the figure
    shows the points that share those of the last one.
    """
    from dysonjax.analysis import pairs
    from dysonjax.figures.levels import ensemble_levels

    dataset = run.dataset
    levels, points = pairs.final_levels(dataset, singular_values)
    targets = dataset["target_eigenvalues"].values.reshape(-1, levels.shape[-1])[0]
    targets = np.sqrt(targets) if singular_values else targets
    found = pairs.degenerate_pairs(targets)
    point = {name: np.array([p[name] for p in points])[:, None] for name in points[0]}
    shown = pairs.scalar_groups(points)
    shown = shown == shown[-1]
    theory = np.full((len(points), len(targets) - 1), np.nan)
    middle = 0.5 * (targets[found] + targets[found + 1])
    with np.errstate(invalid="ignore"):  # beyond the largest stable learning rate theory has no number
        theory[:, found] = predict(middle, point)
    summary = {"command": command, "out": str(folder), **run.summary, **(extra or {})}
    summary |= pairs.summarise(levels, points, targets, theory)
    averages = pairs.means(levels)
    write_summary(folder, summary)

    def figure():
        return ensemble_levels(
            dataset["record"].values,
            _evolution(dataset, singular_values),
            levels[-1],
            targets,
            pairs.normalised_spacings(levels[shown], found),
            {
                "temperature": (point["lr"] / point["batch_size"])[shown, 0],
                "mean": averages.spacings[shown][:, found],
                "error": averages.spacings_err[shown][:, found],
                "theory": theory[shown][:, found],
                "names": [f"pair at {x:.3g}" for x in middle],
            },
            r"singular value $\xi_i$ of $W$" if singular_values else r"eigenvalue $x_i$ of $X$",
            _caption(command, points, dataset),
        )

    draw(terminal, folder, command, figure)
    _tables(terminal, averages, targets, theory, points)
    if np.isfinite(summary["scaling_exponent"] or np.nan):
        value, error = summary["scaling_exponent"], summary["scaling_exponent_error"]
        terminal.print(f"mean spacing of the pairs ~ (alpha/|B|)^{value:.4f}, standard error {error:.4f}")
    terminal.print(speed(summary))
    terminal.print(f"wrote {folder}/{command}.png, {command}.pdf, run.zarr, summary.json")
    return summary


def _evolution(dataset: xr.Dataset, singular_values: bool) -> np.ndarray:
    """Mean levels of the last grid point at every record, (records, modes); members alive until the end."""
    grid = [dim for dim in dataset["diverged_at"].dims if dim != "seed"]
    point = dataset.isel(dict.fromkeys(grid, -1))
    levels = point["eigenvalues"].where(point["alive"].isel(record=-1))
    values = levels.transpose("record", "seed", "mode").values
    values = values[:, np.isfinite(values).all(axis=(0, 2))]
    if not values.size:
        return np.full((values.shape[0], values.shape[2]), np.nan)
    return (np.sqrt(values) if singular_values else values).mean(axis=1)


def _caption(command: str, points: list[dict], dataset: xr.Dataset) -> str:
    symbols = {"lr": r"\alpha", "batch_size": "|B|", "sigma_w": r"\sigma_W", "epsilon": r"\epsilon"}
    values = ", ".join(
        f"${symbols[name]}={value:.3g}$" if name in symbols else f"{name} = {value:.3g}"
        for name, value in points[-1].items()
    )
    return (
        f"{command}: {dataset.sizes['seed']} seeds, {int(dataset['record'][-1])} steps; "
        f"learning and density at {values}"
    )


def _tables(terminal: Terminal, averages, targets, theory, points) -> None:
    for index, point in enumerate(points[:4]):
        rows = []
        for i, target in enumerate(targets):
            level = f"{averages.levels[index, i]:.4f} ± {averages.levels_err[index, i]:.4f}"
            spacing = pair = "-"
            if i + 1 < len(targets):
                spacing = f"{averages.spacings[index, i]:.4f} ± {averages.spacings_err[index, i]:.4f}"
                pair = "-" if np.isnan(theory[index, i]) else f"{theory[index, i]:.4f}"
            rows.append([str(i), f"{target:.4f}", level, spacing, pair])
        names = {"lr": "alpha", "batch_size": "|B|", "sigma_w": "sigma_W"}
        title = ", ".join(f"{names.get(name, name)} = {value:.3g}" for name, value in point.items())
        terminal.table(title, ["level", "target", "mean", "spacing to next", "theory"], rows)
    if len(points) > 4:
        terminal.print(f"... and {len(points) - 4} more points in summary.json")
