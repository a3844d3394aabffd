"""Settings of JAX in the environment: they work, or one sentence says which is in the way."""

import os
import subprocess
import sys

import jax
import pytest

import dysonjax as dj
from dysonjax.cli import environment, main

SLOW = pytest.mark.slow

RUN = "linear --lr 0.1 --batch-size 4 --seeds 4 --steps 3 --records 2 --quiet".split()
DYSON = "dyson --levels 2 --members 8 --steps 4 --samples 8 --time 0.1 --quiet".split()


def command(words: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess:
    """A command in a process of its own, with these variables and none of JAX's others."""
    known = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    words = [sys.executable, "-m", "dysonjax.cli", *words]
    return subprocess.run(words, capture_output=True, text=True, env=known | variables)


@pytest.mark.parametrize(
    ("platform", "words"),
    [("cuda", RUN), pytest.param("foo", ["dyson"], marks=SLOW)],
    ids=["cuda", "foo"],
)
def test_a_platform_that_is_not_there(platform, words, tmp_path):
    done = command([*words, "--out", str(tmp_path / "run")], {"JAX_PLATFORMS": platform})
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"dysonjax: JAX_PLATFORMS={platform}, but JAX cannot use it here")
    assert "Error" not in line and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("XLA_FLAGS", "--xla_nothing=1 --xla_cpu_multi_thread_eigen=false", "does not know --xla_nothing=1"),
        ("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=perhaps", "XLA cannot read it"),
        ("XLA_FLAGS", "nothing", "XLA cannot read it"),
        ("JAX_ENABLE_X64", "perhaps", "JAX_ENABLE_X64=perhaps, which JAX cannot read"),
        ("JAX_NUM_CPU_DEVICES", "many", "JAX_NUM_CPU_DEVICES=many, which JAX cannot read"),
    ],
)
def test_a_variable_that_stops_jax_is_named(name, value, words, tmp_path):
    """Most end the process, or fail in the middle of a command."""
    done = command([*DYSON, "--out", str(tmp_path / "run")], {name: value})
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("dysonjax: ") and name in line and words in line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_python_says_which_flag_xla_does_not_know_instead_of_being_ended():
    """Also if JAX has been imported, as long as it has not been used."""
    program = (
        "import {first}; import dysonjax as dj\ntry: {call}\nexcept dj.InputError as error: print(error)"
    )
    calls = ("dj.train", "from dysonjax import ensemble; ensemble.devices.resolve(None)")
    for first, call in zip(("os", "jax"), calls, strict=True):
        words = [sys.executable, "-c", program.format(first=first, call=call)]
        variables = os.environ | {"XLA_FLAGS": "--xla_nothing=1"}
        done = subprocess.run(words, capture_output=True, text=True, env=variables)
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert "does not know --xla_nothing=1; correct or unset it" in done.stdout


def test_flags_that_xla_knows_and_no_window_system_are_no_obstacle():
    code = "from dysonjax.cli import main; main(['nothing']); import matplotlib;"
    code += "from jaxlib import xla_client; xla_client.CompileOptions()"
    variables = os.environ | {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true", "MPLBACKEND": "nothing"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables)
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_setting_that_made_a_command_fail_is_named():
    """Commands that do not train check no settings before."""
    before = jax.config.jax_numpy_rank_promotion
    for raised, expected in ((ValueError("of JAX"), dj.InputError), (OSError("a disk"), OSError)):
        jax.config.update("jax_numpy_rank_promotion", "raise")
        try:
            with pytest.raises(expected) as found, environment.named():
                raise raised
        finally:
            jax.config.update("jax_numpy_rank_promotion", before)
        assert ("JAX_NUMPY_RANK_PROMOTION" in str(found.value)) == (expected is dj.InputError)
    with pytest.raises(ValueError, match="of ours"), environment.named():
        raise ValueError("of ours")


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("jax_numpy_dtype_promotion", "strict", "JAX_NUMPY_DTYPE_PROMOTION"),
        ("jax_disable_jit", True, "JAX_DISABLE_JIT"),
        ("jax_debug_nans", True, "JAX_DEBUG_NANS"),
        ("jax_debug_infs", True, "JAX_DEBUG_INFS"),
        ("jax_numpy_rank_promotion", "raise", "JAX_NUMPY_RANK_PROMOTION"),
        ("jax_transfer_guard", "disallow", "JAX_TRANSFER_GUARD"),
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
