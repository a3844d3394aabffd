"""Throughput of the 256×64 network that learns a spike: this engine, a plain vmap, a NumPy loop.

Gradient noise, |B| = 16, sixteen points of learning rate and width times the seeds; the points of a seed
share its noise in the engine. Of a step almost all is the 16 384 normals and the update of as many weights.
"""

import numpy as np

from dysonjax.bench import frame

RATES, WIDTHS = [0.05, 0.1, 0.2, 0.4], [0.25, 0.5, 1.0, 2.0]
ROWS, COLUMNS, SAMPLES, EPSILON = 256, 64, 16, 0.3
POINTS = len(RATES) * len(WIDTHS)
DEFAULTS = {"seeds": 4, "steps": 500}
OPTIONS: dict[str, tuple[str, ...]] = {}


def flops(setting: dict) -> int:
    """Of one network-step: gradient, loss and update; the normals left out."""
    return 8 * ROWS * COLUMNS


def engine(setting: dict, backend: str = "auto") -> frame.Prepared:
    import dysonjax as dj

    model = dj.models.spiked_teacher(ROWS, COLUMNS, epsilon=EPSILON)
    grid = dj.Grid(lr=RATES, batch_size=SAMPLES, sigma_w=WIDTHS, seeds=setting["seeds"])
    return frame.engine(model, grid, setting["steps"], backend=backend)


def xla(setting: dict) -> frame.Prepared:
    """This engine where no step is compiled to C."""
    return engine(setting, backend="xla")


def plain_vmap(setting: dict) -> frame.Prepared:
    """A scan over steps, vmapped over every member, each with its own noise."""
    import jax
    import jax.numpy as jnp

    steps = min(setting["steps"], 100)
    lr = jnp.tile(jnp.repeat(jnp.array(RATES), len(WIDTHS)), setting["seeds"])
    width = jnp.tile(jnp.array(WIDTHS), len(RATES) * setting["seeds"])
    keys = jax.random.split(jax.random.key(0), len(lr))
    teacher = jnp.zeros((ROWS, COLUMNS)).at[0, 0].set(1.0)

    def train(key, lr, width):
        def step(weight, t):
            noise = jax.random.normal(jax.random.fold_in(key, t), (ROWS, COLUMNS))
            return weight - lr * (weight - teacher + EPSILON / SAMPLES**0.5 * noise), None

        start = width / ROWS**0.5 * jax.random.normal(key, (ROWS, COLUMNS))
        return jax.lax.scan(step, start, jnp.arange(steps))[0]

    return frame.vmapped(train, (keys, lr, width), steps)


def numpy_loop(setting: dict) -> frame.Prepared:
    return frame.looped(numpy_networks, 2, 500)


def numpy_networks(networks: int, steps: int) -> None:
    """In single precision, as the engine trains."""
    rng = np.random.default_rng(0)
    teacher = np.zeros((ROWS, COLUMNS), np.float32)
    teacher[0, 0] = 1
    scale, lr = np.float32(EPSILON / SAMPLES**0.5), np.float32(0.1)
    for _ in range(networks):
        weight = rng.standard_normal((ROWS, COLUMNS), dtype=np.float32) / np.float32(ROWS**0.5)
        for _ in range(steps):
            noise = rng.standard_normal((ROWS, COLUMNS), dtype=np.float32)
            weight -= lr * (weight - teacher + scale * noise)


VARIANTS = {"engine": engine, "xla": xla, "plain_vmap": plain_vmap, "numpy_loop": numpy_loop}
