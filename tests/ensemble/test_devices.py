"""One device a core, in processes of its own: the number of devices is fixed when JAX is first used."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from dysonjax import cache, ensemble
from dysonjax.ensemble import programs

# The machine may have one core, or this process be allowed to use one only.
START = "import os; os.sched_getaffinity = lambda pid: {0, 1}; import jax, dysonjax"
ASK = "dysonjax.one_device_per_core(); print(jax.local_device_count())"


@pytest.mark.parametrize("late", [False, True])
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
