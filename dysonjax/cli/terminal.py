"""What a command shows while it works: messages, tables, progress. JSON alone may use standard output."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text


class Terminal:
    """Messages go to standard output, or to standard error when the last line of output is JSON."""

    def __init__(self, quiet: bool = False, json: bool = False):
        self.quiet = quiet
        self.console = Console(stderr=json, soft_wrap=True, highlight=False)
        if not self.console.is_terminal:
            # A pipe or a log has no width of its own; tables cut to 80 columns would lose numbers.
            self.console.width = 1000
        self.errors = Console(stderr=True, soft_wrap=True, highlight=False)

    def print(self, text: str = "") -> None:
        if not self.quiet:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """A sentence that the user must see even with `--quiet`."""
        self.errors.print(f"warning: {text}", markup=False)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        if self.quiet:
            return
        table = Table(title=Text(title), title_justify="left")
        for index, name in enumerate(columns):
            table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))  # plain text: names may hold brackets, which rich reads as markup
        self.console.print(table)

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
            start = time.monotonic()
            with Progress(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task(label, rate="", total=None)

                def update(done: float, total: float) -> None:
                    bar.update(task, completed=done, total=total, rate=_rate(done, start, unit))

                yield update
        else:
            yield _plain_lines(self.console, label, unit)


def _plain_lines(console: Console, label: str, unit: str, every: float = 10.0):
    """Progress for logs: one line every ten seconds."""
    start = last = time.monotonic()

    def update(done: float, total: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every or not done:
            return
        last = now
        left = (now - start) * (total - done) / done
        percent = 100 * done / total
        console.print(
            f"{label}: {percent:.0f} %, {_rate(done, start, unit)}, {left:.0f} s left", markup=False
        )

    return update


def _rate(done: float, start: float, unit: str) -> str:
    rate = done / max(time.monotonic() - start, 1e-9)
    scale, prefix = next(((s, p) for s, p in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if rate >= s), (1, ""))
    return f"{rate / scale:.3g} {prefix}{unit}/s"
