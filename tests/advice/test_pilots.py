import numpy as np
import pytest
import xarray as xr

import dysonjax as dj
from dysonjax.advice import advise, pilots, predict


def _pilot(loss, lr=(0.1, 1.0, 10.0), sigma_w=(0.5, 2.0), records=(0, 25, 50, 100), seeds=2):
    """A made-up pilot whose loss is a function of (α, σ_W, t)."""
    a, s, t = np.meshgrid(lr, sigma_w, records, indexing="ij")
    values = np.broadcast_to(loss(a, s, t)[None, :, :, None], (1, len(lr), len(sigma_w), seeds, len(records)))
    dims = ("batch_size", "lr", "sigma_w", "seed", "record")
    coords = {"batch_size": [4], "lr": list(lr), "sigma_w": list(sigma_w), "record": list(records)}
    return xr.Dataset({"train_loss": (dims, values), "alive": (dims, np.isfinite(values))}, coords)


def test_a_loss_that_depends_on_alpha_times_t_is_predicted_beyond_the_pilots():
    """L = (1 + α t)^{-1/2} is a power of time at large α t; within 10 % at 100 times the pilots' α t."""
    pilot = _pilot(lambda a, s, t: (1 + a * t) ** -0.5, lr=(1.0, 10.0, 100.0))
    found = predict(pilot, [3.0, 30.0], [1.0, 1.0], 1000)
    expected = (1 + np.array([3.0, 30.0]) * 1000) ** -0.5
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 2, axis=1), rtol=0.1)
    # Without extrapolation in time the prediction would be too high by the factor √10.
    assert (found < 0.5 * (1 + np.array([[3.0], [30.0]]) * 100) ** -0.5).all()


def test_a_floor_is_not_extrapolated_and_divergence_stays_divergence():
    flat = _pilot(lambda a, s, t: 0.2 + 0.0 * t)
    np.testing.assert_allclose(predict(flat, [0.3], [1.0], 10**6), 0.2)
    broken = _pilot(lambda a, s, t: np.where(a > 5, np.nan, 0.01))
    assert np.isinf(predict(broken, [3.0], [1.0], 100)).all()
    np.testing.assert_allclose(predict(broken, [0.5], [1.0], 100), 0.01)


@pytest.mark.slow
def test_advice_for_the_linear_network_ends_at_its_exact_edge():
    """Gaussian inputs, |B| = 16: errors shrink in the mean square for α < 2/(1 + 3/16) = 1.68 at least; the
    pilots stand at 0.5, 1, 2, 4. Values below the edge must be inside, 2.4 outside."""
    found = advise(dj.models.linear(epsilon=0.01), (0.5, 4.0), (0.1, 1.0), 16, 400, points=4, seeds=8)
    assert (found.share([0.5, 1.0, 2.4, 4.0], 0.3) == [1, 1, 0, 0]).all()
    window = found.window
    assert ((window["lr_high"] >= 1.0) & (window["lr_high"] <= 2.0)).all()
    assert found.best["share"] == 1 and found.best["temperature"] == found.best["lr"] / 16


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lr": (1.0, 1.0)}, "lr needs first < last"),
        ({"lr": 0.5}, "lr must be a pair"),
        ({"sigma_w": (0.0, 1.0)}, "sigma_w must be positive"),
        ({"points": 1}, "points must be an integer of at least 2, got 1"),
        ({"pilot_steps": 30_000}, "pilot_steps must be at most steps"),
        ({"threshold": 0}, "threshold must be positive"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"reference": -1}, "reference must be positive"),
    ],
)
def test_bad_input_is_named(options, sentence, monkeypatch):
    monkeypatch.setattr(pilots.ensemble, "train", lambda *a, **k: type("R", (), {"dataset": None}))
    with pytest.raises(dj.InputError, match=sentence):
        advise(dj.models.linear(), **({"lr": (0.1, 1.0), "sigma_w": (0.1, 1.0)} | options))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("widths", "batch_size", "offset", "seed"),
    [
        ((3, 32, 16, 1), 4, 0.5, 11),
        ((3, 32, 16, 1), 16, 0.5, 11),
        ((3, 64, 32, 1), 4, 0.5, 11),
        ((3, 48, 24, 1), 8, 0.25, 23),
        ((3, 24, 24, 1), 2, 0.75, 41),
        ((3, 40, 20, 1), 6, 0.6, 57),
    ],
)
def test_hit_rate_on_a_phase_diagram_that_it_has_not_seen(widths, batch_size, offset, seed):
    """Measured 0.95 to 0.98 ± 0.02, 0.934 for twice the widths; always "no" scores 0.5 to 0.8."""
    model = dj.models.teacher_student(widths)
    values = [2.0 ** (k + offset) for k in range(-3, 8)]
    grid = dj.Grid(lr=values, sigma_w=values, batch_size=batch_size, seeds=8)
    phases = dj.phase.classify(dj.train(model, grid, 20_000, 2, key=seed).dataset)
    share = (phases["member"] == 0).mean("seed").isel(batch_size=0)
    truth = share.transpose("lr", "sigma_w").values >= 0.5
    lr, sigma_w = (a.ravel() for a in np.meshgrid(values, values, indexing="ij"))
    found = advise(model, batch_size=batch_size, steps=20_000, key=seed + 100)
    hit = float(((found.share(lr, sigma_w) >= 0.5).reshape(truth.shape) == truth).mean())
    assert hit > 0.85 and hit > (~truth).mean() + 0.1, hit


@pytest.mark.slow
def test_hit_rate_for_the_gaussian_rbm():
    """Measured 0.93 ± 0.03 of 100 points between the pilots'; always "no" scores 0.51."""
    model = dj.models.rbm(sampler="collapsed")
    edges = {"lr": (0.005, 1.0), "sigma_w": (0.03, 3.0)}
    lr, sigma_w = (np.sqrt(e[1:] * e[:-1]) for e in (np.geomspace(*edge, 11) for edge in edges.values()))
    found = advise(model, **edges, batch_size=8, steps=4000, pilot_steps=2000, threshold=0.1, key=191)
    last = dj.train(model, dj.Grid(lr=lr, sigma_w=sigma_w, batch_size=8, seeds=6), 4000, 2, key=91).dataset
    last = last.isel(record=-1, batch_size=0)
    truth = ((last["train_loss"] < found.threshold) & last["alive"]).mean("seed") >= 0.5
    truth = truth.transpose("lr", "sigma_w").values
    pairs = (a.ravel() for a in np.meshgrid(lr, sigma_w, indexing="ij"))
    hit = float(((found.share(*pairs) >= 0.5).reshape(truth.shape) == truth).mean())
    assert hit > 0.8 and hit > (~truth).mean() + 0.1, hit


def test_a_pilot_at_a_larger_step_bounds_the_loss_that_it_has_reached():
    """L falls only after α t = 20, which a pilot of 100 steps at α = 0.1 does not see, but that at 1 does."""
    pilot = _pilot(lambda a, s, t: np.where(a * t < 20, 1.0, 0.01), records=(0, 15, 50, 100))
    np.testing.assert_allclose(predict(pilot, [0.1], [1.0], 500), 0.01)
    np.testing.assert_allclose(predict(pilot, [0.1], [1.0], 120), 1.0)  # α t = 12: not yet
