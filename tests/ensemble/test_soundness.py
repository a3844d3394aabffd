"""A slip in a model of one's own is told in one sentence, before anything is compiled."""

import dataclasses
import random
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dysonjax as dj
from dysonjax.ensemble import soundness
from dysonjax.models import Model, Start, Update

GRID = dj.Grid(lr=0.01, batch_size=4, seeds=2)


def loss(params, samples):
    return 0.5 * jnp.mean((samples[0] @ params["w"] - samples[1]) ** 2)


def update(params, memory, samples, world, point):
    value, gradient = jax.value_and_grad(loss)(params, samples)
    return Update(gradient, memory, value, healthy=value < 100)


def batch(key, world, step, batch_size):
    x = jax.random.normal(key, (batch_size, 6))
    return x, x @ world


def observe(params, initial, world, key, point):
    return {"train_loss": loss(params, batch(key, world, 0, 16))}


SOUND = Model(
    name="mine",
    world=lambda key, batch_size: jax.random.normal(key, (6, 3)),
    init=lambda key, world, point: Start({"w": point["sigma_w"] * jax.random.normal(key, (6, 3))}),
    batch=batch,
    update=update,
    matrices=lambda params: params,
    observe=observe,
    observables={"train_loss": "loss"},
)
generator = np.random.default_rng(0)


def branching(params, memory, samples, world, point):
    return update(params, memory, samples, world, point) if params["w"].sum() > 0 else None


SLIPS = {
    "shapes that do not fit": (
        {"batch": lambda k, w, s, b: (jnp.zeros((b, 5)), jnp.zeros((b, 3)))},
        r"update of mine fails in line \d+ of test_soundness.py: TypeError: dot_general requires",
    ),
    "an update that is a tuple": (
        {"update": lambda p, *rest: (p, ())},
        r"must return a dj.models.Update\(direction, memory, loss, healthy\), got a tuple",
    ),
    "a branch over values": ({"update": branching}, "take jnp.where or jax.lax.cond, not if or float"),
    "a direction of another shape": (
        {"update": lambda p, m, *rest: Update({"w": p["w"].T}, m, 0.0, True)},
        r"direction\['w'\] that update .* must be like the params, float32\[6, 3\], got float32\[3, 6\]",
    ),
    "a direction under another name": (
        {"update": lambda p, m, *rest: Update({"v": p["w"]}, m, 0.0, True)},
        r"built like the params, \['w'\]: float32\[6, 3\], got \['v'\]: float32\[6, 3\]",
    ),
    "a memory that changes its type": (
        {
            "init": lambda k, w, p: Start({"w": jnp.ones((6, 3))}, {"n": 0}),
            "update": lambda p, m, *rest: Update(p, {"n": m["n"] + 1.0}, 0.0, True),
        },
        r"memory\['n'\] that update .* like the memory before, int32\[\], got float32\[\]",
    ),
    "a loss for each sample": (
        {"update": lambda p, m, *rest: Update(p, m, jnp.ones(4), True)},
        r"loss in the Update .* must be one number, got float32\[4\]",
    ),
    "health as a number": (
        {"update": lambda p, m, *rest: Update(p, m, 0.0, 1.0)},
        r"healthy in the Update .* one truth value, such as loss < 100, got float32\[\]",
    ),
    "integers that are trained": (
        {"init": lambda k, w, p: Start({"w": jnp.ones((6, 3)), "n": jnp.int32(3)})},
        r"floating-point numbers, but params\['n'\] is int32; what is not trained belongs in the memory",
    ),
    "parameters without a Start": (
        {"init": lambda k, w, p: {"w": jnp.ones((6, 3))}},
        r"init of mine must return a dj.models.Start\(params, memory\), got a dict",
    ),
    "a list of matrices": (
        {"matrices": lambda p: [p["w"]]},
        "a dict of weight matrices by name, .* got a list",
    ),
    "a vector as a matrix": (
        {"matrices": lambda p: {"w": p["w"][0]}},
        r"each of shape \(n_in, n_out\), but 'w' is float32\[3\]",
    ),
    "an observable that is a vector": (
        {"observe": lambda p, *rest: {"train_loss": 0.0 * p["w"].sum(), "rows": p["w"].sum(0)}},
        r"must return scalars, but rows is float32\[3\]; take its mean, or give each component a name",
    ),
    "an observable without a name": (
        {"observe": lambda p, *rest: {"train_loss": p["w"].sum(), "width": p["w"].std()}},
        "returns width, which its observables do not name; add {'width': 'what it is, with unit'} there",
    ),
    "a hyperparameter that no grid gives": (
        {"init": lambda k, w, p: Start({"w": p["kappa"] * jnp.ones((6, 3))})},
        r"a point holds lr, sigma_w, not kappa; declare kappa .* or read point.get\('kappa', default\)",
    ),
    "a world without a batch size": (
        {"world": lambda key: jnp.ones((6, 3))},
        "world of mine fails: TypeError: .* takes 1 positional argument but 2 were given",
    ),
    "NumPy's random numbers": (
        {"batch": lambda k, w, s, b: (jnp.asarray(generator.normal(size=(b, 6))), jnp.zeros((b, 3)))},
        "batch of mine holds other numbers each time that it is traced, .* draw them from the key",
    ),
    "Python's random numbers": (
        {"update": lambda p, m, *rest: Update({"w": p["w"] * random.random()}, m, 0.0, True)},
        "update of mine holds other numbers each time",
    ),
    "random numbers inside a loop": (
        {
            "update": lambda p, m, *rest: Update(
                {"w": jax.lax.map(lambda x: x * random.random(), p["w"])}, m, 0.0, True
            )
        },
        "update of mine holds other numbers each time",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_a_model_is_told_before_it_is_compiled(slip):
    changes, sentence = SLIPS[slip]
    with pytest.raises(dj.InputError, match=sentence) as caught:
        dj.train(dataclasses.replace(SOUND, **changes), GRID, 2, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("x64", [False, True])
def test_a_sound_model_is_not_complained_about(x64):
    soundness.check(SOUND, GRID, x64)
    counting = dataclasses.replace(
        SOUND,
        init=lambda k, w, p: Start({"w": p["sigma_w"] * jnp.ones((6, 3))}, {"n": 0, "mean": jnp.zeros(3)}),
        update=lambda p, m, b, w, point: update(p, {"n": m["n"] + 1, "mean": p["w"].mean(0)}, b, w, point),
    )
    soundness.check(counting, GRID, x64)
    data = (
        np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    )  # drawn once, the same in each trace
    soundness.check(dataclasses.replace(SOUND, batch=lambda k, w, s, b: (data[:b], data[:b] @ w)), GRID, x64)


def test_models_of_this_package_are_not_traced_again(monkeypatch):
    monkeypatch.setattr(soundness, "_traced", None)
    soundness.check(dj.models.linear(), GRID, False)
    with pytest.raises(TypeError):
        soundness.check(SOUND, GRID, False)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(1e-3),
        optax.sgd(0.1, momentum=0.9),
        optax.chain(optax.clip(1.0), optax.lion(1e-3)),
        optax.adamw(optax.cosine_decay_schedule(0.1, 100)),
    ],
)
def test_an_optimizer_with_a_learning_rate_of_its_own_is_refused(optimizer):
    with pytest.raises(dj.InputError, match=r"without learning rate, such as optax\.scale_by_adam"):
        dj.train(SOUND, GRID, 2, 2, optimizer=optimizer)
    with pytest.raises(dj.InputError, match="without learning rate"):
        dj.train(dj.models.linear(), GRID, 2, 2, optimizer=optimizer)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.scale_by_adam(),
        optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_rms(), optax.add_decayed_weights(1e-2)),
        optax.scale_by_lion(),
        optax.trace(0.9, nesterov=True),
    ],
)
def test_an_optimizer_without_learning_rate_is_taken(optimizer):
    soundness.check(SOUND, GRID, False, optimizer)


def test_networks_that_are_no_numbers_and_yet_alive_are_told_at_the_line_that_trained_them():
    blind = dataclasses.replace(
        SOUND, update=lambda p, m, *rest: Update({"w": p["w"] * jnp.nan}, m, 0.0, healthy=True)
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = dj.train(blind, GRID, 3, 2)
    [told] = [w for w in said if "count as alive" in str(w.message)]
    assert str(told.message).startswith(
        "2 of 2 networks count as alive although their train_loss is not finite"
    )
    assert told.filename == __file__ and run.summary["diverged"] == 0
