"""Shards that know nothing of each other, joined into the run that they are parts of."""

import json
import shutil

import numpy as np
import pytest
from linear_run import RUN

import dysonjax as dj
from dysonjax.cli import main

pytestmark = pytest.mark.usefixtures("sketches")


def test_merged_shards_are_the_whole_run(shards, finished, tmp_path, capsys):
    merged = tmp_path / "merged"
    arguments = ["merge", str(shards / "2"), str(shards / "1"), "--out", str(merged), "--json", "--quiet"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    wanted = json.loads((finished / "summary.json").read_text())
    for key in ("levels_mean", "spacing_mean", "diverged", "members", "steps"):
        np.testing.assert_allclose(found[key], wanted[key], rtol=1e-10)
    one, other = dj.read(finished).load(), dj.read(merged).load()
    assert one.attrs["config"] == other.attrs["config"]
    for name in one.variables:
        np.testing.assert_allclose(other[name], one[name], rtol=1e-12)
    assert (merged / "linear.png").exists() and main(["resume", str(merged), "--quiet"]) == 0


def changed(shards, tmp_path, change):
    copy = tmp_path / "2"
    shutil.copytree(shards / "2", copy)
    change(copy)
    return copy


def option(name, value):
    def change(folder):
        recorded = json.loads((folder / "run.json").read_text())
        recorded["options"]["training"][name] = value
        (folder / "run.json").write_text(json.dumps(recorded))

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: shutil.rmtree(folder), "holds no run"),
        (option("shard", None), "is not a shard"),
        (option("shard", "1/2"), "are both shard 1/2"),
        (option("shard", "2/3"), "are shards of different runs"),
        (option("steps", 300), "are shards of different runs"),
        (lambda folder: shutil.rmtree(folder / "run.zarr/eigenvalues/c"), "damaged"),
    ],
)
def test_what_cannot_be_merged_is_refused(change, sentence, shards, tmp_path, capsys):
    other, out = changed(shards, tmp_path, change), tmp_path / "merged"
    assert main(["merge", str(shards / "1"), str(other), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and not out.exists()


def test_a_missing_shard_is_named(shards, tmp_path, capsys):
    assert main(["merge", str(shards / "2"), "--out", str(tmp_path / "merged")]) == 2
    assert "of 2 shards these are missing: 1" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/9", "-1/2"])
def test_shards_out_of_range_are_refused(text, tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*RUN, "--shard", text, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert ("shard must be I/N" in error or "cannot be cut into 9 shards" in error) and not out.exists()
