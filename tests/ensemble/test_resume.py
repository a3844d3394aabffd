"""Interrupted runs end as uninterrupted ones; damage is found and repaired, never passed on."""

import dataclasses
import json
import os
import shlex
import shutil
import signal
import time
import warnings

import jax
import numpy as np
import pytest
from small_run import GRID, MODEL, RUN, Crash, same, start_and_crash
from tiny import tiny

import dysonjax as dj
from dysonjax.ensemble import checkpoints, loop, session

pytestmark = pytest.mark.usefixtures("save_often", "compile_once")
SLOW = pytest.mark.slow  # of many alike, some are in the quick suite


@pytest.mark.parametrize("after", [0.0, 0.37, pytest.param(0.81, marks=SLOW), 0.999])
def test_a_run_that_died_ends_with_the_same_bytes(after, tmp_path, expected):
    start_and_crash(tmp_path, after)
    resumed = dj.resume(tmp_path, MODEL, tile=4)
    same(resumed.dataset, expected)
    same(dj.read(tmp_path).load(), expected)
    assert resumed.summary["diverged"] == int((expected.diverged_at >= 0).sum())


def test_a_run_goes_on_where_it_was_not_at_the_start(tmp_path):
    start_and_crash(tmp_path, 0.6)
    seen = []
    dj.resume(tmp_path, MODEL, tile=4, progress=lambda done, total: seen.append(done / total))
    assert 0.5 < seen[0] <= 0.6 and seen[-1] == 1.0


@pytest.mark.parametrize(
    "options",
    [{"tile": 1}, *(pytest.param(options, marks=SLOW) for options in ({"tile": 64}, {"devices": 1}))],
    ids=str,
)
def test_a_run_goes_on_with_other_tiles_and_devices(options, tmp_path, expected):
    start_and_crash(tmp_path, 0.5)
    found = dj.resume(tmp_path, MODEL, **options).dataset
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(found.diverged_at, expected.diverged_at)


@pytest.fixture
def hangs_up():
    """Also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangs_up")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=SLOW)])
def test_a_signal_saves_the_run_and_names_the_way_back(number, tmp_path, expected):
    sent = []

    def progress(done, total):
        if done > 0.4 * total and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(n) for n in numbers]
    with pytest.raises(dj.Interrupted, match=f"dysonjax resume {tmp_path}") as stopped:
        dj.train(MODEL, GRID, out=tmp_path, progress=progress, **RUN)
    assert stopped.value.signal == number and not (tmp_path / "run.lock").exists()
    assert handlers == [signal.getsignal(n) for n in numbers]
    seen = []
    resumed = dj.resume(tmp_path, MODEL, tile=4, progress=lambda done, total: seen.append(done / total))
    assert seen[0] > 0.4
    same(resumed.dataset, expected)


def test_a_reader_of_the_progress_that_goes_away_saves_the_run(tmp_path, expected):
    def progress(done, total):
        if done > 0.4 * total:
            raise BrokenPipeError

    with pytest.raises(dj.Interrupted, match="the reader of its output, which went away") as stopped:
        dj.train(MODEL, GRID, out=tmp_path, progress=progress, **RUN)
    assert stopped.value.signal == signal.SIGPIPE and not (tmp_path / "run.lock").exists()
    seen = []
    resumed = dj.resume(tmp_path, MODEL, tile=4, progress=lambda done, total: seen.append(done / total))
    assert seen[0] > 0.4
    same(resumed.dataset, expected)


def test_a_hang_up_that_is_ignored_stays_ignored(tmp_path, monkeypatch):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = dj.train(
            MODEL, GRID, out=tmp_path, progress=lambda *_: os.kill(os.getpid(), signal.SIGHUP), **RUN
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.summary["members"] == GRID.members


@pytest.mark.parametrize(
    "name", [pytest.param("run 1", marks=SLOW), "it's", pytest.param("a;b", marks=SLOW), "ä"]
)
def test_the_way_back_can_be_typed(name, tmp_path):
    def progress(done, total):
        if done > 0.5 * total:
            raise BrokenPipeError

    with pytest.raises(dj.Interrupted) as stopped:
        dj.train(MODEL, GRID, out=tmp_path / name, progress=progress, **RUN)
    typed = str(stopped.value).partition("go on with: ")[2]
    assert shlex.split(typed) == ["dysonjax", "resume", str(tmp_path / name)]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=SLOW)])
def test_a_second_signal_stops_at_once(number, tmp_path):
    def progress(done, total):
        if done:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt) as stopped:
        dj.train(MODEL, GRID, out=tmp_path, progress=progress, **RUN)
    assert not isinstance(stopped.value, dj.Interrupted) and stopped.value.signal == number
    assert dj.resume(tmp_path, MODEL, tile=4).summary["members"] == GRID.members


@pytest.mark.parametrize("out", [None, "run"])
def test_running_out_of_memory_half_way_loses_nothing_that_was_saved(out, tmp_path, expected, monkeypatch):
    original, calls, seen = loop.train_wave, [], []

    def scarce(job, wave, *rest):
        calls.append(job.tile_members)
        if len(calls) == 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        original(job, wave, *rest)

    monkeypatch.setattr(loop, "train_wave", scarce)
    with pytest.warns(UserWarning, match="out of device memory; going on with 1 members a tile"):
        run = dj.train(
            MODEL, GRID, out=out and tmp_path / out, progress=lambda d, t: seen.append(d / t), **RUN
        )
    assert set(calls[:3]) == {3} and set(calls[3:]) == {1}
    assert seen[-1] == 1.0 and max(seen) == 1.0 and min(seen[len(seen) // 2 :]) > 0.2
    np.testing.assert_allclose(run.dataset.weights, expected.weights, rtol=1e-12, atol=1e-14)


def test_a_finished_run_is_returned_as_it_is(tmp_path):
    run = dj.train(MODEL, GRID, out=tmp_path, **RUN)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.zarr/**/*") if path.is_file()}
    again = dj.resume(tmp_path, MODEL)
    assert again.summary == run.summary and again.dataset.identical(run.dataset)
    assert before == {path: path.stat().st_mtime_ns for path in before}


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": lambda path: flip(path, path.stat().st_size // 2),
    "deleted": lambda path: path.unlink(),
}


def some(*quick):
    """All kinds of damage, those that are not named in the slow suite."""
    return [pytest.param(damage, marks=() if damage in quick else SLOW) for damage in DAMAGE]


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("victim", "damage"),
    [
        pytest.param(victim, damage, marks=() if damage in quick else SLOW)
        for victim, quick in (("eigenvalues/c", ("flipped", "deleted")), ("diverged_at/c", ("truncated",)))
        for damage in DAMAGE
    ],
)
def test_a_damaged_chunk_is_computed_again(damage, victim, tmp_path, expected):
    start_and_crash(tmp_path, 0.7)
    chunks = sorted(p for p in (tmp_path / "run.zarr" / victim).rglob("*") if p.is_file())
    DAMAGE[damage](chunks[0])
    said = []
    resumed = dj.resume(tmp_path, MODEL, tile=4, say=said.append)
    assert len(said) == 1 and "computing its 3 networks again" in said[0] and victim in said[0]
    same(resumed.dataset, expected)


@pytest.mark.parametrize("damage", some("truncated", "deleted"))
def test_a_damaged_finished_run_is_refused_by_read_and_repaired_by_resume(damage, tmp_path, expected):
    dj.train(MODEL, GRID, out=tmp_path, **RUN)
    chunk = sorted(p for p in (tmp_path / "run.zarr/eigenvalues/c").rglob("*") if p.is_file())[3]
    DAMAGE[damage](chunk)
    with pytest.raises((dj.InputError, ValueError), match=r"has lost 1 chunks|checksum"):
        dj.read(tmp_path).load()
    with pytest.warns(UserWarning, match="networks again"):
        same(dj.resume(tmp_path, MODEL, tile=4).dataset, expected)
    same(dj.read(tmp_path).load(), expected)


@pytest.mark.parametrize("damage", some("truncated", "deleted"))
def test_a_damaged_checkpoint_is_stepped_over(damage, tmp_path, expected):
    start_and_crash(tmp_path, 0.7)
    kept = checkpoints.of_process(tmp_path / "checkpoints", 0)
    assert len(kept) == 2
    DAMAGE[damage](kept[-1])
    said, seen = [], []
    progress = lambda done, total: seen.append(done / total)  # noqa: E731
    resumed = dj.resume(tmp_path, MODEL, tile=4, say=said.append, progress=progress)
    assert 0.5 < seen[0] < 0.7 and ("going back to the one before" in "".join(said)) == (damage != "deleted")
    same(resumed.dataset, expected)


def test_no_flipped_bit_of_a_checkpoint_goes_unnoticed(tmp_path):
    start_and_crash(tmp_path, 0.5)
    folder = tmp_path / "checkpoints"
    path = checkpoints.of_process(folder, 0)[-1]
    for other in folder.glob("*.npz"):
        if other != path:
            other.unlink()
    content = path.read_bytes()
    config = json.loads((tmp_path / "run.zarr/zarr.json").read_text())["attributes"]["config"]
    intact = checkpoints.load(folder, config, (2, 9), pytest.fail)
    assert intact.done.any() and intact.fragments
    rng = np.random.default_rng(0)
    noticed = 0
    for place in rng.integers(len(content), size=150):
        flip(path, place)
        said = []
        found = checkpoints.load(folder, config, (2, 9), said.append)
        noticed += bool(said)
        if not said:  # a byte without a meaning, such as a date: what is read is what was written
            np.testing.assert_array_equal(found.done, intact.done)
            for a, b in zip(found.fragments, intact.fragments, strict=True):
                assert a[:3] == b[:3] and np.array_equal(a.members, b.members)
                assert all(np.array_equal(x, y) for x, y in zip(a.leaves, b.leaves, strict=True))
        path.write_bytes(content)
    assert noticed > 75


def test_without_any_intact_checkpoint_a_run_starts_again(tmp_path, expected):
    start_and_crash(tmp_path, 0.7)
    shutil.rmtree(tmp_path / "checkpoints")
    same(dj.resume(tmp_path, MODEL, tile=4).dataset, expected)


def test_an_older_checkpoint_does_not_speak_for_networks_that_start_again(tmp_path, expected):
    start_and_crash(tmp_path, 0.7)
    DAMAGE["flipped"](next(p for p in (tmp_path / "run.zarr/train_loss/c").rglob("*") if p.is_file()))

    def die(done, total):
        if done > 0.75 * total:
            raise Crash

    with pytest.raises(Crash), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dj.resume(tmp_path, MODEL, tile=4, progress=die, save_every=1e-9)
    checkpoints.of_process(tmp_path / "checkpoints", 0)[-1].unlink()
    same(dj.resume(tmp_path, MODEL, tile=4).dataset, expected)


@pytest.mark.parametrize("file", ["zarr.json", pytest.param("eigenvalues/zarr.json", marks=SLOW), "seed/c/0"])
def test_damaged_metadata_are_refused_by_read_and_written_anew_by_train(file, tmp_path, expected):
    start_and_crash(tmp_path, 0.7)
    (tmp_path / "run.zarr" / file).write_bytes(b"{")
    with pytest.warns(UserWarning, match="metadata of .* are damaged"):
        run = dj.train(MODEL, GRID, out=tmp_path, resume=True, **RUN)
    same(run.dataset, expected)
    same(dj.read(tmp_path).load(), expected)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"key": 1}, "was made with seed = 0, not 1"),
        pytest.param({"steps": 80}, "was made with records = ", marks=SLOW),
        pytest.param({"optimizer": "sgd"}, 'optimizer = "momentum", not "sgd"', marks=SLOW),
    ],
)
def test_another_configuration_is_refused_by_its_name(change, sentence, tmp_path):
    start_and_crash(tmp_path, 0.3)
    with pytest.raises(dj.InputError, match=sentence):
        dj.train(MODEL, GRID, out=tmp_path, resume=True, **RUN | change)
    with pytest.raises(dj.InputError, match=r"model\.size = 2, not 3"):
        dj.resume(tmp_path, tiny(3))
    with pytest.raises(dj.InputError, match="holds a run already"):
        dj.train(MODEL, GRID, out=tmp_path, **RUN)


def test_another_format_is_refused(tmp_path, monkeypatch):
    start_and_crash(tmp_path, 0.3)
    monkeypatch.setattr(checkpoints, "FORMAT", 2)
    with pytest.raises(dj.InputError, match="has format 1, this version reads 2"):
        dj.resume(tmp_path, MODEL)


def test_a_state_that_cannot_be_stored_is_refused_at_the_start(tmp_path):
    model = tiny()
    keyed = dataclasses.replace(
        model,
        init=lambda key, world, point: model.init(key, world, point)._replace(memory=key),
        update=lambda params, memory, *rest: model.update(params, 0.0, *rest)._replace(memory=memory),
    )
    with pytest.raises(dj.InputError, match="typed random key"):
        dj.train(keyed, dj.Grid(lr=0.1, batch_size=3), 2, 1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(dj.InputError, match="holds no run"):
        dj.resume(tmp_path, MODEL)


def test_results_of_finished_blocks_leave_memory(tmp_path):
    from dysonjax.ensemble import results

    largest = []

    class Watched(results.Results):
        def flush(self, complete):
            super().flush(complete)
            largest.append(len(self.blocks))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "Results", Watched)
        dj.train(MODEL, GRID, out=tmp_path, save_every=1e-9, **RUN)
    assert max(largest) <= 2 < 2 * GRID.seeds and largest[-1] == 0


def test_the_library_saves_within_a_long_segment(tmp_path, monkeypatch):
    # The default cadence, on a run without records: one checkpoint per `save_every`.
    monkeypatch.setattr(session, "SAVE_AT_RECORDS_SECONDS", 5.0)
    times = []
    monkeypatch.setattr(session.checkpoints, "save", lambda *a: times.append(time.monotonic()))
    dj.train(MODEL, GRID, 8000, 1, out=tmp_path, save_every=0.2, tile=4)
    gaps = np.diff(times[:-1])
    assert len(gaps) > 2 and gaps.min() >= 0.2


def test_what_killed_processes_left_is_cleaned_when_it_is_old(tmp_path, expected):
    start_and_crash(tmp_path, 0.5)
    names = [f".store-{32 * 'a'}/x", f".lock-{32 * 'a'}", f"checkpoints/.{32 * 'a'}.part"]
    names += [f"run.zarr/alive/c/0.{32 * 'a'}.partial", f"checksums/.{32 * 'a'}.part"]
    others = [f".lock-{32 * 'b'}", "notes.part", f"checkpoints/.{32 * 'b'}.part"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in [*names, f".store-{32 * 'a'}", "notes.part"]:
        os.utime(tmp_path / name, (1e9, 1e9))
    same(dj.resume(tmp_path, MODEL, tile=4).dataset, expected)
    assert not any((tmp_path / name).exists() for name in names)
    assert all((tmp_path / name).exists() for name in others)


def test_a_program_that_changes_its_folder_during_a_run_loses_nothing(tmp_path, expected, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    run = dj.train(MODEL, GRID, out="run", progress=lambda *_: os.chdir(tmp_path / "elsewhere"), **RUN)
    same(run.dataset, expected)
    same(dj.read(tmp_path / "run").load(), expected)
    assert not list((tmp_path / "elsewhere").iterdir())
