"""One device a core, in processes of its own: the number of devices is fixed when JAX is first used."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import dysonjax as dj
from dysonjax import cache, ensemble
from dysonjax.ensemble import jobs, programs
from dysonjax.ensemble.config import restored

# The machine may have one core, or this process be allowed to use one only.
START = "import os; os.sched_getaffinity = lambda pid: {0, 1}; import jax, dysonjax"
ASK = "dysonjax.one_device_per_core(); print(jax.local_device_count())"


@pytest.mark.parametrize("late", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_asking_for_devices_after_jax_was_used_is_told_and_changes_nothing(late):
    hidden = ("JAX_", "XLA_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "JAX_PLATFORMS": "cpu"}
    program = [START, "jax.numpy.zeros(1)" if late else "", ASK]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1" if late else "2"]
    told = "JAX runs already, with fewer devices than cores; call one_device_per_core() first" in done.stderr
    assert told == late


def test_a_system_that_does_not_tell_a_process_its_cores_is_asked_for_all(monkeypatch):
    """As macOS; newer versions of Python know about limits of a process."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert ensemble.cores() == 7
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)
    assert cache.cores() == 3
    monkeypatch.setattr(os, "process_cpu_count", lambda: None)
    assert cache.cores() == 1
    ensemble.one_device_per_core()


def test_products_are_in_full_precision_unless_asked_and_always_on_a_cpu():
    assert programs.products("tf32", "cpu") == programs.products("float32", "gpu") == "highest"
    for precision, word in {"tf32": "HIGH", "bfloat16": "bf16"}.items():
        with jax.default_matmul_precision(programs.products(precision, "gpu")):
            text = jax.jit(jnp.dot).lower(jnp.ones((4, 4)), jnp.ones((4, 4))).as_text()
        assert word in text and "HIGHEST" not in text


@pytest.mark.slow  # it matters on a GPU
def test_the_precision_that_is_asked_for_reaches_training_and_nothing_else(monkeypatch):
    monkeypatch.setattr(programs, "products", lambda precision, platform: programs.PRECISIONS[precision])
    built = []
    monkeypatch.setattr(jobs, "build", lambda *a: built.append(programs.build(*a)) or built[-1])
    model, grid = dj.models.teacher_student(batches=3), dj.Grid(lr=[0.1, 0.2], batch_size=4, seeds=2)
    for precision, words in {"float32": {"HIGHEST"}, "tf32": {"HIGH"}}.items():
        config = ensemble.Config(grid, 10, 2, backend="xla", devices=1, precision=precision)
        assert restored(config.stored(model)).precision == precision
        built.clear()
        (job,) = jobs.all_batch_sizes(model, config, range(2))
        identity = job.waves[0].identity
        world, state = jax.eval_shape(built[0].start, identity)
        number = jax.ShapeDtypeStruct((1,), "int32")
        train = built[0].advance.lower(identity, world, state, number, number).as_text()
        look = built[0].observe.lower(identity, world, state).as_text()
        assert set(re.findall(r"precision = \[(\w+)", train)) == words
        assert set(re.findall(r"precision = \[(\w+)", look)) == {"HIGHEST"}
