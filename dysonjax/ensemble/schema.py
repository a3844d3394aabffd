"""What the metadata of a run must hold, and the one place where they are read.

Files of a run folder may come from another version, another program or a text editor: everything that is
taken from them has its type checked here, and what is wrong is named by file and key.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dysonjax.checks import InputError

NUMBER = (int, float)
# key: type, types, or what an object must hold; a key with "?" may be missing
CONFIG = {
    "model": {"name": str},
    "grid": {
        "lr": list,
        "batch_size": list,
        "sigma_w": list,
        "seeds": int,
        "first_seed": int,
        "scalars": dict,
    },
    "steps": int,
    "records": list,
    "optimizer": str,
    "randomness": str,
    "seed": int,
    "dtype": str,
    "keep_weights": str,
    "keep?": list,
    "precision?": str,
}
SUMMARY = {
    "members": int,
    "steps": int,
    "seconds": NUMBER,
    "compile_seconds": NUMBER,
    "net_steps_per_second": NUMBER,
    "diverged": int,
    "device": str,
}
ATTRIBUTES = {"config": str, "versions?": str, "device?": str, "format": int, "seeds_per_block": int}
NAMES = {str: "a text", int: "a whole number", NUMBER: "a number", list: "a list", dict: "an object"}


class Attributes(NamedTuple):
    """The attributes of a store."""

    config: dict[str, Any]
    text: str  # of the configuration, as two runs are compared
    format: int
    seeds_per_block: int
    summary: dict[str, Any] | None  # None for a run that is not finished
    versions: dict[str, Any]


def attributes(found: Any, path: str | Path) -> Attributes:
    """The attributes of the store at a path, checked; raises InputError."""
    check(found, ATTRIBUTES, path)
    config = _inner(found, "config", CONFIG, path)
    summary = _inner(found, "summary", SUMMARY, path) if "summary" in found else None
    versions = _inner(found, "versions", {}, path) if "versions" in found else {}
    sessions(found, path)
    if not 1 <= found["seeds_per_block"]:
        raise InputError(f"{path} is damaged: seeds_per_block must be positive")
    return Attributes(config, found["config"], found["format"], found["seeds_per_block"], summary, versions)


def sessions(found: Mapping[str, Any], path: str | Path) -> list[dict[str, Any]]:
    """With what the sessions of a run were computed, versions unpacked; early runs recorded none."""
    check(found, {"sessions?": list}, path)
    unpacked = []
    for session in found.get("sessions", []):
        check(session, {"versions": str}, f"{path} (sessions)")
        unpacked.append({**session, "versions": _inner(session, "versions", {}, path)})
    return unpacked


def read_object(path: Path, what: dict | None = None) -> dict[str, Any]:
    """The object that a JSON file holds, checked; raises InputError if it does not, OSError if it is unknown.

    FileNotFoundError and NotADirectoryError tell that there is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is damaged: it holds no text") from None
    found = _parse(text, path)
    check(found, what or {}, path)
    return found


def check(found: Any, what: dict, where: str | Path) -> None:
    """Raise InputError unless an object holds these keys with these types."""
    if not isinstance(found, Mapping):
        raise InputError(f"{where} is damaged: it holds no JSON object")
    for name, kind in what.items():
        key = name.rstrip("?")
        if key not in found:
            if name == key:
                raise InputError(f"{where} is damaged: {key} is missing")
            continue
        value = found[key]
        if isinstance(kind, dict):
            check(value, kind, f"{where} ({key})")
        elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            wanted = NAMES.get(kind, "of another type")
            raise InputError(f"{where} is damaged: {key} must be {wanted}, got {_short(value)}")


def _inner(found: Mapping, key: str, what: dict, path: str | Path) -> dict[str, Any]:
    """The object that a text attribute holds."""
    where = f"{path} ({key})"
    if not isinstance(found[key], str):
        raise InputError(f"{where} is damaged: it must be a text, got {_short(found[key])}")
    content = _parse(found[key], where)
    check(content, what, where)
    return content


def _parse(text: str, where: str | Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{where} is damaged: it holds no JSON") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def difference(old: str, new: str) -> str:
    """The first entry in which two configurations differ, in words."""
    before, after = _flat(json.loads(old)), _flat(json.loads(new))
    sums = [before.get("model.text_sha256"), after.get("model.text_sha256")]
    if sums[0] != sums[1] and None not in sums and before.get("model.text") == after.get("model.text"):
        return f"another content of the text {before.get('model.text')}, which has changed since; restore it"
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            return f"{key} = {_briefly(before.get(key))}, not {_briefly(after.get(key))}; these cannot change"
    return "another configuration"


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, part in value.items() for k, v in _flat(part, f"{prefix}.{key}".strip(".")).items()}


def _briefly(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
