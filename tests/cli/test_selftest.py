import jax.numpy as jnp
import numpy as np
import pytest

from dysonjax.cli import selftest


def test_a_sound_machine_passes_every_check():
    found = list(selftest.run())
    assert len(found) == len(selftest.checks())
    assert all(check.passed for check in found), [check for check in found if not check.passed]
    # Sharp enough to mean something: an error of 4 % in any of the means is found.
    assert all(check.error < 0.01 * check.expected for check in found if check.statistical)


def test_products_in_bfloat16_are_noticed(monkeypatch):
    def rounded(a, b):
        return (a.astype(jnp.bfloat16) @ b.astype(jnp.bfloat16)).astype(jnp.float32)

    monkeypatch.setattr(selftest.jnp, "matmul", rounded)
    assert not selftest.float32_products().passed


def test_a_compiler_that_skips_a_row_is_noticed(monkeypatch):
    honest = jnp.sum
    monkeypatch.setattr(selftest.jnp, "sum", lambda a, axis=None: honest(a[1:], axis=axis))
    assert not selftest.vmapped_reductions().passed


def test_a_fifth_more_noise_is_noticed(monkeypatch):
    integrate = selftest.dyson.integrate
    monkeypatch.setattr(
        selftest.dyson, "integrate", lambda potential, g2, *a, **k: integrate(potential, 1.2 * g2, *a, **k)
    )
    assert selftest.dyson_pair().z > selftest.MAX_Z


def test_levels_one_per_cent_too_wide_are_noticed(monkeypatch):
    sample = selftest.spectra.sample_beta_hermite
    monkeypatch.setattr(selftest.spectra, "sample_beta_hermite", lambda *a, **k: 1.01 * sample(*a, **k))
    assert selftest.hermite_traces().z > selftest.MAX_Z


def test_a_check_that_raises_counts_as_failed(monkeypatch):
    def broken():
        raise RuntimeError("no device")

    monkeypatch.setattr(selftest, "checks", lambda: (broken,))
    (check,) = selftest.run()
    assert not check.passed and "no device" in check.catches


@pytest.mark.parametrize("z", [np.nan, 4.1, -4.1])
def test_what_is_not_within_the_limit_fails(z):
    assert not selftest.Check("x", z, 0.0, 1.0, True, "").passed
