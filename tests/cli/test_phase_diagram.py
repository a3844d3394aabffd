"""The command as a user meets it: files, JSON, bad input."""

import json
import re

import numpy as np
import pytest

import dysonjax as dj
from dysonjax.cli import main

# The shapes of the notebooks' quick runs, whose compiled programs are found again.
SMALL = ["--lr", "0.5,64", "--sigma-w", "0.5,64", "--seeds", "2", "--steps", "100", "--records", "3"]


def test_the_run_folder_holds_everything_and_the_last_line_is_json(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["phase-diagram", *SMALL, "--out", str(out), "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out.splitlines()[-1])
    assert len(captured.out.splitlines()) == 1 and "network-steps/s" in captured.err
    keys = "command out members steps seconds compile_seconds net_steps_per_second diverged device version"
    assert set(keys.split()) <= set(summary)
    assert summary["members"] == 8 and sum(summary["phases"].values()) == 4
    assert summary["boundary_noise"]["sigma_w"] == [0.5, 64.0]
    assert json.loads((out / "summary.json").read_text()) == summary
    for name in ("phase_diagram.png", "phase_diagram.pdf", "spectra.png", "spectra.pdf"):
        assert (out / name).stat().st_size > 5000
    assert dj.read(out).sizes["record"] == 3
    assert main(["info", str(out), "--json"]) == 0
    info = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert info["finished"] and info["recorded"] == 1.0 and info["config"]["steps"] == 100
    # A second run into the same folder is refused and changes nothing.
    assert main(["phase-diagram", *SMALL, "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert json.loads((out / "summary.json").read_text()) == summary


def test_several_batch_sizes_give_a_picture_each(phases):
    assert (phases / "phase_diagram_2.png").exists() and (phases / "phase_diagram_4.png").exists()


def test_dry_run_estimates_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["phase-diagram", *SMALL, "--out", str(out), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "8 networks x 100 steps: about" in text and "of results; " in text
    assert re.search(r"\d+ at a time on a device, [\d.]+ (bytes|kB) of memory each", text)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--lr", "0"], "lr must be positive and finite, got 0.0"),
        (["--lr", "nan"], "lr must be positive and finite"),
        (["--lr", "1:2"], "lr must be a number, a list"),
        (["--lr", ""], "lr must be a number, a list"),
        (["--sigma-w", "-1"], "sigma_w must be positive"),
        (["--batch-size", "2.5"], "batch_size must hold positive integers"),
        (["--batch-size", "inf"], "batch_size must be positive and finite"),
        (["--seeds", "0"], "seeds must be a positive integer, got 0"),
        (["--steps", "0"], "steps must be a positive integer, got 0"),
        (["--steps", "many"], "--steps must be of the form INT"),
        (["--records", "200"], "records must be at most the number of steps (100), got 200"),
        (["--records", "log:x"], "records must be a number, log:N or a list of steps"),
        (["--preset", "huge"], "preset must be one of quick, paper, got 'huge'"),
        (["--activation", "sine"], "activation must be one of tanh, relu, identity"),
        (["--devices", "abacus"], "devices must be one of cpu, gpu, tpu, got 'abacus'"),
        (["--widths", "3,1"], "widths needs at least one hidden layer"),
        (["--widths", "3,16,1"], "train='middle' needs two hidden layers or more"),
        (["--optimizer", "rmsprop"], "optimizer must be one of sgd, momentum, adam, adamw, muon"),
        (["--momentum", "0.5"], "sgd has no momentum, got 0.5; use the optimizer momentum"),
        (["--optimizer", "muon", "--momentum", "1"], "momentum must be at least 0 and below 1, got 1"),
        (["--threshold-loss", "0"], "threshold_loss must be positive"),
        (["--batches", "some"], "--batches must be an integer, got 'some'"),
        (["--nonsense", "1"], "phase-diagram has no option --nonsense"),
    ],
)
def test_bad_input_is_exit_code_two_and_one_sentence(options, sentence, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["phase-diagram", *SMALL, *options, "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and len(captured.err.strip().splitlines()) == 1
    assert "Traceback" not in captured.err and not out.exists()


def test_an_output_folder_that_cannot_be_written_is_bad_input(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["phase-diagram", *SMALL, "--out", str(tmp_path / "file" / "run")]) == 2
    assert "cannot be followed" in capsys.readouterr().err


def test_info_of_a_folder_without_a_run_is_bad_input(tmp_path, capsys):
    assert main(["info", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_log_spaced_records_start_at_zero_and_end_at_the_last_step():
    steps = dj.log_spaced(10, 10_000)
    assert steps[0] == 0 and steps[-1] == 10_000 and list(steps) == sorted(set(steps))
    ratios = np.diff(np.log(steps[1:]))
    assert ratios.max() < 2 * ratios.min()
