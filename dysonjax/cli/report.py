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
    """Write one self-contained HTML file about a run folder, to look at and to explore.

    A click on a cell of its map shows what the networks there did: levels and observables over time, phases
    of the seeds, the command that trains just this point again. Then follow results, figures, sortable
    tables and the commands that repeat the run. Of an unfinished run the page shows what is there, and says
    so.
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

        run_folder.there(self.folder)
        out = self.folder / "report.html" if self.out is None else self.out
        new_file(out, self.overwrite)
        if out.exists() and out.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"{out} is no HTML file and is not replaced by one; choose another --out")
        report = gather(self.folder, command_line(self.folder), point_command(self.folder))
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


AXES = ("lr", "batch_size", "sigma_w", "s", "epsilon", "z_ratio")  # options that a run may have as dimensions


def command_line(folder: Path) -> str | None:
    """The command line that made the folder, with the options that differ from their defaults."""
    words = _words(folder)
    return None if words is None else shlex.join(words)


def point_command(folder: Path) -> list | None:
    """The command line of one point of the grid: texts and {"axis": name}, where a value is to stand.

    None if no command trains that point alone as the run did: with independent randomness the names of all
    axes count, and a command with a single value of a further axis has no such axis.
    """
    words = _words(folder, without=AXES)
    if words is None:
        return None
    command = run_folder.read(folder)
    usual = type(command)()
    options, usual = ({**vars(c), **vars(getattr(c, "training", None) or c)} for c in (command, usual))
    further = any(set(str(options.get(name))) & set(",:") for name in AXES[3:])
    if further and options.get("randomness") == "independent":
        return None
    parts: list[str | dict[str, str]] = [shlex.join(words)]
    for name in AXES:
        value = options.get(name)
        if isinstance(value, str) and (name in AXES[:3] or set(value) & set(",:")):
            parts += [f" --{name.replace('_', '-')} ", {"axis": name}]
        elif value != usual.get(name):
            parts.append(f" --{name.replace('_', '-')} {shlex.quote(str(value))}")
    return parts


def _words(folder: Path, without: tuple[str, ...] = ()) -> list[str] | None:
    try:
        command = run_folder.read(folder)
    except InputError:
        return None
    cls = type(command)
    needed = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
    default = cls(**dict.fromkeys(needed))  # which no option equals
    return ["dysonjax", run_folder.name_of(command), *_options(command, default, without)]


def _options(command, default, without: tuple[str, ...] = ()) -> list[str]:
    words = []
    for field in dataclasses.fields(command):
        value, usual = getattr(command, field.name), getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            words += _options(value, usual, without)
        elif field.name in ("out", "overwrite", "json", "quiet", "resume", *without) or value == usual:
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
