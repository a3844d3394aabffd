"""SHA-256 sums of every file of a store, kept beside it and bound to where the file lies.

`checksums/metadata.json` is about metadata and coordinates, `checksums/BATCH-BLOCK.json` about the chunks of
one block. A sum is written before the file that it is about, together with the one of the file's last
version: whenever a process dies, each file is one of the two. A chunk that is altered, or whole and in
another's place, differs from its sum. Zarr's own readers need none of this.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import LocalStore, WrapperStore

from dysonjax.checks import InputError
from dysonjax.ensemble.interrupts import resume_command
from dysonjax.ensemble.sealed import Damaged

FOLDER = "checksums"
METADATA = "metadata"
LOOKS = 5  # at sums that a run under way may just be writing


class Sums:
    """The sums of the store `run.zarr` in a run folder; `kept` says whether there are any."""

    def __init__(self, folder: Path):
        self.store, self.folder = folder / "run.zarr", folder / FOLDER
        self.known: dict[str, dict[str, list[str]]] = {}

    @property
    def kept(self) -> bool:
        return self.folder.is_dir()

    def look(self, name: str) -> dict[str, list[str]]:
        """The sums of one file of sums: key -> those that it may have. Raises Damaged."""
        try:
            content = json.loads((self.folder / f"{name}.json").read_text())
            if content["sha256"] != _sum(_text(content["sums"])):
                raise ValueError
            self.known[name] = content["sums"]
        except FileNotFoundError:
            raise Damaged(f"{FOLDER}/{name}.json is missing") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Damaged(f"{FOLDER}/{name}.json is damaged") from None
        return self.known[name]

    def write(self, name: str, files: Mapping[str, bytes]) -> None:
        """Write files of the store, their sums first."""
        self.announce(name, files)
        for key, content in files.items():
            put(self.store / key, content)

    def announce(self, name: str, files: Mapping[str, bytes], fresh: bool = False) -> None:
        """Enter the sums of files that will be written; fresh: there were none before."""
        try:
            before = {} if fresh else self.look(name)
        except Damaged:
            before = {}
        now = dict(before)
        for key, content in files.items():
            now[key] = list(dict.fromkeys([_sum(content), *before.get(key, [])[:1]]))
        self.folder.mkdir(exist_ok=True)
        sealed = {"sums": now, "sha256": _sum(_text(now))}
        put(self.folder / f"{name}.json", json.dumps(sealed).encode(), aside=f".{uuid.uuid4().hex}.part")

    def check(self, name: str, key: str, content: bytes) -> None:
        """Raise Damaged if a file of the store is not what was written there."""
        found = _sum(content)
        for _ in range(LOOKS):
            if found in self.known.get(name, {}).get(key, []):
                return
            before = self.known.get(name)
            if self.look(name) == before:
                break
        else:
            return
        raise Damaged(f"{key} is not what was written there: its checksum differs")


def block_name(batch_index: int, block: int) -> str:
    return f"{batch_index:03d}-{block:05d}"


def put(path: Path, content: bytes, aside: str | None = None) -> None:
    """A file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(aside or f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


class Overlay(WrapperStore):
    """A store whose writes are collected in `written` until somebody brings them to disk."""

    def __init__(self, store: LocalStore, written: dict[str, bytes] | None = None):
        super().__init__(store)
        self.written = {} if written is None else written

    def _with_store(self, store):
        return type(self)(store, self.written)

    async def get(self, key: str, prototype=None, byte_range: ByteRequest | None = None) -> Buffer | None:
        prototype = prototype or default_buffer_prototype()
        if key in self.written:
            return prototype.buffer.from_bytes(self.written[key])
        if "/c/" in key:  # whole chunks are written; what one held before, damaged or not, does not matter
            return None
        return await self._store.get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        self.written[key] = value.to_bytes()


class Checked(WrapperStore):
    """A store to read from, each file held against its sum; raises InputError with the way out."""

    def __init__(self, store: LocalStore, folder: Path, sums: Sums, names: dict[str, int]):
        super().__init__(store)
        self.folder, self.sums, self.names = folder, sums, names

    def _with_store(self, store):
        return type(self)(store, self.folder, self.sums, self.names)

    async def get(self, key: str, prototype=None, byte_range: ByteRequest | None = None) -> Buffer | None:
        prototype = prototype or default_buffer_prototype()
        found = await self._store.get(key, prototype, None)
        name = self._name(key)
        if found is None or name is None:
            return found
        try:
            self.sums.check(name, key, found.to_bytes())
        except Damaged as damage:
            raise _refusal(self.folder, damage) from None
        return found if byte_range is None else await self._store.get(key, prototype, byte_range)

    def _name(self, key: str) -> str | None:
        """The file of sums that a chunk is in; None for metadata and coordinates, which are known already."""
        variable, _, place = key.partition("/c/")
        if not place or variable not in self.names:
            return None
        numbers = place.split("/")
        return block_name(int(numbers[0]), int(numbers[self.names[variable]]))


def checked(folder: Path) -> Any:
    """The store of a run folder to read from, held against its sums if there are any.

    Metadata and coordinates are checked here and now, chunks when they are read. Raises InputError.
    """
    path, sums = folder / "run.zarr", Sums(folder)
    if not sums.kept:
        return path
    try:
        for key in sums.look(METADATA):
            try:
                sums.check(METADATA, key, (path / key).read_bytes())
            except FileNotFoundError:
                raise Damaged(f"{key} is missing") from None
    except Damaged as damage:
        raise _refusal(folder, damage) from None
    group = zarr.open_group(LocalStore(path, read_only=True), mode="r")
    names = {}
    for name, array in group.arrays():
        dims = getattr(array.metadata, "dimension_names", None) or ()  # format 2 has none
        if "batch_size" in dims and "seed" in dims:
            names[name] = dims.index("seed")
    return Checked(LocalStore(path, read_only=True), folder, sums, names)


def _refusal(folder: Path, damage: Damaged) -> InputError:
    return InputError(f"{folder}/run.zarr: {damage}; {resume_command(folder)} repairs it")


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _text(sums: dict) -> bytes:
    return json.dumps(sums, sort_keys=True).encode()
