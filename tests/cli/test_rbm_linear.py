import json

import numpy as np
import pytest
import xarray as xr
from linear_run import RUN

from dysonjax.cli import main
from dysonjax.cli.arrays import read_array

KEYS = {
    "command", "out", "members", "steps", "seconds", "compile_seconds", "net_steps_per_second", "diverged",
    "device", "version", "levels_mean", "levels_sem", "targets", "spacing_mean", "spacing_sem",
    "spacing_theory", "scaling_exponent",
}  # fmt: skip


def last_json(capsys):
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_rbm_writes_summary_store_and_figure(tmp_path, capsys):
    out = tmp_path / "run"
    # The shapes of the notebook's quick run, whose compiled programs are found again.
    args = "rbm --sampler collapsed --lr 0.1 --batch-size 16 --seeds 40 --steps 300 --records 5 --json"
    assert main([*args.split(), "--out", str(out)]) == 0
    summary = last_json(capsys)
    assert summary.keys() >= KEYS
    assert json.loads((out / "summary.json").read_text()) == summary
    assert np.shape(summary["levels_mean"]) == (1, 10) and np.shape(summary["spacing_mean"]) == (1, 9)
    theory = summary["spacing_theory"][0]
    assert [i for i, value in enumerate(theory) if value is not None] == summary["pairs"] == [1, 3, 5, 7]
    assert theory[7] == pytest.approx(np.sqrt(2 * np.pi * 0.1 / 16 * summary["targets"][7]), rel=1e-5)
    assert (out / "rbm.png").stat().st_size > 10_000
    assert xr.open_zarr(out / "run.zarr")["eigenvalues"].shape == (1, 1, 1, 40, 5, 10)


def test_linear_reports_the_scaling_exponent(tmp_path, capsys, sketched):
    args = "linear --lr 0.02:0.16:x2 --batch-size 8,32 --seeds 200 --steps 400 --records 3 --json"
    assert main([*args.split(), "--out", str(tmp_path / "run")]) == 0
    summary = last_json(capsys)
    assert abs(summary["scaling_exponent"] - 0.5) < 4 * summary["scaling_exponent_error"]
    assert summary["scaling_exponent_error"] < 0.02
    ratio = np.array(summary["spacing_mean"]) / np.array(summary["spacing_theory"])
    assert np.abs(ratio - 1).max() < 0.15
    sigma, density = (np.array(summary[f"sigma_from_{name}"]) for name in ("spacing", "density"))
    np.testing.assert_allclose(sigma / density, 1, atol=0.12)
    assert np.abs(np.array(summary["binder"]) + 4 / 27).max() < 0.12


@pytest.mark.slow
def test_linear_takes_epsilon_and_z_as_axes(tmp_path, capsys, sketched):
    """⟨S⟩ ∝ ε at every ratio of Z's singular values, with one exponent in α/|B| for all of them."""
    args = "linear --lr 0.1,0.4 --batch-size 32 --epsilon 0.1,0.2 --z-ratio 0.7,1 --seeds 400 --steps 300"
    assert main([*args.split(), "--records", "2", "--json", "--out", str(tmp_path / "run")]) == 0
    summary = last_json(capsys)
    assert summary["points"][1] == pytest.approx(
        {"batch_size": 32, "lr": 0.1, "sigma_w": 0.02**0.5, "epsilon": 0.1, "z_ratio": 1.0}
    )
    ratio = np.array(summary["spacing_mean"]) / np.array(summary["spacing_theory"])
    error = np.array(summary["spacing_sem"]) / np.array(summary["spacing_theory"])
    assert np.abs((ratio - 1) / error).max() < 4 and error.max() < 0.04
    assert abs(summary["scaling_exponent"] - 0.5) < 0.1
    dims = xr.open_zarr(tmp_path / "run" / "run.zarr")["eigenvalues"].dims
    assert dims[3:5] == ("epsilon", "z_ratio")


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*RUN, "--dry-run", "--json", "--out", str(out)]) == 0
    assert last_json(capsys)["members"] == 12 and not out.exists()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("rbm --mu 2.5", "must lie below mu² = 6.25"),
        ("rbm --k 0", "k must be a positive integer"),
        ("rbm --kappa 4,-1", "kappa must be positive"),
        ("rbm --covariance {bad}", "covariance must be finite"),
        ("rbm --data {wide} --visible 2", "data must have shape (samples, visible) with visible = 2"),
        ("rbm --data {missing}", "cannot be read"),
        ("rbm --data run.txt", "must be a .npy, .npz or .csv file"),
        ("linear --z {singular}", "z must be invertible"),
        ("linear --teacher {wide}", "teacher must have shape (2, 2)"),
        ("linear --z diagonal", "z must be one of"),
        ("linear --epsilon 0.1,-1", "epsilon must be zero or positive"),
        ("linear --z-ratio 2", "z_ratio must lie above 0 and not above 1"),
        ("linear --seeds 0", "seeds must be a positive integer"),
        ("linear --momentum 0.5", "sgd has no momentum, got 0.5"),
        ("spikes --optimizer muon", "the theory of plain gradient steps; for muon train"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(args, sentence, tmp_path, capsys):
    np.save(tmp_path / "bad.npy", np.array([[1.0, np.nan], [np.nan, 1.0]]))
    np.savetxt(tmp_path / "wide.csv", np.eye(3), delimiter=",", header="a,b,c", comments="")
    np.savez(tmp_path / "singular.npz", z=np.ones((2, 2)))
    files = {
        "bad": tmp_path / "bad.npy",
        "wide": tmp_path / "wide.csv",
        "singular": tmp_path / "singular.npz",
        "missing": tmp_path / "missing.npy",
    }
    out = tmp_path / "run"
    assert main([*args.format(**files).split(), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not out.exists()


def test_arrays_are_read_from_every_kind_of_file(tmp_path):
    array = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array=array)
    np.savetxt(tmp_path / "a.csv", array, delimiter=",")
    for suffix in ("npy", "npz", "csv"):
        np.testing.assert_array_equal(read_array("data", tmp_path / f"a.{suffix}"), array)


def test_a_linear_ensemble_with_momentum_has_its_own_temperature(tmp_path, capsys, sketched):
    args = "linear --optimizer momentum --lr 0.004 --batch-size 4 --seeds 150 --steps 1000 --records 2 --json"
    assert main([*args.split(), "--out", str(tmp_path / "run")]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    measured, error, theory = (
        summary[key][0][0] for key in ("spacing_mean", "spacing_sem", "spacing_theory")
    )
    assert theory == pytest.approx(np.sqrt(np.pi * 0.004 / (1 - 0.9) / 4) * 0.1)
    assert abs(measured - theory) < 4 * error + 0.03 * theory
    assert abs(measured - np.sqrt(0.1) * theory) > 10 * error  # the twin: the α/|B| of plain steps
