"""Randomness is passed in one way: `key`, an integer or a key of JAX."""

import jax
import numpy as np
import pytest

import dysonjax as dj
from dysonjax import keys

X = np.sort(np.random.default_rng(0).random((12, 6)), axis=1)


def error(**options) -> float:
    return float(dj.spectra.bootstrap(X, np.mean, n_resamples=50, **options).estimate_err)


def test_a_key_of_an_integer_is_that_integer():
    assert error(key=7) == error(key=jax.random.key(7)) == error(key=jax.random.PRNGKey(7)) != error(key=8)
    assert (
        dj.spectra.fit_two_mode(X[:, :2], 20, 3).sigma_err
        == dj.spectra.fit_two_mode(X[:, :2], 20, key=3).sigma_err
    )


def test_keys_that_were_split_differ():
    found = {keys.number("key", key) for key in jax.random.split(jax.random.key(0), 50)}
    assert len(found) == 50 and all(0 <= number < 2**32 for number in found)


def test_the_former_name_works_and_warns():
    with pytest.warns(DeprecationWarning, match="seed of bootstrap is now called key"):
        assert error(seed=7) == error(key=7)
    with pytest.raises(TypeError):
        error(seed=7, key=7)


@pytest.mark.parametrize("key", [-1, 2**32, 1.5, "a", None, True, np.zeros(2)])
def test_what_is_no_key_is_one_sentence(key):
    with pytest.raises(dj.InputError, match="key"):
        error(key=key)


def test_the_spectrum_of_a_network_takes_a_key_as_well():
    w = np.random.default_rng(0).normal(size=(40, 30))

    def spread(**options) -> float:
        return dj.spectrum(w, n_resamples=20, quick=True, **options).tail_alpha_err.item()

    with pytest.warns(DeprecationWarning, match="seed of spectrum is now called key"):
        assert spread(seed=3) == spread(key=jax.random.key(3)) != spread(key=4)
