"""`dj.spectrum`: the same numbers from a file, a mapping, flax parameters and a torch state dictionary."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import xarray as xr

import dysonjax as dj
from dysonjax.layers.change import compare

RNG = np.random.default_rng(0)
SHAPE = (40, 24)  # one shape, whose noise is simulated once


@pytest.fixture(scope="module")
def tensors():
    return {"a.weight": RNG.normal(size=SHAPE), "a.bias": np.zeros(40), "b.weight": RNG.normal(size=SHAPE)}


def numbers(dataset):
    return dataset[["mp_sigma2", "mp_p", "outliers", "stable_rank", "ratio_p", "level"]]


def test_file_and_mappings_agree(tensors, tmp_path):
    np.savez(tmp_path / "f.npz", **tensors)
    file = dj.spectrum(tmp_path / "f.npz", n_resamples=20)
    assert list(file.matrix.values) == ["a.weight", "b.weight"] and file.sizes["index"] == 24
    xr.testing.assert_equal(numbers(file), numbers(dj.spectrum(tensors, n_resamples=20)))
    nested = {"a": {"weight": jnp.asarray(tensors["a.weight"])}, "b": {"weight": tensors["b.weight"]}}
    found = dj.spectrum(nested, n_resamples=20)
    assert list(found.matrix.values) == ["a/weight", "b/weight"]
    np.testing.assert_allclose(found.mp_sigma2, file.mp_sigma2, rtol=1e-4)
    levels = np.linalg.svd(tensors["b.weight"], compute_uv=False)[::-1] ** 2
    np.testing.assert_allclose(file.level.sel(matrix="b.weight"), levels)
    assert [t["why"] for t in file.attrs["tensors"]] == ["as stored", "a bias", "as stored"]


def test_what_was_done_and_why_is_told_of_every_tensor(tensors):
    extra = tensors | {"step": 3, "ids": np.arange(5), "nothing": None}
    accounts = {t["name"]: t for t in dj.spectrum(extra, n_resamples=20, only="a.").attrs["tensors"]}
    assert set(accounts) == {"a.weight", "a.bias"}
    accounts = {t["name"]: t for t in dj.spectrum(extra, n_resamples=20).attrs["tensors"]}
    assert accounts["step"]["why"] == "a int, no array" and accounts["ids"]["done"] == "skipped"


def test_flax_parameters_of_both_apis():
    import flax.linen as nn
    from flax import nnx

    module = nn.Dense(24)
    params = module.init(jax.random.key(0), jnp.zeros((1, 40)))
    found = dj.spectrum(params, n_resamples=20)
    assert list(found.matrix.values) == ["params/kernel"]
    state = nnx.state(nnx.Linear(40, 24, rngs=nnx.Rngs(0)))
    assert list(dj.spectrum(state, n_resamples=20).matrix.values) == ["kernel"]


class _Torch:
    """What is asked of a tensor of PyTorch, which the tests do without."""

    def __init__(self, array, dtype="float32", place=0):
        self.array, self.dtype, self.shape, self.place = array, _Dtype(dtype), array.shape, place

    def detach(self):
        return self

    cpu = detach

    def float(self):
        return _Torch(np.asarray(self.array, np.float32))

    def numpy(self):
        if str(self.dtype) == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array

    def stride(self):
        return tuple(s // self.array.itemsize for s in self.array.strides)

    def storage_offset(self):
        return 0

    def untyped_storage(self):
        return self

    def data_ptr(self):
        return self.place


class _Dtype:
    is_complex = False

    def __init__(self, name):
        self.name, self.is_floating_point = name, "float" in name

    def __str__(self):
        return f"torch.{self.name}"


_Torch.__module__ = "torch"


def test_torch_modules_with_tied_and_half_precision_weights(tensors):
    w = tensors["a.weight"].astype(np.float32)

    class Module:
        def state_dict(self):
            return {
                "wte.weight": _Torch(w, place=1),
                "lm_head.weight": _Torch(w, place=1),
                "half.weight": _Torch(w.astype(ml_dtypes.bfloat16), "bfloat16", 2),
                "steps": _Torch(np.array(3), "int64", 3),
            }

    found = dj.spectrum(Module(), n_resamples=20)
    assert list(found.matrix.values) == ["wte.weight", "half.weight"]
    np.testing.assert_allclose(found.mp_sigma2[1], found.mp_sigma2[0], rtol=0.01)
    accounts = {t["name"]: t for t in found.attrs["tensors"]}
    assert "tied" in accounts["lm_head.weight"]["why"]


def test_what_is_no_network_is_refused(tmp_path):
    for source, message in (
        (3, "a path, a mapping"),
        ({}, "holds no weight"),
        ({"b": np.zeros(3)}, "holds no weight"),
    ):
        with pytest.raises(dj.InputError, match=message):
            dj.spectrum(source)
    with pytest.raises(dj.InputError, match="no matrix with a name"):
        dj.spectrum({"a": np.ones((9, 9))}, start={"b": np.ones((9, 9))})
    loop = {}
    loop["again"] = loop
    with pytest.raises(dj.InputError, match="nested without end"):
        dj.spectrum(loop)


def test_change_since_the_start_is_what_was_planted():
    rng = np.random.default_rng(1)
    u, v = (np.linalg.qr(rng.normal(size=(n, 2)))[0] for n in SHAPE)
    start = rng.normal(size=SHAPE)
    learned = 30 * u @ v.T  # two equal directions
    found = compare((start + learned)[None], start[None], 2)
    assert found.change == pytest.approx(np.linalg.norm(learned) / np.linalg.norm(start))
    assert found.change_stable_rank == pytest.approx(2)
    assert found.overlap_chance == pytest.approx(2 / 24)
    turned = compare((start + learned)[None], (start + learned + 0.01 * rng.normal(size=SHAPE))[None], 2)
    assert turned.overlap_right > 0.999 > 0.6 > found.overlap_right
    other = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    rotated = compare((other @ (start + learned))[None], (start + learned)[None], 2)
    # A rotation from the left keeps the levels and the right vectors, and moves the left ones.
    assert rotated.level_change == pytest.approx(0, abs=1e-10) and rotated.overlap_right == pytest.approx(1)
    assert rotated.overlap_left < 0.3
    with pytest.raises(dj.InputError, match="shape"):
        compare(start[None], start.T[None], 2)


def test_large_matrices_are_compared_in_their_leading_directions_alone():
    rng = np.random.default_rng(2)
    start = rng.normal(size=(620, 600)).astype(np.float32)
    start[:, 0] *= 30
    found = compare((start + 0.01 * rng.normal(size=start.shape))[None], start[None], 1)
    assert found.overlap_right > 0.999 and found.change == pytest.approx(0.01 / np.std(start), rel=0.02)


def test_start_adds_its_columns(tensors):
    start = {name: w + 0.1 * RNG.normal(size=w.shape) for name, w in tensors.items() if name != "b.weight"}
    found = dj.spectrum(tensors, n_resamples=20, start=start)
    assert found.start_change.values[0] == pytest.approx(0.1, rel=0.1) and np.isnan(
        found.start_change.values[1]
    )


def test_recorded_levels_of_a_run_are_judged_at_every_record(tmp_path):
    from dysonjax.spectra.wishart_pool import gaussian_spectra

    rng = np.random.default_rng(3)
    levels = gaussian_spectra(rng, 40, 24, 24).reshape(1, 2, 1, 6, 2, 24)
    levels[0, 1, 0, :, 1] += np.linspace(0, 400, 24)  # the last record of the second point is no noise
    levels[0, 0, 0, 2, 1] = np.nan  # a diverged member
    dims = ("batch_size", "lr", "sigma_w", "seed", "record", "mode")
    coords = {"batch_size": [4], "lr": [0.1, 0.5], "sigma_w": [1.0], "record": [0, 100]}
    attrs = {"long_name": "eigenvalues of X = WᵀW of W, 24×40, ascending"}
    data = xr.Dataset({"eigenvalues": (dims, levels, attrs)}, coords)
    data.to_zarr(tmp_path / "run" / "run.zarr", consolidated=False)
    found = dj.spectrum(tmp_path / "run", n_resamples=20)
    assert found.sizes["matrix"] == 4 and str(found.matrix.values[1]).endswith(
        "lr=0.1, sigma_w=1, record=100]"
    )
    assert list(found.members.values) == [6, 5, 6, 6] and set(found["shape"].values) == {"40x24"}
    assert list(found.verdict.values[:3]) == ["noise"] * 3 and found.verdict.values[3] != "noise"
    np.testing.assert_allclose(found.mp_sigma2.values[:3], 40, rtol=0.1)


@pytest.mark.slow  # every process imports and simulates for itself
def test_processes_give_the_same_table(tensors, tmp_path):
    np.savez(tmp_path / "f.npz", **tensors)
    one, two = (dj.spectrum(tmp_path / "f.npz", n_resamples=20, jobs=jobs) for jobs in (1, 2))
    xr.testing.assert_identical(one, two)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"q": np.ones((20, 10), int)}, "what was given holds no .*1 tensor left out, .* q: integers"),
        ({"a": np.ones(4), "b": np.ones(3)}, "2 tensors left out, the first of them a: a vector"),
        ({"q": np.full((20, 10), np.nan)}, "1 could not be analysed: 200 of 200 entries are NaN"),
    ],
)
def test_a_mapping_of_which_nothing_is_left_says_why(given, sentence):
    with pytest.raises(dj.InputError, match=sentence):
        dj.spectrum(given)
