"""RBM throughput in the published setting: this engine, a plain vmap, loops in NumPy and PyTorch, a C kernel.

N_v = N_h = 10, k = 3, |B| = 16 chains, ten learning rates 0.01 ... 0.1 times the seeds; the learning rates of
a seed share its normals, in the engine and in the C kernel. Option: sampler ("gibbs", "collapsed"). The loops
and the plain vmap run the literal sweeps in either case: nobody writes the collapsed law by hand.
"""

import numpy as np

from dysonjax.bench import frame

RATES = [0.01 * (index + 1) for index in range(10)]
SITES, CHAINS, SWEEPS, MU, WIDTH = 10, 16, 3, 3.0, 0.1
POINTS = len(RATES)
DEFAULTS = {"seeds": 64, "steps": 4000}
OPTIONS = {"sampler": ("gibbs", "collapsed")}


def flops(setting: dict) -> int:
    """Of one network-step: sweeps, second moments, gradient and the factor of the precision."""
    if setting["sampler"] == "gibbs":
        chains = SWEEPS * 2 * (2 * CHAINS * SITES**2)
    else:
        chains = 2 * (2 * CHAINS * SITES**2) + 5 * 2 * SITES**3 + SITES**3 // 3
    return chains + 2 * CHAINS * SITES**2 + 2 * (2 * SITES**3) + SITES**3 // 3


def normals(setting: dict) -> int:
    """Drawn a seed and step, for all its learning rates."""
    return CHAINS * SITES * (2 * SWEEPS if setting["sampler"] == "gibbs" else 1)


def lattice_covariance() -> np.ndarray:
    """Inverse of the lattice Laplacian plus mass² = 4 on a ring."""
    shift = np.roll(np.eye(SITES), 1, axis=1)
    return np.linalg.inv(6 * np.eye(SITES) - shift - shift.T)


def engine(setting: dict, backend: str = "auto") -> frame.Prepared:
    import dysonjax as dj

    model = dj.models.rbm(sampler=setting["sampler"])
    grid = dj.Grid(lr=RATES, batch_size=CHAINS, sigma_w=WIDTH * SITES**0.5, seeds=setting["seeds"])
    return frame.engine(model, grid, setting["steps"], backend=backend)


def xla(setting: dict) -> frame.Prepared:
    """This engine where no step is compiled to C."""
    return engine(setting, backend="xla")


def plain_vmap(setting: dict) -> frame.Prepared:
    """A scan over steps, vmapped over every member, each with its own noise."""
    import jax
    import jax.numpy as jnp

    steps = min(setting["steps"], 200)
    covariance = jnp.asarray(lattice_covariance(), jnp.float32)
    lr = jnp.tile(jnp.array(RATES), setting["seeds"])
    keys = jax.random.split(jax.random.key(0), len(lr))

    def train(key, lr):
        def step(state, t):
            weight, phi = state
            draws = jax.random.split(jax.random.fold_in(key, t), 2 * SWEEPS)
            for sweep in range(SWEEPS):
                h = phi @ weight + jax.random.normal(draws[2 * sweep], phi.shape)
                phi = h @ weight.T / MU**2 + jax.random.normal(draws[2 * sweep + 1], phi.shape) / MU
            return (weight + lr * (covariance - phi.T @ phi / CHAINS) @ weight, phi), None

        start = WIDTH * jax.random.normal(key, (SITES, SITES)), jnp.ones((CHAINS, SITES))
        return jax.lax.scan(step, start, jnp.arange(steps))[0][0]

    return frame.vmapped(train, (keys, lr), steps)


def numpy_loop(setting: dict) -> frame.Prepared:
    return frame.looped(numpy_networks, 2, 1000)


def numpy_networks(networks: int, steps: int) -> None:
    rng = np.random.default_rng(0)
    covariance = lattice_covariance()
    for _ in range(networks):
        weight, phi = WIDTH * rng.standard_normal((SITES, SITES)), np.ones((CHAINS, SITES))
        for _ in range(steps):
            for _ in range(SWEEPS):
                h = phi @ weight + rng.standard_normal(phi.shape)
                phi = h @ weight.T / MU**2 + rng.standard_normal(phi.shape) / MU
            weight += 0.1 * (covariance - phi.T @ phi / CHAINS) @ weight


def torch_loop(setting: dict) -> frame.Prepared:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise frame.Unavailable("PyTorch is not installed") from None
    return frame.looped(torch_networks, 2, 500)


def torch_networks(networks: int, steps: int) -> None:
    """The update through autograd of the energy difference, as PyTorch code for RBMs is written."""
    import torch

    torch.set_num_threads(1)
    covariance = torch.tensor(lattice_covariance(), dtype=torch.float32)
    for _ in range(networks):
        weight = (WIDTH * torch.randn(SITES, SITES)).requires_grad_()
        optimizer = torch.optim.SGD([weight], lr=0.1)
        phi = torch.ones(CHAINS, SITES)
        for _ in range(steps):
            with torch.no_grad():
                for _ in range(SWEEPS):
                    h = phi @ weight + torch.randn(CHAINS, SITES)
                    phi = h @ weight.T / MU**2 + torch.randn(CHAINS, SITES) / MU
            # Free energy φᵀ(μ² − WWᵀ)φ/2 of the data minus that of the chains.
            difference = phi.T @ phi / CHAINS - covariance
            loss = 0.5 * torch.sum(weight * (difference @ weight))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def limit(setting: dict) -> frame.Prepared:
    """The C kernel with the same normals."""
    from dysonjax.bench import limits

    def arguments(rng, shape):
        collapsed = int(setting["sampler"] == "collapsed")
        rates, covariance = limits.aligned(RATES), limits.aligned(lattice_covariance())
        weights = limits.aligned(WIDTH * rng.standard_normal((*shape, SITES, SITES, limits.LANES)))
        chains = limits.aligned(np.ones((*shape, CHAINS, SITES, limits.LANES)))
        return lambda keys, where: (collapsed, MU, rates, keys, covariance, weights[where], chains[where])

    return frame.kernel("rbm", setting, POINTS, arguments)


VARIANTS = {
    "engine": engine,
    "xla": xla,
    "plain_vmap": plain_vmap,
    "numpy_loop": numpy_loop,
    "torch_loop": torch_loop,
    "limit": limit,
}
