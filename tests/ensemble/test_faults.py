"""SIGKILL at random moments, also in the middle of a write: the run ends with the same bytes.

The children are forked from a process of its own, since one that has used JAX cannot be forked.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dysonjax


def kill(folder, kills: int, seed: int) -> dict:
    paths = [str(Path(dysonjax.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    found = subprocess.run(
        [sys.executable, Path(__file__).with_name("fault_runner.py"), folder, str(kills), str(seed)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return json.loads(found.stdout.splitlines()[-1])


def test_three_kills_change_nothing(tmp_path):
    found = kill(tmp_path, kills=3, seed=1)
    assert found["kills"] == 3 and found["identical"] == found["runs"] > 0


@pytest.mark.slow
def test_fifty_kills_change_nothing(tmp_path):
    found = kill(tmp_path, kills=50, seed=2)
    assert found["kills"] == 30 and found["identical"] == found["runs"]
    assert all(found["how"].get(how, 0) > 3 for how in ("clock", "before", "middle", "after"))
