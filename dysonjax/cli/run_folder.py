"""How a run folder says by which command it was made, so that the command can be repeated or resumed."""

import dataclasses
import importlib
import json
import types
import typing
from pathlib import Path

from dysonjax import __version__, files
from dysonjax.checks import InputError
from dysonjax.cli.choices import of_type

FORMAT = 1  # of run.json; raised when an older file could not be read any more
MARKER = {"format": int, "command": str, "options": dict, "version": str}


def name_of(command) -> str:
    """The name under which a command is typed."""
    from dysonjax.cli import COMMANDS

    place = f"{type(command).__module__}:{type(command).__qualname__}"
    return next(name for name, (where, _) in COMMANDS.items() if where == place)


def write(folder: Path, command) -> None:
    """`run.json`: the command and all its options, input files with their absolute paths."""
    _write(
        folder,
        {
            "format": FORMAT,
            "command": name_of(command),
            "options": _plain(command),
            "version": __version__,
        },
    )


def _write(folder: Path, content: dict) -> None:
    files.put(folder / "run.json", json.dumps(content, indent=2) + "\n")


def list_files(folder: Path, files: list[str], ended: bool) -> None:
    """Enter into `run.json` what its command has written besides what every run has.

    ended: whether it came to its end.
    """
    content, found = _marker(folder), {"files": files, "ended": ended}
    if content is not None and content | found != content:
        _write(folder, content | found)


def ended(folder: Path) -> bool:
    """Whether the command came to its end; a run may be trained, and yet its figure never drawn."""
    content = _marker(folder) or {}
    return content.get("ended", "files" in content) is True  # earlier versions listed the files alone


def listed_files(folder: Path) -> list[str] | str | None:
    """What `list_files` entered; "killed" if the command never came so far; None if no command wrote it."""
    content = _marker(folder)
    if content is None:
        return None
    files = content.get("files", "killed")
    known = files == "killed" or (isinstance(files, list) and all(isinstance(f, str) for f in files))
    return files if known else None


def _marker(folder: Path) -> dict | None:
    """`run.json`, if it is one that this program wrote."""
    from dysonjax.cli import COMMANDS
    from dysonjax.ensemble.schema import read_object

    try:
        content = read_object(folder / "run.json", MARKER)
    except (FileNotFoundError, InputError):
        return None
    return content if content["command"] in COMMANDS else None


HELD = ("run.json", "run.zarr", "summary.json")  # by a run folder, one of them at least


def holds_figures(folder: Path) -> bool:
    """Whether a folder is one of `dysonjax figure`, or an export of one, and of no run."""
    if any((folder / name).exists() for name in HELD):
        return False
    return any(any(place.glob("*.nc")) for place in (folder, folder / "figures"))


def there(folder: Path) -> Path:
    """The folder; raises InputError if it is none."""
    if folder.is_dir():
        if holds_figures(folder):
            raise InputError(
                f"{folder} holds figures and no run; info, verify and export take it, and the numbers are in "
                "its .nc files"
            )
        return folder
    what = "it is not a folder" if folder.exists() else "there is no such folder"
    raise InputError(f"{folder} holds no run: {what}; name one that a command wrote, such as runs/rbm-001")


def read(folder: Path):
    """The command that made a run folder, with its options; raises InputError if that cannot be told."""
    from dysonjax.cli import COMMANDS
    from dysonjax.ensemble.schema import read_object

    path = there(folder) / "run.json"
    try:
        content = read_object(path, MARKER)
    except FileNotFoundError:
        if (folder / "run.zarr").exists():
            raise InputError(
                f"{folder} was made in Python, not by a command; go on there, with dj.resume(folder, model)"
            ) from None
        raise InputError(f"{folder} holds no run (there is no run.json in it)") from None
    name = content["command"]
    if content["format"] != FORMAT or name not in COMMANDS:
        raise InputError(f"{folder} was made by another version of dysonjax ({content['version']})")
    module, _, cls = COMMANDS[name][0].partition(":")
    try:
        return _build(getattr(importlib.import_module(module), cls), content["options"], path)
    except TypeError:
        raise InputError(
            f"{folder} was made by dysonjax {content['version']}, whose options were others"
        ) from None


def _plain(value):
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return str(value.absolute()) if isinstance(value, Path) else value


def _build(cls, options: dict, path: Path):
    """The inverse of `_plain`, by the types of the fields; raises InputError for a value of another type."""
    hints = typing.get_type_hints(cls)
    for name in options.keys() - hints.keys():  # an option of an older version, which is one of a group now
        groups = [group for group, hint in hints.items() if name in getattr(hint, "__dataclass_fields__", ())]
        if groups and isinstance(options.get(groups[0], {}), dict):
            options = {**options, groups[0]: {**options.get(groups[0], {}), name: options[name]}}
            del options[name]
    return cls(**{name: _typed(name, hints.get(name), value, path) for name, value in options.items()})


def _typed(name: str, hint, value, path: Path):
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise InputError(f"{path} is damaged: {name} must be an object, got {value!r}")
        return _build(hint, value, path)
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    choices = typing.get_args(hint) if union else (hint,)
    closed = of_type(hint)
    if closed and value not in closed and not (value is None and type(None) in choices):
        raise InputError(f"{path} is damaged: the option {name} cannot be {str(value)[:40]!r}")
    kinds = () if closed else tuple(kind for kind in choices if isinstance(kind, type))
    if Path in kinds and isinstance(value, str):
        return Path(value)
    if float in kinds:
        kinds = (*kinds, int)
    wrong = kinds and not isinstance(value, kinds) and not (tuple in kinds and isinstance(value, list))
    if wrong or (isinstance(value, bool) and kinds and bool not in kinds):
        raise InputError(f"{path} is damaged: the option {name} cannot be {str(value)[:40]!r}")
    return value
