"""Throughput of the 209 729-parameter nano-GPT: this engine, loops in JAX and PyTorch, the products alone.

Batch 16, context 32, AdamW, 65 characters. The JAX loop is what one writes first in flax: a jitted step of
one network, called from Python, on XLA's own threads. The PyTorch loop trains one network a core,
single-threaded. The limit is the time of a step's matrix products, read from the gradient's program, each by
itself with its operands in the cache, in the BLAS of NumPy, single-threaded on every core.
"""

import functools
import math
import time
from collections import Counter
from typing import Any

import numpy as np

from dysonjax.bench import frame

WIDTH, HEADS, LAYERS, CONTEXT, CHARACTERS, BATCH = 64, 4, 4, 32, 65, 16
POINTS = 1
DEFAULTS = {"seeds": 4, "steps": 1000}  # the command makes a record for every thousand steps, too
FEW = 200  # steps that are enough for a loop
OPTIONS: dict[str, tuple[str, ...]] = {}


def flops(setting: dict) -> int:
    """Products of one network-step, forward and twice backward; the lookup of embeddings left out."""
    tokens = BATCH * CONTEXT
    weights = LAYERS * 12 * WIDTH**2 + WIDTH * CHARACTERS
    attention = LAYERS * 2 * CONTEXT * WIDTH
    return 3 * 2 * tokens * (weights + attention)


def corpus():
    """Random characters: the cost of a step does not depend on the text."""
    from dysonjax.models.corpus import Corpus

    tokens = np.random.default_rng(0).integers(0, CHARACTERS, 100_000).astype(np.uint8)
    vocabulary = "".join(chr(33 + i) for i in range(CHARACTERS))
    return Corpus("random", "", vocabulary, tokens[10_000:], tokens[:10_000])


def engine(setting: dict, backend: str = "auto") -> frame.Prepared:
    import dysonjax as dj

    dj.one_device_per_core()  # before the model: arrays would settle how many devices there are
    grid = dj.Grid(lr=1e-3, batch_size=BATCH, seeds=setting["seeds"])
    model = dj.models.nanogpt(corpus())
    return frame.engine(model, grid, setting["steps"], optimizer="adamw", backend=backend)


def xla(setting: dict) -> frame.Prepared:
    """This engine where no step is compiled to C; fewer steps, so that its one record weighs more."""
    return engine(setting | {"steps": min(setting["steps"], FEW)}, backend="xla")


def flax_loop(setting: dict) -> frame.Prepared:
    """One network, a jitted AdamW step called from Python."""
    import jax
    import jax.numpy as jnp
    import optax

    from dysonjax.models.nanogpt import NanoGPT, cross_entropy, initial

    module, steps = NanoGPT(CHARACTERS), min(setting["steps"], FEW)
    optimizer = optax.adamw(1e-3, weight_decay=0.01)
    text = jnp.asarray(corpus().train)

    def step(params, state, key):
        first = jax.random.randint(key, (BATCH, 1), 0, len(text) - CONTEXT)
        window = text[first + jnp.arange(CONTEXT + 1)].astype(jnp.int32)

        def loss(params):
            logits: Any = module.apply({"params": params}, window[:, :-1])
            return cross_entropy(logits, window[:, 1:])

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    params = jax.jit(lambda key: initial(module, key))(jax.random.key(0))
    state, key = optimizer.init(params), jax.random.key(1)
    begin = time.perf_counter()
    compiled = jax.jit(step).lower(params, state, key).compile()
    compile_seconds = time.perf_counter() - begin

    def work():
        now = params, state
        for index in range(steps):
            now = compiled(*now, jax.random.fold_in(key, index))
        jax.block_until_ready(now)

    work()
    return frame.Prepared(work, steps, compile_seconds)


def torch_loop(setting: dict) -> frame.Prepared:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise frame.Unavailable("PyTorch is not installed") from None
    return frame.looped(torch_networks, 1, min(setting["steps"], FEW))


def torch_networks(networks: int, steps: int) -> None:
    """The same model and optimiser in PyTorch, eager."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_attention, self.norm_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.key_query_value = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.projection = nn.Linear(WIDTH, WIDTH)
            self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))

        def forward(self, x):
            parts = self.key_query_value(self.norm_attention(x)).split(WIDTH, dim=2)
            k, q, v = (p.view(BATCH, CONTEXT, HEADS, -1).transpose(1, 2) for p in parts)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.projection(mixed.transpose(1, 2).reshape(BATCH, CONTEXT, WIDTH))
            return x + self.mlp(self.norm_mlp(x))

    torch.set_num_threads(1)
    text = torch.from_numpy(corpus().train.astype(np.int64))
    for _ in range(networks):
        embedding, position = nn.Embedding(CHARACTERS, WIDTH), nn.Parameter(torch.randn(CONTEXT, WIDTH))
        blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CHARACTERS))
        parameters = [*embedding.parameters(), position, *blocks.parameters(), *head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
        for _ in range(steps):
            first = torch.randint(len(text) - CONTEXT, (BATCH, 1))
            window = text[first + torch.arange(CONTEXT + 1)]
            logits = head(blocks(embedding(window[:, :-1]) + position))
            loss = F.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()


@functools.cache
def products() -> dict[tuple[int, int, int, int], int]:
    """How often each product stands in the gradient of the loss: (batch, m, k, n) -> number."""
    import jax
    import jax.numpy as jnp
    from jax.extend.core import jaxprs_in_params

    from dysonjax.models.nanogpt import NanoGPT, cross_entropy, initial

    module = NanoGPT(CHARACTERS)
    params = jax.eval_shape(lambda key: initial(module, key), jax.random.key(0))
    tokens = np.zeros((BATCH, CONTEXT), np.int32)

    def loss(params):
        logits: Any = module.apply({"params": params}, tokens)
        return cross_entropy(logits, jnp.asarray(tokens))

    found: Counter[tuple[int, int, int, int]] = Counter()

    def read(program):
        for equation in program.eqns:
            if equation.primitive.name == "dot_general":
                (summed, _), (batched, _) = equation.params["dimension_numbers"]
                left, right = (variable.aval for variable in equation.invars)
                k = math.prod(left.shape[axis] for axis in summed)
                batch = math.prod(left.shape[axis] for axis in batched)
                found[batch, left.size // (batch * k), k, right.size // (batch * k)] += 1
            for inner in jaxprs_in_params(equation.params):
                read(inner)

    read(jax.make_jaxpr(jax.grad(loss))(params).jaxpr)
    return dict(found)


def limit(setting: dict) -> frame.Prepared:
    return frame.looped(multiply, 1, min(setting["steps"], FEW))


def multiply(networks: int, steps: int) -> None:
    """The products of so many network-steps, one shape after the other."""
    rng = np.random.default_rng(0)
    for (batch, m, k, n), number in products().items():
        left, right = (rng.normal(size=size).astype(np.float32) for size in ((batch, m, k), (batch, k, n)))
        result = np.empty((batch, m, n), np.float32)
        for _ in range(networks * steps * number):
            np.matmul(left, right, out=result)


VARIANTS = {"engine": engine, "xla": xla, "flax_loop": flax_loop, "torch_loop": torch_loop, "limit": limit}
