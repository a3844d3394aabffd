"""How throughput is measured: every variant in a process of its own, repetitions in turn, medians.

A process of its own, because the number of JAX devices and XLA's threads are fixed when a process first uses
them. In turn, because a machine is never quiet: whatever disturbs one repetition disturbs its neighbours too,
and the ratios of medians stay.

A benchmark is a module with
    VARIANTS   functions by name; each takes the setting and returns what to repeat
    DEFAULTS   the sizes that a setting has, "seeds" and perhaps "steps", with what suits two cores
    POINTS     members at each seed
    OPTIONS    further settings, each with its values, the default first
and, if a network-step is not what it counts, UNIT, the name of its rate.
"""

import atexit
import importlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dysonjax import cache


class Prepared(NamedTuple):
    """One variant, compiled and ready."""

    work: Callable[[], float | None]  # one repetition; returns its seconds, or None to be timed from outside
    amount: float  # network-steps, or what else the benchmark counts, done by one repetition
    compile_seconds: float = 0.0
    details: Mapping[str, float | str] = {}  # what else is to be told of it, such as its accuracy


class Unavailable(Exception):
    """This variant cannot be measured here; the message says why."""


class Rate(NamedTuple):
    """What one variant reached."""

    per_second: float  # the median over the repetitions
    seconds: list[float]  # of the repetitions
    amount: float
    compile_seconds: float
    peak_bytes: int  # memory of its process at most, Python and JAX included, processes of its own left out
    details: Mapping[str, float | str]


def measure(
    module: str,
    jobs: Mapping[str, tuple[str, dict]],
    repetitions: int,
    say: Callable[[str], None],
) -> tuple[dict[str, Rate], dict[str, str]]:
    """Rates by job, and the reasons of those that are not available. Raises RuntimeError if one fails.

    jobs: label -> variant and setting.
    """
    workers, missing = {}, {}
    try:
        for label, (variant, setting) in jobs.items():
            say(f"preparing {label} ...")
            worker = _Worker(module, variant, setting)
            ready = worker.answer()
            if "unavailable" in ready:
                missing[label] = ready["unavailable"]
                worker.stop()
            else:
                workers[label] = (worker, ready)
        found: dict[str, list[dict]] = {label: [] for label in workers}
        for repetition in range(repetitions):
            say(f"repetition {repetition + 1} of {repetitions} ...")
            for label, (worker, _) in workers.items():
                found[label].append(worker.repeat())
    finally:
        for worker, _ in workers.values():
            worker.stop()
    rates = {}
    for label, (_, ready) in workers.items():
        seconds = [one["seconds"] for one in found[label]]
        rate = ready["amount"] / statistics.median(seconds)
        rates[label] = Rate(rate, seconds, peak_bytes=found[label][-1]["peak_bytes"], **ready)
    return rates, missing


class _Worker:
    """A process that prepares one variant and repeats it whenever it is told to."""

    def __init__(self, module: str, name: str, setting: dict):
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dysonjax.bench.frame", module, name, json.dumps(setting)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None  # both are pipes
        self.to, self.back = self.process.stdin, self.process.stdout

    def answer(self) -> dict:
        line = self.back.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"the benchmark {self.name} failed: {last}")
        return json.loads(line)

    def repeat(self) -> dict:
        self.to.write("repeat\n")
        self.to.flush()
        return self.answer()

    def stop(self) -> None:
        self.to.close()
        self.process.wait()
        self.errors.close()


def peak_bytes() -> int:
    """The most memory that this process has had."""
    try:
        # Not `ru_maxrss`, which a new process inherits from the one that started it.
        lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
        return 1024 * int(lines["VmHWM"].split()[0])
    except (OSError, KeyError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def cores() -> int:
    """Cores that this process may use."""
    return cache.cores()


def engine(model, grid, steps: int, **options) -> Prepared:
    """This engine, as the commands use it: one single-threaded device a core, one record at the end."""
    import jax

    import dysonjax as dj

    dj.one_device_per_core()
    # The first compilation is a cold one; the repetitions take theirs from this folder.
    os.environ[cache.VARIABLE] = tempfile.mkdtemp(prefix="dysonjax-bench-")
    atexit.register(shutil.rmtree, os.environ[cache.VARIABLE], ignore_errors=True)
    jax.config.update("jax_compilation_cache_dir", os.environ[cache.VARIABLE])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    def train(steps):
        return dj.train(model, grid, steps, 1, **options).summary

    first = train(min(steps, 10))
    amount = grid.members * steps
    # Of training alone; its seconds are rounded to milliseconds, which short runs would feel.
    return Prepared(lambda: amount / train(steps)["net_steps_per_second"], amount, first["compile_seconds"])


def vmapped(train_one, arguments, steps: int) -> Prepared:
    """`jit(vmap(train_one))` on XLA's own threads: what one writes first in JAX."""
    import jax

    begin = time.perf_counter()
    compiled = jax.jit(jax.vmap(train_one)).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - begin
    members = len(jax.tree.leaves(arguments)[0])

    def work():
        jax.block_until_ready(compiled(*arguments))

    work()
    return Prepared(work, members * steps, compile_seconds)


def kernel(source: str, setting: dict, points: int, arguments: Callable) -> Prepared:
    """The C kernel `train` of one source file: sixteen seeds in the lanes, one thread a core.

    arguments(rng, shape): lays out the state of `shape` (cores, groups of seeds, points) and returns a
    function of the seeds' keys and of (core, group): what the kernel is called with after points, steps and
    first step. Raises Unavailable without a C compiler.
    """
    import numpy as np

    from dysonjax.bench import limits

    try:
        train = limits.load(source).train
    except RuntimeError as error:
        raise Unavailable(str(error)) from None
    count, steps = cores(), setting["steps"]
    groups = max(1, setting["seeds"] // (count * limits.LANES))
    rng = np.random.default_rng(0)
    rest = arguments(rng, (count, groups, points))
    keys = rng.integers(0, 2**32, (count, groups, limits.LANES, 2), np.uint32)

    def on_core(core):
        for group in range(groups):
            where = core, group
            limits.call(train, points, steps, 0, *rest(keys[where], where))

    return Prepared(
        lambda: limits.on_all_cores(on_core, count), count * groups * points * limits.LANES * steps
    )


def looped(train_networks: Callable[[int, int], Any], networks: int, steps: int) -> Prepared:
    """One network after the other, one process a core; `train_networks(networks, steps)` is importable."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    count = cores()
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # the processes fill the cores
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))

    def work(steps=steps):
        list(pool.map(train_networks, [networks] * count, [steps] * count))

    work(10)  # imports and first calls
    return Prepared(work, networks * count * steps)


def _serve(module: str, name: str, setting: dict) -> None:
    """Prepare one variant, say so, and do one repetition for every line of standard input."""
    try:
        prepared = importlib.import_module(module).VARIANTS[name](setting)
    except Unavailable as reason:
        print(json.dumps({"unavailable": str(reason)}), flush=True)
        return
    ready = {"amount": prepared.amount, "details": dict(prepared.details)}
    print(json.dumps(ready | {"compile_seconds": round(prepared.compile_seconds, 3)}), flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        seconds = prepared.work()
        seconds = time.perf_counter() - begin if seconds is None else seconds
        print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes()}), flush=True)


if __name__ == "__main__":
    # By its name: the benchmarks import this module once more and raise that one's `Unavailable`.
    from dysonjax.bench import frame

    frame._serve(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
