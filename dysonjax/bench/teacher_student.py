"""Teacher-student throughput: this engine, a plain vmap, a NumPy loop over networks, a C kernel, the peak.

Every variant trains the [3, 32, 16, 1] student of the published 12 x 12 grid on all cores. Options: train
("middle", "all"), data ("fixed", "online"), randomness ("common", "independent").
"""

import itertools

import numpy as np

from dysonjax.bench import frame

WIDTHS = (3, 32, 16, 1)
VALUES = [2.0**k for k in range(-3, 9)]
SAMPLES = 4
POINTS = len(VALUES) ** 2
DEFAULTS = {"seeds": 8, "steps": 48_000}
OPTIONS = {
    "train": ("middle", "all"),
    "data": ("fixed", "online"),
    "randomness": ("common", "independent"),
}


def flops(setting: dict) -> int:
    """Of one network-step: products forward and backward and the update; activations left out."""
    learned = [(32, 16)] if setting["train"] == "middle" else [(3, 32), (32, 16), (16, 1)]
    products = sum(2 * (2 * SAMPLES * n * m) for n, m in learned)
    below = sum(2 * SAMPLES * n * m for n, m in learned[1:])  # the error signal of the layer below
    return products + below + sum(2 * n * m for n, m in learned)


def engine(setting: dict, backend: str = "auto") -> frame.Prepared:
    import dysonjax as dj

    batches = 100 if setting["randomness"] == "independent" else 1000  # own data take memory
    model = dj.models.teacher_student(WIDTHS, train=setting["train"], data=setting["data"], batches=batches)
    grid = dj.Grid(lr=VALUES, sigma_w=VALUES, batch_size=SAMPLES, seeds=setting["seeds"])
    return frame.engine(model, grid, setting["steps"], randomness=setting["randomness"], backend=backend)


def xla(setting: dict) -> frame.Prepared:
    """This engine where no step is compiled to C."""
    return engine(setting, backend="xla")


def plain_vmap(setting: dict) -> frame.Prepared:
    """A scan over steps, vmapped over every member, each with its own data."""
    import jax
    import jax.numpy as jnp

    steps = min(setting["steps"], 1000)  # a tenth of the engine's speed
    online, every = setting["data"] == "online", setting["train"] == "all"
    points = [(lr, sigma) for lr in VALUES for sigma in VALUES]
    lr = jnp.tile(jnp.array([p[0] for p in points]), setting["seeds"])
    sigma = jnp.tile(jnp.array([p[1] for p in points]), setting["seeds"])
    keys = jnp.repeat(jax.random.split(jax.random.key(0), setting["seeds"]), len(points))
    batches = 100  # per member; a thousand would need gigabytes and no less time a step

    def network(weights, x):
        return jnp.tanh(jnp.tanh(x @ weights[0]) @ weights[1]) @ weights[2]

    def train(key, lr, sigma):
        keys = jax.random.split(key, 7)
        shapes = list(itertools.pairwise(WIDTHS))
        teacher = [jax.random.normal(k, s) / s[0] ** 0.5 for k, s in zip(keys[:3], shapes, strict=True)]
        student = [
            sigma * jax.random.normal(k, s) / s[0] ** 0.5 for k, s in zip(keys[3:6], shapes, strict=True)
        ]
        x = jax.random.normal(keys[6], (batches, SAMPLES, 3))
        fixed = jnp.tanh(x @ teacher[0])

        def loss(weights, features, y):
            if every:
                return 0.5 * jnp.mean((network(weights, features) - y) ** 2)
            return 0.5 * jnp.mean((jnp.tanh(features @ weights[1]) @ teacher[2] - y) ** 2)

        def step(weights, t):
            if online:
                inputs = jax.random.normal(jax.random.fold_in(keys[6], t), (SAMPLES, 3))
                features = inputs if every else jnp.tanh(inputs @ teacher[0])
                y = network(teacher, inputs)
            else:
                features = (x if every else fixed)[t % batches]
                y = network(teacher, x[t % batches])
            value, gradient = jax.value_and_grad(loss)(weights, features, y)
            return jax.tree.map(lambda w, g: jnp.where(value <= 100, w - lr * g, w), weights, gradient), None

        return jax.lax.scan(step, student, jnp.arange(steps))[0]

    return frame.vmapped(train, (keys, lr, sigma), steps)


def numpy_loop(setting: dict) -> frame.Prepared:
    train = numpy_networks if setting["train"] == "middle" else numpy_networks_all
    return frame.looped(train, 4, max(200, min(setting["steps"] // 4, 1000)))


def numpy_networks(networks: int, steps: int, learned: tuple[int, ...] = (1,)) -> None:
    from dysonjax.bench.numpy_loop import train_one

    rng = np.random.default_rng(0)
    for _ in range(networks):
        shapes = list(itertools.pairwise(WIDTHS))
        teacher = [rng.normal(size=shape) / shape[0] ** 0.5 for shape in shapes]
        x = rng.normal(size=(1000, SAMPLES, 3))
        y = np.tanh(np.tanh(x @ teacher[0]) @ teacher[1]) @ teacher[2]
        student = [
            rng.normal(size=shape) / shape[0] ** 0.5 if layer in learned else teacher[layer]
            for layer, shape in enumerate(shapes)
        ]
        train_one(student, list(learned), x, y, 0.1, steps)


def numpy_networks_all(networks: int, steps: int) -> None:
    numpy_networks(networks, steps, (0, 1, 2))


def limit(setting: dict) -> frame.Prepared:
    """The C kernel, one thread a core; as many networks as the engine trains, up to whole vectors."""
    from dysonjax.bench import limits

    if setting["data"] == "online":
        raise frame.Unavailable("there is no C kernel for online data")
    common, steps, batches = setting["randomness"] == "common", setting["steps"], 1000
    try:
        kernels = limits.load("teacher_student", "float" if common else "lane")
    except RuntimeError as error:
        raise frame.Unavailable(str(error)) from None
    count = frame.cores()
    blocks = max(1, len(VALUES) ** 2 * setting["seeds"] // (count * limits.LANES))
    lanes = () if common else (limits.LANES,)
    if not common:
        batches, blocks = 100, min(blocks, 32)
    rng = np.random.default_rng(0)
    wide = 3 if setting["train"] == "all" else 32

    def tensor(*shape):
        return limits.aligned(rng.normal(size=shape))

    lr = limits.aligned(np.full((blocks, limits.LANES), 0.1))
    # Vectors of own data belong to one block of networks.
    parts = 1 if common else blocks
    x = [limits.aligned(np.tanh(rng.normal(size=(batches, wide, SAMPLES, *lanes)))) for _ in range(parts)]
    y = [limits.aligned(0.3 * rng.normal(size=(batches, SAMPLES, *lanes))) for _ in range(parts)]
    z = limits.aligned(0.25 * rng.normal(size=(16, *lanes)))
    weights = [
        [
            limits.aligned(rng.normal(size=(blocks, m, n, limits.LANES)) / n**0.5)
            for n, m in itertools.pairwise(WIDTHS)
        ]
        for _ in range(count)
    ]

    def train(core):
        for part in range(parts):
            size = blocks if common else 1
            w1, w2, w3 = (w[part : part + size] for w in weights[core])
            arguments = size, steps, batches, lr[part:], x[part], y[part]
            if setting["train"] == "middle":
                limits.call(kernels.train_middle, *arguments, z, w2)
            else:
                limits.call(kernels.train_all, *arguments, w1, w2, w3)

    return frame.Prepared(lambda: limits.on_all_cores(train, count), count * blocks * limits.LANES * steps)


VARIANTS = {"engine": engine, "xla": xla, "plain_vmap": plain_vmap, "numpy_loop": numpy_loop, "limit": limit}
