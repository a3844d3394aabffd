"""Random keys and bits, as JAX derives them by threefry."""

import math

import jax.numpy as jnp

from dysonjax import threefry
from dysonjax.compile.graph import Node, Unsupported
from dysonjax.compile.rules.control import same


def _check_one_key(node: Node) -> None:
    if node.shape != (2,):
        raise Unsupported("an operation on several random keys at once")


def fold_in(context, key, number):
    _check_one_key(key)
    return lambda key, number: jnp.stack(threefry.block(key, jnp.uint32(0), number.astype(jnp.uint32)))


def split(context, key, *, shape):
    _check_one_key(key)
    if len(shape) > 1:
        raise Unsupported("random keys in more than one axis")
    (count,) = shape or (1,)
    numbers = jnp.arange(count, dtype=jnp.uint32)
    return lambda key: jnp.stack(threefry.block(key, jnp.zeros(count, jnp.uint32), numbers), 1)


def random_bits(context, key, *, bit_width, shape):
    _check_one_key(key)
    if bit_width not in (32, 64):
        raise Unsupported(f"random numbers of {bit_width} bits")

    def bits(key):
        counter = jnp.arange(math.prod(shape), dtype=jnp.uint32)
        left, right = threefry.block(key, jnp.zeros_like(counter), counter)
        if bit_width == 64:
            return (left.astype(jnp.uint64) << 32 | right.astype(jnp.uint64)).reshape(shape)
        return (left ^ right).reshape(shape)

    return bits


RULES = {
    "random_wrap": same,
    "random_unwrap": same,
    "random_fold_in": fold_in,
    "random_split": split,
    "random_bits": random_bits,
}
