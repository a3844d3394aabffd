"""Level-steps per second of the Dyson integrators beside a plain NumPy loop and diffrax (where installed).

    python benchmarks/dyson.py [--members 100000] [--levels 10] [--steps 1000] [--baseline-steps 20]

The baselines take plain Euler–Maruyama steps, which let levels cross; they are here for speed alone.
"""

import argparse
import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import jax.numpy as jnp
import numpy as np

DT = 0.01


def numpy_loop(x, steps):
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(steps):
        distance = x[:, :, None] - x[:, None, :]
        np.einsum("mii->mi", distance)[:] = np.inf
        force = (1 / distance).sum(-1) - x
        x = np.sort(x + DT * force + np.sqrt(2 * DT) * rng.normal(size=x.shape), axis=1)
    return time.perf_counter() - start


def diffrax_loop(x, steps):
    import diffrax

    def force(t, x, args):
        distance = x[:, None] - x[None, :] + jnp.diag(jnp.full(x.shape[0], jnp.inf))
        return (1 / distance).sum(-1) - x

    def solve(x, key):
        path = diffrax.VirtualBrownianTree(0.0, steps * DT, DT / 2, (x.shape[0],), key)
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(force),
            diffrax.ControlTerm(lambda t, x, args: np.sqrt(2) * jnp.eye(x.shape[0]), path),
        )
        return diffrax.diffeqsolve(
            terms, diffrax.Euler(), 0.0, steps * DT, DT, x, max_steps=steps + 2, throw=False
        ).ys

    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(solve))
        args = jnp.asarray(x), jax.random.split(jax.random.key(0), len(x))
        jax.block_until_ready(run(*args))
        start = time.perf_counter()
        jax.block_until_ready(run(*args))
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--levels", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--baseline-steps", type=int, default=20)
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", os.cpu_count())

    from dysonjax import dyson

    n = options.levels
    x0 = np.tile(np.sqrt(2 * n) * np.linspace(-0.9, 0.9, n), (options.members, 1))
    for method, share in (("implicit", 1), ("matrix", 20)):
        members, steps = x0[: max(1, len(x0) // share)], max(1, options.steps // share)
        path = dyson.integrate(
            dyson.quadratic(),
            1.0,
            members,
            steps * DT,
            steps,
            1.0,
            jax.random.key(0),
            method=method,
            records=2,
        )
        print(
            f"{method:10s} {path.level_steps_per_second:10.3g} level-steps/s  {path.seconds:.1f} s for "
            f"{len(members)} members x {n} levels x {steps} steps, compiled in {path.compile_seconds:.1f} s"
        )
    few = x0[: min(len(x0), 10_000)]
    size = few.size * options.baseline_steps
    print(f"{'numpy':10s} {size / numpy_loop(few, options.baseline_steps):10.3g} level-steps/s")
    try:
        print(f"{'diffrax':10s} {size / diffrax_loop(few, options.baseline_steps):10.3g} level-steps/s")
    except ImportError:
        print("diffrax    not installed")


if __name__ == "__main__":
    main()
