"""Interrupting, looking at and resuming a run from the command line."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
from linear_run import RUN

import dysonjax as dj
from dysonjax.checks import InputError
from dysonjax.cli import level_report, main, run_folder
from dysonjax.cli.nanogpt import DEFAULTS, NanoGpt
from dysonjax.cli.output import LOCK
from dysonjax.cli.terminal import Terminal
from dysonjax.ensemble.lock import Lock


def stop_midway(monkeypatch, number):
    """Let the progress display send a signal once training has begun in earnest."""

    @contextlib.contextmanager
    def progress(self, label, unit="steps"):
        sent = []

        def update(done, total):
            if done > 0.2 * total and not sent:
                sent.append(os.kill(os.getpid(), number))

        yield update

    monkeypatch.setattr(Terminal, "progress", progress)


def last_json(capsys):
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_stopped_run_says_how_to_go_on_and_ends_as_if_nothing_had_been(
    number, code, tmp_path, finished, monkeypatch, capsys, sketched
):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_midway(patch, number)
        assert main([*RUN, "--out", str(out)]) == code
    assert f"go on with: dysonjax resume {out}" in capsys.readouterr().err.splitlines()[-1]
    assert main(["info", str(out), "--json"]) == 0
    info = last_json(capsys)
    assert 0 < info["progress"] < 1 and info["running"] is None and not info["finished"]
    assert info["alive"] == 12 and info["saved_seconds_ago"] < 100
    assert main(["info", str(out)]) == 0
    assert f"stopped; go on with: dysonjax resume {out}" in capsys.readouterr().out
    assert main(["resume", str(out), "--json", "--quiet"]) == 0
    found, wanted = last_json(capsys), json.loads((finished / "summary.json").read_text())
    for key in ("levels_mean", "spacing_mean", "spacing_sem", "diverged", "members", "steps", "targets"):
        assert found[key] == wanted[key], key
    assert dj.read(out).load().drop_attrs().identical(dj.read(finished).load().drop_attrs())
    assert (out / "linear.png").stat().st_size > 0


@pytest.mark.parametrize("killed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_run_that_ended_before_its_figure_gets_it(killed, tmp_path, finished, monkeypatch, capsys):
    """Its training is done and its summary written: those alone do not make it finished."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(level_report, "draw", lambda *_: signal.raise_signal(signal.SIGINT))
        if killed:  # nothing that a command does at its end is done
            patch.setattr(run_folder, "list_files", lambda *_: None)
            patch.setattr(Lock, "release", lambda self: self._stop.set())
        assert main([*RUN, "--out", str(out)]) == 130
    assert (out / "summary.json").exists() and not (out / "linear.png").exists()
    capsys.readouterr()
    for words in ("going on with", "is finished"):
        assert main(["resume", str(out)]) == 0
        assert words in capsys.readouterr().out
    assert (out / "linear.png").read_bytes() == (finished / "linear.png").read_bytes()
    assert not (out / ".command.lock").exists()


def test_two_commands_cannot_go_on_with_one_folder(finished, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "linear.png").unlink()
    run_folder.list_files(out, [], ended=False)
    lock = Lock(out / LOCK)
    assert main(["resume", str(out)]) == 2 and "in use" in capsys.readouterr().err
    lock.release()
    assert main(["resume", str(out)]) == 0 and (out / "linear.png").exists()


def test_resuming_a_finished_run_says_so(finished, capsys):
    assert main(["resume", str(finished), "--json"]) == 0
    captured = capsys.readouterr()
    assert "is finished" in captured.err
    assert json.loads(captured.out) == json.loads((finished / "summary.json").read_text())


def test_a_finished_run_that_lost_a_chunk_is_repaired(finished, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    chunk = next(p for p in (out / "run.zarr/eigenvalues/c").rglob("*") if p.is_file())
    chunk.unlink()
    assert main(["info", str(out)]) == 2
    assert f"dysonjax resume {out} computes what is lost again" in capsys.readouterr().err
    assert main(["resume", str(out), "--quiet"]) == 0
    np.testing.assert_array_equal(dj.read(out).eigenvalues, dj.read(finished).eigenvalues)


def test_info_knows_a_run_that_is_alive(tmp_path, monkeypatch, capsys):
    out, seen = tmp_path / "run", []

    @contextlib.contextmanager
    def progress(self, label, unit="steps"):
        def update(done, total):
            if done > 0.5 * total and not seen:
                seen.append(main(["info", str(out), "--json", "--quiet"]))
                seen.append(main(["resume", str(out)]))
                seen.append(main([*RUN, "--out", str(out), "--overwrite"]))

        yield update

    monkeypatch.setattr(Terminal, "progress", progress)
    monkeypatch.setattr("dysonjax.ensemble.session.STATUS_SECONDS", 0.0)
    assert main([*RUN, "--quiet", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert seen == [0, 2, 2] and f"in use by process {os.getpid()} on this host" in captured.err
    info = json.loads(captured.out.splitlines()[0])
    assert info["running"] == f"process {os.getpid()} on {os.uname().nodename}"
    assert info["net_steps_per_second"] > 0 and 0 < info["progress"] <= 1
    assert info["seconds_left"] is not None  # a dead run has none


@pytest.mark.parametrize(
    ("prepare", "options", "sentence"),
    [
        (lambda out: None, [], "holds no run"),
        (lambda out: out.mkdir(), [], "holds no run"),
        (lambda out: out.write_text(""), [], "holds no run"),
        (lambda out: (out.mkdir(), (out / "run.json").write_text("{")), [], "run.json is damaged"),
        (lambda out: None, ["--steps", "5"], "resume has no option --steps"),
    ],
)
def test_what_cannot_be_resumed_is_one_sentence(prepare, options, sentence, tmp_path, capsys):
    out = tmp_path / "run"
    prepare(out)
    assert main(["resume", str(out), *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def test_a_changed_run_json_is_refused(finished, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "summary.json").unlink()
    recorded = json.loads((out / "run.json").read_text())
    recorded["options"]["training"]["steps"] = 300
    (out / "run.json").write_text(json.dumps(recorded))
    assert main(["resume", str(out)]) == 2
    assert "was made with records = " in capsys.readouterr().err
    assert json.loads((out / "run.json").read_text()) == recorded


def test_options_that_have_moved_into_a_group_since_are_still_read(tmp_path):
    """The optimiser's were options of the nano-GPT alone."""
    command = NanoGpt(training=dataclasses.replace(DEFAULTS, optimizer="sgd", warmup=3))
    run_folder.write(tmp_path, command)
    recorded = json.loads((tmp_path / "run.json").read_text())
    options = recorded["options"]
    for name in ("optimizer", "weight_decay", "schedule", "warmup"):
        options[name] = options["training"].pop(name)
    del options["training"]["momentum"]
    (tmp_path / "run.json").write_text(json.dumps(recorded))
    assert run_folder.read(tmp_path).training == command.training
    options["optimiser"] = "sgd"
    (tmp_path / "run.json").write_text(json.dumps(recorded))
    with pytest.raises(InputError, match="whose options were others"):
        run_folder.read(tmp_path)
