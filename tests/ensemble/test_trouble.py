"""Trouble of the machine while a run is resumed is not damage of its files: nothing is touched."""

import errno
import io
import os
import re

import numpy as np
import pytest
from small_run import MODEL, same, start_and_crash

import dysonjax as dj
from dysonjax.cli import main
from dysonjax.ensemble import checkpoints, sealed

pytestmark = pytest.mark.usefixtures("save_often", "compile_once")

TROUBLE = {
    "memory": MemoryError(),
    "permission": PermissionError(errno.EACCES, "Permission denied"),
    "disk": OSError(errno.EIO, "Input/output error"),
    "stale": OSError(errno.ESTALE, "Stale file handle"),
    "files": OSError(errno.EMFILE, "Too many open files"),
    "time": TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
}
PLACES = {
    "checkpoint": r"checkpoints/\d+-\d+\.npz$",
    "chunk": r"run\.zarr/diverged_at/c/.*",
    "coordinate": r"run\.zarr/lr/c/0$",
    "metadata": r"run\.zarr/zarr\.json$",
    "metadata of an array": r"run\.zarr/alive/zarr\.json$",
}


class Failing(io.FileIO):
    """A file that opens and then cannot be read."""

    def fail(self, *_):
        raise self.error

    readinto = read = readall = fail


def break_files(monkeypatch, pattern: str, error: Exception, at: str) -> list[str]:
    """Make every file of this name fail to open or to be read; the names that failed."""
    original, failed = io.open, []

    def broken(file, mode="r", *rest, **options):
        if isinstance(file, int) or not re.search(pattern, str(file)) or set(mode) & set("wax+"):
            return original(file, mode, *rest, **options)
        failed.append(str(file))
        if at == "open":
            raise error
        raw = Failing(file)
        raw.error = error
        buffered = io.BufferedReader(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered)

    monkeypatch.setattr(io, "open", broken)
    return failed


def content(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Of those alike, each trouble and each place is in the quick suite, when it is opened or when it is read.
CASES = [
    pytest.param(trouble, place, at, marks=() if (i - j - 3 * k) % 6 == 0 else pytest.mark.slow)
    for i, trouble in enumerate(TROUBLE)
    for j, place in enumerate(PLACES)
    for k, at in enumerate(("open", "read"))
]


@pytest.mark.parametrize(("trouble", "place", "at"), CASES)
def test_trouble_stops_a_resumed_run_and_changes_nothing(trouble, place, at, started, monkeypatch):
    folder, before = started, content(started)
    said = []
    with monkeypatch.context() as patch:
        failed = break_files(patch, PLACES[place], TROUBLE[trouble], at)
        with pytest.raises((dj.RunError, OSError, MemoryError)) as stopped:
            dj.resume(folder, MODEL, tile=4, say=said.append)
    assert failed and not said and not isinstance(stopped.value, dj.InputError)
    assert content(folder) == before


def test_an_unreadable_folder_of_checkpoints_is_not_an_empty_one(started, monkeypatch):
    listdir = os.listdir

    def refuse(path="."):
        if str(path).endswith("checkpoints"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listdir(path)

    before = content(started)
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        with pytest.raises(dj.RunError, match="checkpoints cannot be read"):
            dj.resume(started, MODEL, tile=4)
    assert content(started) == before


def test_memory_that_runs_out_while_a_checkpoint_is_parsed_is_not_damage(started, monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError

    before = content(started)
    with monkeypatch.context() as patch:
        patch.setattr(np, "load", exhausted)
        with pytest.raises(dj.RunError, match="not enough memory to open"):
            dj.resume(started, MODEL, tile=4)
    assert content(started) == before


def test_after_the_trouble_the_run_ends_as_if_nothing_had_been(tmp_path, expected, monkeypatch):
    start_and_crash(tmp_path, 0.6)
    with monkeypatch.context() as patch:
        break_files(patch, PLACES["checkpoint"], TROUBLE["disk"], "read")
        with pytest.raises(dj.RunError):
            dj.resume(tmp_path, MODEL, tile=4)
    seen = []
    resumed = dj.resume(tmp_path, MODEL, tile=4, progress=lambda done, total: seen.append(done / total))
    assert 0.5 < seen[0] <= 0.6
    same(resumed.dataset, expected)


def test_a_lock_that_cannot_be_read_is_not_taken_over(started, monkeypatch):
    (started / "run.lock").write_text("{}")
    with monkeypatch.context() as patch:
        break_files(patch, r"run\.lock$", TROUBLE["permission"], "open")
        with pytest.raises(dj.InputError, match="cannot be"):
            dj.resume(started, MODEL, tile=4)
    assert (started / "run.lock").read_text() == "{}"
    (started / "run.lock").unlink()


@pytest.mark.parametrize("trouble", TROUBLE)
def test_the_command_line_says_it_in_one_sentence(trouble, finished, monkeypatch, capsys):
    before = content(finished)
    with monkeypatch.context() as patch:
        break_files(patch, r"run\.zarr/seed/c/0$", TROUBLE[trouble], "read")
        for command in ("resume", "info"):
            assert main([command, str(finished)]) == 1
            error = capsys.readouterr().err
            assert error.startswith("dysonjax: ") and error.count("\n") == 1 and "damaged" not in error
            assert "Error:" not in error and "Errno" not in error
    assert content(finished) == before


def test_the_sum_of_a_sealed_file_covers_it(tmp_path):
    path = tmp_path / "a.npz"
    arrays = {"x": np.arange(5), "header": np.zeros(3, np.uint8)}
    sealed.write(path, arrays)
    assert all((np.load(path)[name] == value).all() for name, value in arrays.items())
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(sealed.Damaged):
            sealed.read(path)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(sealed.Damaged):
            sealed.read(path)


def test_checkpoints_of_versions_without_a_sum_are_read(started):
    """They end as an archive without a comment does, and have a checksum of each entry."""
    path = checkpoints.of_process(started / "checkpoints", 0)[-1]
    arrays = sealed.read(path)
    np.savez(started / "old.npz", **arrays)
    assert all((value == arrays[name]).all() for name, value in sealed.read(started / "old.npz").items())
    whole = bytearray((started / "old.npz").read_bytes())
    whole[len(whole) // 2] ^= 1
    (started / "old.npz").write_bytes(whole)
    with pytest.raises(sealed.Damaged):
        sealed.read(started / "old.npz")
    (started / "old.npz").unlink()


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A run that died half way; every test leaves it as it was."""
    folder = tmp_path_factory.mktemp("started")
    with pytest.MonkeyPatch.context() as patch:
        from small_run import compiled_once

        from dysonjax.ensemble import jobs, session

        patch.setattr(jobs, "job", compiled_once)
        patch.setattr(session, "SAVE_AT_RECORDS_SECONDS", 0.0)
        patch.setattr(session, "SAVE_COST", 0.0)
        patch.setattr(jobs.Pace, "piece", lambda self, left: min(5, left))
        start_and_crash(folder, 0.6)
    (folder / "run.lock").unlink(missing_ok=True)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    options = "linear --lr 0.1 --batch-size 4 --seeds 2 --steps 3 --records 2 --quiet --out".split()
    assert main([*options, str(folder)]) == 0
    return folder
