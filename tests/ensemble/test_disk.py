"""Full, read-only and vanished folders end a run with a sentence; afterwards it goes on."""

import contextlib
import errno
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from small_run import GRID, MODEL, RUN, same

import dysonjax as dj
from dysonjax.ensemble import disk, session, store

pytestmark = pytest.mark.usefixtures("save_often", "compile_once")


def goes_on(folder, expected):
    same(dj.resume(folder, MODEL, tile=4).dataset, expected)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**6))
    with pytest.raises(dj.InputError, match=r"needs up to 16\.8 MB on disk, but .* has 1 MB"):
        dj.train(MODEL, GRID, out=tmp_path / "a" / "run", **RUN)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("victim", ["chunk", "checkpoint"])
def test_an_error_at_any_write_ends_the_run_and_damages_nothing(victim, tmp_path, expected, monkeypatch):
    calls = []

    def full(*args, **kwargs):
        calls.append(1)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **kwargs)

    place = (store.Store, "write") if victim == "chunk" else (session.checkpoints.np, "savez")
    original = getattr(*place)
    with monkeypatch.context() as patch:
        patch.setattr(*place, full)
        with pytest.raises(dj.RunError, match=f"No space left on device.*dysonjax resume {tmp_path}"):
            dj.train(MODEL, GRID, out=tmp_path, save_every=1e-9, **RUN)
    assert not list(tmp_path.rglob("*.part*"))
    goes_on(tmp_path, expected)


def test_a_folder_that_vanishes_is_not_made_again(tmp_path, expected):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"

    def progress(done, total):
        if done > 0.5 * total and folder.exists():
            folder.rename(elsewhere)

    with pytest.raises(dj.RunError, match="has vanished"):
        dj.train(MODEL, GRID, out=folder, save_every=1e-9, progress=progress, **RUN)
    shutil.rmtree(folder, ignore_errors=True)  # at most the file that says how far it was
    elsewhere.rename(folder)
    goes_on(folder, expected)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, to be filled or made read-only."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", tmp_path]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_full_disk_ends_the_run_until_there_is_room(small_disk, expected, monkeypatch):
    monkeypatch.setattr(disk, "check_space", lambda folder, needed: None)
    ballast = small_disk / "ballast"

    def progress(done, total):
        if done > 0.4 * total and not ballast.exists():
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass

    with pytest.raises(dj.RunError, match="No space left on device"):
        dj.train(MODEL, GRID, out=small_disk / "run", save_every=1e-9, progress=progress, **RUN)
    with pytest.raises((dj.RunError, dj.InputError), match="cannot be written"):
        dj.resume(small_disk / "run", MODEL, tile=4)
    ballast.unlink()
    goes_on(small_disk / "run", expected)


def test_a_disk_that_becomes_read_only_ends_the_run(small_disk, expected, monkeypatch):
    monkeypatch.setattr(disk, "check_space", lambda folder, needed: None)
    mode = []

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", small_disk], check=True)

    def progress(done, total):
        if done > 0.4 * total and not mode:
            mode.append(remount("ro"))

    with pytest.raises(dj.RunError, match="Read-only file system"):
        dj.train(MODEL, GRID, out=small_disk / "run", save_every=1e-9, progress=progress, **RUN)
    with pytest.raises(dj.InputError, match="cannot be written: Read-only file system"):
        dj.resume(small_disk / "run", MODEL, tile=4)
    remount("rw")
    goes_on(small_disk / "run", expected)
