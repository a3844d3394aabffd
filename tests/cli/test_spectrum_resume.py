"""A killed analysis of spectra goes on at the layer where it was, and its table is also a CSV."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dysonjax.cli import main
from dysonjax.layers import walk as walking

OPTIONS = ("--no-figures", "--resamples", "20", "--nulls", "2")


@pytest.fixture
def network(tmp_path):
    rng = np.random.default_rng(0)
    layers = {f"{i}.weight": rng.normal(size=(40, 24)) for i in range(5)}
    layers["2.weight"] = np.full((40, 24), np.nan)  # a layer that cannot be analysed is remembered as well
    layers["4.weight"][0, 0] = 40.0
    np.savez(tmp_path / "net.npz", **layers)
    return tmp_path / "net.npz"


def results(folder):
    """Everything that a run leaves, but for its times and its own name."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    summary = json.loads(found.pop("summary.json"))
    found.pop("run.json")
    return {key: value for key, value in summary.items() if key not in ("seconds", "out")}, found


def stopped_at(monkeypatch, number, error):
    """The analysis of the layer with this number ends in an error; returns the layers that were begun."""
    begun, whole = [], walking._one

    def one(unit, *arguments):
        begun.append(unit.name)
        if len(begun) == number:
            raise error
        return whole(unit, *arguments)

    monkeypatch.setattr(walking, "_one", one)
    return begun


def test_finished_layers_are_kept_and_the_end_is_the_same(network, tmp_path, monkeypatch, capsys):
    assert main(["spectrum", str(network), "--out", str(tmp_path / "whole"), "--csv", *OPTIONS]) == 0
    out = tmp_path / "stopped"
    words = ["spectrum", str(network), "--out", str(out), "--csv", *OPTIONS]
    with monkeypatch.context() as patch:
        stopped_at(patch, 4, KeyboardInterrupt())
        assert main(words) == 130
    assert f"dysonjax resume {out}" in capsys.readouterr().err
    assert sorted(p.name for p in (out / "layers").iterdir()) == [f"{i:06d}.json" for i in range(3)]
    assert main(words) == 2 and "--overwrite" in capsys.readouterr().err
    begun = stopped_at(monkeypatch, 0, None)
    assert main(["resume", str(out)]) == 0
    assert begun == ["3.weight", "4.weight"] and "3 of 5 layers are finished" in capsys.readouterr().out
    assert results(out) == results(tmp_path / "whole")
    assert main(["resume", str(out)]) == 0 and "is finished" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["file", "options", "damage"])
def test_layers_of_another_analysis_are_not_taken(change, network, tmp_path, monkeypatch):
    out = tmp_path / "out"
    words = ["spectrum", str(network), "--out", str(out), *OPTIONS]
    with monkeypatch.context() as patch:
        stopped_at(patch, 3, KeyboardInterrupt())
        assert main(words) == 130
    if change == "file":
        os.utime(network, (1, 1))
    elif change == "options":
        words += ["--seed", "7"]
    else:
        (out / "layers" / "000000.json").write_text('{"key": "')
    begun = stopped_at(monkeypatch, 0, None)
    assert main([*words, "--resume"]) == 0
    assert len(begun) == {"file": 5, "options": 5, "damage": 4}[change]
    assert not (out / "layers").exists()


def test_going_on_needs_a_folder_of_this_command(network, tmp_path, capsys):
    assert main(["spectrum", str(network), "--resume"]) == 2
    assert "--resume needs --out" in capsys.readouterr().err
    assert main(["spectrum", str(network), "--resume", "--out", str(tmp_path / "none")]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_the_csv_holds_what_the_json_holds(network, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["spectrum", str(network), "--out", str(out), "--csv", "--json", *OPTIONS]) == 0
    rows = json.loads(capsys.readouterr().out)["matrices"]
    with (out / "spectrum.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows) == 4
    for line, row in zip(table, rows, strict=True):
        assert list(line) == list(row)
        for key, value in row.items():
            kind = type(value)
            read = {"True": True, "False": False}[line[key]] if kind is bool else line[key]
            # Digits and all: text, numbers and empty cells are those of the JSON.
            assert (None if value is None else kind(read)) == value and (value is not None or read == ""), key


@pytest.mark.slow  # processes of their own
def test_a_run_killed_at_random_ends_the_same_with_several_processes(tmp_path):
    rng = np.random.default_rng(1)
    layers = {f"{i}.weight": rng.normal(size=(200, 150)).astype(np.float32) for i in range(24)}
    np.savez(tmp_path / "net.npz", **layers)
    words = [sys.executable, "-m", "dysonjax.cli", "spectrum", str(tmp_path / "net.npz"), *OPTIONS, "--out"]
    subprocess.run([*words, str(tmp_path / "whole")], check=True, capture_output=True)
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [*words, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    while len(list(out.glob("layers/*.json"))) < 5 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    subprocess.run([*words, str(out), "--resume", "--jobs", "2"], check=True, capture_output=True)
    assert results(out) == results(tmp_path / "whole")
