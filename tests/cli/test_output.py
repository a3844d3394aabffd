"""Nothing that this program did not write is ever deleted, and no command deletes what it reads."""

import json
import os
import shutil
import threading

import numpy as np
import pytest
from linear_run import RUN

from dysonjax.checks import InputError
from dysonjax.cli import main, output, run_folder
from dysonjax.cli.common import output_folder

pytestmark = pytest.mark.usefixtures("sketches")

DYSON = "dyson --levels 2 --members 8 --steps 4 --samples 8 --time 0.1 --quiet".split()


def content(folder) -> dict:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def dyson(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dyson") / "run"
    assert main([*DYSON, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(dyson, tmp_path):
    """A folder that `dyson` wrote."""
    return shutil.copytree(dyson, tmp_path / "project" / "run")


def refused(words, capsys, *patterns):
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dysonjax: ") and error.count("\n") == 1
    assert all(pattern in error for pattern in patterns), error


def test_what_a_command_wrote_is_listed_and_replaced(run):
    listed = json.loads((run / "run.json").read_text())["files"]
    assert listed == ["dyson.pdf", "dyson.png", "levels.npz"]
    (run / "dyson.png").write_text("old")
    assert main([*DYSON, "--out", str(run), "--overwrite"]) == 0
    assert (run / "dyson.png").read_bytes() != b"old" and not (run / output.LOCK).exists()


@pytest.mark.parametrize("name", ["thesis.tex", "own.png", "sub/x", "run.zarr/notes", "checkpoints/a.npz"])
def test_a_file_that_was_added_stops_everything(name, run, capsys):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text("years of work")
    before = content(run)
    refused([*DYSON, "--out", run, "--overwrite"], capsys, name, "did not write")
    assert content(run) == before


def test_an_empty_folder_that_was_added_stays(run, capsys):
    (run / "data").mkdir()
    refused([*DYSON, "--out", run, "--overwrite"], capsys, "data/")
    assert (run / "data").is_dir()


@pytest.mark.parametrize(
    "name, text",
    [
        ("summary.json", "{}"),
        ("summary.json", '{"command": "dyson"}'),
        ("run.json", "{}"),
        ("run.json", "[]"),
        ("run.json", '{"format": 1, "command": "train", "options": {}, "version": "1"}'),
        ("run.zarr/zarr.json", "{}"),
    ],
)
def test_a_file_of_that_name_does_not_make_a_folder_ours(name, text, tmp_path, capsys):
    project = tmp_path / "project"
    for path in (name, "src/main.py", "thesis.tex"):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    before = content(project)
    for command in (DYSON, [*RUN, "--quiet"], ["advise", "linear", "--quiet"], ["compare", "rbm", "--quick"]):
        refused([*command, "--out", project, "--overwrite"], capsys, "did not write")
        refused([*command, "--out", project], capsys, "exists already")
    assert content(project) == before


@pytest.mark.parametrize("out", [".", "..", "../run", "../.."])
def test_the_working_folder_and_those_above_it_stay(out, run, monkeypatch, capsys):
    monkeypatch.chdir(run)
    before = content(run.parent)
    refused([*DYSON, "--out", out, "--overwrite"], capsys, "working folder")
    assert content(run.parent) == before


def test_an_input_inside_the_output_folder_stays(run, capsys):
    np.save(run / "data.npy", np.random.default_rng(0).standard_normal((50, 10)))
    (run / "text.txt").write_text("to be or not to be " * 40)
    before = content(run)
    inputs = [
        ["spectrum", run / "data.npy", "--quick"],
        ["spectrum", run / "levels.npz", "--quick"],
        ["rbm", "--data", run / "data.npy"],
        ["nanogpt", "--text", run / "text.txt"],
        ["compare", "linear", "--z", run / "data.npy"],
    ]
    for words in inputs:
        refused([*words, "--out", run, "--overwrite"], capsys)
        assert content(run) == before
    assert "is an input of this command" in refusal_of(
        run, ["spectrum", run / "levels.npz", "--quick"], capsys
    )


def refusal_of(run, words, capsys) -> str:
    main([*map(str, words), "--out", str(run), "--overwrite"])
    return capsys.readouterr().err


def test_a_link_in_a_run_folder_is_removed_and_not_followed(run, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_text("y")
    (run / "dyson.pdf").unlink()
    (run / "dyson.pdf").symlink_to(precious / "x")
    (run / "report.html").symlink_to(precious)
    assert main([*DYSON, "--out", str(run), "--overwrite"]) == 0
    assert (precious / "x").read_text() == "y" and not (run / "dyson.pdf").is_symlink()


def test_merge_onto_above_or_inside_a_shard(shards, tmp_path, capsys):
    shutil.copytree(shards, tmp_path / "all")
    shards = [tmp_path / "all" / str(i) for i in (1, 2)]
    before = content(tmp_path)
    for out in (shards[0], tmp_path / "all", shards[1] / "merged"):
        refused(["merge", *shards, "--out", out, "--overwrite", "--quiet"], capsys)
        assert content(tmp_path) == before
    assert main(["merge", *map(str, shards), "--out", str(tmp_path / "all" / "m"), "--quiet"]) == 0


def test_two_starts_at_once_do_not_mix(run, capsys):
    """The second one finds the first one's lock although no run has begun yet."""
    from dysonjax.ensemble.lock import Lock

    lock = Lock(run / output.LOCK)
    before = content(run)
    refused([*DYSON, "--out", run, "--overwrite"], capsys, f"in use by process {os.getpid()}")
    lock.release()
    del before[output.LOCK]
    assert content(run) == before


def test_free_names_are_taken_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(output_folder(None, "x", False))) for _ in range(8)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(set(found)) == 8


def test_a_killed_run_may_be_replaced(run):
    content = json.loads((run / "run.json").read_text())
    del content["files"]
    (run / "run.json").write_text(json.dumps(content))
    (run / "summary.json").unlink()
    (run / f".store-{32 * 'a'}").mkdir()
    (run / f".lock-{32 * 'a'}").touch()
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / f".{32 * 'a'}.part").touch()
    assert main([*DYSON, "--out", str(run), "--overwrite"]) == 0
    assert sorted(p.name for p in run.iterdir()) == sorted(
        ["dyson.pdf", "dyson.png", "levels.npz", "run.json", "summary.json"]
    )


def test_bad_input_leaves_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CC", "false")
    failing = (
        "linear --lr 0.1 --batch-size 4 --seeds 2 --steps 3 --records 2 --backend native --quiet".split()
    )
    monkeypatch.setenv("DYSONJAX_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    refused([*failing, "--out", out], capsys)
    assert not out.exists()
    with pytest.raises(InputError), output.watching(None):
        folder = output_folder(out, "dyson", False)
        run_folder.write(folder, main_command())
        raise InputError("too late")
    assert not out.exists()


def main_command():
    from dysonjax.cli.dyson import Dyson

    return Dyson()


def test_info_knows_a_folder_without_networks(dyson, capsys):
    assert main(["info", str(dyson), "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out.splitlines()[-1])
    assert found["of"] == "dyson" and found["finished"] and "levels.npz" in found["files"]
    assert "dysonjax dyson, finished" in captured.err


@pytest.mark.parametrize("summary", ["{}", '{"command": 5}', '{"command": null}'])
def test_info_names_a_summary_of_no_command(summary, run, capsys):
    (run / "summary.json").write_text(summary)
    refused(["info", run], capsys, "summary.json is damaged")


def test_a_damaged_run_json_is_named_with_what_to_do(run, capsys):
    (run / "run.json").write_text("{")
    before = content(run)
    refused(
        [*DYSON, "--out", run, "--overwrite"], capsys, "run.json is damaged", "remove the folder yourself"
    )
    assert content(run) == before
