"""`dysonjax export DIR`: a run as one publishes it."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dysonjax import files
from dysonjax.checks import InputError
from dysonjax.cli import run_folder
from dysonjax.cli.report import command_line
from dysonjax.cli.terminal import Terminal


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a finished run into a folder of its own, ready to be published.

    It holds CSV tables and the data of the figures, the figures, the store with CF and ACDD attributes and
    its history, RO-Crate metadata, CITATION.cff, .zenodo.json, hardware, run time, versions and a hash of the
    code, and the exact commands. The folder is a run folder: report, info and verify take it. Of a folder of
    figures all are written: pictures, captions, the data behind them as NetCDF and CSV, their checks.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """The folder of a finished run, also of dyson, compare, spectrum or advise, or of figures."""
    out: Path | None = None
    """Folder to write, which must not exist or be empty; default: the run's name with -export."""
    author: tuple[str, ...] = ()
    """Authors, each as "Family, Given" or "Family, Given (ORCID)"."""
    title: str | None = None
    """Title of the data; default: command and name of the run."""
    license: Literal["CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "MIT", "Apache-2.0"] = "CC-BY-4.0"
    """Licence under which you publish the data."""
    json: bool = False
    """Print one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        from dysonjax.export import author, export, export_figures

        authors = [author(text) for text in self.author]
        figures = run_folder.holds_figures(self.folder)
        if not figures:
            run_folder.there(self.folder)
        place = self.folder.resolve()
        out = place.with_name(f"{place.name}-export") if self.out is None else self.out
        words: Any = {"authors": authors, "title": self.title, "license": self.license}
        try:
            if figures:
                found = export_figures(self.folder, out, **words)
            else:
                made: Any = {"command": command_line(self.folder), "options": _options(self.folder)}
                found = export(self.folder, out, **made, **words)
        except OSError as error:
            if error.errno in files.FULL:
                raise
            raise InputError(f"{out} cannot be written: {error.strerror}") from None
        if not authors:
            terminal.warn('no --author "Family, Given" was given; CITATION.cff and .zenodo.json name nobody')
        terminal.print(f"wrote {out}: {len(found.files)} files and folders, described in README.md")
        return {"command": "export", "out": str(out), "files": found.files}


def _options(folder: Path) -> dict:
    """The options of the command that made a run, as far as they are its own."""
    try:
        return vars(run_folder.read(folder))
    except InputError:
        return {}
