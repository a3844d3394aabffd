"""What export and verify say to every folder that a command leaves: one table, of all commands."""

import json
import shutil

import numpy as np
import pytest
from linear_run import RUN

import dysonjax as dj
from dysonjax.cli import COMMANDS, main
from dysonjax.published import initialisation

pytestmark = pytest.mark.usefixtures("sketches")

TRAINED = "all that was recorded of"  # the verdict of verify on some members
SLOW = pytest.mark.slow
# command: what makes a small folder of it, and the words of the verdict
FOLDERS = {
    "linear": (" ".join(RUN), TRAINED),
    "phase-diagram": ("phase-diagram --lr 0.25,2 --sigma-w 0.5,8 --batch-size 2 --seeds 2 --steps 20 "
                      "--records 3 --batches 8 --tile 4", TRAINED),
    "rbm": ("rbm --lr 0.05,0.1 --batch-size 16 --seeds 2 --steps 20 --records 2", TRAINED),
    "spikes": ("spikes --rows 16 --columns 6 --lr 0.1,0.4 --sigma-w 1 --batch-size 4 --seeds 2 --steps 10 "
               "--records 3", TRAINED),
    "nanogpt": ("nanogpt --width 8 --heads 2 --layers 1 --context 8 --seeds 2 --steps 4 --records 0,4 "
                "--sample 30 --text {text}", TRAINED),
    "dyson": ("dyson --levels 3 --members 20 --time 0.2 --steps 20 --records 3 --samples 20",
              "arrays of levels.npz are the same"),
    "compare": ("compare linear --members 20 --steps 20 --permutations 9 --lr 0.1,0.2 --batch-size 8",
                "arrays of levels.npz are the same"),
    "advise": ("advise linear --lr 0.5:4 --sigma-w 0.1:1 --points 2 --steps 100 --seeds 2",
               "numbers of summary.json are the same"),
    "spectrum": ("spectrum {weights} --quick --no-figures --resamples 20 --csv",
                 "numbers of summary.json are the same"),
    "figure": ("figure mp-initialisation --quick", "all numbers behind 1 figure"),
    "merge": ("merge {one} {two}", "agree within"),  # its tiles were others
}  # fmt: skip
LONG = ("rbm", "nanogpt", "phase-diagram", "spikes", "advise", "merge")
# Commands that leave no folder of results: they read one, print, or write the file that they are told.
NONE = {"resume", "info", "report", "watch", "export", "verify", "bench", "doctor", "completion"}


def test_the_table_has_every_command():
    assert FOLDERS.keys() | NONE == set(COMMANDS) and not FOLDERS.keys() & NONE


@pytest.mark.parametrize("name", [pytest.param(n, marks=SLOW) if n in LONG else n for n in FOLDERS])
def test_every_folder_is_exported_and_verified(name, tmp_path, monkeypatch, capsys):
    words, verdict = FOLDERS[name]
    files = {key: tmp_path / key for key in ("text", "one", "two")} | {"weights": tmp_path / "w.npz"}
    files["text"].write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    np.savez(files["weights"], w=np.random.default_rng(0).normal(size=(24, 12)))
    monkeypatch.setitem(initialisation.SEEDS, "quick", 4)
    monkeypatch.setattr(initialisation, "ROWS", (128, 64))
    if name == "merge":
        for shard in ("one", "two"):
            index = 1 + (shard == "two")
            assert main([*RUN, "--shard", f"{index}/2", "--quiet", "--out", str(files[shard])]) == 0
    out, exported = tmp_path / "run", tmp_path / "run-export"
    assert main([*words.format(**files).split(), "--quiet", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["verify", str(out), "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bit_equal"] is (name != "merge") and verdict in found["verdict"]
    assert {"equal", "tolerance", "differences", "differing"} <= found.keys()

    assert main(["export", str(out), "--author", "Weyl, Hermann", "--quiet"]) == 0
    there = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert {"README.md", "CITATION.cff", ".zenodo.json", "ro-crate-metadata.json", "machine.json"} <= there
    tables = [path for path in there if path.endswith(".csv")]
    assert tables and all((exported / path).read_text().count("\n") >= 2 for path in tables)
    commands = (exported / "commands.sh").read_text()
    assert f"dysonjax {name if name != 'merge' else 'linear'}" in commands and "dysonjax verify ." in commands
    machine = json.loads((exported / "machine.json").read_text())
    assert "cores" in machine["export_hardware"] and len(machine["export_code_sha256"]) == 64
    # Who has the export alone can verify it, too.
    shutil.rmtree(out)
    assert main(["verify", str(exported), "--quiet"]) == 0


def changed_summary(folder, change):
    summary = json.loads((folder / "summary.json").read_text())
    change(summary)
    (folder / "summary.json").write_text(json.dumps(summary))


@pytest.fixture(scope="module")
def spectrum(tmp_path_factory):
    place = tmp_path_factory.mktemp("spectrum")
    np.savez(place / "w.npz", w=np.random.default_rng(0).normal(size=(24, 12)))
    assert (
        main([*f"spectrum {place}/w.npz --quick --no-figures --resamples 20 --out {place}/run".split()]) == 0
    )
    return place


@pytest.mark.parametrize(
    ("change", "here", "there"),
    [
        (lambda row: row.update(mp_sigma2=row["mp_sigma2"] * (1 + 1e-5)), 1, 0),
        (lambda row: row.update(mp_sigma2=row["mp_sigma2"] * 1.01), 1, 1),
        (lambda row: row.update(verdict="heavy tail"), 1, 1),
    ],
)
def test_a_changed_number_of_a_summary_is_noticed(change, here, there, spectrum, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(spectrum / "run", copy)
    changed_summary(copy, lambda summary: change(summary["matrices"][0]))
    assert main(["verify", str(copy)]) == here
    assert "NOT verified: matrices." in capsys.readouterr().out
    changed_summary(copy, lambda summary: summary.update(version="0.0.1"))
    assert main(["verify", str(copy)]) == there
    assert "dysonjax 0.0.1 then" in capsys.readouterr().out


def test_what_cannot_be_repeated_is_one_sentence(spectrum, tmp_path, capsys):
    for case in ("away", "unfinished"):
        shutil.copytree(spectrum / "run", tmp_path / case)
    (tmp_path / "unfinished" / "summary.json").unlink()
    marker = json.loads((tmp_path / "away" / "run.json").read_text())
    marker["options"]["file"] = str(tmp_path / "nowhere.npz")
    (tmp_path / "away" / "run.json").write_text(json.dumps(marker))
    for case, sentence in (("away", "nowhere.npz"), ("unfinished", "has no summary.json that can be read")):
        assert main(["verify", str(tmp_path / case)]) == 2
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1


def test_a_file_is_no_folder(tmp_path, capsys):
    (tmp_path / "bench.json").write_text("{}")
    for name in ("verify", "export"):
        assert main([name, str(tmp_path / "bench.json")]) == 2
        assert "it is not a folder" in capsys.readouterr().err


def test_a_run_of_python_is_exported_and_verified_by_its_configuration(tmp_path):
    model = dj.models.teacher_student([3, 8, 4, 1], batches=4)
    dj.train(model, dj.Grid(lr=0.1, batch_size=4, seeds=2), 10, 2, out=tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "--quiet"]) == 0
    commands = (tmp_path / "run-export" / "commands.sh").read_text()
    assert "made in Python" in commands and "dysonjax verify ." in commands
    assert main(["verify", str(tmp_path / "run-export"), "--quiet"]) == 0
