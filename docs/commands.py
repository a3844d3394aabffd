"""Write `reference/commands.md`: the help of every command.

`python docs/commands.py` renews the page after an option has changed.
"""

import contextlib
import io
import os
from pathlib import Path
from unittest import mock

from dysonjax import cli

PAGE = Path(__file__).parent / "reference" / "commands.md"
WIDTH = "88"
HEAD = """# Commands

What `dysonjax COMMAND --help` says. [Which command do I need?](../how-to/which-command.md) begins with
the task.
"""


def page() -> str:
    """The text of the page."""
    parts = [HEAD, _block(["--help"])]
    parts += [f"## {name}\n\n{_block([name, '--help'])}" for name in cli.COMMANDS]
    return "\n".join(parts)


def _block(words: list[str]) -> str:
    shown = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS=WIDTH), contextlib.redirect_stdout(shown):
        cli.main(words)
    return f"```text\n{shown.getvalue().rstrip()}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
