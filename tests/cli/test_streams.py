"""Output of every encoding, to full devices and to readers that go away; interruptions at any moment."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dysonjax.cli import main

SLOW = pytest.mark.slow

DYSONJAX = [sys.executable, "-m", "dysonjax.cli"]
SHORT = "linear --lr 0.1 --batch-size 4 --seeds 4 --steps 3 --records 2".split()


def environment(tmp_path, **variables):
    known = {k: v for k, v in os.environ.items() if not k.startswith("DYSONJAX_")}
    return known | {"DYSONJAX_CACHE": str(tmp_path / "cache")} | variables


def start(words, **options):
    return subprocess.Popen(
        [*DYSONJAX, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.parametrize(
    ("encoding", "words"),
    [("ascii", "spectrum --help"), ("latin-1", "rbm --help"), ("cp437", "--help"), ("ascii", "dyson --λ")],
)
def test_every_encoding_survives(encoding, words, monkeypatch):
    """Help and messages hold Greek letters and frames."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    code = main(words.split())
    shown, said = (stream.buffer.getvalue() for stream in (sys.stdout, sys.stderr))
    assert code == (2 if "λ" in words else 0)
    assert shown or "λ" in words
    assert b"Traceback" not in said and b"Encode" not in said
    (shown + said).decode(encoding)


def test_a_process_of_another_encoding_survives(tmp_path):
    variables = environment(tmp_path, PYTHONIOENCODING="ascii")
    done = subprocess.run([*DYSONJAX, "dyson", "--λ"], capture_output=True, env=variables)
    assert done.returncode == 2 and b"Traceback" not in done.stderr and b"Encode" not in done.stderr
    assert "--?" in done.stderr.decode("ascii")


@pytest.mark.slow
def test_a_run_whose_log_is_ascii_ends_well(tmp_path, monkeypatch):
    np.save(tmp_path / "w.npy", np.random.default_rng(0).standard_normal((30, 10)))
    words = ["spectrum", str(tmp_path / "w.npy"), "--out", str(tmp_path / "out"), "--no-figures", "--json"]
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    code = main([*words, "--quick", "--resamples", "20"])
    shown, log = (stream.buffer.getvalue() for stream in (sys.stdout, sys.stderr))
    assert code == 0, log
    assert json.loads(shown.splitlines()[-1])["complete"] and b"?" in log


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["--help"], pytest.param(["dyson", "--help"], marks=SLOW)])
def test_a_full_device_is_one_sentence(words, tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*DYSONJAX, *words], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
        )
    assert done.returncode == 1
    assert re.fullmatch("dysonjax: .* output cannot be written: No space left on device\n", done.stderr)


@pytest.mark.parametrize(
    "words", [["--help"], pytest.param(["phase-diagram", "--help"], marks=SLOW), ["nothing"]]
)
def test_a_reader_that_goes_away_hears_nothing_more(words, tmp_path):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*DYSONJAX, *words], stdout=write, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
    )
    os.close(write)
    assert done.returncode == (2 if words == ["nothing"] else 141)
    assert done.stderr.count("\n") == (words == ["nothing"])


def test_a_run_whose_reader_goes_away_is_saved_and_says_how_to_go_on(tmp_path):
    read, write = os.pipe()
    os.close(read)
    out = tmp_path / "run 1"
    done = subprocess.run(
        [*DYSONJAX, *SHORT, "--out", str(out)],
        stdout=write, stderr=subprocess.PIPE, text=True, env=environment(tmp_path),
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 141 and f"dysonjax resume '{out}'" in done.stderr
    assert list((out / "checkpoints").glob("*.npz")) and not (out / "run.lock").exists()
    assert main(["resume", str(out), "--quiet"]) == 0 and (out / "summary.json").exists()


@pytest.mark.parametrize("after", [pytest.param(0.2, marks=SLOW), 0.6, pytest.param(1.2, marks=SLOW)])
def test_an_interruption_in_the_first_second_is_one_sentence(after, tmp_path):
    process = start([*SHORT, "--out", str(tmp_path / "run")], env=environment(tmp_path))
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    if process.returncode != -signal.SIGINT:  # else Python itself was still starting
        assert process.returncode == 130 and re.fullmatch("(dysonjax: .*|finishing .*)\n", error)
