"""Moments of features before training beside networks drawn by NumPy."""

import jax
import numpy as np
import pytest

import dysonjax as dj
from dysonjax.analysis import initialisation


def kurtosis(activation, sigma_w, width, layers, networks, rng):
    """⟨z²⟩ and ⟨z⁴⟩/⟨z²⟩² − 3 of the last layer, with the latter's error over networks."""
    phi, z = initialisation.ACTIVATIONS[activation], rng.normal(size=(networks, width)) * sigma_w
    for _ in range(layers - 1):
        matrices = rng.normal(size=(networks, width, width)) * sigma_w / np.sqrt(width)
        z = np.einsum("mi,mij->mj", phi(z), matrices)
    second, fourth = (z**2).mean(axis=1), (z**4).mean(axis=1)
    ratio = fourth.mean() / second.mean() ** 2
    own = fourth / second.mean() ** 2 - 2 * ratio * (second / second.mean() - 1)
    return second, ratio - 3, own.std(ddof=1) / np.sqrt(networks)


@pytest.mark.parametrize(("activation", "sigma_w"), [("tanh", 1.5), ("identity", 1.0), ("relu", np.sqrt(2))])
def test_recursions_are_those_of_drawn_networks(activation, sigma_w):
    width, layers = 24, 3
    second, found, error = kurtosis(activation, sigma_w, width, layers, 4000, np.random.default_rng(0))
    theory = initialisation.moments(activation, sigma_w, layers)
    mean, own = second.mean(), second.std(ddof=1) / np.sqrt(len(second))
    assert abs(mean - theory.variance[-1]) < 4 * own + (activation == "tanh") * 0.02
    assert abs(2 * theory.variance[-1] - mean) > 10 * own  # the twin
    first = theory.kurtosis(width)[-1]
    exact = first
    if activation != "tanh":
        exact = initialisation.exact_kurtosis(activation, width, layers)[-1]
        assert exact == pytest.approx(first, rel=0.25) and exact > first
    assert abs(found - exact) < 4 * error + (activation == "tanh") * 0.25 * first
    if activation != "tanh":
        assert exact > 4 * error  # a Gaussian would be seen


@pytest.mark.parametrize("width", [3, 12])
def test_moments_of_levels_are_those_of_drawn_matrices(width):
    w = np.random.default_rng(0).normal(size=(20_000, width, width)) / np.sqrt(width)
    x = np.linalg.eigvalsh(w.swapaxes(1, 2) @ w)
    for k, exact in enumerate(initialisation.level_moments(width), start=1):
        each = (x**k).mean(axis=1)
        error = each.std(ddof=1) / np.sqrt(len(each))
        assert abs(each.mean() - exact) < 4 * error
        if k > 1:  # the twin: the limit of Marchenko and Pastur
            assert abs(each.mean() - initialisation.level_moments(10**9)[k - 1]) > 10 * error


def test_first_step_of_learning_follows_its_law_over_width():
    """One step on one sample, in NumPy and with other formulas: the derivative of the features, squared."""
    rng, found = np.random.default_rng(0), {}
    for width in (16, 128):
        change = []
        for _ in range(1500):
            w1 = rng.normal(size=(3, width)) / np.sqrt(3)
            w2, z = rng.normal(size=(width, width)) / np.sqrt(width), rng.normal(size=width) / np.sqrt(width)
            s, x = rng.normal(size=(2, 3))
            a, b = np.tanh(s @ w1), np.tanh(x @ w1)
            back = z * (1 - np.tanh(a @ w2) ** 2)
            first = np.outer(s, (1 - a**2) * (w2 @ back))
            moved = (a @ b) * back + ((1 - b**2) * (x @ first)) @ w2
            change.append(np.mean(((1 - np.tanh(b @ w2) ** 2) * moved) ** 2))
        found[width] = np.mean(change), np.std(change, ddof=1) / np.sqrt(len(change))
    (small, small_err), (wide, wide_err) = found.values()
    law = np.divide(*initialisation.learning((128, 16), "standard", 32))
    error = wide / small * np.hypot(small_err / small, wide_err / wide)
    assert abs(wide / small - law) < 3 * error + 0.25 * law  # terms of order 4/n are left out
    assert abs(wide / small - 1) > 10 * error  # the twin: muP without the output at the start


def test_mup_is_the_standard_scaling_at_its_base_width_and_differs_elsewhere():
    key, point = jax.random.key(0), {"lr": 0.1, "sigma_w": 1.0}
    for width, factors in ((8, (1, 1, 1)), (16, (2, 1, 0.5))):
        of = {
            scaling: dj.models.teacher_student(
                (3, width, width, 1), train="all", batches=3, scaling=scaling, base_width=8
            )
            for scaling in ("standard", "mup")
        }
        world = jax.jit(of["mup"].world, static_argnums=1)(key, 4)
        starts = {scaling: jax.jit(model.init)(key, world, point).params for scaling, model in of.items()}
        ratio = starts["mup"]["w3"] / starts["standard"]["w3"]
        np.testing.assert_allclose(ratio, np.sqrt(8 / width), rtol=1e-6)
        np.testing.assert_array_equal(starts["mup"]["w2"], starts["standard"]["w2"])
        batch = jax.jit(of["mup"].batch, static_argnums=3)(key, world, np.int32(0), 4)
        steps = {
            scaling: jax.jit(model.update)(starts["mup"], (), batch, world, point).direction
            for scaling, model in of.items()
        }
        for name, factor in zip(("w1", "w2", "w3"), factors, strict=True):
            np.testing.assert_allclose(steps["mup"][name], factor * steps["standard"][name], rtol=1e-6)
    with pytest.raises(dj.InputError, match="use train='all'"):
        dj.models.teacher_student(scaling="mup")
    with pytest.raises(dj.InputError, match="one of standard, mup"):
        dj.models.teacher_student(train="all", scaling="ntk")


def test_models_side_by_side_are_the_runs_by_themselves():
    models = {n: dj.models.linear(np.eye(n), values=np.full(n, 2.0)) for n in (2, 3)}
    grid = dj.Grid(lr=[0.1, 0.2], batch_size=2, seeds=2)
    done = []
    data = dj.train_each(models, grid, 4, 2, keep_weights="all", progress=lambda *at: done.append(at))
    assert data["train_loss"].dims[0] == "width" and done[-1] == (2 * 16, 2 * 16)
    for n, model in [*models.items()][:1]:
        alone = dj.train(model, grid, 4, 2, keep_weights="all").dataset
        at = data.sel(width=n)
        np.testing.assert_array_equal(at["train_loss"], alone["train_loss"])
        np.testing.assert_array_equal(at["eigenvalues"].isel(mode=slice(n)), alone["eigenvalues"])
        np.testing.assert_array_equal(at["weights"].isel(row=slice(n), column=slice(n)), alone["weights"])
    assert data["eigenvalues"].sel(width=2).isel(mode=-1).isnull().all()
    for arguments, sentence in (
        (({}, grid, 4), "at least one model"),
        ((models, grid, 0), "steps must be a positive integer"),
    ):
        with pytest.raises(dj.InputError, match=sentence):
            dj.train_each(*arguments)
    with pytest.raises(dj.InputError, match="a name that the grid does not have"):
        dj.train_each(models, grid, 4, axis="seed")
