"""Operations that are written out in others: loops, branches, random numbers, joins and cuts of arrays."""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import threefry
from dysonjax.compile.graph import Node, Unsupported

if TYPE_CHECKING:
    from dysonjax.compile.lower import Builder

MOST_TURNS = 64  # of a loop that is written out


def scan(builder: "Builder", equation, inputs) -> list[Node]:
    params, body = equation.params, equation.params["jaxpr"]
    turns = params["length"]
    if turns > MOST_TURNS:
        raise Unsupported(f"a scan of {turns} steps")
    # Ranks tell what is carried and what is stacked; how JAX counts them depends on its version.
    carried = sum(o.aval.ndim == i.ndim for o, i in zip(equation.outvars, body.out_avals, strict=True))
    stacks = sum(o.aval.ndim != i.ndim for o, i in zip(equation.invars, body.in_avals, strict=True))
    constants = len(inputs) - carried - stacks
    fixed, carry, rows = inputs[:constants], inputs[constants:][:carried], inputs[constants + carried :]
    stacked = {}
    for turn in reversed(range(turns)) if params["reverse"] else range(turns):
        outputs = builder.inner(body, (*fixed, *carry, *(row(builder, r, turn) for r in rows)))
        carry, stacked[turn] = outputs[:carried], outputs[carried:]
    columns = zip(*(stacked[turn] for turn in range(turns)), strict=True)
    return [*carry, *(builder.traced(lambda *parts: jnp.stack(parts), *column)[0] for column in columns)]


def row(builder: "Builder", node: Node, index: int) -> Node:
    return builder.traced(lambda array: jax.lax.index_in_dim(array, index, keepdims=False), node)[0]


def while_loop(builder: "Builder", params, inputs) -> list[Node]:
    """A loop whose number of turns is known now."""
    of_condition, of_body = params["cond_nconsts"], params["body_nconsts"]
    fixed = inputs[:of_condition], inputs[of_condition:][:of_body]
    carry = inputs[of_condition + of_body :]
    for _ in range(MOST_TURNS + 1):
        (goes_on,) = builder.inner(params["cond_jaxpr"], (*fixed[0], *carry))
        if goes_on.op != "constant":
            raise Unsupported("a loop whose length depends on data")
        if not goes_on.params["value"]:
            return list(carry)
        carry = builder.inner(params["body_jaxpr"], (*fixed[1], *carry))
    raise Unsupported(f"a loop of more than {MOST_TURNS} turns")


def cond(builder: "Builder", params, inputs) -> list[Node]:
    """Both branches and a choice, as under vmap."""
    which, *rest = inputs
    branches = params["branches"]
    if which.op == "constant":
        return builder.inner(branches[int(np.clip(which.params["value"], 0, len(branches) - 1))], rest)
    if len(branches) != 2:
        raise Unsupported("a switch between more than two branches")
    no, yes = (builder.inner(branch, rest) for branch in branches)
    return [
        builder.traced(lambda w, n, y: jnp.where(w != 0, y, n), which, n, y)[0]
        for n, y in zip(no, yes, strict=True)
    ]


def _check_one_key(node: Node) -> None:
    if node.shape != (2,):
        raise Unsupported("an operation on several random keys at once")


def fold_in(builder: "Builder", params, inputs) -> list[Node]:
    _check_one_key(inputs[0])
    return builder.traced(
        lambda key, number: jnp.stack(threefry.block(key, jnp.uint32(0), number.astype(jnp.uint32))),
        *inputs,
    )


def split(builder: "Builder", params, inputs) -> list[Node]:
    _check_one_key(inputs[0])
    if len(params["shape"]) > 1:
        raise Unsupported("random keys in more than one axis")
    (count,) = params["shape"] or (1,)

    def keys(key):
        return jnp.stack(
            threefry.block(key, jnp.zeros(count, jnp.uint32), jnp.arange(count, dtype=jnp.uint32)), 1
        )

    return builder.traced(keys, *inputs)


def random_bits(builder: "Builder", params, inputs) -> list[Node]:
    _check_one_key(inputs[0])
    if params["bit_width"] not in (32, 64):
        raise Unsupported(f"random numbers of {params['bit_width']} bits")
    shape, wide = params["shape"], params["bit_width"] == 64

    def bits(key):
        counter = jnp.arange(math.prod(shape), dtype=jnp.uint32)
        left, right = threefry.block(key, jnp.zeros_like(counter), counter)
        if wide:
            return (left.astype(jnp.uint64) << 32 | right.astype(jnp.uint64)).reshape(shape)
        return (left ^ right).reshape(shape)

    return builder.traced(bits, *inputs)


def stack(builder: "Builder", params, inputs) -> list[Node]:
    def stacked(*parts):
        return jax.lax.concatenate([jnp.expand_dims(p, params["axis"]) for p in parts], params["axis"])

    return builder.traced(stacked, *inputs)


def unstack(builder: "Builder", params, inputs) -> list[Node]:
    axis = params["axis"]
    return [
        builder.traced(lambda a, i=i: jax.lax.index_in_dim(a, i, axis, keepdims=False), *inputs)[0]
        for i in range(inputs[0].shape[axis])
    ]


def tile(builder: "Builder", params, inputs) -> list[Node]:
    def tiled(array):
        between = [n for pair in zip(params["reps"], array.shape, strict=True) for n in pair]
        places = tuple(range(1, 2 * array.ndim, 2))
        shape = [r * n for r, n in zip(params["reps"], array.shape, strict=True)]
        return jax.lax.reshape(jax.lax.broadcast_in_dim(array, between, places), shape)

    return builder.traced(tiled, *inputs)


def platform_index(builder: "Builder", params, inputs) -> list[Node]:
    fits = [names is None or "cpu" in names for names in params["platforms"]]
    return [builder.literal(np.int32(fits.index(True)))]


def parts(builder: "Builder", params, inputs) -> list[Node]:
    """`split` of an array into neighbouring parts."""
    edges = np.cumsum([0, *params["sizes"]])
    return [
        builder.traced(
            lambda a, i=i: jax.lax.slice_in_dim(a, edges[i], edges[i + 1], axis=params["axis"]), *inputs
        )[0]
        for i in range(len(edges) - 1)
    ]


def eigh(builder: "Builder", params, inputs) -> list[Node]:
    """Vectors and values, in the first n + 1 rows of an array that has room for n more."""
    n = inputs[0].shape[-1]
    if inputs[0].shape != (n, n) or params["subset_by_index"] not in (None, (0, n)):
        raise Unsupported("eigenvalues of several matrices, or some of them")
    lower = np.tril(np.ones((n, n), bool))
    lower = lower if params["lower"] else lower.T
    inputs = builder.traced(lambda a: jnp.where(lower, a, a.T), *inputs)  # the rest is not looked at
    both = builder.make("eigh", inputs, (2 * n + 1, n), inputs[0].dtype, {})
    return [builder.traced(cut, both)[0] for cut in (lambda a: a[:n], lambda a: a[n])]


def same(builder: "Builder", params, inputs) -> list[Node]:
    return list(inputs)


WRITTEN_OUT = {
    "eigh": eigh,
    "while": while_loop,
    "cond": cond,
    "random_wrap": same,
    "random_unwrap": same,
    "random_fold_in": fold_in,
    "random_split": split,
    "random_bits": random_bits,
    "split": parts,
    "stack": stack,
    "unstack": unstack,
    "tile": tile,
    "platform_index": platform_index,
    "optimization_barrier": same,
    "copy": same,
    "copy_p": same,
    "stop_gradient": same,
}
