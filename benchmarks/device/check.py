"""On the machine with the GPU, at most six minutes and no network: python benchmarks/device/check.py

Are the numbers of every model those of a CPU, and how fast are they? Writes `result.json` and a table into
--out, section by section, so that what was measured before an end that comes too early is there. `--stand-in
LIBRARY` goes through the same calls on a CPU, with a stand-in for the driver, and measures nothing.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

SECONDS = 340.0
BEGIN = time.monotonic()
HERE = Path(__file__).parent


def left() -> float:
    return SECONDS - (time.monotonic() - BEGIN)


class Report:
    """What was found so far, on the disk after every entry."""

    def __init__(self, folder: Path):
        self.path, self.found = folder / "result.json", {}

    def add(self, section: str, name: str, value) -> None:
        self.found.setdefault(section, {})[name] = value
        self.path.write_text(json.dumps(self.found, indent=1) + "\n")
        print(f"{section:12s} {name:28s} {value}", flush=True)


def machine(report: Report) -> None:
    import jax

    report.add("machine", "jax", jax.__version__)
    report.add("machine", "device", jax.devices()[0].device_kind)
    report.add("machine", "python", platform.python_version())
    if shutil.which("nvidia-smi"):
        query = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.draw"
        words = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        report.add("machine", query, subprocess.run(words, capture_output=True, text=True).stdout.strip())


def numbers(report: Report) -> None:
    """Every model in two pieces, beside the CPU's numbers and those of XLA on this device."""
    import numpy as np
    from cases import CARRY, PIECES, checked, kernels

    from dysonjax.compile import layouts
    from dysonjax.ensemble import cuda

    for name, one in checked().items():
        try:
            _, worlds, points = one.tile.shape
            run = kernels.kernel(one, layouts.ranked(one.ready.step, worlds, points)[: cuda.TRIES])
            states = kernels.by_threads(one, run, list(PIECES))
            here = kernels.by_xla(one, sum(PIECES))
            found = {
                "from XLA here": kernels.difference(states, here),
                "frozen alike": bool((states[-1] == here[-1]).all()),
            }
            if (known := CARRY / f"{name}.npz").exists():
                found["from the CPU"] = kernels.difference(states, list(np.load(known).values()))
            report.add("numbers", name, found)
        except Exception as error:
            report.add("numbers", name, {"error": f"{type(error).__name__}: {error}"})
            traceback.print_exc()


def timed(advance, networks: int, few: bool) -> float:
    """Network-steps a second; advance: does so many steps from the first on."""
    steps = 4 if few else 64
    advance(0, steps)  # what is compiled or loaded for the first call
    while True:
        begin = time.perf_counter()
        advance(0, steps)
        seconds = time.perf_counter() - begin
        if seconds > 0.25 or few:
            return networks * steps / seconds
        steps = int(steps * min(20, max(1.5, 0.4 / max(seconds, 1e-4))))


def rates(report: Report, few: bool) -> None:
    """The kernel with blocks of several sizes, and XLA's program."""
    import jax
    import numpy as np
    from cases import TIMED, kernels
    from prepare import blocks

    from dysonjax.compile import layouts
    from dysonjax.ensemble import cuda

    for entry in TIMED[::3] if few else TIMED:
        if left() < 60:
            report.add("rates", entry.name, "no time")
            continue
        try:
            one, found = entry.case(few), {"goal": entry.goal}
            _, worlds, points = one.tile.shape
            ranked = layouts.ranked(one.ready.step, worlds, points)[: cuda.TRIES]
            plain = jax.tree.unflatten(jax.tree.structure(one.state), one.plain(one.state))
            for block in blocks(ranked[0])[: 1 if few else None]:
                run = kernels.kernel(one, [layout._replace(block=block) for layout in ranked])
                state = run.pack(plain)

                def advance(first, count, run=run, state=state, one=one):
                    ends = np.array([first], np.int32), np.array([count], np.int32)
                    run.advance(one.tile.identity, one.world, state, *ends).result()

                found[f"{block} warps"] = timed(advance, worlds * points, few)

            def by_xla(first, count, one=one):
                ends = np.array([first], np.int32), np.array([count], np.int32)
                copy = jax.tree.map(lambda leaf: leaf + 0, one.state)
                jax.block_until_ready(one.task.programs.advance(one.tile.identity, one.world, copy, *ends))

            found["XLA"] = timed(by_xla, worlds * points, few)
            report.add(
                "rates", entry.name, "launched" if few else {k: float(f"{v:.3g}") for k, v in found.items()}
            )
        except Exception as error:
            report.add("rates", entry.name, {"error": f"{type(error).__name__}: {error}"})
            traceback.print_exc()


def runs(report: Report, few: bool, folder: Path) -> None:
    """The published grid with its records, cut short, and a run that is stopped and resumed."""
    import dysonjax as dj

    grid = dj.Grid(
        lr=[0.125 * 2**k for k in range(12)], sigma_w=[0.5 * k for k in range(1, 13)], seeds=10, batch_size=4
    )
    if few:
        grid = dj.Grid(lr=[0.125, 0.5], sigma_w=[0.5, 1.0], seeds=2, batch_size=4)
    steps = 40 if few else 4_000_000
    for backend in ("cuda", "xla"):
        part = steps if backend == "cuda" else max(steps // 40, 40)
        if left() < 45:
            report.add("runs", f"published grid, {backend}", "no time")
            continue
        summary = dj.train(dj.models.teacher_student(), grid, part, 21, backend=backend).summary
        keys = ("steps", "seconds", "compile_seconds", "net_steps_per_second", "target", "backend_reason")
        report.add("runs", f"published grid, {backend}", {key: summary[key] for key in keys})

    class Stop(Exception):
        pass

    def stop(done, total):
        if done > 0.5 * total:
            raise Stop

    small, out = dj.Grid(lr=[0.1, 0.2], seeds=4, batch_size=4), folder / "interrupted"
    shutil.rmtree(out, ignore_errors=True)
    steps = 40 if few else 200_000
    whole = dj.train(dj.models.teacher_student(), small, steps, 5).dataset
    try:
        dj.train(dj.models.teacher_student(), small, steps, 5, out=out, progress=stop, save_every=0.01)
    except Stop:
        pass
    resumed = dj.ensemble.resume(out, dj.models.teacher_student()).dataset
    worst = float(abs(resumed["eigenvalues"].values - whole["eigenvalues"].values).max())
    report.add("runs", "resumed in the middle", {"largest difference of an eigenvalue": worst})
    shutil.rmtree(out, ignore_errors=True)


def transformers(report: Report, few: bool) -> None:
    """Members of a nano-GPT ensemble together, by XLA."""
    import dysonjax as dj

    if left() < 40:
        report.add("nanogpt", "50 members", "no time")
        return
    members, steps = (2, 2) if few else (50, 200)
    grid = dj.Grid(lr=[1e-3], seeds=members, batch_size=16)
    summary = dj.train(dj.models.nanogpt(), grid, steps, 2, optimizer="adamw").summary
    report.add(
        "nanogpt", f"{members} members", {k: summary[k] for k in ("net_steps_per_second", "tile", "target")}
    )


def sanitizer(report: Report, stand_in: bool) -> None:
    """The same comparison of one model under NVIDIA's checker of memory accesses, if it is there."""
    tool = shutil.which("compute-sanitizer")
    if tool is None or stand_in or left() < 60:
        report.add("sanitizer", "memcheck", "not there" if tool is None else "left out")
        return
    words = [tool, "--error-exitcode", "9", sys.executable, __file__, "--only", "numbers", "--out", "/tmp"]
    try:
        code = subprocess.run(words, capture_output=True, timeout=left() - 20).returncode
        report.add("sanitizer", "memcheck", "clean" if code == 0 else f"exit status {code}")
    except subprocess.TimeoutExpired:
        report.add("sanitizer", "memcheck", "no time")


def table(found: dict) -> str:
    lines = ["| ensemble | goal | kernel, best | XLA | ratio |", "|---|---|---|---|---|"]
    for name, row in found.get("rates", {}).items():
        if not isinstance(row, dict) or "XLA" not in row:
            lines.append(f"| {name} | | {row if isinstance(row, str) else row.get('error')} | | |")
            continue
        best = max(value for key, value in row.items() if key.endswith("warps"))
        rates_of = [f"{value / 1e6:.0f} M/s" for value in (row["goal"], best, row["XLA"])]
        lines.append(f"| {name} | {' | '.join(rates_of)} | {best / row['XLA']:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "found")
    parser.add_argument("--stand-in", help="a library in the place of the driver's")
    parser.add_argument("--only", nargs="*", help="sections")
    options = parser.parse_args()
    few = options.stand_in is not None
    if few:
        os.environ |= {"DYSONJAX_LIBCUDA": options.stand_in, "JAX_PLATFORMS": "cpu"}
    elif (cache := HERE / "carry" / "cache").is_dir():
        os.environ["DYSONJAX_CACHE"] = str(cache)
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(options.out)
    sections = {
        "machine": lambda: machine(report),
        "numbers": lambda: numbers(report),
        "rates": lambda: rates(report, few),
        "runs": lambda: runs(report, few, options.out),
        "nanogpt": lambda: transformers(report, few),
        "sanitizer": lambda: sanitizer(report, few),
    }
    for name, section in sections.items():
        if options.only and name not in options.only:
            continue
        try:
            section()
        except Exception as error:
            report.add(name, "error", f"{type(error).__name__}: {error}")
            traceback.print_exc()
    report.add("machine", "seconds", round(time.monotonic() - BEGIN, 1))
    text = "A stand-in ran on a CPU: nothing was measured.\n" if few else table(report.found)
    (options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
