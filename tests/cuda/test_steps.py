"""The text of a kernel, as C, trains as XLA does: every model, cut over one, eight or sixteen threads."""

import functools
import itertools

import jax
import jax.numpy as jnp
import kernels
import numpy as np
import pytest

import dysonjax as dj
from dysonjax.compile import warps
from dysonjax.compile.cuts import Cut
from dysonjax.models import Model, Start, Update

pytestmark = pytest.mark.usefixtures("stand_in")
SLOW = pytest.mark.slow
CALM = {"linear": (0.01, 0.02, 0.05), "gibbs": (0.002, 0.005, 0.01), "collapsed": (0.002, 0.005, 0.01)}
STUDENT = (0.05, 0.1, 0.2)
PIECES = [9, 1, 22]
# Sums are added in another order, and functions of XLA's are approximations of their own.
ROUNDING = 4e-6


def close(found, expected, most=ROUNDING):
    assert (found[-1] == expected[-1]).all()
    assert kernels.difference(found, expected) < most


NAMES = ["student", "online", "all", "identity", "linear", "gibbs"]
QUICK = [("student", 16), ("all", 16), ("gibbs", 8)]
REST = [case for case in itertools.product(NAMES, [1, 8, 16]) if case not in QUICK]


@pytest.mark.parametrize(("name", "threads"), [*QUICK, *(pytest.param(*case, marks=SLOW) for case in REST)])
def test_a_network_in_threads_trains_as_by_xla(name, threads):
    if name == "linear" and threads > 4:
        threads //= 4  # there are four numbers
    one = kernels.case(name, CALM.get(name, STUDENT))
    found = kernels.by_threads(one, kernels.kernel(one, kernels.layout(one, threads)), PIECES)
    close(found, kernels.by_xla(one, sum(PIECES)))


@pytest.mark.slow  # the chain apart, as of gibbs
def test_the_collapsed_sampler_trains_as_by_xla():
    one = kernels.case("collapsed", CALM["collapsed"])
    found = kernels.by_threads(one, kernels.kernel(one, kernels.layout(one, 16)), PIECES)
    close(found, kernels.by_xla(one, sum(PIECES)), 2e-5)


@pytest.mark.parametrize(
    ("name", "rates", "threads"),
    [
        ("linear", (0.05, 0.5, 6.0), 1),
        pytest.param("all", tuple(np.geomspace(0.05, 60.0, 7)), 16, marks=SLOW),
    ],
)
def test_networks_that_diverge_are_frozen_where_xla_freezes_them(name, rates, threads):
    one = kernels.case(name, rates)
    found = kernels.by_threads(one, kernels.kernel(one, kernels.layout(one, threads)), [30, 30])
    expected = kernels.by_xla(one, 60)
    stopped = expected[-1] >= 0
    assert stopped.any() and not stopped.all()
    assert (found[-1] == expected[-1]).all()
    assert all(np.isfinite(leaf).all() for leaf in found)


@pytest.mark.slow  # test_warps_without_a_network_are_idle_and_all_others_are_not
@pytest.mark.parametrize(
    ("threads", "block", "points", "seeds"),
    [
        (16, 1, 5, 3),
        (8, 2, 3, 2),
        (4, 4, 9, 1),
        (4, 4, 9, 2),
    ],
)
def test_places_without_a_network_change_nothing(threads, block, points, seeds):
    one = kernels.case("student", tuple(np.geomspace(0.05, 0.2, points)), seeds)
    found = kernels.by_threads(one, kernels.kernel(one, kernels.layout(one, threads, block)), [12])
    close(found, kernels.by_xla(one, 12))


@pytest.mark.parametrize("optimizer", [pytest.param("momentum", marks=SLOW), "adamw"])
def test_the_memory_of_an_optimizer_is_cut_like_its_weights(optimizer):
    one = kernels.case("student", (0.001, 0.002), optimizer=optimizer)
    way = kernels.layout(one, 16)
    assert (
        len({axis for state, axis in zip(one.ready.step.states, way.how.axes, strict=True) if state.shape})
        == 1
    )
    close(kernels.by_threads(one, kernels.kernel(one, way), [10]), kernels.by_xla(one, 10), 2e-5)


@pytest.mark.parametrize("name", [*(pytest.param(n, marks=SLOW) for n in ("student", "all")), "linear"])
def test_double_precision(name):
    one = kernels.case(name, CALM.get(name, STUDENT), x64=True)
    found = kernels.by_threads(one, kernels.kernel(one, kernels.layout(one, 4)), [5, 7])
    close(found, kernels.by_xla(one, 12), 1e-13)


def doubling(extent=10):
    """Weights that double in every step, exactly; a network is healthy up to 64 times its bound."""

    def update(params, memory, batch, world, point):
        size = jnp.max(jnp.abs(params["w"]))
        return Update(
            {"w": -params["w"]}, {"steps": memory["steps"] + 1}, size, size <= 64 * point["sigma_w"]
        )

    def init(key, world, point):
        start = point["sigma_w"] * jnp.arange(1.0, extent + 1) / extent
        return Start({"w": start[:, None] * jnp.ones(3)}, {"steps": jnp.zeros((), jnp.int32)})

    return Model(
        "doubling",
        world=lambda key, batch_size: jnp.zeros(()),
        init=init,
        batch=lambda key, world, step, batch_size: (),
        update=update,
        matrices=lambda params: params,
        observe=lambda params, initial, world, key, point: {},
        observables={},
    )


@pytest.mark.parametrize("threads", [1, *(pytest.param(n, marks=SLOW) for n in (4, 8)), 16])
def test_members_are_frozen_in_the_step_in_which_xla_freezes_them_bit_by_bit(threads):
    one = kernels.of_model(doubling(), 1, (0.25, 1.0, 3.0, 7.0, 1e-3))
    axes = [0 if state.shape == (10, 3) and threads > 1 else None for state in one.ready.step.states]
    expected = kernels.by_xla(one, 40)
    assert len(set(expected[-1].ravel().tolist())) == 5 and (expected[-1] < 0).any()
    run = kernels.kernel(one, kernels.cut(threads, axes))
    for pieces in ([40], [1, 2, 3, 17, 17], [39, 1]):
        for a, b in zip(kernels.by_threads(one, run, pieces), expected, strict=True):
            assert np.array_equal(a, b)


def patchwork():
    """A network of one's own with whatever mixes the elements of an array: sums, extremes, joins, turns."""

    def forward(params, x):
        hidden = jax.nn.softmax(x @ params["a"], axis=-1)
        joined = jnp.concatenate([hidden, x[:, :3]], axis=1)
        turned = jnp.flip(joined, 0) @ params["b"]
        largest = turned.max(axis=1, keepdims=True) - turned.min(axis=0)
        return jax.nn.sigmoid(largest) * jnp.where(turned > 0, turned, 0.1 * turned)

    def update(params, memory, x, world, point):
        value, direction = jax.value_and_grad(lambda p: jnp.mean((forward(p, x) - world) ** 2))(params)
        return Update(direction, memory, value, jnp.all(params["a"] < 100))

    def init(key, world, point):
        a, b = jax.random.split(key)
        return Start({"a": jax.random.normal(a, (6, 10)), "b": jax.random.normal(b, (13, 5))})

    return Model(
        "patchwork",
        world=lambda key, batch_size: jax.random.normal(key, (4, 5)),
        init=init,
        batch=lambda key, world, step, batch_size: jax.random.normal(key, (4, 6)),
        update=update,
        matrices=lambda params: params,
        observe=lambda params, initial, world, key, point: {},
        observables={},
        draws=True,
    )


@functools.cache
def patched():
    return kernels.of_model(patchwork(), 4, (0.1, 0.2, 0.3))


@pytest.mark.parametrize(
    ("threads", "axes", "scatter"),
    [
        pytest.param(2, (0, 0), False, marks=SLOW),
        pytest.param(2, (1, 1), True, marks=SLOW),
        (4, (0, 1), True),
        pytest.param(4, (1, 0), True, marks=SLOW),
        (8, (1, None), False),
        pytest.param(8, (1, 0), True, marks=SLOW),
        pytest.param(16, (1, 0), False, marks=SLOW),
        pytest.param(16, (None, 0), True, marks=SLOW),
    ],
)
def test_a_network_of_ones_own_may_be_cut_along_any_axis(threads, axes, scatter):
    one = patched()
    found = kernels.by_threads(one, kernels.kernel(one, kernels.cut(threads, (*axes, None), scatter)), [3, 6])
    close(found, kernels.by_xla(one, 9), 1e-5)


@pytest.mark.slow
def test_a_wrong_layout_is_found():
    one = kernels.of_model(dj.models.teacher_student(widths=[3, 16, 16, 1], batches=7), 4, STUDENT)
    right, wrong = kernels.cut(16, (1, None)), Cut(16, (0, None))
    expected = kernels.by_xla(one, 12)
    close(kernels.by_threads(one, kernels.kernel(one, right), [12]), expected)
    assert (
        kernels.difference(kernels.by_threads(one, kernels.kernel(one, right, wrong), [12]), expected) > 0.01
    )


def test_data_that_are_not_waited_for_are_found_missing(monkeypatch):
    one, written = kernels.case("student", STUDENT), warps.written

    def hasty(step, how, block=1):
        source = written(step, how, block)
        return source._replace(text=source.text.replace("WAIT_FOR_COPIES;", ""))

    monkeypatch.setattr(warps, "written", hasty)
    found = kernels.by_threads(one, kernels.kernel(one, kernels.layout(one, 16)), [12])
    assert not kernels.difference(found, kernels.by_xla(one, 12)) < 0.01
