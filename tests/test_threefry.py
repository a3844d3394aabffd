"""Our random bits are JAX's, bit for bit, so that a faster generator changes no result."""

import jax
import numpy as np
import pytest

from dysonjax import threefry
from dysonjax.models.base import normal, split


@pytest.mark.parametrize("count", [1, pytest.param(7, marks=pytest.mark.slow), 960])
@pytest.mark.parametrize("seed", [0, 3, 2**31])
def test_bits_and_normals_are_those_of_jax(seed, count):
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), 5)
    np.testing.assert_array_equal(threefry.bits(key, count), jax.random.bits(key, (count,)))
    for ours, theirs in ((threefry.uniforms, jax.random.uniform), (threefry.normals, jax.random.normal)):
        found, expected = (np.asarray(a).view(np.uint32) for a in (ours(key, count), theirs(key, (count,))))
        np.testing.assert_array_equal(found, expected)  # their bits: 0 and -0 are two numbers


def test_derived_keys_are_those_of_fold_in_and_split():
    keys = jax.random.split(jax.random.key(7, impl="threefry2x32"), 3)
    for number in (0, 1, 5, 2**31 - 1):
        ours = jax.jit(jax.vmap(threefry.derive, (0, None)))(keys, number)
        theirs = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        np.testing.assert_array_equal(jax.random.key_data(ours), jax.random.key_data(theirs))
    for count in (2, 5):
        parts = [jax.random.key_data(key) for key in split(keys[0], count)]
        np.testing.assert_array_equal(parts, jax.random.key_data(jax.random.split(keys[0], count)))


@pytest.mark.parametrize("x64", [False, True])
def test_normals_under_vmap_have_the_dtype_and_the_values_of_jax(x64):
    with jax.enable_x64(x64):
        keys = jax.random.split(jax.random.key(1, impl="threefry2x32"), 3)
        ours = jax.jit(jax.vmap(lambda key: normal(key, (4, 5))))(keys)
        theirs = jax.vmap(lambda key: jax.random.normal(key, (4, 5)))(keys)
        assert ours.dtype == theirs.dtype
        # A compiled program may round the last digits another way than one operation after the other.
        np.testing.assert_allclose(ours, theirs, rtol=4 * np.finfo(ours.dtype).eps)
        bits = jax.jit(jax.vmap(lambda key: threefry.bits(key, 20)))(keys)
        np.testing.assert_array_equal(bits, jax.vmap(lambda key: jax.random.bits(key, (20,), "uint32"))(keys))


def test_seeds_and_numbers_up_to_the_largest_make_keys():
    """Half of all words are above what JAX takes of Python's integers by default."""
    top = 2**32 - 1
    np.testing.assert_array_equal(jax.random.key_data(threefry.root(top)), [0, top])
    expected = jax.random.fold_in(jax.random.key(5, impl="threefry2x32"), np.uint32(top))
    found = threefry.derive(threefry.root(5), top)
    np.testing.assert_array_equal(jax.random.key_data(found), jax.random.key_data(expected))
