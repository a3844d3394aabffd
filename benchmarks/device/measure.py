"""What `check.py` asks for, one or several entries in a process of their own: python measure.py ENTRY...

An entry is a section and a name, such as `rates/linear, 32 x 3200`. A line `RESULT` and JSON for each goes to
the standard output. The first failure ends the process with status 3: after some errors of a GPU nothing
works any more in the same process.
"""

import argparse
import cProfile
import json
import platform
import pstats
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from cases import CARRY, MOST_TRIED, PIECES, TIMED, checked, kernels, tried

import dysonjax as dj
from dysonjax.compile import fastest, layouts, nvrtc, warps

FAILED = 3
STAND_IN_STEPS = 4
SECONDS = 0.15  # of a measurement
PRECISIONS = ("float32", "tf32", "bfloat16")
ARCHITECTURE = 90  # that machine code was made for
LONGEST = 25  # functions of a profile


def machine(name: str, options) -> dict:
    found = {"jax": jax.__version__, "device": jax.devices()[0].device_kind}
    found["python"] = platform.python_version()
    found["nvrtc"] = None if nvrtc.refuses() else "{}.{}".format(*nvrtc.version())
    if shutil.which("nvidia-smi"):
        query = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,power.draw"
        words = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        found[query] = subprocess.run(words, capture_output=True, text=True).stdout.strip()
    return found


def numbers(name: str, options) -> dict:
    """A model in two pieces, beside the CPU's numbers and those of XLA on this device."""
    one = checked(name)
    states = kernels.by_threads(one, kernels.kernel(one, ranked(one)), list(PIECES))
    here = kernels.by_xla(one, sum(PIECES))
    found = {
        "from XLA here": kernels.difference(states, here),
        "frozen alike": bool((states[-1] == here[-1]).all()),
    }
    if (known := CARRY / f"{name}.npz").exists():
        found["from the CPU"] = kernels.difference(states, list(np.load(known).values()))
    return found


def ranked(one: kernels.Case) -> list[layouts.Layout]:
    return layouts.ranked(one.ready.step, *one.tile.shape[1:])[: fastest.TRIES]


def timed(advance, networks: int, few: bool) -> float:
    """Network-steps a second; advance: does so many steps."""
    steps = STAND_IN_STEPS if few else 64
    advance(steps)  # what is compiled or loaded for the first call
    while True:
        begin = time.perf_counter()
        advance(steps)
        seconds = time.perf_counter() - begin
        if seconds > SECONDS or few:
            return float(f"{networks * steps / seconds:.4g}")
        steps = int(steps * min(30, max(1.5, 1.5 * SECONDS / max(seconds, 1e-4))))


def rates(name: str, options, warm: bool = False) -> dict | str:
    """The kernel in several layouts with blocks of several sizes, and XLA's program; warm: only compile."""
    entry = next(entry for entry in TIMED if entry.name == name)
    one, few = entry.case(options.few), options.few or warm
    _, worlds, points = one.tile.shape
    found = {"goal": entry.goal}
    if not options.few:
        found["chosen"] = label(fastest.compiled(one.ready.step, ranked(one), ARCHITECTURE))
    most = 2 if options.few else MOST_TRIED if options.thorough else fastest.TRIES
    for layout in tried(one, worlds, points, most):
        with mock.patch.object(fastest, "MOST_STACK", 10**9):
            run = kernels.kernel(one, layout)
        source = warps.written(one.ready.step, layout.how, layout.block)
        found[label(source)] = {"rate": timed(by_threads(one, run), worlds * points, few)}
        if not options.few:
            use = warps.usage(warps.compiled(source, ARCHITECTURE))
            found[label(source)] |= {"registers": use.registers, "stack": use.stack}
    found["XLA"] = timed(by_xla(one), worlds * points, few)
    return "launched" if options.few else found


def label(source: warps.Source) -> str:
    """The name of a kernel."""
    how, sums = source.how, "scattered" if source.how.scatter else "summed"
    return f"{how.threads} threads {how.axes} {sums}, {source.block} warps, chunks of {source.chunk}"


def by_threads(one: kernels.Case, run):
    """Does so many steps by a kernel, from the start."""
    state = run.pack(jax.tree.unflatten(jax.tree.structure(one.state), one.plain(one.state)))

    def advance(steps):
        ends = np.zeros(1, np.int32), np.full(1, steps, np.int32)
        run.advance(one.tile.identity, one.world, state, *ends).result()

    return advance


def by_xla(one: kernels.Case):
    """Does so many steps by XLA's program."""

    def advance(steps):
        ends = np.zeros(1, np.int32), np.full(1, steps, np.int32)
        copy = jax.tree.map(lambda leaf: leaf + 0, one.state)
        jax.block_until_ready(one.task.programs.advance(one.tile.identity, one.world, copy, *ends))

    return advance


def loops(name: str, options) -> float:
    """XLA's program alone; the parent has set whether its loops are command buffers."""
    return timed(by_xla(TIMED[0].case(options.few)), TIMED[0].points * TIMED[0].seeds, options.few)


def profile(name: str, options) -> str:
    """One launch of a kernel, for a profiler around this process."""
    one = next(entry for entry in TIMED if entry.name == name).case(options.few)
    by_threads(one, kernels.kernel(one, ranked(one)))(256)
    return "launched"


def runs(name: str, options) -> dict:
    """The published grid with its records (XLA's share of it is cut short), or a run that is resumed."""
    if name == "resume":
        return _resumed(options.few)
    grid = dj.Grid(
        lr=[0.125 * 2**k for k in range(12)], sigma_w=[0.5 * k for k in range(1, 13)], seeds=10, batch_size=4
    )
    if options.few:
        grid = dj.Grid(lr=[0.125, 0.5], sigma_w=[0.5, 1.0], seeds=2, batch_size=4)
    backend, steps = name.split()[-1], 40 if options.few else 100_000_000  # as published
    part = max(steps // 2000, 40) if backend == "xla" else steps
    summary = dj.train(dj.models.teacher_student(), grid, part, 21, backend=backend).summary
    keys = "steps seconds compile_seconds net_steps_per_second target backend_reason tile".split()
    return {key: summary[key] for key in keys}


def _resumed(few: bool) -> dict:
    class Stop(Exception):
        pass

    def stop(done, total):
        if done > 0.5 * total:
            raise Stop

    small, steps = dj.Grid(lr=[0.1, 0.2], seeds=4, batch_size=4), 40 if few else 200_000
    whole = dj.train(dj.models.teacher_student(), small, steps, 5)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "interrupted"
        try:
            dj.train(dj.models.teacher_student(), small, steps, 5, out=out, progress=stop, save_every=0.01)
        except Stop:
            pass
        resumed = dj.ensemble.resume(out, dj.models.teacher_student()).dataset
    worst = float(abs(resumed["eigenvalues"].values - whole.dataset["eigenvalues"].values).max())
    return {"largest difference of an eigenvalue": worst, "target": whole.summary["target"]}


def nanogpt(name: str, options, steps: int = 1500) -> dict:
    """Members of a nano-GPT ensemble together, by XLA, with products in a precision."""
    members, steps = (2, 2) if options.few else (50, steps)
    grid = dj.Grid(lr=[1e-3], seeds=members, batch_size=16)
    summary = dj.train(dj.models.nanogpt(), grid, steps, 2, optimizer="adamw", precision=name).summary
    keys = ("net_steps_per_second", "seconds", "compile_seconds", "tile", "target")
    return {key: summary[key] for key in keys}


def records(name: str, options) -> dict:
    """Where the time of a record goes: seconds of XLA's programs, and calls and seconds of functions."""
    one, found = TIMED[0].case(options.few), {}

    def seconds(call):
        jax.block_until_ready(call())
        begin = time.perf_counter()
        for _ in range(3):
            jax.block_until_ready(call())
        return float(f"{(time.perf_counter() - begin) / 3:.3g}")

    found["observe"] = seconds(lambda: one.task.programs.observe(one.tile.identity, one.world, one.state))
    for part in ("test_loss", "train_loss", "drift_gap"):
        only = jax.jit(lambda *a, part=part: one.task.programs.observe(*a).numbers[part])
        found[f"observe {part} alone"] = seconds(
            lambda only=only: only(one.tile.identity, one.world, one.state)
        )
    grams = jax.random.normal(jax.random.key(0), (1440, 16, 16))
    found["eigh, 1440 of 16 x 16"] = seconds(lambda: jax.jit(jnp.linalg.eigh)(grams @ grams.mT))
    grid = dj.Grid(lr=[0.002 * k for k in range(1, 145)], seeds=10, batch_size=4)
    if options.few:
        grid = dj.Grid(lr=[0.1], seeds=2, batch_size=4)
    profiler = cProfile.Profile()
    profiler.runcall(dj.train, dj.models.teacher_student(), grid, 2000, 21)
    stats = pstats.Stats(profiler).stats
    for (file, line, function), (_, calls, own, whole, _) in sorted(stats.items(), key=lambda i: -i[1][2])[
        :LONGEST
    ]:
        found[f"{Path(file).name}:{line} {function}"] = [calls, round(own, 3), round(whole, 3)]
    return found


def warm(name: str, options) -> str:
    """Only compiles, for those that measure afterwards."""
    if name in PRECISIONS:
        nanogpt(name, options, steps=2)
    else:
        rates(name, options, warm=True)
    return "compiled"


SECTIONS = {
    "machine": machine,
    "numbers": numbers,
    "warm": warm,
    "rates": rates,
    "runs": runs,
    "nanogpt": nanogpt,
    "records": records,
    "loops": loops,
    "profile": profile,
    "sanitizer": lambda name, options: numbers("student", options),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--few", action="store_true", help="a few steps, on the tests' stand-in")
    parser.add_argument("--thorough", action="store_true", help="time more ways to cut a network")
    parser.add_argument("entries", nargs="+", metavar="ENTRY")
    options = parser.parse_args()
    if (made_by := CARRY / "nvrtc").exists():  # its machine code is taken, whichever version is here
        nvrtc.version = lambda: tuple(map(int, made_by.read_text().split(".")))
    for entry in options.entries:
        section, name = entry.split("/", 1)
        print("BEGIN", json.dumps(entry), flush=True)
        try:
            value = SECTIONS[section](name, options)
        except Exception as error:
            traceback.print_exc()
            print("RESULT", json.dumps([section, name, {"error": f"{type(error).__name__}: {error}"}]))
            sys.exit(FAILED)
        print("RESULT", json.dumps([section, name, value]), flush=True)


if __name__ == "__main__":
    main()
