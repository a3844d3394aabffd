"""The compiled step of one large network against the same function in JAX."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import ELEMENTWISE
from wholes import plain, write_whole

from dysonjax import compile as compiler

pytestmark = pytest.mark.skipif(compiler.compiler_path() is None, reason="needs a C compiler")


def run(function, arrays, world=(), steps=1):
    """`function(world, arrays, index) -> arrays` in C, and in JAX."""
    arrays, world = ([np.asarray(a) for a in values] for values in (arrays, world))

    def step(fixed, carried, index):
        *values, moving = carried
        return [*function(fixed, values, index), moving]

    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (*arrays, np.int32(-1))]
    fixed = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in world]
    kernel = compiler.Kernel(write_whole(step, fixed, shapes, stopped=len(arrays)))
    memory = [plain(a) for a in (*arrays, np.asarray(-1, np.int32))]
    kernel([plain(a) for a in world], memory, 0, steps)
    expected, each = [jnp.asarray(a) for a in arrays], jax.jit(function)
    for index in range(steps):
        expected = each([jnp.asarray(a) for a in world], expected, jnp.int32(index))
    return memory[:-1], [np.asarray(e) for e in expected]


def agree(function, arrays, world=(), steps=1, rtol=2e-6, atol=2e-6):
    for got, expected in zip(*run(function, arrays, world, steps), strict=True):
        got = got != 0 if expected.dtype == bool else got
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


def numbers(*shape, dtype=np.float32):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


# Of single precision: test_table.py.
@pytest.mark.parametrize("x64", [pytest.param(False, marks=pytest.mark.slow), True])
def test_elementwise_operations_agree(x64):
    with jax.enable_x64(x64):
        x = numbers(37, len(ELEMENTWISE), dtype=np.float64 if x64 else np.float32)

        def function(world, arrays, index):
            (x,) = arrays
            return [jnp.stack([f(x[:, i]) for i, f in enumerate(ELEMENTWISE)], axis=1)]

        agree(function, [x], rtol=1e-12 if x64 else 3e-6, atol=1e-13 if x64 else 1e-6)


EINSUMS = [
    "ij,jk->ik",
    "ji,jk->ik",
    "ij,kj->ik",
    "ji,kj->ik",
    "ij,jk->ki",
    "bqhi,bkhi->bhqk",
    "bhqk,bkhi->bqhi",
    "abi,abk->ik",
    "abi,ik->abk",
    "ij,j->i",
    "i,ij->j",
    "ij,kl->jlik",
    "ij,ij->",
]
SIZES = [dict.fromkeys("abhijklq", n) for n in (1, 7, 17)] + [
    {"a": 2, "b": 3, "h": 2, "q": 33, "i": 150, "j": 300, "k": 65, "l": 2},
    {"a": 2, "b": 2, "h": 2, "q": 32, "i": 16, "j": 16, "k": 32, "l": 2},  # small ones of whole blocks
]


@pytest.mark.parametrize(
    ("x64", "some"),
    [
        (False, SIZES[3:]),
        pytest.param(False, SIZES[:3], marks=pytest.mark.slow),
        pytest.param(True, SIZES[2:4], marks=pytest.mark.slow),
    ],
    ids=["large", "small", "double precision"],
)
def test_products_agree_for_every_order_of_axes_and_every_remainder(x64, some):
    dtype = np.float64 if x64 else np.float32
    with jax.enable_x64(x64):
        for sizes in some:
            cases = [einsum for einsum in EINSUMS if sizes["j"] <= 17 or einsum != "ij,kl->jlik"]
            factors = [
                [
                    numbers(*(sizes[axis] for axis in part), dtype=dtype)
                    for part in einsum.split("->")[0].split(",")
                ]
                for einsum in cases
            ]
            zeros = [np.zeros([sizes[axis] for axis in einsum.split("->")[1]], dtype) for einsum in cases]

            def function(world, arrays, index, cases=cases):
                pairs = zip(world[::2], world[1::2], strict=True)
                return [jnp.einsum(einsum, a, b) for einsum, (a, b) in zip(cases, pairs, strict=True)]

            close = 1e-12 if x64 else 1e-4
            agree(function, zeros, list(itertools.chain(*factors)), rtol=close, atol=close)


def test_sums_and_extremes_agree_along_every_set_of_axes():
    x = numbers(5, 18, 33)
    broken = x.copy()
    broken[1, 3, 7] = np.nan
    subsets = [s for n in (1, 2, 3) for s in itertools.combinations(range(3), n)]

    def function(world, arrays, index):
        plain, broken = world
        return [
            f(y, axis=axes)
            for axes in subsets
            for f in (jnp.sum, jnp.max, jnp.min)
            for y in (plain, jnp.exp(plain.transpose(2, 0, 1)), broken)
        ] + [f(broken > 0, axis=axes) for axes in subsets for f in (jnp.any, jnp.all)]

    zeros = [np.zeros(a.shape, a.dtype) for a in jax.eval_shape(function, [x, broken], [], 0)]
    agree(function, zeros, [x, broken], rtol=1e-5, atol=1e-5)


def test_views_joins_and_look_ups_agree():
    x, at = numbers(6, 10, 8), np.array([3, 0, 7], np.int32)

    def function(world, arrays, index):
        x, at = world
        table = jnp.arange(30).reshape(6, 5)
        return [
            x.transpose(1, 0, 2).reshape(60, 8) * 2,  # cannot be read in place
            x[:, ::3, 1:7].sum(-1),
            x[:, ::-1].reshape(6, 80)[:, 1:],
            jnp.concatenate([x[:2], x[3:] + 1], axis=0),
            jnp.pad(x, ((1, 0), (0, 2), (1, 1)), constant_values=0.5),
            jax.lax.pad(x, 0.0, ((0, 0, 1), (2, 0, 0), (0, 0, 2))),
            jax.lax.dynamic_slice(x, (at[0], at[1], at[2]), (2, 3, 4)),  # moved so that it lies inside
            jax.lax.dynamic_update_slice(x, x[:2, :3, :4] * 3, (at[1], at[2], at[0])),
            jax.vmap(lambda i: jax.lax.dynamic_slice(x[0, :, 0], (i,), (4,)))(at),
            x[:, at, 2],
            x[np.array([1, 5, 1])][:, :, np.array([0, 7])],
            table[:, :, None] * x[:, :5],
            x * index + jnp.tril(jnp.ones((10, 8))),
        ]

    zeros = [np.zeros(a.shape, np.float32) for a in jax.eval_shape(function, [x, at], [], 0)]
    agree(function, zeros, [x, at])


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3, 4))])
def test_programs_drawn_at_random(seed):
    """Errors in what is kept where, in which order, and what is written over need no formula to be seen."""
    rng = np.random.default_rng(seed)
    steps = [
        lambda a, b: a + b,
        lambda a, b: a * jnp.tanh(b),
        lambda a, b: jnp.where(a > 0, b, a - b),
        lambda a, b: jnp.maximum(a, 0) * b,
        lambda a, b: jnp.tanh(a @ b),
        lambda a, b: a.T - b,
        lambda a, b: a.reshape(6, 24).sum(1).repeat(2)[:, None] + b,
        lambda a, b: jnp.exp(-(a**2)) / (1 + (b**2).sum(-1, keepdims=True)),
        lambda a, b: jnp.concatenate([b[5:], a[:5]]),
        lambda a, b: jnp.roll(a, 3, axis=1) + b.max(0),
    ]
    chosen = [(steps[rng.integers(len(steps))], *rng.integers(n - 5, n, 2)) for n in range(5, 70)]
    kept = rng.choice(np.arange(5, 70), 3, replace=False)

    def function(world, arrays, index):
        values = [*arrays, world[0], jnp.sin(world[0]).T]
        for step, a, b in chosen:
            values.append(jnp.clip(step(values[a], values[b]), -3, 3))
        return [values[n] for n in kept]

    with jax.enable_x64(True):
        x = numbers(12, 12, dtype=np.float64)
        agree(function, [x + n for n in range(3)], [x], steps=3, rtol=1e-6, atol=1e-6)


def test_embeddings_are_looked_up_and_learn():
    table, tokens = numbers(11, 6), np.array([[3, 0, 7], [3, 10, -1]], np.int32)

    def function(world, arrays, index):
        (table,) = arrays
        (tokens,) = world

        def loss(table):
            columns = jnp.take(table.T, tokens[0], axis=1)  # the windows are columns
            return (jnp.sin(table[tokens]) ** 2).sum() + (columns**3).sum()

        return [table - 0.1 * jax.grad(loss)(table)]

    agree(function, [table], [tokens], steps=2)


def test_a_state_is_read_before_it_is_written_over():
    a, b, c = numbers(40, 40), numbers(40, 40), numbers(40)

    def function(world, arrays, index):
        a, b, c = arrays
        return [b, a.T + 0.1 * b, c[::-1] + a.sum(0) + index]

    agree(function, [a, b, c], steps=5, rtol=1e-5, atol=1e-5)


def test_states_that_go_round_in_a_circle():
    shapes = [numbers(40) + n for n in range(4)]

    def function(world, arrays, index):
        a, b, c, d = arrays
        return [b * 2 + a, c * 3 + b, a * 4 + c, d + a + b + c]

    agree(function, shapes, steps=3, rtol=1e-5, atol=1e-3)


def test_what_adamw_softmax_and_relu_are_made_of():
    """Divisions by few numbers, moments that two loops want, masks of what is positive; and not a number."""
    x, m, v = numbers(24, 40), numbers(24, 40), numbers(24, 40) ** 2

    def function(world, arrays, index):
        x, m, v = arrays
        g = jax.grad(lambda x: (jax.nn.relu(x) ** 2 * jax.nn.softmax(x)).sum())(x)
        m, v = 0.1 * g + 0.9 * m, 0.001 * g * g + 0.999 * v
        rest = 1 - 0.9 ** (index + 1.0), 1 - 0.999 ** (index + 1.0)
        return [x - 0.1 * (m / rest[0]) / (jnp.sqrt(v / rest[1]) + 1e-8), m, v]

    agree(function, [x, m, v], steps=4, rtol=1e-5, atol=1e-5)
    x[3, 5], x[4, 6] = np.nan, np.inf
    got, expected = run(function, [x, m, v])
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(one), np.isnan(other))


def test_divisions_by_few_numbers_of_any_size():
    """They become products with 1 over them, as in XLA: 0 where that lies below the normal range."""
    info = np.finfo(np.float32)
    some = [1, -3, info.max, info.max / 3, -info.tiny, info.tiny * 4, 0, -0.0, np.inf, np.nan]
    few, x = np.array(some, np.float32), np.resize(np.array([*some, -info.max], np.float32), 33)

    def function(world, arrays, index):
        return [world[0][None, :] / arrays[1][:, None], arrays[1]]

    got, expected = run(function, [np.zeros((10, 33), np.float32), few], [x])
    np.testing.assert_allclose(got[0], expected[0], rtol=2.5e-7, atol=info.tiny)
    right = np.abs(expected[0]) > info.tiny
    np.testing.assert_array_equal(np.signbit(got[0])[right], np.signbit(expected[0])[right])


def test_random_numbers_are_those_of_jax():
    key = np.asarray(jax.random.key_data(jax.random.key(3)))

    def function(world, arrays, index):
        key = jax.random.fold_in(jax.random.wrap_key_data(world[0]), index)
        one, two = jax.random.split(key)
        return [
            jax.random.normal(one, (50, 3)),
            jax.random.randint(two, (70,), 0, 1000),
            jax.random.bernoulli(key, 0.4, (90,)),
        ]

    arrays = [np.zeros((50, 3), np.float32), np.zeros(70, np.int32), np.zeros(90, bool)]
    agree(function, arrays, [key], steps=3)


def test_a_step_that_has_stopped_changes_nothing():
    def step(fixed, carried, index):
        value, stopped = carried
        return [value + 1, jnp.where(index >= 3, index, stopped)]

    shapes = [jax.ShapeDtypeStruct((20,), np.float32), jax.ShapeDtypeStruct((), np.int32)]
    kernel = compiler.Kernel(write_whole(step, [], shapes, stopped=1))
    memory = [plain(np.zeros(20, np.float32)), plain(np.asarray(-1, np.int32))]
    kernel([], memory, 0, 10)
    assert (memory[0] == 4).all() and memory[1] == 3
