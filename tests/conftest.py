"""Shared set-up: caches of compiled programs, quick compilations, one single-threaded device per core."""

import contextlib
import ctypes
import gc
import os
import shutil
from pathlib import Path

# Warnings about machine features of cached programs, half a page each.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads of small products wait for each other, busily
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every child process compiles all that it imports

import jax
import pytest

from dysonjax import InputError, xla_flags
from dysonjax.ensemble import traces

CACHE = Path(__file__).parents[1] / ".jax_cache"
os.environ.setdefault("DYSONJAX_CACHE", str(CACHE / "dysonjax"))  # not the user's: see `_quick_compiler`
# Long computations, and what is about the C compiler's work; also everything that `make validate` runs.
FULLY_COMPILED = {"dyson", "calibration", "test_functions.py", "test_table.py"}
MOST_RESIDENT_BYTES = 1.0e9
SINGLE_THREADED = "--xla_cpu_multi_thread_eigen=false"
# XLA's emitters of before, and one module of LLVM for each program: compiled in 0.4 of the time.
QUICK_XLA = f"{SINGLE_THREADED} --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_configure(config):
    """The flags of XLA, for child processes too; nothing has started it yet."""
    if "XLA_FLAGS" in os.environ:  # the user's, or those of the process that started this one
        return
    os.environ["XLA_FLAGS"] = QUICK_XLA if _quick(config) else SINGLE_THREADED
    try:
        xla_flags.check()
    except InputError:  # a version without them
        os.environ["XLA_FLAGS"] = SINGLE_THREADED


def _quick(config) -> bool:
    return "not slow" in (config.option.markexpr or "")


def pytest_collection_finish():
    """Tracing makes many objects that live long, and looking through them again and again takes its time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


CHOSEN = {name: os.environ.get(name) for name in ("CC", "JAX_DISABLE_MOST_OPTIMIZATIONS")}  # by the user


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Else half of the time would go into optimising programs that then run for milliseconds.

    Before any fixture is made: results of one session are compared with each other to the last bit.
    """
    place = item.path.relative_to(Path(__file__).parent).parts
    quick = FULLY_COMPILED.isdisjoint(place) and _quick(item.config)
    wanted = dict(CHOSEN)
    if quick:
        wanted["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # to child processes
        wanted["CC"] = CHOSEN["CC"] or (str(_quick_compiler()) if shutil.which("cc") else None)
    for name, value in wanted.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    unoptimised = quick or CHOSEN["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
    if unoptimised != jax.config.read("jax_disable_most_optimizations"):
        # Two programs of one function agree to the last bit only if they were compiled in the same way.
        jax.clear_caches()
        traces.forget()
    jax.config.update("jax_disable_most_optimizations", unoptimised)


@pytest.fixture
def monkeypatch():
    """That of pytest; programs that were traced under other functions are forgotten."""
    with Patch.context() as patch:
        yield patch


class Patch(pytest.MonkeyPatch):
    def setattr(self, *arguments, **options):
        traces.forget()
        super().setattr(*arguments, **options)

    def undo(self):
        if self._setattr:
            traces.forget()
        super().undo()


def _quick_compiler() -> Path:
    """The system's C compiler without what takes it the longest."""
    path = CACHE / "quick-cc"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        partial = CACHE / f"quick-cc.{os.getpid()}"
        partial.write_text(QUICK_CC)
        partial.chmod(0o755)
        partial.replace(path)
    return path


QUICK_CC = """#!/bin/sh
for word do
  shift
  case "$word" in
    -O2|-O3) word=-Og ;;
    -funroll-loops) continue ;;
  esac
  set -- "$@" "$word"
done
exec cc "$@"
"""


@pytest.fixture(autouse=True, scope="module")
def _no_more_programs_than_memory():
    """Compiled programs of one module are of no use to the next; who keeps all grows to gigabytes."""
    yield
    if _resident_bytes() > MOST_RESIDENT_BYTES:
        jax.clear_caches()
        traces.forget()
        gc.collect()
        _give_back_memory()


def _give_back_memory() -> None:
    """Else what was freed stays with the process, and the next module forgets its programs again."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not on Linux: no limit
        return 0
