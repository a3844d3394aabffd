"""Throughput of the linear 2×2 network: this engine, a plain vmap, a NumPy loop over networks, a C kernel.

Z = 1, gradient noise, |B| = 8, ten learning rates 0.01 ... 0.1 times the seeds; the learning rates of a seed
share its samples and noise, in the engine and in the C kernel.
"""

import numpy as np

from dysonjax.bench import frame

RATES = [0.01 * (index + 1) for index in range(10)]
SIZE, SAMPLES, EPSILON, WIDTH = 2, 8, 0.1, 0.1
POINTS = len(RATES)
DEFAULTS = {"seeds": 64, "steps": 100_000}
OPTIONS: dict[str, tuple[str, ...]] = {}


def flops(setting: dict) -> int:
    """Of one network-step: gradient, loss and update; the second moments of a seed's samples left out."""
    return 2 * SIZE**3 + 6 * SIZE**2


def engine(setting: dict, backend: str = "auto") -> frame.Prepared:
    import dysonjax as dj

    model = dj.models.linear(epsilon=EPSILON)
    grid = dj.Grid(lr=RATES, batch_size=SAMPLES, sigma_w=WIDTH * SIZE**0.5, seeds=setting["seeds"])
    return frame.engine(model, grid, setting["steps"], backend=backend)


def xla(setting: dict) -> frame.Prepared:
    """This engine where no step is compiled to C."""
    return engine(setting, backend="xla")


def plain_vmap(setting: dict) -> frame.Prepared:
    """A scan over steps, vmapped over every member, each with its own noise."""
    import jax
    import jax.numpy as jnp

    steps = min(setting["steps"], 1000)
    lr = jnp.tile(jnp.array(RATES), setting["seeds"])
    keys = jax.random.split(jax.random.key(0), len(lr))

    def train(key, lr):
        def step(weight, t):
            key_x, key_noise = jax.random.split(jax.random.fold_in(key, t))
            x = jax.random.normal(key_x, (SAMPLES, SIZE))
            half = jax.random.normal(key_noise, (SIZE, SIZE))
            noise = EPSILON * (half + half.T) / (2 * SAMPLES) ** 0.5
            return weight - lr * ((weight - 2 * jnp.eye(SIZE)) @ (x.T @ x) / SAMPLES + noise), None

        start = WIDTH * jax.random.normal(key, (SIZE, SIZE))
        return jax.lax.scan(step, start, jnp.arange(steps))[0]

    return frame.vmapped(train, (keys, lr), steps)


def numpy_loop(setting: dict) -> frame.Prepared:
    return frame.looped(numpy_networks, 2, 5000)


def numpy_networks(networks: int, steps: int) -> None:
    rng = np.random.default_rng(0)
    teacher = 2 * np.eye(SIZE)
    for _ in range(networks):
        weight = WIDTH * rng.standard_normal((SIZE, SIZE))
        for _ in range(steps):
            x = rng.standard_normal((SAMPLES, SIZE))
            half = rng.standard_normal((SIZE, SIZE))
            noise = EPSILON * (half + half.T) / (2 * SAMPLES) ** 0.5
            weight -= 0.1 * ((weight - teacher) @ (x.T @ x) / SAMPLES + noise)


def limit(setting: dict) -> frame.Prepared:
    """The C kernel with the same normals."""
    from dysonjax.bench import limits

    def arguments(rng, shape):
        rates = limits.aligned(RATES)
        teacher = limits.aligned(np.broadcast_to(2 * np.eye(SIZE)[..., None], (SIZE, SIZE, limits.LANES)))
        weights = limits.aligned(WIDTH * rng.standard_normal((*shape, SIZE, SIZE, limits.LANES)))
        return lambda keys, where: (SAMPLES, EPSILON, 1600.0, rates, keys, teacher, weights[where])

    return frame.kernel("linear", setting, POINTS, arguments)


VARIANTS = {"engine": engine, "xla": xla, "plain_vmap": plain_vmap, "numpy_loop": numpy_loop, "limit": limit}
