"""How a process joins a distributed run, as far as it can be told from one process."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import dysonjax as dj
from dysonjax.cli import main

RUN = "linear --lr 0.05,0.1 --batch-size 16 --seeds 6 --steps 200 --records 3".split()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--coordinator localhost:1", "coordinator is an option of --distributed"),
        ("--distributed --coordinator localhost:1", "coordinator, num_processes and process_id go together"),
        (
            "--distributed --coordinator here --num-processes 2 --process-id 0",
            "coordinator must be HOST:PORT",
        ),
        ("--distributed --coordinator h:1 --num-processes 2 --process-id 2", "process_id must be below"),
    ],
)
def test_options_of_distributed_runs_that_do_not_fit_are_refused(options, sentence, tmp_path, capsys):
    assert main([*RUN, *options.split(), "--out", str(tmp_path / "run")]) == 2
    assert sentence in capsys.readouterr().err


def test_a_job_that_is_not_recognised_is_told_what_to_give(tmp_path, monkeypatch, capsys):
    def initialize(**arguments):
        assert not arguments.keys() & {"coordinator_address", "num_processes", "process_id"}
        raise ValueError("coordinator_address should be defined.")  # what JAX says then

    before = jax.config.jax_enable_recoverability
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    try:
        assert main([*RUN, "--distributed", "--out", str(tmp_path / "run")]) == 2
    finally:
        jax.config.update("jax_enable_recoverability", before)
    assert "give --coordinator HOST:PORT --num-processes N --process-id I" in capsys.readouterr().err


@pytest.mark.slow
def test_a_coordinator_that_cannot_be_reached_is_one_sentence(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]  # nobody listens there
    out = tmp_path / "run"
    where = f"--coordinator 127.0.0.1:{port} --num-processes 2 --process-id 1 --join-seconds 1"
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "dysonjax.cli",
            *RUN,
            "--distributed",
            *where.split(),
            "--out",
            tmp_path / "run",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(dj.__file__).parents[1])},
    )
    assert found.returncode == 2 and not out.exists()
    sentence = f"dysonjax: the coordinator at 127.0.0.1:{port} could not be reached within 1 s"
    assert sentence in found.stderr.splitlines()
