"""Write all that is published of a run into a new folder, which appears as a whole."""

import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr
import zarr

import dysonjax
from dysonjax import files
from dysonjax.analysis import phase
from dysonjax.checks import InputError
from dysonjax.ensemble import configuration, read, store
from dysonjax.ensemble.schema import read_object
from dysonjax.export import about as words
from dysonjax.export import crate, tables
from dysonjax.export.authors import Author
from dysonjax.export.folder import Export, empty, into, of_export, readme, whole

COPIED = {  # of the run folder, as they are
    "run.json": "The command of the run and all its options; `dysonjax` repeats it.",
    "summary.json": "What the command found.",
    "levels.npz": "Levels of all members (NumPy).",
    "sample.txt": "Text by the first network.",
    "spectrum.csv": "One row a matrix.",
}


def export(
    run: Path,
    target: Path,
    *,
    command: str | None = None,
    authors: list[Author] | None = None,
    title: str | None = None,
    license: str = "CC-BY-4.0",
    options: dict[str, Any] | None = None,
) -> Export:
    """Write tables, figures, the store with metadata, and what archives ask for, into a folder.

    command: the command line of the run. options: those of its command, of which the thresholds of phases are
    taken. Raises InputError if the run is not finished or damaged, or if the target is not empty.
    """
    run, target = Path(run), Path(target)
    empty(target)
    if target.resolve().is_relative_to(run.resolve()):
        raise InputError(f"{target} lies in {run}; choose a folder beside it")
    summary = _summary(run)
    dataset = _dataset(run)
    info = _about(run, summary, dataset, command, authors or [], title, license)
    with whole(target) as partial:
        parts = list(_write(run, partial, summary, dataset, info, options or {}))
        made = crate.Made("run", info.title, info.command, _machine(summary, dataset), parts)
        files.put(partial / crate.NAME, crate.metadata(info, parts, [made]))
    return Export(target, sorted([crate.NAME, *(part.path for part in parts)]))


def _summary(run: Path) -> dict[str, Any]:
    try:
        return read_object(run / "summary.json", {"command": str})
    except (FileNotFoundError, NotADirectoryError):
        if store.present(run / "run.zarr"):
            return {}
        raise InputError(
            f"{run} holds no finished run (there is no summary.json and no run.zarr in it)"
        ) from None


def _dataset(run: Path) -> xr.Dataset | None:
    """The dataset of a finished training run, None for a folder of another command."""
    if not store.present(run / "run.zarr"):
        return None
    dataset = read(run)
    if "summary" not in dataset.attrs:
        raise InputError(f"{run} is not finished; dysonjax resume {run} first")
    try:
        return dataset.load()
    except ValueError:  # a wrong checksum
        raise InputError(f"{run} is damaged; dysonjax resume {run} repairs it") from None


def _about(run, summary, dataset, command, authors, title, license) -> words.About:
    name = summary.get("command") or configuration(dataset)["model"]["name"]
    made = [summary.get("version")] + (
        [] if dataset is None else [json.loads(dataset.attrs["summary"]).get("version")]
    )
    if dataset is None:
        what = f"Results of dysonjax {name}."
    else:
        grid = [(dim, n) for dim, n in dataset.sizes.items() if dim in _grid(dataset)]
        sizes = ", ".join(f"{n} {'value' if n == 1 else 'values'} of {dim}" for dim, n in grid)
        what = (
            f"Spectra and observables of {dataset['diverged_at'].size} networks ({name}) trained for "
            f"{int(dataset['record'][-1])} steps: {sizes}, {dataset.sizes['seed']} seeds, "
            f"{dataset.sizes['record']} records."
        )
    version = next((v for v in made if isinstance(v, str)), dysonjax.__version__)
    title = words.one_line(title or f"dysonjax {name}: {run.resolve().name}")
    return words.About(title, what, authors, license, words.now(), command, version)


def _grid(dataset: xr.Dataset) -> list[str]:
    return [str(dim) for dim in dataset["train_loss"].dims if dim not in ("seed", "record")]


def _machine(summary: dict, dataset: xr.Dataset | None) -> dict[str, Any]:
    """Hardware, run time, versions and code, of the run as far as it says so, and of this export."""
    inner = {} if dataset is None else json.loads(dataset.attrs["summary"])
    said = {**summary, **inner}
    keys = ("device", "hardware", "seconds", "compile_seconds", "net_steps_per_second", "backend", "target")
    found = {f"run_{key}": said[key] for key in keys if said.get(key) is not None}
    if dataset is not None:
        sessions = dataset.attrs.get("sessions") or [{}]
        found["run_versions"] = json.loads(dataset.attrs.get("versions", "{}"))
        found["run_sessions"] = len(sessions)
        found["run_code_sha256"] = sessions[-1].get("code", "unknown")
    return found | of_export()


def _write(run, target, summary, dataset, info, options) -> Iterator[crate.Part]:
    """Write everything but the crate's metadata; yields what was written."""
    put = functools.partial(into, target)
    found = []
    for name, about in COPIED.items():
        if (run / name).is_file() and not (run / name).is_symlink():
            found.append(put(name, about, _public(name, (run / name).read_bytes())))
    for path in sorted(run.iterdir()):
        if path.suffix in (".png", ".pdf") and path.is_file() and not path.is_symlink():
            found.append(put(f"figures/{path.name}", "A figure of the run.", path.read_bytes()))
    written: list[Any] = []
    if dataset is not None:
        written += tables.of_run(dataset, _thresholds(options))
        _store(run, target, info)
        about = "Everything recorded; for xarray.open_zarr, with CF and ACDD attributes."
        found.append(crate.Part("run.zarr/", about, None, None))
    elif (run / "levels.npz").is_file():
        written += tables.of_levels(files.arrays(run / "levels.npz"))
    try:
        written += tables.of_numbers(summary)
    except (TypeError, ValueError, LookupError, AttributeError):
        raise InputError(f"{run}/summary.json is damaged: it holds what no command writes") from None
    found += [put(*table) for table in written]
    machine_ = json.dumps(_machine(summary, dataset), indent=2, ensure_ascii=False) + "\n"
    found.append(put("machine.json", "Hardware, run time, versions and hash of the code.", machine_))
    found.append(put("commands.sh", "The commands that make and check the run.", _commands(info, dataset)))
    found.append(put("CITATION.cff", "How to cite these data.", words.citation(info)))
    found.append(put(".zenodo.json", "Metadata for Zenodo.", words.zenodo(info)))
    found.append(put("README.md", "What is in this folder.", readme(info, found)))
    yield from found


def _public(name: str, content: bytes) -> bytes:
    """A file of the run without the place on this machine where the run stood."""
    if name not in ("run.json", "summary.json"):
        return content
    try:
        found = json.loads(content)
    except ValueError:
        raise InputError(f"{name} is damaged: it holds no JSON") from None
    options = found.get("options", {})
    for holder in (found, options.get("execution", {}), options):
        if isinstance(holder, dict) and isinstance(holder.get("out"), str):
            holder["out"] = None if name == "run.json" else "."
    return (json.dumps(found, indent=2) + "\n").encode()


def _thresholds(options: dict[str, Any]) -> phase.Thresholds:
    usual = phase.DEFAULT_THRESHOLDS
    named = {name: f"threshold_{name}" for name in usual._fields}
    return usual._replace(**{name: options[key] for name, key in named.items() if key in options})


def _store(run: Path, target: Path, info: words.About) -> None:
    """The store with attributes that archives and other programs understand; its chunks as they are."""
    shutil.copytree(run / "run.zarr", target / "run.zarr", ignore=shutil.ignore_patterns("*.partial"))
    group = zarr.open_group(target / "run.zarr", mode="r+")
    group.attrs.update(words.attributes(info))
    for _, array in group.arrays():
        array.attrs.setdefault("units", "1")
    store.consolidate(target / "run.zarr")


def _commands(info: words.About, dataset: xr.Dataset | None) -> str:
    lines = ["#!/bin/sh", f"# {info.title}, with dysonjax {info.version}"]
    if info.command is None:
        lines.append("# The run was made in Python; run.zarr holds its configuration.")
    else:
        lines.append(f"{info.command} --out run  # makes the run again")
    if dataset is not None:
        lines.append("dysonjax verify .  # trains some members again and compares")
    elif info.command is not None:
        lines.append("dysonjax verify .  # repeats the command and compares")
    return "\n".join([*lines, "dysonjax report .  # one HTML file to explore it"]) + "\n"
