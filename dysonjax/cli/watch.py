"""`dysonjax watch DIR`: the report of a run while it trains, in the browser of this machine."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.cli import run_folder
from dysonjax.cli.report import command_line, point_command
from dysonjax.cli.terminal import Terminal


@dataclasses.dataclass(frozen=True)
class Watch:
    """Show a run while it trains: the page of `dysonjax report`, renewed from what the run has recorded.

    Open the address that is printed in a browser on this machine; nobody else can reach it. The place
    that you look at stays as new records come in. Ctrl-C ends the watching, not the run.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """A run folder, also of a run that has just been started."""
    port: int = 0
    """Port on this machine's loopback interface; 0: any that is free."""
    every: float = 2.0
    """Seconds between two looks at the store; more where reading it takes long."""
    json: bool = False
    """Print one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but the address, warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        from dysonjax.report import server

        every = checks.positive("every", self.every)
        if not 0 <= self.port <= 65535:
            raise InputError(f"port must be from 0 to 65535, got {self.port}")
        run_folder.there(self.folder)
        try:
            page = server.server(lambda: _page(self.folder, every), every, self.port)
        except OSError as error:
            raise InputError(f"port {self.port} cannot be used: {error.strerror}; choose another") from None
        host, port = page.server_address[:2]
        address = f"http://{host!s}:{port}/"
        shown = Terminal(json=self.json)  # the address is what one needs, also with --quiet
        shown.print(f"{self.folder} at {address} (Ctrl-C ends it)")
        try:
            with page:
                page.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            terminal.print("no longer watching")
        return {"command": "watch", "out": str(self.folder), "address": address}


def _page(folder: Path, every: float) -> str:
    """The page as it is now."""
    from dysonjax.report import Report, gather, render

    try:
        report = gather(folder, command_line(folder), point_command(folder), curves=False)
    except InputError:
        if (folder / "run.zarr").exists() or (folder / "summary.json").exists():
            raise
        name = run_folder.name_of(run_folder.read(folder))  # raises InputError if this is no run
        waiting = ["Nothing is recorded yet. This page looks again by itself."]
        command, title = command_line(folder), f"{name}: {folder.name}"
        report = Report(title, str(folder), False, [], [], waiting, [], [], command, False, None)
    return render(report, live=every)
