"""`dysonjax spikes` on matrices of 24×8."""

import json

import numpy as np
import pytest
import xarray as xr

from dysonjax.cli import main

SMALL = [
    "spikes", "--rows", "32", "--columns", "12", "--lr", "0.01,0.1,0.4,1.6", "--sigma-w", "0.25,1",
    "--batch-size", "4", "--seeds", "3", "--steps", "20", "--records", "5", "--quiet",
]  # fmt: skip


def test_spikes_writes_figure_data_and_summary(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*SMALL, "--s", "1,2", "--profile", "1,0.5", "--out", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary == json.loads((out / "summary.json").read_text())
    assert {"members", "net_steps_per_second", "border", "deviation", "emergence"} <= summary.keys()
    assert len(summary["points"]) == 2 * 4 * 2 * 2
    assert summary["border"]["columns"] == 4
    assert {"spike", "lr", "s", "position", "position_theory", "overlap_right"} <= summary["points"][0].keys()
    assert all((out / f"spikes.{kind}").stat().st_size for kind in ("png", "pdf"))
    dataset = xr.open_zarr(out / "run.zarr")
    assert dataset.overlap_target_right.dims[-1] == "mode" and dataset.sizes["s"] == 2
    assert np.isclose(dataset.target_eigenvalues.max(), 4)
    assert main(["resume", str(out), "--quiet"]) == 0
    assert main(["report", str(out), "--quiet"]) == 0
    assert main(["info", str(out), "--quiet"]) == 0


@pytest.mark.slow
def test_networks_without_a_theory_are_drawn_too(tmp_path, sketched):
    out = tmp_path / "run"
    options = [
        "--noise",
        "data",
        "--activation",
        "relu",
        "--blocks",
        "1,0.1",
        "--lr",
        "0.1",
        "--sigma-w",
        "1",
    ]
    assert main([*SMALL, *options, "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["border"] is None and summary["points"][0]["position_theory"] is None


@pytest.mark.slow
@pytest.mark.parametrize("shape", [("2", "3"), ("12", "32"), ("3", "2")])
def test_wide_and_tiny_matrices_without_overlaps_are_drawn(shape, tmp_path, sketched):
    options = ["--rows", shape[0], "--columns", shape[1], "--keep", "none", "--seeds", "2"]
    assert main([*SMALL, *options, "--out", str(tmp_path / "run")]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert "overlap_right" not in summary["points"][0] and summary["border"]["columns"] == 2


@pytest.mark.slow
def test_a_dry_run_says_what_it_would_take(tmp_path, capsys):
    assert main([*SMALL[:-1], "--dry-run", "--out", str(tmp_path / "run")]) == 0
    assert "24 networks x 20 steps" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options, words",
    [
        (["--profile", ",".join(["1"] * 13)], "rank"),
        (["--s", "0"], "s must be positive"),
        (["--noise", "none"], "noise must be one of"),
        (["--keep", "vectors"], "keep must be one of"),
    ],
)
def test_wrong_options_are_answered_with_a_sentence(options, words, tmp_path, capsys):
    assert main([*SMALL, *options, "--out", str(tmp_path / "run")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_overlaps_asked_of_a_model_without_target(tmp_path, capsys):
    options = ["--layers", "1", "--context", "8", "--seeds", "1", "--steps", "2", "--records", "2"]
    out = str(tmp_path / "run")
    assert main(["nanogpt", *options, "--keep", "overlaps", "--out", out, "--quiet"]) == 2
    assert "names no target" in capsys.readouterr().err
