"""The functions of lanes.h in single precision, against double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dysonjax import compile as compiler

LANES = compiler.LANES

pytestmark = pytest.mark.skipif(compiler.compiler_path() is None, reason="needs a C compiler")


def in_lanes(function, values):
    """`function` of float32 numbers by the compiled step of one network a number."""
    shape = (-(-len(values) // LANES), 1, LANES)
    state = compiler.empty_aligned(shape, np.float32)
    state.ravel()[:] = np.pad(values, (0, state.size - len(values)))
    shapes = [jax.ShapeDtypeStruct((), np.float32)]
    source = compiler.write_step(lambda fixed, carried, index: [function(carried[0])], [], shapes)
    compiler.Kernel(source)([], [state], 0, 1)
    return state.ravel()[: len(values)]


def test_tanh_is_exact_to_half_a_millionth_and_never_beyond_one():
    """A sign error of its smallest coefficient would change it by 8e-4."""
    x = np.concatenate([np.geomspace(1e-30, 100, 400_000), np.linspace(0, 10, 400_000)]).astype(np.float32)
    found = in_lanes(jnp.tanh, x)
    np.testing.assert_allclose(found, np.tanh(x.astype(float)), rtol=5e-7, atol=0)
    assert (found <= 1).all() and np.array_equal(in_lanes(jnp.tanh, -x), -found)


def test_the_inverse_of_erf_is_exact_to_half_a_millionth_in_the_middle_and_in_the_tails():
    """Whether a number is in the tails does not depend on its neighbours, nor does what it becomes."""
    middle = np.linspace(-0.9966, 0.9966, 400_000).astype(np.float32)
    tails = np.nextafter(np.float32(1), np.float32(0)) - np.geomspace(6e-8, 0.1, 4000).astype(np.float32)
    u = np.concatenate([middle, tails, -tails, np.float32([1e-30, 0])])
    found = in_lanes(jax.lax.erf_inv, u)
    np.testing.assert_allclose(found, scipy.special.erfinv(u.astype(float)), rtol=6e-7, atol=0)
    order = np.random.default_rng(0).permutation(len(u))
    again = in_lanes(jax.lax.erf_inv, u[order])
    np.testing.assert_array_equal(again.view(np.uint32), found[order].view(np.uint32))


@pytest.mark.parametrize(
    ("function", "limits"),
    [(jnp.tanh, (-1, 1)), (jnp.exp, (0, np.inf)), (jax.scipy.special.erf, (-1, 1))],
)
def test_functions_have_their_limits_and_let_nan_pass(function, limits):
    found = in_lanes(function, np.array([-np.inf, -1e30, np.nan, 1e30, np.inf], np.float32))
    assert np.isnan(found[2])
    np.testing.assert_allclose(np.delete(found, 2), np.repeat(limits, 2), rtol=1e-6, atol=0)


def test_the_inverse_of_erf_is_infinite_at_one_and_nothing_beyond():
    found = in_lanes(jax.lax.erf_inv, np.array([-1, 1, -1.5, 2, np.inf, np.nan, 0.25], np.float32))
    assert (found[:2] == [-np.inf, np.inf]).all() and np.isnan(found[2:6]).all() and np.isfinite(found[6])


def test_a_vector_stops_when_its_last_network_has_stopped():
    shapes = [jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((), np.int32)]
    source = compiler.write_step(
        lambda fixed, carried, index: [carried[0] + 1, carried[1]], [], shapes, stopped=1
    )
    values = compiler.empty_aligned((LANES + 1, 1, LANES), np.float32)
    stopped = compiler.empty_aligned((LANES + 1, 1, LANES), np.int32)
    values[...], stopped[...] = 0, 3
    stopped[np.arange(LANES), 0, np.arange(LANES)] = -1  # one that still moves, in every lane once
    compiler.Kernel(source)([], [values, stopped], 0, 5)
    assert (values[:LANES] == 5).all() and (values[LANES] == 0).all()
