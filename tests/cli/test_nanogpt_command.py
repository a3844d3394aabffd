"""`dysonjax nanogpt`: a small run with its files and JSON, its figure drawn again, and bad input."""

import json

import pytest
import xarray as xr

from dysonjax.cli import main

KEYS = {
    "command", "out", "members", "steps", "seconds", "compile_seconds", "net_steps_per_second", "diverged",
    "device", "version", "params", "val_loss", "mp_sigma2", "mp_sigma2_error", "mp_area", "mp_area_error",
    "tail_alpha", "tail_p", "sample", "text_sha256",
}  # fmt: skip
SIZE = "--width 8 --heads 2 --layers 1 --context 8 --matrices all"


def test_a_run_writes_spectra_summary_sample_and_figures(tmp_path, capsys):
    text, out = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    args = f"nanogpt {SIZE} --seeds 4 --steps 8 --records 0,4,8 --sample 30 --kind query --json"
    args += " --schedule cosine --warmup 2 --weight-decay 0.1"
    assert main([*args.split(), "--text", str(text), "--out", str(out)]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary.keys() >= KEYS and summary == json.loads((out / "summary.json").read_text())
    assert len(summary["mp_area"]) == 1 and len(summary["mp_area"][0]) == 1
    assert len(summary["mp_area"][0][0]) == len(summary["val_loss"][0]) == 3
    assert summary["val_loss"][0][-1] < summary["val_loss"][0][0]
    assert summary["params"] == 28 * 8 + 8 * 8 + 192 + 72 + 288 + 264 + 48 + 9 * 28  # layer by layer
    assert len(summary["sample"]) == 30 and (out / "sample.txt").read_text() == summary["sample"]
    data = xr.open_zarr(out / "run.zarr")
    config = json.loads(data.attrs["config"])
    assert config["optimizer"] == "adamw(schedule=cosine, warmup=2, weight_decay=0.1)"
    assert config["model"]["vocabulary"] == "\n" + "".join(sorted(set(text.read_text()) - {"\n"}))
    assert data["eigenvalues_layer1_head2_value"].shape == (1, 1, 1, 4, 3, 4)
    assert data["eigenvalues_layer1_up"].shape == (1, 1, 1, 4, 3, 8)
    assert (out / "nanogpt.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_density_of_a_run_is_drawn_again(tmp_path, sketched):
    text, out = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    args = f"nanogpt {SIZE} --seeds 4 --steps 8 --records 0,4,8 --sample 30 --kind query --quiet"
    args += " --schedule cosine --warmup 2 --weight-decay 0.1"
    assert main([*args.split(), "--text", str(text), "--out", str(out)]) == 0
    drawn = ["figure", "gpt-density", "--run", str(out), "--out", str(tmp_path / "figures"), "--quiet"]
    assert main(drawn) == 0
    caption = " ".join((tmp_path / "figures" / "gpt-density.txt").read_text().split())
    assert "text.txt" in caption and "4 seeds" in caption


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        (None, "", "cannot be read"),
        (b"", "", "is empty"),
        (b"\0\1\2", "", "binary"),
        (b"\xfd\xff text", "", "not UTF-8"),
        ("text".encode("utf-16"), "", "UTF-16; convert it"),
        (b"short text", "", "too few for windows"),
        (b"ab" * 500, "--context 500", "too few for windows"),
        (b"ab" * 500, "--heads 7", "multiple of heads"),
        (
            b"ab" * 500,
            "--optimizer rmsprop",
            "one of sgd, momentum, adam, adamw, muon, got",
        ),
        (b"ab" * 500, "--schedule linear", "one of constant, cosine"),
        (b"ab" * 500, "--weight-decay -1", "weight_decay must be zero or positive"),
        (b"ab" * 500, "--warmup 5000", "warmup must be shorter"),
        (b"ab" * 500, "--kind output", "one of key, query, value"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, content, options, sentence):
    if content is not None:
        (tmp_path / "t.txt").write_bytes(content)
    args = ["nanogpt", "--text", str(tmp_path / "t.txt"), "--out", str(tmp_path / "run"), *options.split()]
    assert main(args) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_other_runs_hold_no_attention_matrices(finished, tmp_path, capsys):
    args = ["figure", "gpt-mp-fit", "--run", str(finished), "--out", str(tmp_path / "figures")]
    assert main(args) == 2
    assert "holds no attention matrices" in capsys.readouterr().err
