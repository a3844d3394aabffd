"""The folder that a command writes: made, replaced and given up without touching anybody else's file.

A folder is replaced only if its `run.json` says that this program wrote it, and then file by file: those that
`run.json` lists, and those that every run has. Anything else in it, and every input, makes the command stop
before anything is deleted.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dysonjax import files
from dysonjax.checks import InputError, RunError
from dysonjax.cli import run_folder

LOCK = ".command.lock"  # held from the moment that a command claims a folder until it ends
RUN_LOCK = r"run(-\d{3})?\.lock"
HEX = "[0-9a-f]{32}"
STORE = rf"(.+/)?zarr\.json|.+/c(/\d+)*|(.+/)?[^/]*\.{HEX}\.partial"
# What every run may leave, by its path in the folder; a killed one leaves what was written aside.
STRUCTURE = re.compile(
    r"(run|summary)\.json(\.part)?|report\.html(\.part)?|\.command\.lock"
    rf"|{RUN_LOCK}|\.(lock|stale|clock)-{HEX}|\.writable"
    rf"|checkpoints/(\d+-\d+\.npz|process-\d+\.json(\.part)?|\.{HEX}\.part|\.process-\d+\.part)"
    rf"|layers/(\d{{6}}\.json(\.part)?)?"
    rf"|checksums/([\w-]+\.json|\.{HEX}\.part)"
    rf"|(run\.zarr|\.store-{HEX})/({STORE})"
    rf"|(checkpoints|checksums|layers|(run\.zarr|\.store-{HEX})(/.*)?)/"  # empty folders
)
# What else commands write; counts only where a run was killed before it could list its files.
RESULTS = re.compile(r"([^/]+\.(png|pdf)|levels\.npz|sample\.txt|spectrum\.csv)(\.part)?")


class Claim:
    """A folder that the command under way writes."""

    def __init__(self, folder: Path, lock, made: list[Path], fresh: bool = True):
        self.folder, self.lock = folder, lock
        self.made = made  # folders that were not there before, the innermost first
        self.fresh = fresh  # what is in it is of this command alone
        self.computed = False  # its results are there: nothing can be wrong with the input any more


_current: list[tuple[Any, list[Claim]]] = []  # the command under way and its claims; commands may nest


@contextlib.contextmanager
def watching(command) -> Iterator[None]:
    """While a command runs: know its inputs; then list what it wrote, or take back an empty start."""
    claims: list[Claim] = []
    _current.append((command, claims))
    ended = refused = False
    try:
        yield
        ended = True
    except InputError as error:
        if done := [claim.folder for claim in claims if claim.computed]:
            raise RunError(
                f"{done[0]} holds the results, but not all can be made of them: {error}"
            ) from error
        refused = True
        for claim in claims:
            if claim.fresh:
                _take_back(claim)
        raise
    finally:
        _current.pop()
        for claim in claims:
            if claim.fresh or not refused:  # what was there before a refusal stays as it was
                with contextlib.suppress(OSError):  # a full disk; the run then counts as killed
                    run_folder.list_files(claim.folder, _results(claim.folder), ended)
            if claim.lock is not None:
                claim.lock.release()


def output_folder(out: Path | None, command: str, overwrite: bool) -> Path:
    """The folder for a command's files, created empty; the default is the next free `runs/COMMAND-NNN`.

    Raises InputError if the folder exists (without `overwrite`), holds something that is not ours, or cannot
    be written.
    """
    try:
        folder, made = _make(out, command)
        if not made:
            replaceable(folder, overwrite)
        lock = _lock(folder) if _current else None
        try:
            if not made:
                replaceable(folder, overwrite)  # again: nobody else can start here any more
                _delete(folder)
            probe = folder / ".writable"
            probe.touch()
            probe.unlink()
        except BaseException:
            if lock is not None:
                lock.release()
            raise
    except OSError as error:
        place = out if out is not None else "runs"
        raise InputError(f"the output folder {place} cannot be written: {error.strerror}") from None
    if _current:
        _current[-1][1].append(Claim(folder, lock, made))
    return folder


def new_file(path: Path, overwrite: bool) -> None:
    """Raise InputError unless a file of this name can be made, or replaced with `overwrite`."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; create it first")
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path} exists already; choose another --out or pass --overwrite to replace it")
    try:  # under the name at which it will be written first, which must not be too long either
        probe = path.with_name(path.name + files.PART)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def go_on_with(folder: Path) -> None:
    """The command under way adds to a run folder that is there already."""
    if not _current or any(claim.folder == folder for claim in _current[-1][1]):
        return
    lock = None
    with contextlib.suppress(OSError):  # read-only: the run itself says so
        lock = _lock(folder)
    _current[-1][1].append(Claim(folder, lock, made=[], fresh=False))


def take_up(folder: Path) -> None:
    """Like `go_on_with`, for a run that keeps no lock of its own. Raises InputError if it is under way."""
    if _current:
        _current[-1][1].append(Claim(folder, _lock(folder), made=[], fresh=False))


def computed(folder: Path) -> None:
    """The results of the command under way are in a folder; what is left is to describe them."""
    for claim in _current[-1][1] if _current else ():
        claim.computed |= claim.folder == folder


def replaceable(folder: Path, overwrite: bool) -> None:
    """Raise InputError unless a folder that exists may be replaced."""
    if not overwrite:
        raise InputError(f"{folder} exists already; choose another --out or pass --overwrite to replace it")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder; choose another --out")
    place = folder.resolve()
    if place == Path.cwd() or place in Path.cwd().parents:
        raise InputError(f"{folder} is the working folder or holds it; choose another --out")
    for path in _inputs():
        inside = path.resolve()
        if inside == place or place in inside.parents:
            raise InputError(f"{path} is an input of this command and lies in {folder}; choose another --out")
    _refuse_living(folder)
    found = [path for path in _files(folder) if path != LOCK]
    if not found:
        return
    listed = run_folder.listed_files(folder)
    if listed is None and os.path.lexists(folder / "run.json"):
        raise InputError(
            f"{folder / 'run.json'} is damaged, or dysonjax did not write it, so that nobody can tell "
            "which files in the folder are results; remove the folder yourself, or choose another --out"
        )
    if listed is None:
        raise InputError(
            f"{folder} holds files that dysonjax did not write, or of an early version; choose another --out"
        )
    for name in found:
        known = RESULTS.fullmatch(name) if listed == "killed" else name in listed
        if not (known or STRUCTURE.fullmatch(name)):
            raise InputError(f"{folder} holds {name}, which dysonjax did not write; choose another --out")


def _make(out: Path | None, command: str) -> tuple[Path, list[Path]]:
    """The folder, and those that were made for it, itself first; none if it was there."""
    if out is not None:
        folder = Path(out)
        for path in _inputs():
            if path.is_dir() and path.resolve() in folder.resolve().parents:
                raise InputError(f"{folder} lies in {path}, which is an input; choose another --out")
        with contextlib.suppress(FileExistsError):  # perhaps another command was a moment faster
            return folder, _make_all(folder)
        return folder, []
    for index in range(1, 10**6):
        folder = Path("runs") / f"{command}-{index:03d}"
        with contextlib.suppress(FileExistsError):
            return folder, _make_all(folder)
    raise InputError(f"runs/ holds a million runs of {command}; choose a folder with --out")


def _make_all(folder: Path) -> list[Path]:
    """Make a folder and what is missing above it; raises FileExistsError if there is something."""
    missing = [path for path in folder.parents if not os.path.lexists(path)]
    folder.mkdir(parents=True)
    return [folder, *missing]


def _lock(folder: Path):
    from dysonjax.ensemble.lock import Lock

    return Lock(folder / LOCK)


def _refuse_living(folder: Path) -> None:
    """Raise InputError if a run is writing into a folder that is to be replaced."""
    if (folder / "run.lock").exists():
        from dysonjax.ensemble.lock import living_owner

        owner = living_owner(folder / "run.lock")
        if owner is not None:
            raise InputError(f"{folder} is in use by process {owner.pid} on {owner.host}; stop it first")


def _inputs() -> list[Path]:
    """Files and folders that the command under way reads: whatever exists among its options but --out."""
    found = [path for command, _ in _current[-1:] for path in _named(command)]
    return [path for path in found if os.path.exists(path)]  # a text may be too long for a name


def _named(command) -> list[Path]:
    """Whatever an option but --out may name."""
    found = [(name, value) for name, value in _values(command) if name != "out"]
    # A text may be the name of a file too, as that of --text.
    return [Path(value) for _, value in found if value and isinstance(value, str | Path)]


def paths(command) -> list[tuple[str, Path]]:
    """The paths among the options of a command, by the name of the option."""
    return [(name, value) for name, value in _values(command) if isinstance(value, Path)]


def _values(command) -> Iterator[tuple[str, Any]]:
    for name in getattr(command, "__dataclass_fields__", {}):
        value = getattr(command, name)
        if hasattr(value, "__dataclass_fields__"):
            yield from _values(value)
        else:
            yield from ((name, item) for item in (value if isinstance(value, tuple) else (value,)))


def _files(folder: Path) -> list[str]:
    """Everything in a folder, without following links; of folders only the empty ones, with a slash."""
    found = []
    for place, folders, names in os.walk(folder, onerror=_raise):
        base = Path(place)
        links = [name for name in folders if (base / name).is_symlink()]
        found += [(base / name).relative_to(folder).as_posix() for name in (*names, *links)]
        if not (folders or names) and base != folder:
            found.append(base.relative_to(folder).as_posix() + "/")
    return found


def _raise(error: OSError) -> None:
    raise error


def _delete(folder: Path) -> None:
    """Delete the files of a folder whose every file is ours, and the folders in it."""
    for path in _files(folder):
        if path != LOCK and not path.endswith("/"):
            (folder / path).unlink(missing_ok=True)
    for place, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            (Path(place) / name).rmdir()


def _results(folder: Path) -> list[str]:
    """The files that a command has written besides those of every run."""
    return sorted(p for p in _files(folder) if RESULTS.fullmatch(p))


def _take_back(claim: Claim) -> None:
    """Remove a folder whose command was refused before it computed anything."""
    folder = claim.folder
    names = _files(folder)
    if any(re.fullmatch(r"checkpoints/.*\.npz", n) or not STRUCTURE.fullmatch(n) for n in names):
        return
    if "summary.json" in names:
        return
    with contextlib.suppress(OSError):
        _delete(folder)
        if claim.lock is not None:
            claim.lock.release()
            claim.lock = None
        for place in claim.made:
            place.rmdir()
