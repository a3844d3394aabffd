"""Spikes of a run beside theory, on runs of a second."""

import numpy as np
import pytest

import dysonjax as dj
from dysonjax.analysis import spikes, spikes_theory
from dysonjax.models import spiked_teacher


@pytest.fixture(scope="module")
def run():
    model = spiked_teacher(96, 24, (1.0, 0.6), epsilon=0.5)
    grid = dj.Grid(lr=[0.001, 0.05, 0.1, 0.2], batch_size=4, sigma_w=[0.25, 0.5], seeds=24)
    return dj.train(model, grid, 60, 31, keep="overlaps-target").dataset


@pytest.fixture(scope="module")
def found(run):
    return spikes.compare(run)


def test_outliers_and_overlaps_follow_the_theory(run, found):
    """Where θ ≥ 2 θ_c, means of 24 seeds within four errors and 3 % (of order 1/N); with σ² by the noise of
    half the variance they do not."""
    far = found.strength_theory >= 2
    assert int(far.sum()) > 100
    for name in ("position", "overlap_right", "overlap_left"):
        off = abs(found[name] - found[f"{name}_theory"])
        bound = 4 * found[f"{name}_sem"] + 0.03 * found[f"{name}_theory"]
        assert bool((off < bound).where(far, True).all()), name
    setting = spikes_theory.settings(run)
    wrong = setting._replace(epsilon=np.asarray(0.5) * 2**0.5)
    late, theory = run.record.values[-1], spikes_theory.law(wrong, run.record.values[-1])
    assert late == 60
    end = found.isel(spike=0, record=-1)
    off = abs(end.overlap_left - theory.overlap_left) > 4 * end.overlap_left_sem + 0.03 * end.overlap_left
    assert bool(off.sel(lr=0.2).all())


def test_emergence_and_border_agree_within_one_step(run, found):
    times = spikes.emergence(found.isel(spike=[0]))
    assert times["points"] == times["within_one_record"] == 6
    border = spikes.border(run, found)
    assert border["columns"] == border["within"] == 2
    # A theory that sees the opposite of what there is.
    turned = found.assign(outside=1 - found.outside)
    assert spikes.border(run, turned)["within"] == 0


def test_the_time_of_emergence_is_the_noiseless_one_without_noise():
    """t_c = ln(1 + σ_W r^{1/4}/s)/(−ln(1 − α)), to the interpolation between two times."""
    lr, sigma_w, s, ratio = 0.03, 2.0, 1.5, 64 / 256
    setting = spikes_theory.Setting(
        *(np.asarray(v) for v in (lr, 1.0, sigma_w, s, 0.0)), rows=256, columns=64
    )
    expected = np.log(1 + sigma_w * ratio**0.25 / s) / -np.log(1 - lr)
    assert spikes_theory.emergence(setting, 300) == pytest.approx(expected, rel=1e-3)
    assert np.isnan(spikes_theory.emergence(setting, int(0.9 * expected)))


def test_the_stationary_width_of_the_noise_is_that_of_the_fixed_point():
    setting = spikes_theory.Setting(*(np.asarray(v) for v in (0.2, 4.0, 1.0, 1.0, 0.3)), rows=256, columns=64)
    expected = 256 * 0.2 * 0.3**2 / (4 * (2 - 0.2))
    assert spikes_theory.course(setting, 500).sigma ** 2 == pytest.approx(expected)


def test_emergence_is_read_off_a_line_back_to_one():
    time = np.array([0.0, 10, 20, 30, 40])
    assert spikes.emergence_of(time, [1, 1, 1.5, 2, 2.5]) == 10
    assert spikes.emergence_of(time, [1, 1, 2.0, 2.1, 2.1]) == 0  # at most two records back
    assert np.isnan(spikes.emergence_of(time, [1, 1, 1, 1, 1.5]))
    assert spikes.emergence_of(time, [1, 2, 1, 1.5, 2.0]) == 20  # not the first appearance


def test_runs_without_a_theory_are_looked_at_all_the_same():
    model = spiked_teacher(32, 12, (1.0,), s=2.0, noise="label", activation="tanh")
    run = dj.train(
        model, dj.Grid(lr=[0.05, 0.1], batch_size=8, sigma_w=0.2, seeds=6), 100, 6, keep="overlaps-target"
    ).dataset
    found = spikes.compare(run)
    assert found.position_theory.isnull().all() and spikes.border(run, found) is None
    assert float(found.overlap_right.isel(record=-1).min()) > 0.9
    assert spikes.deviations(found) == {} and spikes.margin(run) is None
    with pytest.raises(dj.InputError, match="linear outputs"):
        spikes_theory.settings(run)


def test_other_models_are_observed_but_not_compared():
    run = dj.train(
        dj.models.linear(), dj.Grid(lr=0.1, batch_size=4, seeds=12), 10, 3, keep="overlaps"
    ).dataset
    assert spikes.observed(run).overlap_right.sizes["record"] == 3
    assert spikes.outliers(run.eigenvalues, 1.0).outside.shape == (1, 1, 1, 3)
    with pytest.raises(dj.InputError, match="spiked-teacher"):
        spikes.compare(run)
    with pytest.raises(dj.InputError, match="below the number of levels"):
        spikes.observed(run, 2)


def test_a_spike_emerges_and_disappears_again_if_slow_inputs_gather_noise():
    """Two blocks of inputs: noise of the fast one is held back at once, that of the slow one, which is not,
    grows for 1/(αλ) steps: a spike that was learned in between is swallowed. With white inputs it stays."""
    grid = dj.Grid(lr=0.1, batch_size=1, sigma_w=0.05, seeds=8)
    records, found = [0, 5, 20, 80, 600], {}
    for blocks in ((1.0, 0.02), ()):
        model = spiked_teacher(96, 24, epsilon=0.1, blocks=blocks)
        run = dj.train(model, grid, 600, records, keep="overlaps-target").dataset
        found[blocks] = spikes.observed(run).overlap_left.squeeze().values
    slow, white = found.values()
    assert slow[0] < 0.1 and slow[2] > 0.6 and slow[-1] < 0.2
    assert white[0] < 0.1 and white[2] > 0.6 and white[-1] > 0.6
