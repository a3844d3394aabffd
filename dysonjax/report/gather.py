"""Collect from a run folder what a report shows; a run that is not finished gives what is there."""

import base64
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dysonjax.checks import InputError
from dysonjax.ensemble import configuration, read
from dysonjax.ensemble.schema import NUMBER, read_object
from dysonjax.figures.training_curves import training_curves
from dysonjax.report import explore, verdicts
from dysonjax.report.tables import Table, of_options, of_points, of_summary

# What a report reads of a summary, which differs from command to command.
SUMMARY = {"command": str, "seconds?": NUMBER, "net_steps_per_second?": (*NUMBER, type(None))}
SUMMARY |= {"device?": str, "version?": str, "notes?": (list, type(None))}
MANY_DIVERGED = 0.1  # a warning is due from this fraction of members on


class Picture(NamedTuple):
    """A figure as it is embedded."""

    name: str
    png: str  # base64


class Report(NamedTuple):
    """Everything that a report shows, in its order."""

    title: str
    folder: str
    finished: bool
    facts: list[tuple[str, str]]  # what the run was, in a few words each
    verdicts: list[str]  # what came out, in sentences
    warnings: list[str]
    pictures: list[Picture]
    tables: list[Table]
    command: str | None  # the command line that repeats the run
    has_data: bool  # there is a dataset to read
    explore: dict | None  # what `explore.embed` made of it


def gather(
    folder: Path, command: str | None = None, point: list | None = None, curves: bool = True
) -> Report:
    """Read a run folder.

    command: the command line that made it, if it is known. point: that of one point of its grid, as
    `explore.embed` takes it. curves: draw the training curves, which takes a second.
    Raises InputError if the folder holds neither a run nor the summary of a command.
    """
    folder = Path(folder)
    summary = _json(folder / "summary.json", SUMMARY)
    options = _json(folder / "run.json", {"command": str, "options": dict})
    dataset = read(folder) if (folder / "run.zarr").is_dir() else None
    if dataset is None and not summary:
        if not options:
            raise InputError(f"{folder} holds no run (there is no summary.json and no run.zarr in it)")
        raise InputError(f"{folder} holds a run that has not recorded anything yet")
    name = summary.get("command") or options.get("command")
    if name is None and dataset is not None:
        name = configuration(dataset)["model"]["name"]
    # A run that was made in Python has the summary of its training in the store alone.
    ended = bool(summary) or (not options and dataset is not None and "summary" in dataset.attrs)
    finished = ended and (dataset is None or _recorded(dataset) == 1.0)
    tables, said = _read_summary(summary, folder / "summary.json")
    pictures = _pictures(folder)
    scene: explore.Scene | None
    if dataset is not None:
        dataset = dataset.load()
        tables = [of_points(dataset), *tables]
        pictures += [_draw(dataset)] if curves else []
        scene = explore.of_dataset(dataset, options.get("options"))
        point = _in_python(dataset) if point is None else point
    else:
        scene = explore.of_levels(folder, summary)
    tables += of_options(options, dataset)
    return Report(
        title=f"{name}: {folder.name}",
        folder=str(folder),
        finished=finished,
        facts=_facts(summary, dataset, finished),
        verdicts=said,
        warnings=_warnings(summary, dataset, finished),
        pictures=pictures,
        tables=tables,
        command=command,
        has_data=dataset is not None,
        explore=None if scene is None else explore.embed(scene, point),
    )


def _read_summary(summary: dict, path: Path) -> tuple[list[Table], list[str]]:
    """Tables and sentences of a summary, which every command fills in its own way."""
    try:
        return of_summary(summary), verdicts.sentences(summary)
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError, ArithmeticError):
        raise InputError(f"{path} is damaged: it holds what no command writes") from None


def _json(path: Path, what: dict) -> dict[str, Any]:
    """The content of a JSON file, empty if it is missing; raises InputError if it is damaged."""
    try:
        return read_object(path, what)
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _recorded(dataset: xr.Dataset) -> float:
    """The fraction of records that exist: a number, or that of a member known to have diverged."""
    return float((np.isfinite(dataset["train_loss"]) | (dataset["diverged_at"] >= 0)).mean())


def _diverged(dataset: xr.Dataset) -> tuple[int, int]:
    return int((dataset["diverged_at"] >= 0).sum()), int(dataset["diverged_at"].size)


def _records(dataset: xr.Dataset, finished: bool) -> str:
    of = f"{dataset.sizes['record']}"
    return f"all {of}" if finished else f"{100 * _recorded(dataset):.0f} % so far, of {of}"


def _facts(summary: dict, dataset: xr.Dataset | None, finished: bool) -> list[tuple[str, str]]:
    facts = []
    if dataset is not None:
        diverged, members = _diverged(dataset)
        facts += [
            ("networks", f"{members}"),
            ("steps", f"{int(dataset['record'][-1])}"),
            ("records", _records(dataset, finished)),
            ("diverged", f"{diverged} ({100 * diverged / members:.1f} %)"),
        ]
        trained = json.loads(dataset.attrs.get("summary", "{}"))  # of a run that no command made
        summary = {"device": dataset.attrs.get("device")} | trained | summary
    if "seconds" in summary:
        facts.append(("wall time", f"{summary['seconds']:.1f} s"))
    if summary.get("net_steps_per_second"):
        facts.append(("speed", f"{_amount(summary['net_steps_per_second'])} network-steps/s"))
    facts += [(name, str(summary[name])) for name in ("device", "version") if summary.get(name)]
    return facts


def _amount(value: float) -> str:
    """Three digits and a prefix for a unit."""
    scale, prefix = next(((s, p) for s, p in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if value >= s), (1, ""))
    return f"{value / scale:.3g}{prefix}"


def _warnings(summary: dict, dataset: xr.Dataset | None, finished: bool) -> list[str]:
    found = []
    if not finished:
        found.append(
            "This run is not finished: the report shows what has been recorded; figures and verdicts that "
            "come at the end are missing."
        )
    if dataset is not None:
        diverged, members = _diverged(dataset)
        if diverged > MANY_DIVERGED * members:
            found.append(
                f"{diverged} of {members} networks diverged. They are left out of averages, which then speak "
                "of the survivors alone."
            )
        if dataset.sizes["seed"] == 1:
            found.append("There is one seed at each point, so that no error of any average is known.")
        moving = verdicts.still_moving(dataset) if summary.get("spacing_theory") else None
        if moving:
            found.append(moving)
        versions = json.loads(dataset.attrs.get("versions", "{}"))
        if versions.get("jax") == "0.10.2":
            found.append("It was made with jax 0.10.2, which gives wrong results on CPUs. Repeat it.")
    return [*found, *map(str, summary.get("notes") or [])]


def _in_python(dataset: xr.Dataset) -> list:
    """The call that trains one point of a grid again, for a run that no command made."""
    config = configuration(dataset)
    grid = config["grid"]
    parts: list[str | dict[str, str]] = ["run = dj.train(\n    model, dj.Grid("]
    for name in ("lr", "batch_size", "sigma_w"):
        parts += [f"{name}=", {"axis": name}, ", "]
    if grid["scalars"]:
        parts.append("scalars={")
        for name in grid["scalars"]:
            parts += [f"{name!r}: ", {"axis": name}, ", "]
        parts.append("}, ")
    parts.append(
        f"seeds={grid['seeds']}, first_seed={grid['first_seed']}),\n    steps={config['steps']}, "
        f"records={config['records']},\n    optimizer={config['optimizer']!r}, "
        f"randomness={config['randomness']!r}, key={config['seed']}, x64={config['dtype'] == 'float64'},"
        f"{''.join(f' {k}={config[k]!r},' for k in ('keep_weights', 'keep', 'precision') if k in config)}\n"
        f")  # model: the {config['model']['name']} of this run, as its configuration says"
    )
    return parts


def _pictures(folder: Path) -> list[Picture]:
    return [
        Picture(path.stem.replace("_", " "), base64.b64encode(path.read_bytes()).decode())
        for path in sorted(folder.glob("*.png"))
        if path.is_file() and not path.is_symlink()  # a link may point at anything of the user's
    ]


def _draw(dataset: xr.Dataset) -> Picture:
    buffer = io.BytesIO()
    training_curves(dataset).savefig(buffer, format="png", dpi=130)
    return Picture("training curves", base64.b64encode(buffer.getvalue()).decode())
