"""A run as a file that one can keep: `--config FILE` reads the options of a command, `--print-config` writes.

The file is TOML: one key an option, as it is typed or with underscores, and `command` if one likes. Tables
are for the reader alone: the options of a command have one name each.
"""

import dataclasses
import difflib
import json
import tomllib
from pathlib import Path
from typing import Any

import tyro

from dysonjax import checks
from dysonjax.checks import InputError

NOT_KEPT = ("overwrite", "json", "quiet", "resume")  # of this call, not of the run


def expanded(name: str, command, args: list[str]) -> list[str]:
    """The arguments with those of the file that `--config` names before them, so that typed ones count."""
    args, file = list(args), None
    for place, word in enumerate(args):
        if word == "--config" or word.startswith("--config="):
            _, equals, file = word.partition("=")
            if not equals and place + 1 == len(args):
                raise InputError("--config needs a file")
            file = file if equals else args[place + 1]
            del args[place : place + (1 if equals else 2)]
            break
    if file is None:
        return args
    options = _read(checks.path("config", file))
    made_for = options.pop("command", name)
    if made_for != name:
        raise InputError(f"{file} is the configuration of dysonjax {made_for}, not of {name}")
    known = fields(command)
    words = []
    for key, value in options.items():
        field = known.get(key)
        if field is None:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"dysonjax {name} --help lists them"
            raise InputError(f"{file}: {name} has no option {key[:100]}; {meant}")
        words += _words(file, field, value)
    return words + args


def text(name: str, command) -> str:
    """All options of a command as a file for `--config`."""
    lines = [f"command = {json.dumps(name)}"]
    for key, value in _values(command):
        if key not in NOT_KEPT and value is not None and value != ():
            lines.append(f"{key.replace('_', '-')} = {_toml(value)}")
    return "\n".join(lines)


def _read(path: Path) -> dict:
    """The options that a file gives, of all its tables."""
    try:
        return _flat(path, tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise InputError(f"{path} is no configuration: it is nested too deeply") from None
    except InputError:
        raise
    except ValueError as error:  # also what is no text
        raise InputError(f"{path} is no TOML file: {error}") from None


def _flat(file: Path, tree: dict) -> dict:
    """The options of all tables, with underscores; two of one name would hide one another."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        inside = _flat(file, value) if isinstance(value, dict) else {key.replace("-", "_"): value}
        if twice := found.keys() & inside:
            raise InputError(f"{file} gives {min(twice)} twice; leave one of them")
        found |= inside
    return found


def fields(command) -> dict:
    """Fields by name, those of nested groups as well."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(command):
        if field.name == "resume":
            continue
        if dataclasses.is_dataclass(field.default):
            found |= fields(type(field.default))
        else:
            found[_name(field)] = field
    return found


def _name(field) -> str:
    """As it is typed, with underscores: an option may have another name than its field."""
    others = (getattr(note, "name", None) for note in getattr(field.type, "__metadata__", ()))
    return next((name for name in others if isinstance(name, str)), field.name).replace("-", "_")


def _values(command):
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        if dataclasses.is_dataclass(value):
            yield from _values(value)
        else:
            yield _name(field), value


def _words(file: str, field, value) -> list[str]:
    option = f"--{_name(field).replace('_', '-')}"
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, bool | int | float | str):
            raise InputError(f"{file}: {field.name} must be a text, a number or a list of them, got {item!r}")
    if isinstance(value, bool):
        if value == field.default:
            return []
        return [option if value else f"--no-{option[2:]}"]
    words = [item if isinstance(item, str) else repr(item) for item in items]
    if tyro.conf.Positional in getattr(field.type, "__metadata__", ()):
        return words
    if "tuple" in str(field.type):
        return [option, *words]
    return [f"{option}={','.join(words)}"]  # a value may begin with a minus


def _toml(value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)
