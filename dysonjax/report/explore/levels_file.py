"""The scene of a folder without a training run: levels.npz of `dyson` and of `compare`."""

import re
from pathlib import Path

import numpy as np

from dysonjax import files
from dysonjax.checks import InputError
from dysonjax.report.explore.scene import Axis, Levels, Observable, Scene

MOST_MEMBERS = 4000  # of a motion; more do not change what one sees


def of_levels(folder: Path, summary: dict) -> Scene | None:
    """The scene, or None if the folder holds no such file; raises InputError if that is damaged."""
    path = folder / "levels.npz"
    if not path.is_file() or path.is_symlink():
        return None
    try:
        arrays = {name: np.asarray(values, float) for name, values in files.arrays(path).items()}
        if {"levels", "times"} <= arrays.keys():
            return _of_motion(arrays, summary)
        return _of_rungs(arrays, summary)
    except (InputError, ValueError, KeyError, IndexError, TypeError):
        raise InputError(f"{path} is damaged: it holds no levels of a {summary.get('command')}") from None


def _of_motion(arrays: dict[str, np.ndarray], summary: dict) -> Scene:
    """Dyson Brownian motion: the records are times."""
    levels = arrays["levels"][:MOST_MEMBERS]
    members, times, _ = levels.shape
    law = arrays.get("stationary")
    targets = None if law is None else law.mean(axis=0)[None]
    label = f"levels in the {summary.get('potential', 'chosen')} potential"
    notes = [] if law is None else ["Dotted lines: means of the levels in the stationary law."]
    if len(arrays["levels"]) > members:
        notes.append(f"{members} of {len(arrays['levels'])} members are shown here.")
    if len(arrays["times"]) != times:
        raise ValueError("times")
    return _scene([], "time", arrays["times"], None, Levels("levels", label, levels[None], targets), notes)


def _of_rungs(arrays: dict[str, np.ndarray], summary: dict) -> Scene:
    """The ladder of `compare`: the records are its rungs, the last of them the theory."""
    grid = summary.get("points")
    count = len(grid) if grid else 1
    suffix = [f"_{i}" if count > 1 else "" for i in range(count)]
    names = [name.removesuffix(suffix[0]) for name in arrays if not suffix[0] or name.endswith(suffix[0])]
    if not names:
        raise ValueError("no rungs")
    shapes = {arrays[f"{name}{s}"].shape for name in names for s in suffix}
    members = min(shape[0] for shape in shapes)
    rungs = np.stack([[arrays[f"{name}{s}"][:members] for name in names] for s in suffix])
    levels = np.moveaxis(rungs, 1, 2)  # point, member, rung, mode
    axes = _axes(summary if not grid else grid, count)
    shown = [re.sub("_", " ", name) for name in names]
    label = f"levels of {summary.get('system', 'the network')}"
    return _scene(axes, "rung", np.arange(len(names)), shown, Levels("levels", label, levels, None), [])


def _axes(points, count: int) -> list[Axis]:
    """Learning rates and batch sizes of a ladder's grid, or the number of the point."""
    points = points if isinstance(points, list) else [points]
    found = [np.array(list(dict.fromkeys(point[name] for point in points))) for name in ("lr", "batch_size")]
    if len(found[0]) * len(found[1]) != count:
        return [Axis("point", "number of the point", np.arange(count))]
    order = [(a, b) for a in found[0] for b in found[1]]
    if order != [(point["lr"], point["batch_size"]) for point in points]:
        order = [(a, b) for b in found[1] for a in found[0]]
        if order != [(point["lr"], point["batch_size"]) for point in points]:
            return [Axis("point", "number of the point", np.arange(count))]
        return [
            Axis("batch_size", "mini-batch size |B|", found[1]),
            Axis("lr", "learning rate α", found[0]),
        ]
    return [Axis("lr", "learning rate α", found[0]), Axis("batch_size", "mini-batch size |B|", found[1])]


def _scene(axes, label: str, records, names, levels: Levels, notes: list[str]) -> Scene:
    points, members = levels.values.shape[:2]
    observables = [Observable("mean_level", "mean of a member's levels", levels.values.mean(axis=-1))]
    if levels.values.shape[-1] > 1:
        gaps = np.diff(levels.values, axis=-1).mean(axis=-1)
        observables.append(Observable("mean_spacing", "mean distance of neighbouring levels", gaps))
    return Scene(
        axes=axes,
        record_label=label,
        records=records,
        record_names=names,
        seeds=np.arange(members),
        diverged=np.full((points, members), -1),
        spectra=[levels],
        observables=observables,
        phases=None,
        notes=notes,
        members="member",
        file="levels.npz",
    )
