"""Many devices and many processes give the results of one."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import many_runner
import numpy as np
import pytest

import dysonjax as dj

SCRIPT = Path(__file__).with_name("many_runner.py")


def start(*args) -> subprocess.Popen:
    paths = [str(Path(dj.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "JAX_PLATFORMS": "cpu"},
    )


def wait(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-2000:]
    return out


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes(out, count, steps=24) -> list[subprocess.Popen]:
    port = free_port()
    return [start("process", out, i, count, port, steps) for i in range(count)]


def assert_same(found, expected):
    """As close as rounding allows; XLA may order the sums of another tile differently."""
    for name in expected.data_vars:
        if expected[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-14, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return many_runner.train(tmp_path_factory.mktemp("alone") / "run").dataset


@pytest.mark.slow  # 4 s; two devices in one process: test_a_member_is_the_same_in_every_grid_tile_and_device
def test_eight_devices_give_the_results_of_one(tmp_path):
    wait(start("devices", tmp_path, "tiny", 1, 8))
    one, eight = (dj.read(tmp_path / n).load() for n in ("1", "8"))
    assert one.attrs["device"] == "cpu" and eight.attrs["device"] == "8 x cpu"
    assert one.drop_attrs().identical(eight.drop_attrs())  # bitwise for this model


def test_two_processes_give_the_results_of_one(tmp_path, alone):
    said = [wait(process) for process in processes(tmp_path / "run", 2)]
    assert all("2 x cpu" in text for text in said)
    assert_same(dj.read(tmp_path / "run").load(), alone)
    assert {p.name[-7:-4] for p in (tmp_path / "run/checkpoints").glob("*.npz")} == {"000", "001"}


@pytest.mark.slow
def test_one_two_four_and_eight_devices_agree_on_the_teacher_student_model(tmp_path):
    wait(start("devices", tmp_path, "teacher-student", 1, 2, 4, 8))
    one = dj.read(tmp_path / "1").load()
    for count in ("2", "4", "8"):
        assert_same(dj.read(tmp_path / count).load(), one)


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "again"), [(2, 1), (2, 3), (0, 4)])
def test_killing_one_of_four_processes_ends_the_others_and_the_run_goes_on(victim, again, tmp_path):
    steps = 2_000_000
    out = tmp_path / "run"
    group = processes(out, 4, steps)
    states = [out / f"checkpoints/process-{i:03d}.json" for i in range(4)]
    for _ in range(600):
        if all(path.exists() for path in states):
            break
        time.sleep(0.2)
    time.sleep(2.0)
    group[victim].kill()
    begin = time.monotonic()
    said = [process.communicate(timeout=100) for process in group]
    assert time.monotonic() - begin < 60
    assert all(process.returncode != 0 for process in group)
    for i, (text, errors) in enumerate(said):
        if i != victim:
            # The first to notice the silence leaves, and the others may notice that.
            own = re.search(r"process \d of 4 has (been silent|left).*go on with: dysonjax resume", text)
            assert own or (victim == 0 and "JAX distributed service detected fatal errors" in errors)
    for process in processes(out, again, steps):
        wait(process)
    expected = many_runner.train(tmp_path / "expected", steps).dataset
    assert_same(dj.read(out).load(), expected)
