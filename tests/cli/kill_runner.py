"""Kill commands with SIGKILL at random moments, go on with them, and compare with commands left alone.

    python kill_runner.py FOLDER KILLS SEED

A run of a command is killed up to three times between its start and the time that it takes, then brought to
its end: those that keep checkpoints by `resume`, the others by the same command with --overwrite. Next comes
the command that was killed the least. Prints one line of JSON: the kills, the runs, the seconds, and the runs
whose results are not the same to the byte.
"""

import collections
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

GRID = "--lr 0.1 --batch-size 4 --sigma-w 1 --seeds 4 --records 3 --save-every 0.05"
COMMANDS = {
    "linear": f"linear {GRID} --steps 40000",
    "spikes": f"spikes {GRID} --steps 40000 --rows 16 --columns 8",
    "rbm": f"rbm {GRID} --steps 2000 --visible 4 --hidden 4",
    "phase-diagram": f"phase-diagram {GRID} --steps 20000 --widths 3,4,4,1 --batches 4",
    "nanogpt": f"nanogpt {GRID} --steps 40 --width 8 --heads 1 --layers 1 --context 4 --sample 5",
    "dyson": "dyson --levels 2 --members 50 --steps 50 --samples 200 --time 0.1",
    "compare": "compare linear --members 8 --steps 4 --permutations 9",
    "advise": "advise linear --seeds 1 --points 2 --steps 4",
    "spectrum": "spectrum {matrix} --csv --resamples 20",
    "figure": "figure mp-initialisation --quick",
    "merge": "merge {one} {two}",
    "report": "report {finished}",
}
RESUMABLE = ("linear", "spikes", "rbm", "phase-diagram", "nanogpt")
TIMES = {"seconds", "compile_seconds", "net_steps_per_second", "level_steps_per_second", "out"}


def run(words: list[str], after: float | None = None) -> bool:
    """Whether a command came to its end; `after`: kill it so many seconds after its start."""
    quiet = {
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "dysonjax.cli", *words, "--quiet"], stderr=subprocess.PIPE, text=True,
        env=os.environ | quiet, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        error = process.communicate(timeout=after)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {error[-500:]}")
    return True


def content(out: Path) -> dict[str, str]:
    """A mark of every result: chunks, arrays, pictures and tables as they are, summaries without times."""
    if out.is_file():  # a report, which tells how long its run took: that of one run is the same
        return {"report": hashlib.sha256(out.read_bytes()).hexdigest()}
    found = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = path.relative_to(out).as_posix()
        if name == "summary.json":
            summary = json.loads(path.read_text())
            text = json.dumps({k: v for k, v in summary.items() if k not in TIMES}, sort_keys=True).encode()
        elif name == "levels.npz":
            text = b"".join(array.tobytes() for array in np.load(path).values())
        elif (name.startswith("run.zarr/") and "/c" in name) or name.endswith(
            (".png", ".csv", ".txt", ".nc")
        ):
            text = path.read_bytes()
        else:
            continue
        found[name] = hashlib.sha256(text).hexdigest()
    ends = (".part", ".partial", ".lock")
    left = [p for p in out.rglob("*") if p.name.endswith(ends) and "run.zarr" not in p.parts]
    return found | {"left over": str(left)} if left else found


def main(folder: Path, kills: int, seed: int) -> dict:
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "w.npy", np.random.default_rng(0).standard_normal((20, 30)))
    names = {"matrix": folder / "w.npy"} | {n: folder / n for n in ("one", "two", "finished")}
    for name, part in (("one", "1/2"), ("two", "2/2"), ("finished", "1/1")):
        run([*COMMANDS["linear"].split(), "--shard", part, "--out", str(folder / name)])
    commands = {n: [w.format(**names) for w in text.split()] for n, text in COMMANDS.items()}
    suffix = {"report": ".html"}
    expected, took = {}, {}
    for name, words in commands.items():
        out = folder / f"{name}-expected{suffix.get(name, '')}"
        begin = time.monotonic()
        run([*words, "--out", str(out)])
        expected[name], took[name] = content(out), time.monotonic() - begin
    killed, runs, differ = collections.Counter(dict.fromkeys(commands, 0)), 0, []
    start_time = time.monotonic()
    while killed.total() < kills:
        name = min(killed, key=killed.get)
        out = folder / f"{name}-{runs}{suffix.get(name, '')}"
        start = words = [*commands[name], "--out", str(out)]
        for _ in range(min(rng.randint(1, 3), kills - killed.total())):
            begin = time.monotonic()
            finished = run(words, after=rng.uniform(0.2, 1.0) * took[name])
            if finished:  # faster than before, as what it compiles is kept
                took[name] = time.monotonic() - begin if words is start else took[name]
                break
            killed[name] += 1
            words = go_on(name, start, out)
        else:
            run(words)
        runs += 1
        if content(out) != expected[name]:
            differ.append(out.name)
        print(f"{killed.total()} kills, {out.name}", file=sys.stderr, flush=True)
    seconds = round(time.monotonic() - start_time)
    return {"kills": killed.total(), "of": killed, "runs": runs, "seconds": seconds, "differ": differ}


def go_on(name: str, start: list[str], out: Path) -> list[str]:
    if name in RESUMABLE and (out / "run.json").exists():
        return ["resume", str(out)]
    return [*start, "--overwrite"] if out.exists() else start


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
