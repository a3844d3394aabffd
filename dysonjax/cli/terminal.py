"""What a command shows while it works: messages, tables, progress. JSON alone may use standard output."""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class _Console(Console):
    """rich ends the process when the reader of its output goes away; here runs are saved first."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Terminal:
    """Messages go to standard output, or to standard error when the last line of output is JSON.

    When the reader of the messages goes away, work ends at the next report of progress; where there is none,
    it is brought to its end without messages, so that its files are written.
    """

    def __init__(self, quiet: bool = False, json: bool = False):
        self.quiet = quiet
        self.reader_gone = False
        self.console = _Console(stderr=json, soft_wrap=True, highlight=False)
        if not self.console.is_terminal:
            # A pipe or a log has no width of its own; tables cut to 80 columns would lose numbers.
            self.console.width = 1000
        self.errors = _Console(stderr=True, soft_wrap=True, highlight=False)

    def print(self, text: str = "") -> None:
        if not self.quiet:
            self._show(text, markup=False)

    def warn(self, text: str) -> None:
        """A sentence that the user must see even with `--quiet`."""
        with suppress(OSError):
            self.errors.print(_printable(f"warning: {text}"), markup=False)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        if self.quiet:
            return
        table = Table(title=Text(title), title_justify="left")
        for index, name in enumerate(columns):
            numbers = index > 0 and all(_number(row[index]) for row in rows)
            # What stands first is a name to be copied: it is not broken into lines.
            table.add_column(
                name, justify="right" if numbers else "left", overflow="fold", no_wrap=index == 0
            )
        for row in rows:
            table.add_row(
                *(Text(_printable(cell)) for cell in row)
            )  # plain text: names may hold brackets, which rich reads as markup
        self._show(table)

    def _show(self, what, **options) -> None:
        if self.reader_gone:
            return
        try:
            self.console.print(what if isinstance(what, Table) else _printable(what), **options)
        except OSError as error:  # EPIPE of a pipe, EIO of a terminal
            if error.errno not in (None, errno.EPIPE, errno.EIO):
                raise
            self.reader_gone = True

    @contextmanager
    def progress(self, label: str, unit: str = "steps") -> Iterator[Callable[[float, float], None]]:
        """Yield `update(done, total)`: a bar with rate and time left on a terminal, plain lines otherwise."""
        if self.quiet:
            yield lambda done, total: None
        elif self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            rate = _Rate(unit)
            bar = Progress(*columns, console=self.console, transient=True)
            task = bar.add_task(label, rate="", total=None)

            def update(done: float, total: float) -> None:
                rate.see(done)
                bar.update(task, completed=done, total=total, rate=str(rate))

            with suppress(OSError):  # a terminal that has closed; the signal that came with it says so
                bar.start()
            try:
                yield update
            finally:
                with suppress(OSError):
                    bar.stop()
        else:
            yield _plain_lines(self, label, unit)


def _printable(text: str) -> str:
    """The text without control characters: names in files may hold sequences that command a terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _number(cell: str) -> bool:
    """Whether a cell reads as a number, with a sign, a unit or an error, or is empty."""
    return not cell.strip() or cell.strip().lstrip("+-−±<>≤≥~ ")[:1].isdigit() or cell.strip() in "-–nan"


def amount(value: float, unit: str) -> str:
    """A number of three digits with the prefix of its unit, as "3.94 M network-steps/s"."""
    scale, prefix = next(((s, p) for s, p in PREFIXES if value >= s), (1, ""))
    return f"{value / scale:.3g} {prefix}{' ' if prefix and unit else ''}{unit}"


def _plain_lines(terminal: Terminal, label: str, unit: str, every: float = 10.0):
    """Progress for logs: one line every ten seconds."""
    rate, last = _Rate(unit), None

    def update(done: float, total: float) -> None:
        nonlocal last
        if terminal.reader_gone:
            raise BrokenPipeError
        rate.see(done)
        now = time.monotonic()
        last = now if last is None else last
        if now - last < every or not rate.value:
            return
        last = now
        left = (total - done) / rate.value
        terminal.print(f"{label}: {100 * done / total:.0f} %, {rate}, {left:.0f} s left")

    return update


class _Rate:
    """Work done per second since the first report; what came before, such as compiling, does not count."""

    def __init__(self, unit: str):
        self.unit, self.value = unit, 0.0
        self.first: tuple[float, float] | None = None

    def see(self, done: float) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done, now
        elif now > self.first[1]:
            self.value = (done - self.first[0]) / (now - self.first[1])

    def __str__(self) -> str:
        return amount(self.value, f"{self.unit}/s")
