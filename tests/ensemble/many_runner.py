"""Runs of the tiny ensemble that need a process, or several, of their own.

python many_runner.py devices OUT MODEL 1 2 8       # with so many devices each, into OUT/1, OUT/2, OUT/8
python many_runner.py process OUT I N PORT STEPS    # process I of N of one run in OUT, new or to be resumed
"""

import os
import sys
from pathlib import Path

import jax
from tiny import tiny

import dysonjax as dj
from dysonjax.checks import RunError
from dysonjax.cli.distributed import ProcessOptions, join

GRID = dj.Grid(lr=[0.1, 0.3, 9.0], sigma_w=1.0, batch_size=[2, 4], seeds=6)
RECORDS = (0, 7, 24)


def train(out: Path, steps: int = 24, **options):
    return dj.train(
        tiny(), GRID, steps, (*RECORDS[:2], steps), out=out, x64=True, tile=4, keep_weights="all",
        optimizer="momentum", **options,
    )  # fmt: skip


def cache(devices: int) -> None:
    jax.config.update("jax_num_cpu_devices", devices)
    jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[2] / ".jax_cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def on_devices(out: Path, name: str, counts: list[int]) -> None:
    cache(max(counts))
    for count in counts:
        if name == "tiny":
            train(out / str(count), devices=count)
        else:
            grid = dj.Grid(lr=[0.25, 0.5, 1.0], sigma_w=[0.5, 2.0, 8.0], batch_size=4, seeds=5)
            model = dj.models.teacher_student(batches=20)
            dj.train(
                model, grid, 200, (0, 200), out=out / str(count), x64=True, keep_weights="last", devices=count
            )


def as_process(out: Path, index: int, count: int, port: int, steps: int) -> None:
    cache(1)
    resume = (out / "run.zarr").exists()
    join(ProcessOptions(True, f"127.0.0.1:{port}", count, index, join_seconds=100.0))
    try:
        run = train(out, steps, resume=resume, save_every=0.5)
    except RunError as error:
        print(error, flush=True)
        os._exit(1)
    print(run.summary["device"], flush=True)
    os._exit(0)  # as the commands do


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    if what == "devices":
        on_devices(Path(folder), rest[0], [int(n) for n in rest[1:]])
    else:
        as_process(Path(folder), *map(int, rest))
