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
        bound = 4 * found[f"{name}_err"] + 0.03 * found[f"{name}_theory"]
        assert bool((off < bound).where(far, True).all()), name
    setting = spikes_theory.settings(run)
    wrong = setting._replace(epsilon=np.asarray(0.5) * 2**0.5)
    late, theory = run.record.values[-1], spikes_theory.law(wrong, run.record.values[-1])
    assert late == 60
    end = found.isel(spike=0, record=-1)
    off = abs(end.overlap_left - theory.overlap_left) > 4 * end.overlap_left_err + 0.03 * end.overlap_left
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
    assert spikes_theory.course(setting, 500).sigma[..., 0] ** 2 == pytest.approx(expected)


def test_emergence_is_read_off_a_line_back_to_one():
    time = np.array([0.0, 10, 20, 30, 40])
    assert spikes.emergence_of(time, [1, 1, 1.5, 2, 2.5]) == 10
    assert spikes.emergence_of(time, [1, 1, 2.0, 2.1, 2.1]) == 0  # at most two records back
    assert np.isnan(spikes.emergence_of(time, [1, 1, 1, 1, 1.5]))
    assert spikes.emergence_of(time, [1, 2, 1, 1.5, 2.0]) == 20  # not the first appearance


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_spike_emerges_and_disappears_again_when_theory_says_so():
    """Two blocks of inputs: noise of the fast one is held back at once, that of the slow one, which is not,
    grows for 1/(αλ) steps: a spike that was learned in between is swallowed. Where θ ≥ 1.5 θ_c means of 16
    seeds are within four errors and 5 % (of order 1/N), those of one block with the mean squares are not.
    With white inputs the spike stays."""
    grid = dj.Grid(lr=0.1, batch_size=1, sigma_w=0.05, seeds=16)
    records, found = [0, 2, 5, 10, 20, 40, 60, 80, 120, 200, 300], {}
    for blocks in ((1.0, 0.01), ()):
        model = spiked_teacher(96, 24, epsilon=0.06, blocks=blocks)
        run = dj.train(model, grid, 300, records, keep="overlaps-target").dataset
        found[blocks] = spikes.compare(run).isel(spike=0).squeeze()
        if blocks:
            mistaken = spikes_theory.law_of_means(run)
    slow, white = found.values()
    far = slow.strength_theory.values > 1.5
    assert far.sum() >= 3

    def near(name, truth):
        off = np.abs(slow[name].values - truth)
        return bool((off < 4 * slow[f"{name}_err"].values + 0.05 * truth)[far].all())

    for name in ("position", "overlap_right", "overlap_left"):
        assert near(name, slow[f"{name}_theory"].values), name
    assert not near("overlap_right", mistaken.overlap_right.squeeze())
    assert np.isfinite(slow.emergence) and np.isfinite(white.emergence)
    assert abs(slow.disappearance - slow.disappearance_theory) < 40 and 60 < slow.disappearance_theory < 140
    assert np.isnan(white.disappearance) and np.isnan(white.disappearance_theory)
    assert slow.outside[5] > 0.4 and slow.outside[-1] < 0.2 and white.outside[-1] == 1


def test_disappearance_is_read_off_a_line_on_to_one():
    time = np.array([0.0, 10, 20, 30, 40])
    assert spikes.disappearance_of(time, [1, 2, 1.8, 1.4, 1]) == pytest.approx(40)
    assert spikes.disappearance_of(time, [1, 3.0, 1.5, 1, 1]) == pytest.approx(20 + 0.5 / 0.15)
    assert np.isnan(spikes.disappearance_of(time, [1, 1, 1.5, 2, 2.5]))
    assert np.isnan(spikes.disappearance_of(time, [1, 1, 2.0, 1, 1]))


@pytest.mark.parametrize("noise", ["gradient", "label"])
def test_the_widths_of_blocks_follow_their_recursion(noise):
    """Loss after 12 steps, by the mean square of W − W* in each block: 64 networks, four errors; with the
    variances of the inputs exchanged theory is off by more."""
    model = spiked_teacher(16, 8, s=1.0, epsilon=0.7, noise=noise, blocks=(1.0, 0.3))
    grid = dj.Grid(lr=0.2, batch_size=8, sigma_w=0.5, seeds=64)
    run = dj.train(model, grid, 12, [12]).dataset
    # train_loss is half of Σ λ_j |column j of W − W*|².
    measured = 2 * run.train_loss.values.ravel()
    setting = spikes_theory.settings(run)

    def loss(setting, weights=(1.0, 0.3)):
        at = spikes_theory.course(setting, 12)
        # Each block has half of the teacher's square and 4 columns of 16 entries of variance σ²/16.
        each = (1 - at.theta) ** 2 / 2 + 4 * at.sigma**2
        return float(np.sum(each.squeeze() * np.array(weights)))

    error = measured.std() / 8
    assert abs(measured.mean() - loss(setting)) < 4 * error
    assert abs(measured.mean() - loss(setting._replace(blocks=(0.3, 1.0)))) > 4 * error
