"""How throughput is measured: every variant in a process of its own, repetitions in turn, medians.

A process of its own, because the number of JAX devices and XLA's threads are fixed when a process first uses
them. In turn, because a machine is never quiet: whatever disturbs one repetition disturbs its neighbours too,
and the ratios of medians stay. A benchmark is a module with a dict VARIANTS of functions; each takes the
setting and returns what to repeat.
"""

import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Prepared(NamedTuple):
    """One variant, compiled and ready."""

    work: Callable[[], float | None]  # one repetition; returns its seconds, or None to be timed from outside
    network_steps: int  # done by one repetition
    compile_seconds: float = 0.0


class Unavailable(Exception):
    """This variant cannot be measured here; the message says why."""


class Rate(NamedTuple):
    """What one variant reached."""

    per_second: float  # network-steps a second, the median over the repetitions
    seconds: list[float]  # of the repetitions
    network_steps: int
    compile_seconds: float


def measure(
    module: str, names: Sequence[str], setting: dict, repetitions: int, say: Callable[[str], None]
) -> tuple[dict[str, Rate], dict[str, str]]:
    """Rates by variant, and the reasons of those that are not available. Raises RuntimeError if one fails."""
    workers, missing = {}, {}
    try:
        for name in names:
            say(f"preparing {name} ...")
            worker = _Worker(module, name, setting)
            ready = worker.answer()
            if "unavailable" in ready:
                missing[name] = ready["unavailable"]
                worker.stop()
            else:
                workers[name] = (worker, ready)
        seconds = {name: [] for name in workers}
        for repetition in range(repetitions):
            say(f"repetition {repetition + 1} of {repetitions} ...")
            for name, (worker, _) in workers.items():
                seconds[name].append(worker.repeat())
    finally:
        for worker, _ in workers.values():
            worker.stop()
    rates = {
        name: Rate(
            ready["network_steps"] / statistics.median(seconds[name]),
            seconds[name],
            ready["network_steps"],
            ready["compile_seconds"],
        )
        for name, (_, ready) in workers.items()
    }
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

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"the benchmark {self.name} failed: {last}")
        return json.loads(line)

    def repeat(self) -> float:
        self.process.stdin.write("repeat\n")
        self.process.stdin.flush()
        return self.answer()["seconds"]

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def engine(model, grid, steps: int, **options) -> Prepared:
    """This engine, as the commands use it: one single-threaded device a core, one record at the end."""
    import jax

    import dysonjax as dj

    dj.one_device_per_core()
    # The first compilation is a cold one; the repetitions take theirs from this folder.
    jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp(prefix="dysonjax-bench-"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    def train(steps):
        return dj.train(model, grid, steps, 1, **options).summary

    first = train(min(steps, 10))
    return Prepared(lambda: train(steps)["seconds"], grid.members * steps, first["compile_seconds"])


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


def looped(train_networks: Callable[[int, int], None], networks: int, steps: int) -> Prepared:
    """One network after the other, one process a core; `train_networks(networks, steps)` is importable."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    count = cores()
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
    print(
        json.dumps(
            {"network_steps": prepared.network_steps, "compile_seconds": round(prepared.compile_seconds, 3)}
        ),
        flush=True,
    )
    for _ in sys.stdin:
        begin = time.perf_counter()
        seconds = prepared.work()
        seconds = time.perf_counter() - begin if seconds is None else seconds
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
