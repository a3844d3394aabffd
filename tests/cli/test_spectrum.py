"""`dysonjax spectrum`: every file format, every kind of bad file."""

import csv
import json
import pickle

import numpy as np
import pytest

from dysonjax.cli import main


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {
        "layer.weight": rng.normal(size=(40, 20)).astype(np.float32),
        "conv.weight": rng.normal(size=(12, 3, 3, 3)),
        "layer.bias": np.zeros(40),
        "table": np.zeros((9, 9), int),
    }


def spectrum(path, out, *options):
    return main(["spectrum", str(path), "--out", str(out), "--no-figures", "--resamples", "50", *options])


def summary(out):
    return json.loads((out / "summary.json").read_text())


def test_npz_table_csv_and_json(tmp_path, tensors, capsys):
    np.savez(tmp_path / "net.npz", **tensors)
    out = tmp_path / "out"
    assert spectrum(tmp_path / "net.npz", out, "--csv", "--json") == 0
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert "layer.weight" in captured.err and "40x20" in captured.err
    assert printed == summary(out)
    assert [row["name"] for row in printed["matrices"]] == ["layer.weight", "conv.weight"]
    assert printed["complete"] and printed["not_matrices"] == 2
    assert printed["matrices"][1]["how"] == "out × (3·3·3)"
    with (out / "spectrum.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["mp_sigma2"]) == printed["matrices"][0]["mp_sigma2"]
    assert {path.name for path in out.iterdir()} == {
        "run.json",
        "summary.json",
        "spectrum.csv",
        "report.html",
    }


def test_npy_and_safetensors_agree(tmp_path, tensors):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    np.save(tmp_path / "layer.weight.npy", tensors["layer.weight"])
    save_file({"layer.weight": tensors["layer.weight"]}, tmp_path / "net.safetensors")
    assert spectrum(tmp_path / "layer.weight.npy", tmp_path / "a") == 0
    assert spectrum(tmp_path / "net.safetensors", tmp_path / "b") == 0
    assert summary(tmp_path / "a")["matrices"] == summary(tmp_path / "b")["matrices"]


def test_bfloat16_is_read(tmp_path, tensors):
    save_file = pytest.importorskip("safetensors.flax").save_file
    import jax.numpy as jnp

    save_file({"w": jnp.asarray(tensors["layer.weight"], jnp.bfloat16)}, tmp_path / "net.safetensors")
    assert spectrum(tmp_path / "net.safetensors", tmp_path / "out") == 0
    variance = summary(tmp_path / "out")["matrices"][0]["mp_sigma2"] / 40
    assert variance == pytest.approx(1, rel=0.15)


@pytest.mark.slow
def test_run_store_gives_one_ensemble_per_grid_point(tmp_path):
    import xarray as xr

    w = np.random.default_rng(1).normal(size=(1, 2, 1, 12, 24, 16)).astype(np.float32)
    w[0, 1, 0, 3] = np.nan
    dims = ("batch_size", "lr", "sigma_w", "seed", "row", "col")
    coords = {"batch_size": [4], "lr": [0.125, 1.0], "sigma_w": [0.5]}
    xr.Dataset({"weights": (dims, w)}, coords).to_zarr(tmp_path / "run" / "run.zarr", consolidated=False)
    assert spectrum(tmp_path / "run", tmp_path / "out") == 0
    rows = summary(tmp_path / "out")["matrices"]
    assert [row["name"] for row in rows] == [
        "weights [batch_size=4, lr=0.125, sigma_w=0.5]",
        "weights [batch_size=4, lr=1, sigma_w=0.5]",
    ]
    assert [row["members"] for row in rows] == [12, 11] and rows[0]["mp_area_error"] > 0


def test_non_finite_matrix_is_reported_and_skipped(tmp_path, tensors, capsys):
    tensors["bad.weight"] = np.full((9, 9), np.nan)
    np.savez(tmp_path / "net.npz", **tensors)
    assert spectrum(tmp_path / "net.npz", tmp_path / "out") == 0
    assert "bad.weight skipped: 81 of 81 entries are NaN or infinite" in capsys.readouterr().err
    result = summary(tmp_path / "out")
    assert not result["complete"] and result["skipped"][0]["name"] == "bad.weight"
    assert len(result["matrices"]) == 2


def test_pickled_member_is_skipped_and_never_run(tmp_path, tensors):
    np.savez(tmp_path / "net.npz", **tensors, evil=np.array([_Bomb()], dtype=object))
    assert spectrum(tmp_path / "net.npz", tmp_path / "out") == 0
    assert "never loaded" in summary(tmp_path / "out")["skipped"][0]["reason"]


class _Bomb:
    def __reduce__(self):
        return (_explode, ())


def _explode():
    raise AssertionError("unpickled")


def _write_bad(kind, folder, tensors):
    path = folder / {"npz": "x.npz", "npy": "x.npy", "st": "x.safetensors", "pt": "x.pt"}[kind.split("-")[0]]
    if kind == "npz-truncated":
        np.savez(path, **tensors)
        path.write_bytes(path.read_bytes()[:-400])
    elif kind == "npy-truncated":
        np.save(path, tensors["layer.weight"])
        path.write_bytes(path.read_bytes()[:-400])
    elif kind == "st-truncated":
        pytest.importorskip("safetensors.numpy").save_file({"w": tensors["layer.weight"]}, path)
        path.write_bytes(path.read_bytes()[:-400])
    elif kind.endswith("noise"):
        path.write_bytes(b"this is not an array file" * 9)
    elif kind.endswith("pickle"):
        path.write_bytes(pickle.dumps(_Bomb()))
    elif kind == "npy-object":
        np.save(path, np.array([_Bomb()], dtype=object), allow_pickle=True)
    elif kind.endswith("empty"):
        path.write_bytes(b"")
    elif kind == "npz-biases":
        np.savez(path, bias=np.zeros(9))
    elif kind == "npz-none":
        np.savez(path)
    elif kind == "npz-nan":
        np.savez(path, w=np.full((9, 9), np.nan))
    elif kind == "npy-strings":
        np.save(path, np.array([["a", "b"], ["c", "d"]]))
    return path


@pytest.mark.parametrize(
    "kind",
    ["npz-truncated", "npy-truncated", "st-truncated", "npz-noise", "npy-noise", "st-noise", "npz-pickle",
     "npy-pickle", "pt-pickle", "npy-object", "npz-empty", "npy-empty", "st-empty", "npz-biases", "npz-none",
     "npz-nan", "npy-strings"],
)  # fmt: skip
def test_bad_files_are_one_sentence_and_leave_nothing(kind, tmp_path, tensors, capsys):
    path = _write_bad(kind, tmp_path, tensors)
    assert spectrum(path, tmp_path / "out") == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("dysonjax: ") and "Traceback" not in "".join(error)
    assert not (tmp_path / "out").exists()


def test_missing_file_unknown_name_and_existing_output(tmp_path, tensors, capsys):
    assert spectrum(tmp_path / "none.npz", tmp_path / "out") == 2
    assert "does not exist" in capsys.readouterr().err
    assert spectrum(tmp_path, tmp_path / "out") == 2
    np.savez(tmp_path / "net.npz", **tensors)
    assert spectrum(tmp_path / "net.npz", tmp_path / "out", "--only", "mlp") == 2
    assert "'mlp'" in capsys.readouterr().err
    assert spectrum(tmp_path / "net.npz", tmp_path / "out", "--only", "conv") == 0
    assert spectrum(tmp_path / "net.npz", tmp_path / "out") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert spectrum(tmp_path / "net.npz", tmp_path / "out", "--overwrite", "--quiet") == 0
    assert len(summary(tmp_path / "out")["matrices"]) == 2


def test_figures_are_written_one_per_matrix(tmp_path, tensors):
    np.savez(tmp_path / "net.npz", **{"a/b c": tensors["layer.weight"]})
    assert main(["spectrum", str(tmp_path / "net.npz"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["001_a_b_c.pdf", "001_a_b_c.png", "report.html", "run.json", "summary.json"]


def test_every_tensor_is_accounted_for_and_a_single_row_is_no_gap(tmp_path, tensors, capsys):
    tensors |= {"row.weight": np.ones((1, 30)), "packed": np.ones((9, 9), np.uint8)}
    np.savez(tmp_path / "net.npz", **tensors)
    assert spectrum(tmp_path / "net.npz", tmp_path / "out") == 0
    result = summary(tmp_path / "out")
    accounts = {account["name"]: account for account in result["tensors"]}
    assert set(accounts) == set(tensors)
    assert accounts["row.weight"]["why"] == "a single row or column: it has a single level"
    assert "integers, perhaps quantised: dequantise first" in accounts["table"]["why"]
    assert [s["name"] for s in result["skipped"]] == ["packed"]  # a weight that could not be analysed
    assert "a bias (1)" in capsys.readouterr().out
    del tensors["packed"]
    np.savez(tmp_path / "net.npz", **tensors)
    assert spectrum(tmp_path / "net.npz", tmp_path / "complete") == 0
    assert summary(tmp_path / "complete")["complete"]


@pytest.fixture
def attention(tmp_path):
    """A file of a query of four heads and of a query, key and value in one."""
    w = np.random.default_rng(0).normal(size=(32, 4, 16)) / 32**0.5
    np.savez(tmp_path / "net.npz", **{"a/query/kernel": w, "a/qkv/kernel": w.reshape(32, 64)[:20, :60]})


@pytest.mark.slow
def test_without_options_names_lead(attention, tmp_path):
    assert spectrum(tmp_path / "net.npz", tmp_path / "a", "--quick") == 0
    rows = summary(tmp_path / "a")["matrices"]
    assert [row["shape"] for row in rows] == ["64x32", "20x20", "20x20", "20x20"]
    assert rows[0]["mp_sigma2"] == pytest.approx(2, rel=0.15)


def test_layout_and_split_lead(attention, tmp_path, capsys):
    options = ["--layout", "query/kernel=ieo", "--split", "qkv=no", "--quick"]
    assert spectrum(tmp_path / "net.npz", tmp_path / "b", *options) == 0
    heads, whole = summary(tmp_path / "b")["matrices"]
    assert (heads["shape"], heads["members"], whole["shape"]) == ("32x16", 4, "60x20")
    assert heads["mp_sigma2"] == pytest.approx(1, rel=0.15)
    assert spectrum(tmp_path / "net.npz", tmp_path / "c", "--layout", "nothing=io") == 2
    assert "'nothing'" in capsys.readouterr().err


def test_sorting_start_and_page(tmp_path, tensors, capsys):
    tensors["<b>odd</b>"] = 3 * np.random.default_rng(1).normal(size=(40, 20))
    tensors["equal"] = np.eye(20)
    np.savez(tmp_path / "net.npz", **tensors)
    np.savez(tmp_path / "start.npz", **{name: array * 0.9 for name, array in tensors.items()})
    options = ["--start", str(tmp_path / "start.npz"), "--sort", "mp_sigma2:desc", "--nulls", "2"]
    assert spectrum(tmp_path / "net.npz", tmp_path / "out", *options) == 0
    rows = summary(tmp_path / "out")["matrices"]
    assert [row["name"] for row in rows] == [
        "<b>odd</b>",
        "layer.weight",
        "conv.weight",
        "equal",
    ]  # unknown last
    assert rows[0]["start_change"] == pytest.approx(1 / 9) and rows[0]["verdict"] == "noise"
    assert rows[3]["verdict"] is None and rows[3]["tail_alpha"] is None
    assert "about" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<article") == 4 and "<b>odd" not in page and "&lt;b&gt;odd" in page
    assert "a bias" in page and 'src="http' not in page and "Every tensor of the file" in page
    assert spectrum(tmp_path / "net.npz", tmp_path / "c", "--sort", "beauty") == 2
    assert "sort must name a column" in capsys.readouterr().err
    assert spectrum(tmp_path / "net.npz", tmp_path / "d", "--sort", "name:up") == 2


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.ones((20, 10), int), "1 tensor left out, the first of them it: integers, perhaps quantised"),
        (np.ones(10), "1 tensor left out, the first of them it: a vector"),
    ],
)
def test_a_file_of_which_nothing_is_left_says_why(array, why, tmp_path, capsys):
    np.save(tmp_path / "it.npy", array)
    assert main(["spectrum", str(tmp_path / "it.npy"), "--out", str(tmp_path / "out")]) == 2
    assert why in capsys.readouterr().err


def test_the_table_leaves_out_columns_without_a_number_and_counts_the_verdicts(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "two.npz", a=rng.normal(size=(64, 32)), b=rng.normal(size=(64, 32)))
    quick = ["--quick", "--no-figures", "--resamples", "20", "--out", str(tmp_path / "out")]
    assert main(["spectrum", str(tmp_path / "two.npz"), *quick]) == 0
    out = capsys.readouterr().out
    assert "2 matrices of 1 shape, the largest" in out and "2 matrices, 2 × noise; " in out
    assert "r̃" not in out and "p(s)" not in out and "p(MP): their goodness of fit" in out
