"""SIGKILL at random moments of every command that writes: its results are the same in the end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_fifty_kills_of_all_commands_change_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("kill_runner.py"), tmp_path, "50", "1"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == 50 and not found["differ"]
    assert len(found["of"]) == 12 and min(found["of"].values()) >= 3
