"""Finished layers of a spectrum under way, one small file each, so that a killed run goes on where it was."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from dysonjax import __version__, files

FOLDER = "layers"


@dataclass(frozen=True)
class Layer:
    """What is shown of a unit, or why there is nothing."""

    row: dict | None
    """the columns of the table"""
    svg: str
    """its plot on the page"""
    problem: str
    """why it could not be analysed; empty if it was"""


class Kept:
    """The layers of one analysis in the folder of its run."""

    def __init__(self, sources: Iterable[Path | None], settings: tuple):
        """sources: the files analysed, by whose sizes and times a change is noticed; settings: all that the
        numbers depend on."""
        facts = [_state(source) for source in sources if source is not None]
        self._analysis = json.dumps([__version__, facts, settings], default=str)

    def load(self, folder: Path, index: int, unit) -> Layer | None:
        """A finished layer; None if there is none, or it is damaged or of another analysis."""
        try:
            content = json.loads(_file(folder, index).read_text(encoding="utf-8"))
            if content.pop("key") != self._key(unit):
                return None
            return Layer(**content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def put(self, folder: Path, index: int, unit, layer: Layer) -> None:
        (folder / FOLDER).mkdir(exist_ok=True)
        files.put(_file(folder, index), json.dumps({"key": self._key(unit), **asdict(layer)}))

    def remove(self, folder: Path) -> None:
        """All of them: what they hold is in the summary."""
        for path in (folder / FOLDER).glob("*.json*"):
            path.unlink()
        if (folder / FOLDER).is_dir():
            (folder / FOLDER).rmdir()

    def _key(self, unit) -> str:
        facts = [self._analysis, unit.name, unit.role, unit.members, unit.rows, unit.modes]
        return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def _file(folder: Path, index: int) -> Path:
    return folder / FOLDER / f"{index:06d}.json"


def _state(source: Path) -> list:
    """Names, sizes and times of a file, or of all files in a folder."""
    paths = [source]
    if source.is_dir():
        paths = [Path(place) / name for place, _, names in os.walk(source) for name in sorted(names)]
    found = []
    for path in sorted(paths):
        stat = path.stat()
        found.append([str(path.absolute()), stat.st_size, stat.st_mtime_ns])
    return found
