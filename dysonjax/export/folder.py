"""The folder that is published: it appears as a whole or not at all, and says what is in it."""

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dysonjax import files
from dysonjax.checks import InputError
from dysonjax.ensemble import machine, results
from dysonjax.export import about as words
from dysonjax.export import crate


class Export(NamedTuple):
    """What was written."""

    folder: Path
    files: list[str]


def empty(target: Path) -> None:
    """Raise InputError unless a folder of this name can be made, or is there and empty."""
    if target.is_dir() and not target.is_symlink():
        if any(target.iterdir()):
            raise InputError(f"{target} is not empty; choose another --out")
    elif os.path.lexists(target):
        raise InputError(f"{target} exists and is not a folder; choose another --out")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist; create it first")
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"{target} cannot be written: the folder above it is read-only")


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Where to write what then becomes the folder `target`, in one step, or leaves no trace."""
    partial = target.with_name(f".{target.name}-{uuid.uuid4().hex}.part")
    try:
        (partial / "tables").mkdir(parents=True)
        (partial / "figures").mkdir()
        yield partial
        if target.is_dir():
            target.rmdir()  # it is empty
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def into(target: Path, name: str, about: str, content: str | bytes) -> crate.Part:
    """Write one file."""
    content = content.encode() if isinstance(content, str) else content
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    files.put(target / name, content)
    return crate.Part(name, about, len(content), hashlib.sha256(content).hexdigest())


def of_export() -> dict[str, Any]:
    """Code, hardware and versions, here and now."""
    return {
        "export_code_sha256": machine.code_sha256(),
        "export_hardware": machine.hardware(),
        "export_versions": results.versions(),
    }


def readme(info: words.About, parts: list[crate.Part]) -> str:
    """README.md."""
    rows = "\n".join(f"| `{part.path}` | {part.about} |" for part in parts)
    made = f"Made by\n\n```sh\n{info.command}\n```\n\n" if info.command else ""
    return (
        f"# {info.title}\n\n{info.description}\n\n{made}Authors: {', '.join(words.names(info))}. "
        f"Licence: {info.license}.\n\n| file | what it holds |\n|---|---|\n{rows}\n"
    )
