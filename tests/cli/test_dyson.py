import json

import numpy as np
import pytest

from dysonjax.cli import main

COMMON = {"command", "out", "members", "steps", "seconds", "compile_seconds", "device", "version"}
KEYS = COMMON | {
    "levels_mean",
    "levels_std",
    "spacing_mean",
    "stationary_levels_mean",
    "wasserstein",
    "p_value",
    "level_steps_per_second",
}


def test_quadratic_run_reaches_its_stationary_law(tmp_path, capsys):
    arguments = "dyson --levels 3 --members 400 --time 6 --steps 60 --samples 2000 --json --quiet --out"
    assert main([*arguments.split(), str(tmp_path / "run")]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary.keys() >= KEYS
    assert summary["wasserstein"] < 2 * summary["wasserstein_by_chance"] and summary["p_value"] > 0.01
    assert np.allclose(summary["levels_mean"], summary["stationary_levels_mean"], atol=0.2)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "dyson.pdf", "dyson.png", "levels.npz", "run.json", "summary.json"
    }  # fmt: skip


def test_unfinished_run_is_told_from_its_stationary_law(tmp_path, capsys):
    arguments = "dyson --levels 3 --members 400 --time 0.05 --steps 20 --samples 2000 --json --quiet --out"
    assert main([*arguments.split(), str(tmp_path / "run")]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["wasserstein"] > 0.2 and summary["p_value"] < 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--potential free", "not confining"),
        ("--method matrix --g2 1,2 --levels 2", "use method='implicit'"),
        ("--start 1,0 --levels 2", "crossed"),
        ("--g2 0", "g2 must be positive"),
        ("--g2 theory", "rbm potential only"),
        ("--beta 0.5", "beta must be at least 1"),
        ("--time 0", "time must be positive"),
        ("--steps 0", "steps must be"),
        ("--omega a", "omega must be"),
        ("--omega 1,2", "one number or 10"),
    ],
)
def test_bad_options_end_in_one_sentence(options, message, tmp_path, capsys):
    assert main(["dyson", *options.split(), "--members", "20", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.count("\n") == 1
