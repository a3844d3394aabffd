"""Figures as one publishes them: pictures, the data behind them as NetCDF and CSV, how they were made."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import dysonjax
from dysonjax import files
from dysonjax.checks import InputError
from dysonjax.export import about as words
from dysonjax.export import crate, figure_folder, tables
from dysonjax.export.authors import Author
from dysonjax.export.figure_folder import Stored
from dysonjax.export.folder import Export, empty, into, of_export, readme, whole

ABOUT = {
    ".png": "The picture.",
    ".pdf": "The picture, of lines.",
    ".nc": "The data behind the picture, for xarray.open_dataset, with CF and ACDD attributes.",
    ".txt": "The caption: parameters, seeds, fit results with errors.",
    ".json": "The summary, with every check against the theory line.",
}


def export_figures(
    folder: Path,
    target: Path,
    *,
    authors: list[Author] | None = None,
    title: str | None = None,
    license: str = "CC-BY-4.0",
) -> Export:
    """Write all figures of a folder with tables and what archives ask for into a folder of its own.

    Raises InputError if a figure is incomplete, damaged or not what its command wrote, or if the target is
    not empty.
    """
    folder, target = Path(folder), Path(target)
    empty(target)
    if target.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{target} lies in {folder}; choose a folder beside it")
    figures = figure_folder.stored(folder)
    for figure in figures:
        if wrong := figure_folder.changed(figure):
            raise InputError(
                f"{figure.path(wrong[0])} is not the file that its command wrote; make the figure again with "
                f"--overwrite, by {figure_folder.command_line(figure.summary)} --out {figure.folder}"
            )
    info = _about(figures, authors or [], title, license)
    with whole(target) as partial:
        found = [_figure(partial, figure, info) for figure in figures]
        parts = [part for one in found for part in one.parts]
        put = functools.partial(into, partial)
        # Facts by figure: `all` may have been made on several machines.
        machine = {one.name: {_short(name, one.name): v for name, v in one.machine.items()} for one in found}
        about = "Hardware, run time, versions and hash of the code, by figure and of this export."
        content = json.dumps({"figures": machine, **of_export()}, indent=2, ensure_ascii=False) + "\n"
        parts.append(put("machine.json", about, content))
        parts.append(put("commands.sh", "The commands that make and check the figures.", _commands(info)))
        parts.append(put("CITATION.cff", "How to cite these figures.", words.citation(info)))
        parts.append(put(".zenodo.json", "Metadata for Zenodo.", words.zenodo(info)))
        parts.append(put("README.md", "What is in this folder.", readme(info, parts)))
        files.put(partial / crate.NAME, crate.metadata(info, parts, found))
    return Export(target, sorted([crate.NAME, *(part.path for part in parts)]))


def _about(figures: list[Stored], authors: list[Author], title: str | None, license: str) -> words.About:
    versions = dict.fromkeys(figure.summary["version"] for figure in figures)
    commands = "\n".join(figure_folder.command_line(_public(figure.summary)) for figure in figures)
    if len(figures) == 1:
        named, what = figures[0].summary["title"], figures[0].summary["caption"]
    else:
        named = f"{len(figures)} figures"
        listed = "; ".join(f"{f.name}, {f.summary['title']} ({f.summary['source']})" for f in figures)
        what = f"Figures with the data behind them: {listed}."
    title = words.one_line(title or f"dysonjax figure: {named}")
    version = ", ".join(versions) or dysonjax.__version__
    return words.About(title, words.one_line(what), authors, license, words.now(), commands, version)


def _figure(target: Path, figure: Stored, info: words.About) -> crate.Made:
    """Write the files of one figure."""
    summary = _public(figure.summary)
    command = figure_folder.command_line(summary)
    title = f"{summary['title']} ({summary['source']})"
    own = info._replace(
        title=title, description=summary["caption"], command=command, version=summary["version"]
    )
    put = functools.partial(into, target)
    parts = []
    for suffix in (".png", ".pdf", ".txt"):
        content = figure.path(suffix).read_bytes()
        parts.append(put(f"figures/{figure.name}{suffix}", f"{title}. {ABOUT[suffix]}", content))
    data = described(figure.data, own)
    with files.aside(target / "figures" / f"{figure.name}.nc") as partial:
        data.to_netcdf(partial, engine="scipy")
    content = (target / "figures" / f"{figure.name}.nc").read_bytes()
    parts.append(put(f"figures/{figure.name}.nc", f"{title}. {ABOUT['.nc']}", content))
    summary["sha256"] = figure_folder.hashes(target / "figures", figure.name)
    text = json.dumps(summary, indent=2) + "\n"
    parts.append(put(f"figures/{figure.name}.json", f"{title}. {ABOUT['.json']}", text))
    for name, about, table in of_figure(figure):
        parts.append(put(name, f"{title}. {about}", table))
    return crate.Made(figure.name, title, command, _machine(figure), parts)


def described(data: xr.Dataset, info: words.About) -> xr.Dataset:
    """The data with attributes that archives and other programs understand."""
    drawn = {"figure": data.attrs.get("source", "")}  # where it was published; `source` is the program now
    found = data.assign_attrs(drawn | words.attributes(info))
    for variable in found.variables.values():
        if np.issubdtype(variable.dtype, np.number):
            variable.attrs.setdefault("units", "1")
    return found


def of_figure(figure: Stored) -> Iterator[tuple[str, str, str]]:
    """The tables of a figure: its checks, then all that is drawn, a table for each set of dimensions."""
    rows = figure.summary["checks"]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    content = tables.text(columns, [[row.get(name) for name in columns] for row in rows])
    yield f"tables/{figure.name}/checks.csv", "Measured numbers beside the lines drawn.", content
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, variable in figure.data.data_vars.items():
        if "former_name_of" in variable.attrs:  # the same numbers once more
            continue
        groups.setdefault(tuple(map(str, variable.dims)), []).append(str(name))
    for dims, names in groups.items():
        about = f"Drawn numbers: {', '.join(names)}."
        if not dims:
            values = [[name, figure.data[name].item()] for name in names]
            yield f"tables/{figure.name}/numbers.csv", about, tables.text(["quantity", "value"], values)
            continue
        frame = figure.data[names].to_dataframe(dim_order=list(dims)).reset_index()
        columns = [*dims, *(str(name) for name in frame.columns if name not in dims)]
        content = frame[columns].to_csv(index=False, lineterminator="\n")
        yield f"tables/{figure.name}/{'-'.join(dims)}.csv", about, content


def _public(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without the places on this machine where the figure and what it was made from stood."""
    found = summary | {"out": ".", "files": [f"{summary['name']}{s}" for s in figure_folder.SUFFIXES]}
    options = dict(summary.get("options", {}))
    for name in ("run", "released"):
        if options.get(name):
            options[name] = Path(str(options[name])).name
    return found | {"options": options} if options else found


def _machine(figure: Stored) -> dict[str, Any]:
    """How a figure came about, as far as it says so; earlier versions kept less."""
    summary, made = figure.summary, figure.summary.get("made_by", {})
    found = {"seconds": summary["seconds"], "device": summary["device"], "version": summary["version"]}
    found |= {name: made[name] for name in ("hardware", "versions", "processor") if name in made}
    found["code_sha256"] = made.get("code", "unknown")
    return {f"{figure.name}_{name}": value for name, value in found.items()}


def _short(name: str, figure: str) -> str:
    return name.removeprefix(f"{figure}_")


def _commands(info: words.About) -> str:
    commands = (info.command or "").split("\n")
    made = [f"{line} --out figures-again  # makes the figure again" for line in commands]
    check = "dysonjax verify .  # makes those again that take little time, and compares"
    return "\n".join(["#!/bin/sh", f"# {info.title}, with dysonjax {info.version}", *made, check]) + "\n"
