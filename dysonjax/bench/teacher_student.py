"""Teacher-student throughput: this engine, a plain vmap, a NumPy loop over networks, the machine's peak.

Every variant trains the [3, 32, 16, 1] student of the published grid and uses all cores. Rates are medians
over repetitions, in network-steps/s, compilation excluded. Each variant runs in a fresh process, because the
number of JAX devices and XLA's threads are fixed when a process first uses them.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

WIDTHS = (3, 32, 16, 1)
VALUES = [2.0**k for k in range(-3, 9)]
# One network-step: products forward and backward and the update of the 32x16 matrix; activations left out.
FLOPS_PER_STEP = 2 * (2 * 4 * 32 * 16) + 2 * 32 * 16


def run(seeds: int = 8, steps: int = 4000, repetitions: int = 3, say=print) -> dict:
    """Rates of all variants and their ratios to this engine's."""
    cores = len(os.sched_getaffinity(0))
    rates = {}
    for name in ("engine", "plain_vmap", "numpy_loop", "peak"):
        say(f"measuring {name} ...")
        rates[name] = _in_fresh_process(name, seeds, steps, repetitions, cores)
    engine, peak = rates["engine"], rates.pop("peak")
    baselines = {name: rates[name] for name in ("plain_vmap", "numpy_loop")}
    return {
        "name": "teacher-student",
        "net_steps_per_second": engine,
        "baselines": baselines,
        "ratios": {name: engine / rate for name, rate in baselines.items()},
        "peak_flops_per_second": peak,
        "share_of_peak": engine * FLOPS_PER_STEP / peak,
        "flops_per_network_step": FLOPS_PER_STEP,
        "cores": cores,
        "members": len(VALUES) ** 2 * seeds,
        "steps": steps,
        "repetitions": repetitions,
    }


def _in_fresh_process(name: str, seeds: int, steps: int, repetitions: int, cores: int) -> float:
    command = [
        sys.executable,
        "-m",
        "dysonjax.bench.teacher_student",
        name,
        *map(str, (seeds, steps, repetitions, cores)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"the benchmark {name} failed: {result.stderr.strip().splitlines()[-1]}")
    return json.loads(result.stdout.splitlines()[-1])


def engine(seeds: int, steps: int, repetitions: int, cores: int) -> float:
    """This engine, as `dysonjax phase-diagram` uses it."""
    import dysonjax as dj

    dj.one_device_per_core()
    model = dj.models.teacher_student(WIDTHS)
    grid = dj.Grid(lr=VALUES, sigma_w=VALUES, batch_size=4, seeds=seeds)
    runs = [dj.train(model, grid, steps=steps, records=1) for _ in range(repetitions)]
    return statistics.median(run.summary["net_steps_per_second"] for run in runs)


def plain_vmap(seeds: int, steps: int, repetitions: int, cores: int) -> float:
    """A jitted scan over steps, vmapped over every member, each with its own data; XLA's own threads."""
    import jax
    import jax.numpy as jnp

    steps = min(steps, 2000)  # enough to leave the start behind, and a tenth of the engine's speed
    model_seeds, points = seeds, [(lr, sigma) for lr in VALUES for sigma in VALUES]
    lr = jnp.tile(jnp.array([p[0] for p in points]), model_seeds)
    sigma = jnp.tile(jnp.array([p[1] for p in points]), model_seeds)
    keys = jnp.repeat(jax.random.split(jax.random.key(0), model_seeds), len(points))
    batches = 100  # per member; a thousand would need gigabytes and no less time a step

    def train(key, lr, sigma):
        keys = jax.random.split(key, 5)
        first = jax.random.normal(keys[0], (3, 32)) / 3**0.5
        teacher = jax.random.normal(keys[1], (32, 16)) / 32**0.5
        last = jax.random.normal(keys[2], (16, 1)) / 4
        x = jnp.tanh(jax.random.normal(keys[3], (batches, 4, 3)) @ first)
        y = jnp.tanh(x @ teacher) @ last

        def loss(w, x, y):
            return 0.5 * jnp.mean((jnp.tanh(x @ w) @ last - y) ** 2)

        def step(w, t):
            value, gradient = jax.value_and_grad(loss)(w, x[t % batches], y[t % batches])
            return jnp.where(value <= 100, w - lr * gradient, w), None

        return jax.lax.scan(step, sigma / 32**0.5 * jax.random.normal(keys[4], (32, 16)), jnp.arange(steps))[
            0
        ]

    compiled = jax.jit(jax.vmap(train)).lower(keys, lr, sigma).compile()
    return _median_rate(
        lambda: jax.block_until_ready(compiled(keys, lr, sigma)), len(lr) * steps, repetitions
    )


def numpy_loop(seeds: int, steps: int, repetitions: int, cores: int) -> float:
    """One network after the other in NumPy, one process a core."""
    steps, networks = max(200, steps // 4), 4
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:

        def work(steps=steps):
            list(pool.map(_numpy_networks, [networks] * cores, [steps] * cores))

        work(10)  # imports and first calls
        return _median_rate(work, networks * cores * steps, repetitions)


def _numpy_networks(networks: int, steps: int) -> None:
    from dysonjax.bench.numpy_loop import train_one

    rng = np.random.default_rng(0)
    for _ in range(networks):
        shapes = itertools.pairwise(WIDTHS)
        teacher = [rng.normal(size=shape) / shape[0] ** 0.5 for shape in shapes]
        x = rng.normal(size=(1000, 4, 3))
        y = np.tanh(np.tanh(x @ teacher[0]) @ teacher[1]) @ teacher[2]
        student = [teacher[0], rng.normal(size=(32, 16)) / 32**0.5, teacher[2]]
        train_one(student, [1], x, y, 0.1, steps)


def peak(seeds: int, steps: int, repetitions: int, cores: int) -> float:
    """FLOP/s of a large float32 product on all cores."""
    import jax
    import jax.numpy as jnp

    size = 2048
    matrix = jnp.ones((size, size))
    product = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    return _median_rate(lambda: jax.block_until_ready(product(matrix, matrix)), 2 * size**3, 10)


def _median_rate(work, amount: float, repetitions: int) -> float:
    work()
    times = []
    for _ in range(repetitions):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return amount / statistics.median(times)


if __name__ == "__main__":
    variants = {"engine": engine, "plain_vmap": plain_vmap, "numpy_loop": numpy_loop, "peak": peak}
    print(json.dumps(variants[sys.argv[1]](*map(int, sys.argv[2:]))))
