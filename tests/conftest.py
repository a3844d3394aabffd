"""Shared set-up: a persistent compilation cache, one single-threaded host device per core."""

import gc
import os
from pathlib import Path

# Warnings about machine features of cached programs, half a page each.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import pytest

MOST_RESIDENT_BYTES = 1.2e9

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def pytest_collection_finish():
    """Tracing makes many objects that live long, and looking through them again and again takes its time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True, scope="module")
def _no_more_programs_than_memory():
    """Compiled programs of one module are of no use to the next; who keeps all grows to gigabytes."""
    yield
    if _resident_bytes() > MOST_RESIDENT_BYTES:
        jax.clear_caches()
        gc.collect()


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not on Linux: no limit
        return 0
