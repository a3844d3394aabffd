"""Where the members stand: by name, by `member_axis`, and never where the records stand."""

import jax
import numpy as np
import pytest
import xarray as xr

import dysonjax as dj
from dysonjax import spectra
from dysonjax.checks import InputError

SEEDS, RECORDS, RATES, MODES = 24, 3, 2, 5


def _levels(seed=0):
    """Levels of correlated records, positive and ascending, (lr, seed, record, mode)."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(RATES, SEEDS, 1, 9, MODES)) + 0.2 * rng.normal(
        size=(RATES, SEEDS, RECORDS, 9, MODES)
    )
    x = np.linalg.svd(w, compute_uv=False)[..., ::-1] ** 2
    coords = {"lr": [0.1, 0.2], "seed": np.arange(SEEDS), "record": [0, 10, 20], "mode": np.arange(MODES)}
    return xr.DataArray(x, coords, ("lr", "seed", "record", "mode"))


def _mean(x):
    return x.mean(axis=(-2, -1))


ONE = {  # name -> what it is called with, besides the levels
    "bootstrap": {"statistic": _mean, "n_resamples": 20},
    "jackknife": {"statistic": _mean},
    "mean_spacing_ratio": {"n_samples": 50},
    "level_density": {"bins": 4, "limits": (0.0, 30.0)},
    "binder_cumulant": {},
    "fit_brody": {"n_resamples": 4},
    "fit_two_mode": {"n_resamples": 4},
    "fit_wigner_surmise": {"n_resamples": 20},
    "number_variance": {"lengths": [1.0]},
    "rigidity": {"lengths": [1.0]},
    "fit_marchenko_pastur": {"ratio": 5 / 9, "n_resamples": 4},
    "spacing_test": {"ratio": 5 / 9, "n_resamples": 9},
    "fit_power_law": {"n_resamples": 0, "max_candidates": 5},
    "spacings": {},
    "spacing_ratio": {},
    "unfold": {},
}
TWO = ("wasserstein", "kolmogorov_smirnov", "energy_distance", "permutation_test")


def _statistic(name):
    function = getattr(spectra, name)
    if name != "fit_power_law":
        return function

    def of_members(x, **options):
        """Plain numbers are single points for this one, unless it is told where the members are."""
        plain = {"member_axis": -2} if isinstance(x, np.ndarray) else {}
        return function(x, **(plain | options))

    return of_members


def _wide(name, x):
    """Levels whose members all cover the length that long-range statistics look at."""
    if name in ("number_variance", "rigidity"):
        lowest = np.arange(MODES) * 0.5
        return x * 0.001 + lowest
    return x


def _fields(result):
    if isinstance(result, spectra.Estimate):
        low, high = result.confidence_interval()
        return {"estimate": result.estimate, "error": result.estimate_err, "low": low, "high": high}
    if hasattr(result, "_asdict"):
        return result._asdict()
    if hasattr(result, "__dataclass_fields__"):
        return dict(vars(result))
    return {"": result}


def _assert_same(found, expected, **where):
    for name, value in _fields(found).items():
        if value is None or isinstance(value, str):  # settings
            continue
        value = (
            value.isel(where) if isinstance(value, xr.DataArray) and set(where) <= set(value.dims) else value
        )
        other = _fields(expected)[name]
        if np.asarray(value).dtype.kind == "U":
            np.testing.assert_array_equal(value, other, err_msg=name)
        else:
            np.testing.assert_allclose(value, other, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", ONE)
def test_named_members_give_each_record_an_estimate_of_its_own(name):
    x, call, options = _wide(name, _levels()), _statistic(name), ONE[name]
    found = call(x, **options)
    for lr, record in ((0, 1), (1, 2)):
        alone = call(x.isel(lr=lr, record=record).values, **options)
        _assert_same(found, alone, lr=lr, record=record)
    for value in _fields(found).values():
        if isinstance(value, xr.DataArray) and "record" in value.dims:
            assert value["record"].values.tolist() == [0, 10, 20] and value["lr"].values.tolist() == [
                0.1,
                0.2,
            ]


@pytest.mark.parametrize("name", ONE)
def test_the_order_of_dimensions_does_not_matter(name):
    x, call = _wide(name, _levels()), _statistic(name)
    expected = call(x, **ONE[name])
    turned = call(x.transpose("mode", "record", "seed", "lr"), **ONE[name])
    for field, value in _fields(expected).items():
        if isinstance(value, xr.DataArray):
            _assert_same(_fields(turned)[field].transpose(*value.dims), value)
    renamed = x.isel(lr=0).rename(seed="member", mode="mode_w1")
    _assert_same(call(renamed, **ONE[name]), call(x.isel(lr=0), **ONE[name]))


@pytest.mark.parametrize("name", ONE)
def test_member_axis_of_a_plain_array_is_what_a_name_is_for_a_labelled_one(name):
    x, call = _wide(name, _levels()).isel(lr=0), _statistic(name)
    plain = x.values  # (seed, record, mode), as `Path.levels`
    _assert_same(call(x, **ONE[name]), call(plain, member_axis=0, **ONE[name]))


@pytest.mark.parametrize("name", ONE)
def test_frozen_members_are_refused_passed_on_or_left_out(name):
    x, call, options = _wide(name, _levels()), _statistic(name), ONE[name]
    x[1, 4:7] = np.nan  # three networks at one learning rate
    with pytest.raises(InputError, match="finite"):
        call(x, **options)
    omitted, passed = call(x, nan_policy="omit", **options), call(x, nan_policy="propagate", **options)
    keeps = name in ("spacings", "spacing_ratio", "unfold")
    alive = np.delete(np.arange(SEEDS), np.arange(4, 7))
    alone = call(x.isel(lr=1, record=0, seed=alive).values, **options)
    if keeps:
        np.testing.assert_allclose(omitted.isel(lr=1, record=0, seed=alive), alone, rtol=1e-12)
        assert np.isnan(omitted.isel(lr=1, seed=slice(4, 7))).all()
    else:
        _assert_same(omitted, alone, lr=1, record=0)
    for rate in (omitted, passed):
        whole = call(x.isel(lr=0, record=0).values, **options)
        _assert_same(rate, whole, lr=0, record=0)
    first = next(v for n, v in _fields(passed).items() if n != "edges")
    if name not in ("spacings", "spacing_ratio"):
        assert np.isnan(first.isel(lr=1)).all()


@pytest.mark.parametrize(
    "name", ["bootstrap", "jackknife", "fit_brody", "fit_two_mode", "fit_wigner_surmise"]
)
def test_a_record_is_no_member(name):
    x, call = _levels(), getattr(spectra, name)
    with pytest.raises(InputError, match=r"no dimension `seed` or `member`.*one network at several times"):
        call(x.isel(seed=0), **ONE[name])
    with pytest.raises(InputError, match="must not be taken for members"):
        call(x, member_axis="record", **ONE[name])


@pytest.mark.parametrize("name", TWO)
def test_two_samples_are_matched_by_the_names_of_their_dimensions(name):
    x, y, call = _levels(0), _levels(1), getattr(spectra, name)
    options = {"n_resamples": 19} if name == "permutation_test" else {}
    found = call(x, y.transpose("record", "mode", "lr", "seed"), **options)
    alone = call(x.isel(lr=1, record=2).values, y.isel(lr=1, record=2).values, **options)
    _assert_same(found, alone, lr=1, record=2)
    each = next(iter(_fields(call(x, y, comparison="each", **options)).values()))
    assert each.dims == ("lr", "record", "mode")
    # A stationary law has no records: each record is held against it.
    law = y.isel(lr=0, record=0, drop=True)
    against = call(x, law, **options)
    _assert_same(against, call(x.isel(lr=1, record=2).values, law.values, **options), lr=1, record=2)
    _assert_same(call(x, law.values, **options), against)
    _assert_same(call(x.isel(lr=0).values, law.values[:, None].repeat(3, 1), member_axis=0, **options),
                 call(x.isel(lr=0), law, **options))  # fmt: skip
    with pytest.raises(InputError, match="x and y differ along record"):
        call(x, y.assign_coords(record=[0, 1, 2]), **options)


def test_a_long_path_says_which_axis_holds_its_members():
    key = jax.random.key(0)
    start = np.tile([-1.0, 0.0, 1.0], (40, 1))
    path = dj.dyson.integrate(dj.dyson.quadratic(), 0.5, start, 1.0, 20, key=key, records=5)
    levels = path.dataset["levels"]
    assert levels.dims == ("member", "record", "mode")
    np.testing.assert_array_equal(path.dataset["time"], path.times)
    ratio = spectra.mean_spacing_ratio(levels.isel(record=[2, 4]), n_samples=50)
    assert ratio.value.dims == ("record",)
    np.testing.assert_allclose(ratio.value["time"], path.times[[2, 4]])
    _assert_same(ratio, spectra.mean_spacing_ratio(path.levels[:, [2, 4]], member_axis=0, n_samples=50))
    end = spectra.mean_spacing_ratio(path.levels[:, -1], n_samples=50)
    assert float(ratio.value_err[-1]) == pytest.approx(end.value_err)


def test_bootstrap_of_a_run_resamples_its_seeds():
    run = dj.train(dj.models.linear(), dj.Grid(lr=[0.1, 0.2], batch_size=4, seeds=12), 30, 3)
    levels = run.dataset["eigenvalues"]
    found = spectra.bootstrap(levels, _mean, n_resamples=400)
    scatter = levels.mean("mode").std("seed", ddof=1) / np.sqrt(12)
    assert found.estimate_err.dims == ("batch_size", "lr", "sigma_w", "record")
    # 400 replicates: 3.5 % standard error.
    np.testing.assert_allclose(found.estimate_err, scatter.transpose(*found.estimate_err.dims), rtol=0.15)
    low, high = found.confidence_interval(0.5)
    assert low.dims == high.dims == found.estimate_err.dims and (low < high).all()
    loss = spectra.bootstrap(
        run.dataset["train_loss"].isel(record=-1), _mean, n_resamples=20
    )  # one number a seed
    assert loss.estimate.dims == ("batch_size", "lr", "sigma_w")


def test_points_without_enough_members_are_nan_and_no_point_at_all_is_a_sentence():
    x = _levels()
    x[0, 1:] = np.nan
    found = spectra.bootstrap(x, _mean, n_resamples=10, nan_policy="omit")
    assert (
        np.isnan(found.estimate_err.isel(lr=0)).all()
        and np.isfinite(found.confidence_interval().low.isel(lr=1)).all()
    )
    assert np.isnan(found.confidence_interval(0.68).high.isel(lr=0)).all()
    density = spectra.level_density(x.where(x.lr > 0.1), bins=3, nan_policy="omit")
    assert np.isnan(density.density.isel(lr=0)).all() and density.density.dims == ("lr", "record", "bin")
    np.testing.assert_allclose(density.density["bin"], density.centers)
    with pytest.raises(InputError, match=r"only 1 members without NaN are left.*at least 2"):
        spectra.bootstrap(x.isel(lr=0), _mean, nan_policy="omit")
    nothing = spectra.mean_spacing_ratio(x[0, 1:].values, nan_policy="propagate", member_axis=0, n_samples=50)
    assert nothing.value.shape == (RECORDS,) and np.isnan(nothing.value).all()
    for bad in (np.full((4, 3), np.nan), np.full(3, np.nan)):
        assert np.isnan(spectra.spacings(bad, nan_policy="propagate")).all()


def test_what_cannot_be_labelled_is_refused_with_the_remedy():
    x = _levels()
    with pytest.raises(InputError, match="choose a variable of the dataset"):
        spectra.bootstrap(xr.Dataset({"eigenvalues": x}), _mean)
    with pytest.raises(InputError, match="several dimensions of levels"):
        spectra.bootstrap(x.expand_dims(mode_w1=2), _mean)
    with pytest.raises(InputError, match="say which by member_axis"):
        spectra.bootstrap(x.expand_dims(member=2), _mean)
    with pytest.raises(InputError, match="member_axis must name a dimension of x"):
        spectra.bootstrap(x, _mean, member_axis="network")
    with pytest.raises(InputError, match="must be a number for a plain array"):
        spectra.bootstrap(x.values, _mean, member_axis="seed")
    with pytest.raises(InputError, match="must not be its last axis"):
        spectra.bootstrap(x.values, _mean, member_axis=-1)
    with pytest.raises(InputError, match="must be an axis of x"):
        spectra.bootstrap(x.values, _mean, member_axis=4)
    with pytest.raises(InputError, match="nan_policy must be one of"):
        spectra.bootstrap(x, _mean, nan_policy="drop")
    with pytest.raises(InputError, match="no leading dimension"):
        spectra.binder_cumulant(x, center=x.mean("seed"))


def test_a_center_goes_with_the_points_that_it_names():
    x = _levels()
    center = xr.DataArray([3.0, 5.0], {"lr": x.lr}, ("lr",))
    found = spectra.binder_cumulant(x, center=center)
    assert float(found.isel(lr=1, record=0)) == pytest.approx(
        spectra.binder_cumulant(x.isel(lr=1, record=0).values, center=5.0)
    )
    x[1, 0, 2] = np.nan
    found = spectra.binder_cumulant(x, center=center, nan_policy="omit")
    assert float(found.isel(lr=1, record=2)) == pytest.approx(
        spectra.binder_cumulant(x.isel(lr=1, record=2).values[1:], center=5.0)
    )


def test_a_labelled_null_is_one_of_independent_spectra():
    x = _levels()
    null = _levels(1).isel(lr=0, record=0, drop=True)
    found = spectra.mean_spacing_ratio(x, null=null.transpose("mode", "seed"))
    _assert_same(found, spectra.mean_spacing_ratio(x, null=null.values))
    with pytest.raises(InputError, match="not one at several records"):
        spectra.mean_spacing_ratio(x, null=x)


def test_pooling_correlated_times_understates_the_error():
    """What the axis trap costs: records counted as members make the error too small by √records."""
    rng = np.random.default_rng(3)
    slow = np.sort(rng.normal(size=(60, 1, 12)) + 0.01 * rng.normal(size=(60, 20, 12)), axis=-1)
    honest = spectra.mean_spacing_ratio(slow, member_axis=0, n_samples=50).value_err
    pooled = spectra.mean_spacing_ratio(slow.reshape(-1, 12), n_samples=50).value_err
    assert (honest > 3 * pooled).all()
