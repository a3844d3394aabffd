"""Two processes never write one run folder, and a dead one does not keep it."""

import errno
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from dysonjax.checks import InputError, RunError
from dysonjax.ensemble import lock
from dysonjax.ensemble.lock import Lock, living_owner, myself


def put(path, **changes):
    path.write_text(json.dumps(myself()._replace(**changes)._asdict()))


def test_a_lock_is_held_until_it_is_released(tmp_path):
    path = tmp_path / "run.lock"
    held = Lock(path)
    with pytest.raises(InputError, match=f"in use by process {os.getpid()} on this host"):
        Lock(path)
    held.check()
    held.release()
    assert not list(tmp_path.iterdir())
    Lock(path).release()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    path = tmp_path / "run.lock"
    code = "import sys, os; from pathlib import Path; from dysonjax.ensemble.lock import Lock;"
    code += "Lock(Path(sys.argv[1])); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, path], check=True)
    assert path.exists() and living_owner(path) is None
    held = Lock(path)
    assert living_owner(path)[:2] == myself()[:2]
    held.release()


def test_a_later_process_with_the_same_number_is_not_the_owner(tmp_path):
    put(tmp_path / "run.lock", started="12")
    Lock(tmp_path / "run.lock").release()


def test_an_owner_on_another_host_counts_until_it_has_been_silent(tmp_path, monkeypatch):
    path = tmp_path / "run.lock"
    put(path, host="elsewhere")
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    beat = threading.Timer(0.2, lambda: os.utime(path))
    beat.start()
    with pytest.raises(InputError, match="on elsewhere; wait for it or stop it"):
        Lock(path)
    beat.join()
    almost = path.stat().st_mtime - lock.SILENCE_SECONDS + 0.3
    os.utime(path, (almost, almost))
    Lock(path).release()


@pytest.mark.parametrize("age", [-1e6, pytest.param(0.0, marks=pytest.mark.slow), 0.3])
def test_waiting_for_another_host_is_announced_and_bounded(age, tmp_path, monkeypatch):
    """Also when its clock runs ahead: a time in the future is no sign of life."""
    path, said = tmp_path / "run.lock", []
    put(path, host="elsewhere")
    os.utime(path, (time.time() - age, time.time() - age))
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lock, "SILENCE_SECONDS", 0.6)
    begin = time.monotonic()
    Lock(path, said.append).release()
    assert time.monotonic() - begin < 5
    (sentence,) = said
    assert "locked by process" in sentence and "on elsewhere; waiting up to" in sentence


def test_a_file_system_without_hard_links_is_good_enough(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    held = Lock(tmp_path / "run.lock")
    with pytest.raises(InputError, match="in use by process"):
        Lock(tmp_path / "run.lock")
    held.check()
    held.release()
    assert not list(tmp_path.iterdir())


def test_a_lock_that_vanishes_or_changes_hands_is_noticed(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    held = Lock(folder / "run.lock")
    put(folder / "run.lock", pid=1)
    with pytest.raises(RunError, match="taken over"):
        held.check()
    held.release()
    assert (folder / "run.lock").exists()  # it is somebody else's now


def test_a_lock_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    held = Lock(tmp_path / "run.lock")
    os.utime(held.path, (0, 0))
    for _ in range(500):
        if held.path.stat().st_mtime > 0:
            break
        held._stop.wait(0.01)
    assert lock.silence(held.path) < 60
    held.release()
