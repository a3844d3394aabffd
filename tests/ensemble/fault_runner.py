"""Start a run, kill it with SIGKILL again and again, resume it, and compare with a run that was left alone.

    python fault_runner.py FOLDER KILLS SEED

kills runs so many times, each up to five times: by the clock at a random moment, or by itself at a random
write of a chunk or a checkpoint: before it, in the middle of it, or after it. Prints one line of JSON.
Children are forked from this process, which has imported everything but has not started JAX.
"""

import collections
import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np
from tiny import tiny

import dysonjax as dj
from dysonjax.ensemble import jobs, session, sums

GRID = dj.Grid(lr=[0.1, 0.3, 9.0], batch_size=4, seeds=8)
STEPS, RECORDS = 400, (0, 7, 150, 400)


def train(folder: Path, resume: bool, trouble, started: int) -> None:
    """In the child: begin or go on; `trouble` installs what will kill it."""
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[2] / ".jax_cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    session.SAVE_AT_RECORDS_SECONDS, session.SAVE_COST = 0.0, 0.0
    jobs.Pace.piece = lambda self, left: min(40, left)

    told = []

    def progress(done, total):
        if not told:
            told.append(os.write(started, b"."))

    trouble()
    warnings.simplefilter("ignore")
    dj.train(
        tiny(), GRID, STEPS, RECORDS, out=folder, resume=resume, save_every=1e-9, x64=True, tile=3,
        optimizer="momentum", keep_weights="all", progress=progress,
    )  # fmt: skip


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def at_write(number: int, moment: str):
    """Kill this process at its n-th write of a chunk, of sums or of a checkpoint."""
    count = 0

    def now() -> bool:
        nonlocal count
        count += 1
        return count == number

    def install():
        put, savez = sums.put, np.savez

        def torn_put(path, content, aside=None):
            if not now():
                return put(path, content, aside)
            if moment == "middle":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_suffix(".torn.partial").write_bytes(content[: len(content) // 2])
            elif moment == "after":
                put(path, content, aside)
            die()

        def torn_savez(file, **arrays):
            here = now()
            if here and moment == "before":
                die()
            savez(file, **arrays)
            if here:
                if moment == "middle":
                    file.flush()
                    file.truncate(file.tell() // 2)
                die()

        sums.put, np.savez = torn_put, torn_savez

    return install


def child(folder: Path, resume: bool, trouble=lambda: None, after: float | None = None) -> bool:
    """Whether the child came to its end; `after`: kill it so many seconds after training has begun."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            train(folder, resume, trouble, write)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    if after is not None:
        os.read(read, 1)
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(read)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"a run in {folder} failed")
    return not os.WIFSIGNALED(status)


def content(folder: Path) -> dict[str, bytes]:
    """Every chunk of the store, and what the summary says of the physics."""
    root = folder / "run.zarr"
    files = {
        str(p.relative_to(root)): p.read_bytes()
        for p in root.rglob("*")
        if p.is_file() and p.name != "zarr.json" and ".partial" not in p.name
    }
    summary = json.loads(json.loads((root / "zarr.json").read_text())["attributes"]["summary"])
    files["summary"] = str([summary[key] for key in ("members", "steps", "diverged")]).encode()
    return files


def main(folder: Path, kills: int, seed: int) -> dict:
    rng = random.Random(seed)
    child(folder / "reference", False)
    expected = content(folder / "reference")
    killed, runs, identical = collections.Counter(), 0, 0
    while killed.total() < kills:
        run, finished = folder / str(runs), False
        for _ in range(min(5, kills - killed.total())):
            resume = (run / "run.zarr").exists()
            how = rng.choice(["clock", "before", "middle", "after"])
            if how == "clock":
                finished = child(run, resume, after=rng.uniform(0, 1.0))
            else:
                finished = child(run, resume, at_write(rng.randint(1, 60), how))
            if finished:
                break
            killed[how] += 1
        if not finished:
            child(run, (run / "run.zarr").exists())
        runs += 1
        identical += content(run) == expected
    return {"kills": killed.total(), "how": killed, "runs": runs, "identical": identical}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
