"""Steps compiled to C against the same function in JAX, network by network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dysonjax import compile as compiler
from dysonjax.compile import graph, lower, simplify
from dysonjax.models import dense
from dysonjax.models.base import normal, split

LANES, NETWORKS = compiler.LANES, 2

pytestmark = pytest.mark.skipif(compiler.compiler_path() is None, reason="needs a C compiler")


def run(function, arrays, world=(), steps=1, dtype=np.float32):
    """`function(world, arrays, index) -> arrays` in C for NETWORKS * LANES networks, and by vmap."""
    rng = np.random.default_rng(0)
    arrays = [np.asarray(a) for a in arrays]
    spread = [
        a + rng.standard_normal((NETWORKS, LANES, *a.shape)).astype(a.dtype) * (a.dtype.kind == "f")
        for a in arrays
    ]
    world = [np.asarray(a) for a in world]

    def step(fixed, carried, index):
        *values, moving = carried
        return [*function(fixed, values, index), moving]

    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]
    fixed = [compiler.Input(a.shape, a.dtype, compiler.WORLD, False) for a in world]
    shapes.append(jax.ShapeDtypeStruct((), np.int32))
    source = compiler.write_step(step, fixed, shapes, stopped=len(arrays))
    memory = []
    for values in (*spread, np.full((NETWORKS, LANES), -1, np.int32)):
        flat = values.reshape(NETWORKS, LANES, -1).transpose(0, 2, 1)
        flat = compiler.in_memory(flat, varying=True)
        memory.append(compiler.empty_aligned(flat.shape, flat.dtype))
        memory[-1][...] = flat
    inputs = []
    for values in (compiler.in_memory(values, varying=False) for values in world):
        inputs.append(compiler.empty_aligned(values.shape, values.dtype))
        inputs[-1][...] = values
    compiler.Kernel(source)(inputs, memory, 0, steps)
    got = [
        m.transpose(0, 2, 1).reshape(NETWORKS, LANES, *a.shape) for m, a in zip(memory, arrays, strict=False)
    ]
    expected = [jnp.asarray(s) for s in spread]
    known = [jnp.asarray(w) for w in world]
    # One program: operation by operation, each would be compiled for itself.
    each = jax.jit(lambda i, *values: jax.vmap(jax.vmap(lambda *v: function(known, list(v), i)))(*values))
    for index in range(steps):
        expected = each(jnp.int32(index), *expected)
    return got, [np.asarray(e) for e in expected]


def agree(function, arrays, world=(), steps=1, rtol=2e-6, atol=2e-6):
    got, expected = run(function, arrays, world, steps)
    for g, e in zip(got, expected, strict=True):
        g = g != 0 if e.dtype == bool else g
        np.testing.assert_allclose(g, e, rtol=rtol, atol=atol)


ELEMENTWISE = [
    lambda x: x + 2,
    lambda x: x / (1 + x * x),
    jnp.tanh,
    jnp.exp,
    lambda x: jnp.log(jnp.abs(x) + 1e-3),
    jnp.sqrt,  # NaN below zero
    jnp.log,
    lambda x: jax.lax.rsqrt(jnp.abs(x) + 0.1),
    jax.nn.sigmoid,
    jax.nn.relu,
    jnp.sign,
    jnp.abs,
    lambda x: x**3,
    lambda x: (jnp.abs(x) + 0.5) ** -2,
    lambda x: (jnp.abs(x) + 0.5) ** 1.7,
    lambda x: jnp.clip(x, -0.5, 0.25),
    lambda x: jnp.where(x > 0.3, x, -1.0),
    lambda x: jnp.where((x > 0.3) & ~(x > 1) | (x < -1), 1.0, x),
    lambda x: jnp.maximum(x, 0.1) - jnp.minimum(x, -0.1),
    lambda x: jax.lax.erf_inv(0.9 * jnp.sin(x)),  # near 1 it multiplies the rounding of its argument
    lambda x: jax.scipy.special.erf(x),
    lambda x: jnp.expm1(x) + jnp.log1p(jnp.abs(x)),
    lambda x: jnp.sin(x) * jnp.cos(x),
    lambda x: jnp.floor(3 * x) + jnp.ceil(x),
    lambda x: (3 * x).astype(jnp.int32).astype(x.dtype) % 2,
    lambda x: jnp.isfinite(1 / jnp.maximum(x, 0)).astype(x.dtype),
    lambda x: jax.lax.bitcast_convert_type(
        jax.lax.bitcast_convert_type(x, jnp.uint32 if x.dtype == jnp.float32 else jnp.uint64) >> 1, x.dtype
    ),
]


# Of single precision: test_table.py.
@pytest.mark.parametrize("x64", [pytest.param(False, marks=pytest.mark.slow), True])
def test_elementwise_operations_agree(x64):
    with jax.enable_x64(x64):
        x = np.zeros((3, len(ELEMENTWISE)), np.float64 if x64 else np.float32)

        def function(world, arrays, index):
            (x,) = arrays
            return [jnp.stack([f(x[:, i]) for i, f in enumerate(ELEMENTWISE)], axis=1)]

        agree(function, [x], rtol=1e-12 if x64 else 3e-6, atol=1e-13 if x64 else 1e-6)


SPECIAL = [jnp.tanh, jnp.exp, jnp.log, jnp.log1p, jnp.expm1, jax.scipy.special.erf]


def test_extreme_numbers_go_through_the_polynomials_as_through_jax():
    small = [0, -0.0, 1e-30, 1e-6, -3e-4, 0.1, -0.7, -1, 3.9, -4.1]
    large = [-20, 80, 88.5, 89, -87, -100, 1e30, np.inf, -np.inf, np.nan]
    values = np.array(small + large, np.float32)

    def function(world, arrays, index):
        x = arrays[0] * 0 + world[0]
        return [x, jnp.stack([f(x) for f in SPECIAL])]

    arrays = [np.zeros_like(values), np.zeros((len(SPECIAL), len(values)), np.float32)]
    agree(function, arrays, [values], rtol=3e-6, atol=1e-30)


def test_matrix_products_of_every_shape_agree():
    shapes = {"a": (5, 7), "b": (7, 3), "c": (2, 5, 7), "d": (2, 7, 9), "v": (7,), "s": (1, 6)}

    def function(world, arrays, index):
        a, b, c, d, v, s = arrays
        shared = world[0]
        total = (a @ b).sum() + jnp.einsum("bij,bjk->bik", c, d).sum() + v @ (b @ b.T) @ v
        total += jnp.einsum("bij,jk->bik", c, b).sum() + (s.T @ s).sum() + (a.T @ shared).sum()
        total += jnp.einsum("bij,bij->b", c, c * 2).sum()
        return [jnp.tanh(a @ (b @ b.T)), b - 0.1 * (a.T @ (a @ b)), c, d, v + total, s]

    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes.values()]
    agree(function, arrays, [rng.standard_normal((5, 4)).astype(np.float32)], rtol=2e-5, atol=2e-4)


def test_updates_that_start_their_sums_with_what_they_change_agree():
    """In `w - lr * (x.T @ d)` lr multiplies d and the sums start with w; so it is in other forms of it."""

    def function(world, arrays, index):
        w, d, lr, long = arrays
        x, table = world
        rate = jnp.exp(lr)
        twice = x.T @ jnp.sin(d)
        return [
            w - rate * (x.T @ d) - (rate * (d.T @ x)).T,
            d + (x @ w - d) * 0.1 + (d - x @ (w * 0.5)),
            lr + ((x.T @ (0.1 * d)).T * rate).sum() + (twice * rate - twice).mean() + rate * (d.T @ d)[0, 0],
            long + table.T @ (table @ long * rate) + (1 - x.T @ x)[:5, :3],  # shared by all networks
        ]

    rng = np.random.default_rng(2)
    shapes = {"w": (8, 6), "d": (4, 6), "lr": (), "long": (5, 3)}
    arrays = [0.3 * rng.standard_normal(shape).astype(np.float32) for shape in shapes.values()]
    world = [0.1 * rng.standard_normal(shape).astype(np.float32) for shape in ((4, 8), (40, 5))]
    agree(function, arrays, world, steps=2, rtol=2e-5, atol=2e-5)


def test_products_of_a_matrix_with_its_transpose_agree():
    """Half of their elements are computed; what is made of them is not symmetric."""

    def function(world, arrays, index):
        x, square, wide = (0.3 * a for a in arrays)
        (table,) = world
        gram, weighted = jnp.tanh(x @ x.T * table) + table.T, (wide.T @ wide)[:9, :9] - 0.1 * table
        square = square - 0.1 * (square.T @ square)
        return [
            0.1 * gram @ x + weighted @ x[::-1],
            square - 0.1 * square @ square,
            wide + (square @ square.T)[:5],
        ]

    rng = np.random.default_rng(5)
    arrays = [0.3 * rng.standard_normal(shape).astype(np.float32) for shape in ((9, 6), (10, 10), (5, 10))]
    table = rng.standard_normal((9, 9)).astype(np.float32)
    agree(function, arrays, [table], rtol=2e-5, atol=2e-5)


def test_a_number_moves_to_the_smaller_factor_of_a_product():
    def update(w, x, d, lr):
        return w - lr * jnp.matmul(d.T, x).T

    shapes = [(8, 6), (4, 8), (4, 6), ()]
    inputs = [graph.source(shape, np.float32, graph.NETWORK, True) for shape in shapes]
    jaxpr = jax.make_jaxpr(update)(*(jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes))
    outputs = lower.lower(jaxpr, inputs)

    def sizes(nodes):
        return [node.size for node in graph.topological(nodes) if node.op == "mul"]

    assert sizes(outputs) == [48] and sizes(simplify.with_small_factors(outputs)) == [24]


def test_views_joins_reductions_and_known_places_agree():
    def function(world, arrays, index):
        x, flags = arrays
        y = jnp.concatenate([x[1:, ::2], jnp.flip(x, 1)[:-1, :3]], axis=1)
        y = jnp.pad(y, ((1, 2), (0, 1)), constant_values=2.0).T.reshape(-1)
        picked = x[jnp.array([2, 0, 1]), jnp.array([5, 1, 0])]
        x = x.at[0].set(x[1] * 2).at[jnp.arange(3), jnp.arange(3)].set(0.5)
        x = jax.lax.dynamic_update_slice(x, x[:1, :2], (2, 1))
        spread = jnp.tile(picked, 2) + jnp.max(x, axis=0) - jnp.min(x, axis=(0, 1))
        worst = jnp.where(flags.any() & ~flags.all(), jnp.sum(y), jnp.prod(jnp.ones(2)))
        return [x + spread + worst + jnp.trace(x[:, :3]), x[0] > spread]

    agree(function, [np.zeros((3, 6), np.float32), np.zeros(6, bool)], rtol=1e-5, atol=1e-5)


def test_elements_at_computed_positions_agree():
    """Of data that all networks share and of each one's own, at positions that differ between them or not."""

    def function(world, arrays, index):
        x, table, flags = arrays
        data, chosen = world
        row = jnp.abs(x * 3).astype(jnp.int32)  # some lie outside
        key = jax.random.fold_in(jax.random.wrap_key_data(chosen, impl="threefry2x32"), index)
        drawn = jax.random.randint(key, (4,), 0, 5)
        moments = data[drawn].T @ data[row % 5][:, :2]
        pairs = table[row, drawn % 3] + data.at[row - 2, 1].get(mode="fill", fill_value=0.5)
        pieces = jax.lax.dynamic_slice(table, (row[0], index % 2), (2, 2)).sum(0)
        pieces += jax.lax.dynamic_slice(jnp.tanh(table) + data, (row[1], row[2]), (2, 2))[1]
        missing = jnp.nan_to_num(jnp.take(data[:, 0], row, mode="fill"), nan=7.0)
        kept = jnp.where(flags[row % 4], x, -x)
        change = moments.sum() + jnp.pad(pieces, (1, 1)) + pairs + missing + data.T.at[0].get(mode="clip")[:4]
        return [kept * 0.5 + 0.01 * change, table + 0.1 * jnp.sin(moments).sum(), flags]

    rng = np.random.default_rng(3)
    arrays = [np.zeros(4, np.float32), np.zeros((5, 3), np.float32), np.array([True, False, True, True])]
    world = [rng.standard_normal((5, 3)).astype(np.float32), np.array([1, 2], np.uint32)]
    agree(function, arrays, world, steps=3, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_cross_entropy_of_labels_and_its_gradient_agree():
    """A label picks its logit; the gradient is added where it came from."""

    def function(world, arrays, index):
        weight, (inputs, labels) = arrays[0], world

        def loss(weight):
            logits = jnp.tanh(inputs @ weight)
            picked = jnp.take_along_axis(logits, labels[:, None], axis=1)
            twice = jnp.take_along_axis(logits.T, jnp.stack([labels, 3 - labels]), axis=0)
            return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - picked[:, 0]) + (twice**2).sum()

        return [weight - 0.1 * jax.grad(loss)(weight)]

    inputs = np.random.default_rng(4).standard_normal((5, 3)).astype(np.float32)
    labels = np.array([0, 3, 1, 1, 2], np.int32)
    agree(function, [np.zeros((3, 4), np.float32)], [inputs, labels], steps=3, rtol=1e-5, atol=1e-6)


def test_loops_of_known_length_branches_and_looked_up_data_agree():
    def function(world, arrays, index):
        (x,) = arrays
        row = jax.lax.dynamic_index_in_dim(world[0], index % 3, keepdims=False)
        total, rows = jax.lax.scan(lambda c, r: (c + jnp.tanh(r), c * r), x, world[0], reverse=True)
        looped = jax.lax.fori_loop(0, 4, lambda i, v: v + jnp.float32(0.1) * i * total, x)
        branch = jax.lax.cond(index > 1, lambda v: v + row, lambda v: v - row, looped)
        return [jnp.tanh(branch) + rows.sum(0) * 0.1]

    agree(
        function,
        [np.zeros(4, np.float32)],
        [np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)],
        steps=4,
        rtol=1e-5,
    )


@pytest.mark.slow  # of the collapsed sampler: tests/ensemble/test_lanes.py
def test_a_cholesky_factor_agrees():
    def function(world, arrays, index):
        (x,) = arrays
        factor = dense.cholesky(x @ x.T + 3 * jnp.eye(6, dtype=x.dtype))
        return [x - 0.1 * dense.inverse_lower(factor) * dense.is_factor(factor) * dense.log_det(factor)]

    agree(function, [np.zeros((6, 6), np.float32)], rtol=1e-4, atol=1e-5)


@pytest.mark.slow  # test_eigenvectors_hold_for_equal_vanishing_and_graded_levels
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eigenvalues_and_vectors_agree(dtype):
    """Vectors up to their sign, by what does not depend on it; one matrix is diagonal, one has a pair."""

    def function(world, arrays, index):
        (x,) = arrays
        values, vectors = jnp.linalg.eigh(x + x.T)
        shared, _ = jnp.linalg.eigh(world[0] @ world[0].T)
        return [(vectors * jnp.sin(values)) @ vectors.T + jnp.abs(vectors) * values + shared]

    with jax.enable_x64(dtype == np.float64):
        world = [np.arange(49).reshape(7, 7).astype(dtype) % 5]
        tolerance = {"rtol": 1e-12, "atol": 1e-12} if dtype == np.float64 else {"rtol": 1e-4, "atol": 2e-5}
        agree(function, [np.zeros((7, 7), dtype)], world, **tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["gauss", "equal", "low rank", "graded"])
def test_eigenvectors_hold_for_equal_vanishing_and_graded_levels(kind, dtype):
    """Jacobi's method left 1e5 rounding errors where levels are equal; LAPACK leaves ten."""
    rng, n = np.random.default_rng(0), 16
    turn = np.linalg.qr(rng.standard_normal((LANES, n, n)))[0]
    own = {
        "gauss": rng.standard_normal(n),
        "equal": np.repeat([1.0, 2.0], n // 2),
        "low rank": np.arange(n) // (n - 3) * np.arange(n),
        "graded": 10.0 ** -np.arange(n),
    }[kind]
    matrices = (turn * own @ turn.swapaxes(1, 2)).astype(dtype)
    matrices = (matrices + matrices.swapaxes(1, 2)) / 2

    def step(fixed, carried, index):
        values, vectors = jnp.linalg.eigh(carried[0])
        return [vectors, values]

    with jax.enable_x64(dtype == np.float64):
        shapes = [jax.ShapeDtypeStruct((n, n), dtype), jax.ShapeDtypeStruct((n,), dtype)]
        kernel = compiler.Kernel(compiler.write_step(step, [], shapes))
    vectors, values = (compiler.empty_aligned((1, size, LANES), dtype) for size in (n * n, n))
    vectors[0] = matrices.reshape(LANES, -1).T
    kernel([], [vectors, values], 0, 1)
    vectors, values = vectors[0].T.reshape(LANES, n, n).astype(float), values[0].T.astype(float)
    rounding = 40 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        vectors.swapaxes(1, 2) @ vectors, np.tile(np.eye(n), (LANES, 1, 1)), atol=rounding
    )
    np.testing.assert_allclose(matrices @ vectors, vectors * values[:, None], atol=rounding * abs(own).max())
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrices), atol=rounding * abs(own).max())


def test_an_eigensystem_does_not_depend_on_the_other_lanes():
    def step(fixed, carried, index):
        values, vectors = jnp.linalg.eigh(carried[0])
        return [jnp.exp(-values)[:, None] * vectors.T]

    shapes = [jax.ShapeDtypeStruct((6, 6), np.float32)]
    matrices = compiler.empty_aligned((2, 36, LANES), np.float32)
    matrices[...] = np.random.default_rng(0).standard_normal((1, 36, 1))
    matrices[1, :, 1:] = np.eye(6).reshape(36, 1)  # these are done at once
    compiler.Kernel(compiler.write_step(step, [], shapes))([], [matrices], 0, 1)
    assert (matrices[1, :, 0] == matrices[0, :, 0]).all() and np.isfinite(matrices).all()
    np.testing.assert_allclose(matrices[1, :, 5].reshape(6, 6), np.exp(-1) * np.eye(6), rtol=2e-7)


def test_arrays_that_lie_where_others_were_hold_their_own_numbers():
    """Thirty arrays of 96 kB, of numbers and of truth values, some read early and some late."""

    def function(world, arrays, index):
        (x,) = arrays
        first = found = x @ world[0]
        masks = []
        for turn in range(8):
            masks.append(found > 0.1 * turn)
            found = jnp.tanh(found @ world[0].T @ world[0] + turn / 10)
        kept = sum(jnp.where(mask, first, found)[::-1] for mask in masks)
        return [x + 1e-3 * (kept @ world[0].T + found.sum())]

    world = [np.random.default_rng(0).standard_normal((16, 48)).astype(np.float32) / 8]
    agree(function, [np.zeros((32, 16), np.float32)], world, rtol=1e-5, atol=1e-5)


def test_a_number_of_a_network_leaves_products_of_what_all_share():
    """Only then is a product computed once for all networks."""

    def products(function):
        inputs = [compiler.Input((4, 3), np.float32, compiler.WORLD, False)] * 2
        jaxpr = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct((4, 3), np.float32),) * 2, np.float32(1))
        nodes = [graph.source(i.shape, i.dtype, i.scope, i.varying) for i in inputs]
        width = graph.source((), np.float32, graph.NETWORK, True)
        outputs = simplify.simplified(lower.lower(jaxpr, [*nodes, width]))
        return [node.varying for node in graph.topological(outputs) if node.op == "dot_general"]

    assert products(lambda a, b, width: a.T @ (width / 2 * b)) == [False]
    assert products(lambda a, b, width: (width * a).T @ b) == [False]
    assert products(lambda a, b, width: a.T @ (width + b)) == [True]

    def function(world, arrays, index):
        width, x = arrays
        return [width, x + world[0] @ (width / 2 * world[1].T)]

    world = [np.random.default_rng(n).standard_normal((5, 3)).astype(np.float32) for n in (0, 1)]
    agree(function, [np.float32(0), np.zeros((5, 5), np.float32)], world, rtol=1e-5, atol=1e-5)


def test_random_numbers_are_those_of_jax():
    key = np.array([3, 99], np.uint32)

    def function(world, arrays, index):
        key = jax.random.fold_in(jax.random.wrap_key_data(world[0], impl="threefry2x32"), index)
        first, second = split(key)
        third = jax.random.split(second, 3)[2]
        return [arrays[0] * 0 + normal(first, (40,)), arrays[1] * 0 + jax.random.normal(third, (2, 3))]

    arrays = [np.zeros(40, np.float32), np.zeros((2, 3), np.float32)]
    agree(function, arrays, [key], steps=2, rtol=5e-6, atol=1e-6)


def test_a_value_that_is_read_after_its_place_was_written_is_the_old_one():
    def function(world, arrays, index):
        a, b = arrays
        return [b.T + a[::-1], a @ b]

    agree(
        function, [np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)], steps=3, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x, i: jax.lax.lgamma(x), "the operation lgamma"),
        (
            lambda x, i: jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, i)))(
                jax.random.wrap_key_data(jnp.ones((4, 2), jnp.uint32), impl="threefry2x32")
            ),
            "several random keys at once",
        ),
        (lambda x, i: jax.lax.top_k(x, 1)[0] + x, "the operation top_k"),
        (
            lambda x, i: jax.lax.dynamic_update_slice(x, x[:1], (x[0].astype(jnp.int32),)),
            "a change at an index that differs",
        ),
        (
            lambda x, i: jax.lax.scan(lambda c, _: (c * 2, None), x, None, length=1000)[0],
            "a scan of 1000 steps",
        ),
        (
            lambda x, i: jax.lax.while_loop(lambda c: c.sum() < 1, lambda c: c + 1, x),
            "length depends on data",
        ),
        (lambda x, i: x.astype(jnp.float16).astype(jnp.float32) + 1, "numbers of type float16"),
    ],
)
def test_what_cannot_be_written_is_refused(function, what):
    with pytest.raises(compiler.Unsupported, match=what):
        run(lambda world, arrays, index: [function(arrays[0], index)], [np.zeros(4, np.float32)])


def test_a_network_that_stopped_is_left_alone():
    def step(fixed, carried, index):
        return [carried[0] + 1, carried[1]]

    shapes = [jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((), np.int32)]
    source = compiler.write_step(step, [], shapes, stopped=1)
    values, stopped = (
        compiler.empty_aligned((2, 1, LANES), np.float32),
        compiler.empty_aligned((2, 1, LANES), np.int32),
    )
    values[...], stopped[0], stopped[1] = 0, 5, -1
    compiler.Kernel(source)([], [values, stopped], 0, 10)
    assert (values[0] == 0).all() and (values[1] == 10).all()


def test_a_network_is_the_same_to_the_last_bit_in_every_lane():
    def step(fixed, carried, index):
        x, rest = carried
        return [jnp.tanh(x @ x.T) @ x - 0.1 * jnp.exp(-jnp.sum(x * x)) * x / 3, rest]

    shapes = [jax.ShapeDtypeStruct((5, 5), np.float32), jax.ShapeDtypeStruct((), np.int32)]
    source = compiler.write_step(step, [], shapes, stopped=1)
    states, moving = (
        compiler.empty_aligned((2, 25, LANES), np.float32),
        compiler.empty_aligned((2, 1, LANES), np.int32),
    )
    states[...] = np.random.default_rng(0).standard_normal((1, 25, 1))
    states[1, :, ::3], moving[...] = 0.2, -1  # other neighbours
    compiler.Kernel(source)([], [states, moving], 0, 20)
    same, bits = np.delete(states[1], np.s_[::3], axis=1), states.view(np.uint32)
    assert (bits[0] == bits[0][:, :1]).all() and (same.view(np.uint32) == bits[0][:, :1]).all()
