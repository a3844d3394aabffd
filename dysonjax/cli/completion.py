"""`dysonjax completion SHELL`: the script that lets a shell complete commands and options."""

import contextlib
import dataclasses
import importlib
import io
from typing import Annotated, Literal

import tyro

from dysonjax import checks
from dysonjax.cli.terminal import Terminal

# Where each shell looks for such a script by itself; shown as a comment at its end.
HOW = {
    "bash": "dysonjax completion bash > ~/.local/share/bash-completion/completions/dysonjax",
    "zsh": "dysonjax completion zsh > ~/.zfunc/_dysonjax      (with ~/.zfunc in fpath, before compinit)",
    "fish": "dysonjax completion fish > ~/.config/fish/completions/dysonjax.fish",
}


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print the completion script of a shell: commands, options and their values.

    For bash: dysonjax completion bash > ~/.local/share/bash-completion/completions/dysonjax; the last line of
    every script says where it belongs.
    """

    shell: Annotated[
        Literal["bash", "zsh", "fish"], tyro.conf.Positional, tyro.conf.arg(metavar="{bash,zsh,fish}")
    ]
    """The shell."""
    json: bool = False
    """Print one JSON object with the script on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        script = completion_script(checks.one_of("shell", self.shell, list(HOW)))
        if not (self.json or self.quiet):
            print(script)
        return {"command": "completion", "shell": self.shell, "script": script}


def completion_script(shell: str) -> str:
    """The script for all commands, from the same dataclasses that parse them."""
    from dysonjax.cli import COMMANDS

    commands = {}
    for name, (place, _) in COMMANDS.items():
        module, _, cls = place.partition(":")
        commands[name] = getattr(importlib.import_module(module), cls)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="dysonjax",
            args=["--tyro-print-completion", shell],
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    return f"{printed.getvalue().rstrip()}\n# {HOW[shell]}"
