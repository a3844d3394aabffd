"""Join runs that trained different seeds of one grid, each on its own."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.ensemble import checkpoints, results, schema, store
from dysonjax.ensemble.grid import Grid
from dysonjax.ensemble.interrupts import resume_command


def merge(folders: Sequence[str | Path], out: str | Path) -> xr.Dataset:
    """Join finished runs that trained different seeds of one grid into one run folder.

    Parameters
    ----------
    folders : sequence of str or Path
        Folders of the runs.
    out : str or Path
        Folder to write, new or empty.

    Returns
    -------
    Dataset
        Of all seeds.

    Raises
    ------
    InputError
        If a run is not finished or damaged, if the runs differ in anything but their seeds, if a seed is
        there twice or missing in between, or if `out` is not empty.

    Examples
    --------
    >>> for first in (0, 3):
    ...     grid = dj.Grid(lr=0.1, batch_size=4, seeds=3, first_seed=first)
    ...     run = dj.train(dj.models.linear(), grid, 2, 2, out=f"from-{first}")
    >>> dj.merge(["from-0", "from-3"], "all").seed.values.tolist()
    [0, 1, 2, 3, 4, 5]
    """
    if isinstance(folders, str | Path):
        raise InputError(f"folders must be a list of run folders, got {folders!r}")
    parts = sorted((_part(checks.path("folder", f)) for f in folders), key=lambda part: part.first)
    out = checks.path("out", out)
    if out.exists() and any(path.name not in ("run.json", ".command.lock") for path in out.iterdir()):
        raise InputError(f"{out} is not empty; choose another folder for the merged run")
    if not parts:
        raise InputError("there must be at least one run to merge")
    reference = parts[0]
    for part in parts[1:]:
        if part.rest != reference.rest:
            change = schema.difference(reference.rest, part.rest)
            raise InputError(f"{reference.folder} and {part.folder} differ: {change}")
    for before, after in itertools.pairwise(parts):
        if after.first < before.end:
            raise InputError(f"seed {after.first} is in {before.folder} and in {after.folder}")
        if after.first > before.end:
            gap = f"seeds {before.end} to {after.first - 1} are missing"
            raise InputError(f"{gap} between {before.folder} and {after.folder}")
    config = json.loads(reference.dataset.attrs["config"])
    config["grid"]["seeds"] = parts[-1].end - reference.first
    template = _template(parts, config)
    target = store.create(Path(out), template)
    size = target.seeds_per_block
    for batch_index in range(template.sizes["batch_size"]):
        for block in range(-(-template.sizes["seed"] // size)):
            first = reference.first + block * size
            values = _values(parts, batch_index, first, min(first + size, parts[-1].end))
            target.write(batch_index, block, values)
    target.set_attributes({"summary": json.dumps(_summary(parts))})
    shape = (template.sizes["batch_size"], template["diverged_at"][0].size)
    done = checkpoints.Progress(np.ones(shape, bool), [], example=_example(reference))
    checkpoints.save(Path(out) / "checkpoints", 0, template.attrs["config"], done)
    return results.read(out)


class _Part:
    def __init__(self, folder: Path, dataset: xr.Dataset):
        self.folder, self.dataset = folder, dataset
        config = json.loads(dataset.attrs["config"])
        self.first = config["grid"].pop("first_seed")
        self.end = self.first + config["grid"].pop("seeds")
        self.rest = json.dumps(config)
        self.summary = json.loads(dataset.attrs["summary"])


def _part(folder: Path) -> _Part:
    dataset = results.read(folder)
    if "summary" not in dataset.attrs:
        raise InputError(f"{folder} is not finished; {resume_command(folder)} first")
    return _Part(folder, dataset)


def _template(parts: list[_Part], config: dict) -> xr.Dataset:
    """The empty dataset of all seeds, as a run of all of them would have made it."""
    first = parts[0].dataset
    grid = Grid(**config["grid"])
    variables = {
        str(name): (
            {str(dim): None if dim in (*grid.dims, "record") else n for dim, n in variable.sizes.items()},
            variable.dtype,
            variable.encoding["fill_value"],
            variable.attrs["long_name"],
        )
        for name, variable in first.data_vars.items()
    }
    attributes = {key: first.attrs[key] for key in ("versions", "device") if key in first.attrs}
    sessions = [session for part in parts for session in part.dataset.attrs.get("sessions", [])]
    attributes |= {"config": json.dumps(config), "sessions": sessions}
    names = {name: first[name].attrs["long_name"] for name in grid.scalars}
    return results.template(grid, tuple(config["records"]), variables, attributes, names)


def _values(parts: list[_Part], batch_index: int, first: int, end: int) -> dict[str, np.ndarray]:
    """All variables of the seeds first ... end - 1 at one batch size."""
    pieces: dict[str, list[np.ndarray]] = {}
    for part in parts:
        seeds = slice(max(first, part.first) - part.first, min(end, part.end) - part.first)
        if seeds.start >= seeds.stop:
            continue
        try:
            chosen = part.dataset.isel(batch_size=batch_index, seed=seeds).load()
        except ValueError:  # a wrong checksum
            raise InputError(f"{part.folder} is damaged; {resume_command(part.folder)} repairs it") from None
        for name, variable in chosen.data_vars.items():
            pieces.setdefault(str(name), []).append(variable.values)
    axis = parts[0].dataset["diverged_at"].dims.index("seed") - 1
    return {name: np.concatenate(values, axis) for name, values in pieces.items()}


def _example(part: _Part) -> list[np.ndarray] | None:
    dataset = part.dataset
    shape = (dataset.sizes["batch_size"], dataset["diverged_at"][0].size)
    folder, config = part.folder / "checkpoints", dataset.attrs["config"]
    return checkpoints.load(folder, config, shape, lambda sentence: None).example


def _summary(parts: list[_Part]) -> dict:
    found = parts[0].summary | {
        key: sum(part.summary[key] for part in parts)
        for key in ("members", "diverged", "seconds", "compile_seconds")
    }
    found["net_steps_per_second"] = round(found["members"] * found["steps"] / found["seconds"], 1)
    return found
