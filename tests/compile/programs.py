"""Programs drawn at random: arrays of numbers, integers and truth values made from each other, step by step.

Errors in what is kept where, in which order, what is shared and what is written over need no formula to be
seen. Numbers stay small, and whole numbers and truth values depend on none that is rounded.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

SIDE = 6

NUMBERS = [
    lambda x, y, n, t: x + y,
    lambda x, y, n, t: x * jnp.tanh(y),
    lambda x, y, n, t: jnp.where(t, x, y),
    lambda x, y, n, t: jnp.where(t[0], x - y, y[0, 0]),
    lambda x, y, n, t: jnp.maximum(x, y.T),
    lambda x, y, n, t: 0.3 * (x @ y),
    lambda x, y, n, t: y - 0.1 * (x.T @ y),
    lambda x, y, n, t: x.reshape(3, 12).sum(1).repeat(2)[:, None] + y,
    lambda x, y, n, t: jnp.exp(-(x**2)) / (1 + (y**2).sum(-1, keepdims=True)),
    lambda x, y, n, t: jnp.concatenate([y[4:], x[:4]]),
    lambda x, y, n, t: jnp.roll(x, 1, axis=1) + y.max(0),
    lambda x, y, n, t: x * n.astype(x.dtype) / 8,
    lambda x, y, n, t: x + t.astype(x.dtype) * t.sum() / 9,
    lambda x, y, n, t: x[n[0] % SIDE] + jnp.take_along_axis(y, n % SIDE, axis=1),
    lambda x, y, n, t: lax.dynamic_slice(jnp.pad(x, 2), (n[0, 0], n[1, 1]), (SIDE, SIDE)) - y,
    lambda x, y, n, t: x.at[n[2] % SIDE].add(y),
    lambda x, y, n, t: x.at[jnp.array([3, 1])].set(y[:2]),
    lambda x, y, n, t: lax.cond(t[0, 0], lambda x: x[::-1], lambda x: 2 * x, x),
    lambda x, y, n, t: lax.scan(lambda c, r: (c * 0.5 + r, c), x[0], y)[1],
    lambda x, y, n, t: jnp.broadcast_to(x[:, 2:3], x.shape) * y[1],
]
INTEGERS = [
    lambda x, n, m, t: n + m,
    lambda x, n, m, t: n * 3 - m.T,
    lambda x, n, m, t: n // m,
    lambda x, n, m, t: n % (m + 1),
    lambda x, n, m, t: n ^ (m << 2) | (n >> 1),
    lambda x, n, m, t: lax.shift_right_logical(n, abs(m)),
    lambda x, n, m, t: jnp.where(t, n, -m),
    lambda x, n, m, t: jnp.where(n > m, n[0], m[:, :1]),
    lambda x, n, m, t: jnp.floor(4 * x).astype(n.dtype),
    lambda x, n, m, t: n + t.astype(n.dtype),
    lambda x, n, m, t: n.sum(0, dtype=n.dtype) + m.max(1)[:, None],
    lambda x, n, m, t: n[m[0] % SIDE][:, ::-1],
    lambda x, n, m, t: jnp.clip(n, m.min(), 5),
    lambda x, n, m, t: n @ m,
]
TRUTHS = [
    lambda x, n, s, t: s & ~t,
    lambda x, n, s, t: s ^ t.T,
    lambda x, n, s, t: (s | (n > 2)) != t,
    lambda x, n, s, t: jnp.where(t, s, n % 2 == 0),
    lambda x, n, s, t: s <= t[::-1],
    lambda x, n, s, t: s.any(0) | t.all(1)[:, None],
    lambda x, n, s, t: jnp.concatenate([s[2:], t[:2]]),
    lambda x, n, s, t: s[n[0] % SIDE] > t[:, :1],
    lambda x, n, s, t: jnp.pad(s[1:-1, 1:], ((1, 1), (0, 1)), constant_values=True),
    lambda x, n, s, t: lax.dynamic_slice(jnp.tile(s, (2, 2)), (n[0, 1], n[2, 0]), (SIDE, SIDE)),
    lambda x, n, s, t: n.astype(bool),
    lambda x, n, s, t: jnp.maximum(s, t) ^ (np.arange(36).reshape(6, 6) % 3 == 0),
]


def drawn(seed: int, steps: int):
    """A function (world, arrays, index) -> arrays: three of numbers, one of integers, one of truths."""
    rng = np.random.default_rng(seed)
    plan = []
    counts = {"x": 5, "n": 3, "t": 3}  # the state and the world
    for _ in range(steps):
        kind = rng.choice(["x", "n", "t"], p=[0.5, 0.25, 0.25])
        rule = rng.integers(len({"x": NUMBERS, "n": INTEGERS, "t": TRUTHS}[kind]))
        # Mostly what is new, so that little is left unused.
        places = {k: rng.integers(max(0, count - 4), count, 2) for k, count in counts.items()}
        plan.append((kind, rule, places))
        counts[kind] += 1
    kept = [*rng.integers(3, counts["x"], 3), rng.integers(1, counts["n"]), rng.integers(1, counts["t"])]

    def function(world, arrays, index):
        *numbers, integers, truths = arrays
        x = [*numbers, world[0], jnp.sin(world[0]).T]
        n = [integers, world[1], world[1] + index.astype(world[1].dtype)]
        t = [truths, world[2], ~world[2]]
        for kind, rule, places in plan:
            (a, b), (c, d), (e, f) = (places[k] for k in "xnt")
            if kind == "x":
                x.append(jnp.clip(NUMBERS[rule](x[a], x[b], n[c], t[e]), -2, 2))
            elif kind == "n":
                # A number that is rounded otherwise could become another integer: that of the world is exact.
                n.append(INTEGERS[rule](world[0], n[c], n[d], t[e]) % 11 - 3)
            else:
                t.append(TRUTHS[rule](x[a], n[c], t[e], t[f]))
        return [*(x[k] for k in kept[:3]), n[kept[3]], t[kept[4]]]

    return function


def state(dtype, integer) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The arrays and the world."""
    rng = np.random.default_rng(1)
    shape = SIDE, SIDE
    arrays = [rng.standard_normal(shape).astype(dtype) for _ in range(3)]
    arrays += [rng.integers(-3, 8, shape).astype(integer), rng.random(shape) > 0.5]
    world = [rng.standard_normal(shape).astype(dtype), rng.integers(-3, 8, shape).astype(integer)]
    return arrays, [*world, rng.random(shape) > 0.5]
