"""How long `dysonjax phase-diagram` takes until its picture is there: `python benchmarks/first_picture.py`.

Whole processes, in turn: with empty caches, with compiled C but nothing that was traced, and warm; with
`--before FOLDER`, the sources of another version, that one warm as well. Seconds of wall time and of CPU, of
the command and all processes that it starts. Then the first and the second call of `dj.train` in one process.
`--write` puts the numbers into first_picture.json, from which `python docs/tables.py` makes the tables in
docs/performance.md.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dysonjax import cache
from dysonjax.bench import table

FILE = Path(__file__).parent / "first_picture.json"
HERE = Path(__file__).parents[1]
CALLS = """
import json, time
import dysonjax as dj
models = {"teacher-student": dj.models.teacher_student, "RBM": dj.models.rbm, "linear": dj.models.linear}
grid = dj.Grid(lr=[0.01, 0.02], batch_size=4, seeds=4)
found = {}
for name, model in models.items():
    found[name] = []
    for key in range(2):
        begin = time.perf_counter()
        dj.train(model(), grid, steps=200, records=5, key=key)
        found[name].append(time.perf_counter() - begin)
print(json.dumps(found))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name}")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--before", type=Path, help="the sources of another version")
    options = parser.parse_args()
    ways = {"cold": HERE, "nothing traced": HERE, "warm": HERE}
    if options.before is not None:
        ways |= {"warm, the version before": options.before}
    found = {way: [] for way in ways}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="dysonjax-bench-") as place:
        folders = {way: Path(place, way) for way in ways}
        for number in range(options.repetitions + 1):  # the first one fills the caches
            for way, sources in ways.items():
                if way == "cold":
                    shutil.rmtree(folders[way], ignore_errors=True)
                if way == "nothing traced":
                    shutil.rmtree(folders[way] / "traced", ignore_errors=True)
                taken = seconds(sources, folders[way], Path(place, "run"))
                if number:
                    found[way].append(taken)
                print(f"{way}: {taken[0]:.2f} s, {taken[1]:.2f} s of CPU", flush=True)
    record = {"processor": table.processor(), "cores": cache.cores(), "load": load}
    record["seconds"] = {
        way: {
            name: {"least": min(values), "median": statistics.median(values)}
            for name, values in zip(("wall", "cpu"), zip(*rows, strict=True), strict=True)
        }
        for way, rows in found.items()
    }
    record["calls"] = {
        way: calls(sources, options.repetitions)
        for way, sources in (("now", HERE), ("before", options.before))
        if sources is not None
    }
    print(json.dumps(record, indent=1))
    if options.write:
        FILE.write_text(json.dumps(record, indent=2) + "\n")
    return 0


def calls(sources: Path, repetitions: int) -> dict[str, dict[str, float]]:
    """Median seconds of the first and the second `dj.train` of a process, of the models of `CALLS`."""
    variables = os.environ | {"PYTHONPATH": str(sources), "JAX_ENABLE_COMPILATION_CACHE": "0"}
    command = [sys.executable, "-P", "-c", CALLS]
    runs = [
        json.loads(subprocess.run(command, env=variables, capture_output=True, check=True, text=True).stdout)
        for _ in range(repetitions)
    ]
    return {
        name: {
            which: round(statistics.median(run[name][number] for run in runs), 3)
            for number, which in enumerate(("first", "second"))
        }
        for name in runs[0]
    }


def seconds(sources: Path, caches: Path, out: Path) -> tuple[float, float]:
    """Of wall time and of CPU, of a command with these sources and caches."""
    command = [sys.executable, "-P", "-m", "dysonjax", "phase-diagram", "--out", str(out), "--overwrite"]
    variables = os.environ | {"PYTHONPATH": str(sources), cache.VARIABLE: str(caches)}
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not (out / "phase_diagram.png").exists():
        raise RuntimeError(f"dysonjax of {sources} drew nothing")
    return round(wall, 2), round(used.ru_utime + used.ru_stime, 2)


if __name__ == "__main__":
    sys.exit(main())
