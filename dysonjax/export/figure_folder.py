"""A folder of `dysonjax figure`: five files a figure, one of them a summary that says how it was made."""

import hashlib
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from dysonjax.checks import InputError
from dysonjax.ensemble import machine, results
from dysonjax.ensemble.schema import NUMBER, check, read_object

SUFFIXES = (".png", ".pdf", ".nc", ".txt", ".json")
SUMMARY = {
    "command": str, "name": str, "title": str, "source": str, "scale": str, "caption": str, "checks": list,
    "seconds": NUMBER, "device": str, "version": str, "options?": dict, "made_by?": dict, "sha256?": dict,
}  # fmt: skip
CHECK = {"name": str, "measured": (*NUMBER, type(None)), "error": (*NUMBER, type(None))}


class Stored(NamedTuple):
    """A figure as it lies in a folder."""

    name: str
    folder: Path
    summary: dict[str, Any]
    data: xr.Dataset  # everything that is drawn

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}{suffix}"


def stored(folder: Path) -> list[Stored]:
    """The figures of a folder, or of the `figures` in an exported one, by name.

    Raises InputError if there is none, or if a file of one is missing or damaged.
    """
    for place in (folder, folder / "figures"):
        if found := [_read(path) for path in sorted(place.glob("*.json")) if _is_summary(path)]:
            return found
    raise InputError(
        f"{folder} holds no figure with its summary, NAME.json; dysonjax figure NAME writes both"
    )


def made_by(device: str) -> dict[str, Any]:
    """What the bits of a figure's numbers may depend on, here and now."""
    found = {"device": device, "processor": machine.cache.processor(), "code": machine.code_sha256()}
    return {"hardware": machine.hardware(), "versions": results.versions(), **found}


def hashes(folder: Path, name: str) -> dict[str, str]:
    """SHA-256 of all files of a figure but its summary, in which they stand."""
    paths = {suffix: folder / f"{name}{suffix}" for suffix in SUFFIXES if suffix != ".json"}
    return {suffix: hashlib.sha256(path.read_bytes()).hexdigest() for suffix, path in paths.items()}


def command_line(summary: dict[str, Any]) -> str:
    """The command that makes a figure, without the folder for its files."""
    options = summary.get("options", {})
    scale = summary["scale"]
    words = ["dysonjax", "figure", summary["name"]]
    words += [f"--{scale}"] if scale in ("quick", "paper") else []
    words += ["--run", str(options.get("run", "RUN"))] if scale == "run" else []
    words += ["--released", str(options["released"])] if options.get("released") else []
    words += ["--bare"] if options.get("bare") else []
    words += ["--dpi", str(options["dpi"])] if options.get("dpi", 160) != 160 else []
    return shlex.join(words)


def _is_summary(path: Path) -> bool:
    """Whether a file is, or was once, the summary of a figure."""
    if path.with_suffix(".nc").exists():
        return True
    try:
        content = read_object(path)
    except (InputError, OSError):
        return False
    return content.get("command") == "figure" and content.get("name") == path.stem


def _read(path: Path) -> Stored:
    summary = read_object(path, SUMMARY)
    name = path.stem
    if summary["command"] != "figure" or summary["name"] != name:
        raise InputError(f"{path} is damaged: it is not the summary of the figure {name}")
    for row in summary["checks"]:
        check(row, CHECK, f"{path} (checks)")
    for suffix in SUFFIXES:
        if not path.with_suffix(suffix).is_file():
            raise InputError(
                f"{path.with_suffix(suffix)} is missing; make the figure again with --overwrite, by "
                f"{command_line(summary)} --out {path.parent}"
            )
    return Stored(name, path.parent, summary, numbers(path.with_suffix(".nc")))


def numbers(path: Path) -> xr.Dataset:
    """The data behind a figure; raises InputError if they are damaged."""
    try:
        with xr.open_dataset(path, engine="scipy") as found:
            return found.load()
    except Exception:  # whatever the parser of a broken file stumbles over
        raise InputError(f"{path} is damaged: it cannot be read as NetCDF") from None


def changed(figure: Stored) -> list[str]:
    """Endings of the files that are not what the command wrote, or whose captions disagree.

    Earlier versions kept no hashes; of theirs the captions alone are compared.
    """
    known, now = figure.summary.get("sha256", {}), hashes(figure.folder, figure.name)
    other = [suffix for suffix, value in now.items() if known.get(suffix, value) != value]
    caption = figure.path(".txt").read_text(encoding="utf-8", errors="replace")
    said = {".txt": caption, ".nc": str(figure.data.attrs.get("caption"))}
    wanted = _without_spaces(figure.summary["caption"])
    differ = [suffix for suffix, text in said.items() if _without_spaces(text) != wanted]
    if len(differ) == len(said) and not set(differ) & set(other):
        return [*other, ".json"]  # both say the same: the summary was changed
    return [*other, *(suffix for suffix in differ if suffix not in other)]


def _without_spaces(text: str) -> str:
    """Lines are broken at hyphens, too."""
    return "".join(text.split())
