"""`dysonjax report DIR`: one HTML file about a run."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated

import tyro

from dysonjax import files
from dysonjax.checks import InputError
from dysonjax.cli import run_folder
from dysonjax.cli.output import new_file
from dysonjax.cli.terminal import Terminal


@dataclasses.dataclass(frozen=True)
class Report:
    """Write one self-contained HTML file about a run folder: what it was, what came out, figures, sortable
    tables and how to do it again. A run that is not finished gives what is there, marked as such.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """A run folder, finished or not."""
    out: Path | None = None
    """The HTML file; default: report.html in the run folder."""
    overwrite: bool = False
    """Replace the file if it exists."""
    json: bool = False
    """Print one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        from dysonjax.report import gather, render

        if not self.folder.is_dir():
            raise InputError(f"{self.folder} holds no run: it is not a folder")
        out = self.folder / "report.html" if self.out is None else self.out
        new_file(out, self.overwrite)
        if out.exists() and out.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"{out} is no HTML file and is not replaced by one; choose another --out")
        report = gather(self.folder, _command_line(self.folder))
        try:
            page = render(report)
        except (TypeError, ValueError, LookupError, ArithmeticError):
            raise InputError(
                f"{self.folder}/summary.json is damaged: it holds what no command writes"
            ) from None
        try:
            files.put(out, page)
        except OSError as error:
            if error.errno in files.FULL:
                raise
            raise InputError(f"{out} cannot be written: {error.strerror}") from None
        for sentence in report.warnings:
            terminal.warn(sentence)
        terminal.print(f"wrote {out} ({len(page) / 1e6:.1f} MB)")
        return {
            "command": "report",
            "out": str(out),
            "finished": report.finished,
            "figures": [picture.name for picture in report.pictures],
            "tables": [table.title for table in report.tables],
            "warnings": report.warnings,
            "bytes": len(page.encode()),
        }


def _command_line(folder: Path) -> str | None:
    """The command line that made the folder, with the options that differ from their defaults."""
    try:
        command = run_folder.read(folder)
        default = type(command)()
    except (InputError, TypeError):
        return None
    words = ["dysonjax", run_folder.name_of(command), *_options(command, default)]
    return shlex.join(words)


def _options(command, default) -> list[str]:
    words = []
    for field in dataclasses.fields(command):
        value, usual = getattr(command, field.name), getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            words += _options(value, usual)
        elif field.name in ("out", "overwrite", "json", "quiet") or value == usual:
            continue
        elif _is_positional(field):
            words.insert(0, str(value))
        elif isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{field.name.replace('_', '-')}")
        else:
            words += [f"--{field.name.replace('_', '-')}", str(value)]
    return words


def _is_positional(field) -> bool:
    return tyro.conf.Positional in getattr(field.type, "__metadata__", ())
