"""Settings of JAX in the environment: they work, or one sentence says which is in the way."""

import os
import subprocess
import sys

import jax
import pytest

import dysonjax as dj
from dysonjax.cli import main
from dysonjax.ensemble import run_folder, store

RUN = "linear --lr 0.1 --batch-size 4 --seeds 4 --steps 3 --records 2 --quiet".split()


@pytest.mark.parametrize("platform", ["cuda", "foo"])
def test_a_platform_that_is_not_there(platform, tmp_path):
    known = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    for words in ([*RUN, "--out", str(tmp_path / "run")], ["dyson", "--out", str(tmp_path / "run")]):
        done = subprocess.run(
            [sys.executable, "-m", "dysonjax.cli", *words],
            capture_output=True, text=True, env=known | {"JAX_PLATFORMS": platform},
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        line = done.stderr.splitlines()[-1]
        assert line.startswith(f"dysonjax: JAX_PLATFORMS={platform}, but JAX cannot use it here")
        assert "Error" not in line and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("jax_numpy_dtype_promotion", "strict", "JAX_NUMPY_DTYPE_PROMOTION"),
        ("jax_disable_jit", True, "JAX_DISABLE_JIT"),
        ("jax_debug_nans", True, "JAX_DEBUG_NANS"),
        ("jax_debug_infs", True, "JAX_DEBUG_INFS"),
    ],
)
def test_a_setting_that_is_in_the_way_is_named(setting, value, name, tmp_path, capsys):
    before = getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        code = main([*RUN, "--out", str(tmp_path / "run")])
    finally:
        jax.config.update(setting, before)
    error = capsys.readouterr().err
    assert code == 2 and name in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def test_going_on_with_other_software_is_said_and_recorded(tmp_path):
    said = []
    run = dj.train(dj.models.linear(), dj.Grid(0.1, 4), 3, 2, out=tmp_path / "run")
    template = run.dataset.assign_attrs(versions='{"jax": "99", "numpy": "1"}')
    opened = store.reopen(run.out, run.dataset)
    run_folder._note_session(opened, template, said.append)
    run_folder._note_session(opened, template, said.append)  # the same again is nothing new
    (sentence,) = said
    assert "goes on with another machine or software" in sentence and "its last digits may differ" in sentence
    sessions = dj.read(run.out).attrs["sessions"]
    assert len(sessions) == 2 and sessions[1]["versions"] == template.attrs["versions"]
    assert "c_compiler" in sessions[0]["versions"]
