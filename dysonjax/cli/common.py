"""Options that commands share: execution, value ranges, the summary file."""

import dataclasses
import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from dysonjax import files
from dysonjax.checks import InputError, positive
from dysonjax.cli.output import output_folder as output_folder
from dysonjax.cli.terminal import Terminal, amount

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # takes half a second to load


@dataclasses.dataclass(frozen=True)
class ExecutionOptions:
    """Where a command writes and what it prints."""

    seed: int = 0
    """Root of all randomness."""
    out: Path | None = None
    """Folder for the results; default: the next free runs/COMMAND-NNN."""
    overwrite: bool = False
    """Replace the results that the output folder holds."""
    json: bool = False
    """Print the summary as one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""


Execution = Annotated[ExecutionOptions, tyro.conf.arg(name="")]  # its options carry no prefix

EXECUTION = ExecutionOptions()

MOST_VALUES = 100_000  # of one option
RANGE_FORMS = "a number, a list 0.1,0.5, a doubling range 0.125:256:x2 or linear steps 0.01:0.1:10"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number of things, as in "1 matrix" and "2 matrices"."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def speed(summary: dict) -> str:
    """How fast a run was, in one line."""
    text = (
        f"{amount(summary['net_steps_per_second'], 'network-steps/s')} on {summary['device']}, "
        f"{summary['seconds']:.1f} s and {summary['compile_seconds']:.1f} s of compilation"
    )
    return f"{text}; {summary['diverged']} networks diverged" if summary["diverged"] else text


def parse_values(name: str, text: str, check=positive) -> list[float]:
    """The positive numbers that an option text stands for, in the order given.

    `0.1,0.5` is a list, `0.125:256:x2` multiplies by 2 from 0.125 to 256, `0.01:0.1:10` is ten values in
    equal steps. Raises InputError if the text is malformed or a value does not pass `check(name, value)`, by
    default: is not positive and finite.
    """
    values = [value for part in text.split(",") for value in _parse_part(name, part.strip())]
    return [check(name, value) for value in values]


def parse_integers(name: str, text: str) -> list[int]:
    """As `parse_values`, for options that are whole numbers."""
    values = parse_values(name, text)
    for value in values:
        if not float(value).is_integer():
            raise InputError(f"{name} must hold positive integers, got {value:g}")
    return [int(value) for value in values]


def parse_records(text: str, steps: int) -> int | tuple[int, ...]:
    """`21` is a number of records, `log:21` spaces them logarithmically, `0,10,100` names the steps."""
    from dysonjax.ensemble import log_spaced

    try:
        if text.startswith("log:"):
            return log_spaced(int(text.removeprefix("log:")), steps)
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"records must be a number, log:N or a list of steps, got {text!r}") from None
    return numbers[0] if len(numbers) == 1 else numbers


def _parse_part(name: str, part: str) -> list[float]:
    bad = InputError(f"{name} must be {RANGE_FORMS}, got {part!r}")
    fields = part.split(":")
    try:
        if len(fields) == 1:
            return [float(part)]
        if len(fields) != 3:
            raise bad
        start, stop = float(fields[0]), float(fields[1])
        if not (0 < start <= stop and math.isfinite(stop)):
            raise InputError(f"{name} needs 0 < first <= last in a range, got {part!r}")
        if fields[2].startswith("x"):
            factor = float(fields[2][1:])
            if not (math.isfinite(factor) and factor > 1):
                raise InputError(f"{name} needs a factor above 1 in a range, got {part!r}")
            count = math.floor((math.log(stop) - math.log(start)) / math.log(factor) + 1e-9) + 1
            _check_count(name, part, count)
            return [_times_power(start, factor, k) for k in range(count)]
        count = int(fields[2])
    except InputError:
        raise
    except ValueError:
        raise bad from None
    if count < 1 or (count == 1 and start != stop):
        raise InputError(f"{name} needs at least two values between {start:g} and {stop:g}, got {part!r}")
    _check_count(name, part, count)
    return [float(value) for value in np.linspace(start, stop, count)]


def _check_count(name: str, part: str, count: int) -> None:
    if count > MOST_VALUES:
        raise InputError(f"{name} = {part} are {count} values; at most {MOST_VALUES} can be listed")


def _times_power(start: float, factor: float, k: int) -> float:
    try:
        return start * factor**k
    except OverflowError:  # of the power alone
        return functools.reduce(lambda value, _: value * factor, range(k), start)


def duration(seconds: float) -> str:
    """A time as one reads it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def write_summary(folder: Path, summary: dict) -> None:
    """`summary.json` in the run folder."""
    write_json(folder / "summary.json", summary)


def write_json(path: Path, values: dict) -> None:
    """A JSON file, replaced as a whole so that a reader never sees half of it."""
    files.put(path, json.dumps(values, indent=2) + "\n")


def draw(terminal: Terminal, folder: Path, name: str, make: Callable[[], "Figure"]) -> None:
    """Write the figure that `make` draws; where there is too little to draw, say so and go on.

    What was trained is there, whatever can be drawn of it.
    """
    from dysonjax.figures.artist import drawn

    write_drawn(terminal, folder, name, lambda: drawn(make))


def write_drawn(terminal: Terminal, folder: Path, name: str, drawn: Callable[[], dict[str, bytes]]) -> None:
    """As `draw`, for a function that returns what the files hold, by how their names end."""
    try:
        contents = drawn()
    except InputError as error:
        terminal.warn(f"{name} was not drawn: {error}")
        return
    for suffix, content in contents.items():
        files.put(folder / f"{name}{suffix}", content)
