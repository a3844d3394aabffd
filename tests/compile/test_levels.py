"""Squared singular values of many matrices in lanes, beside a singular value decomposition one by one."""

import numpy as np
import pytest

from dysonjax.compile import levels
from dysonjax.compile.memory import LANES, aligned
from dysonjax.ensemble import spectrum

SHAPES = [(32, 16), (10, 10), (2, 2), (16, 32), (7, 3), (1, 5), (64, 40), (3, 1)]
EPS = np.finfo(np.float64).eps


def matrices(kind: str, rows: int, columns: int, count: int = 19) -> np.ndarray:
    rng = np.random.default_rng(0)
    gauss, least = rng.standard_normal((count, rows, columns)), min(rows, columns)
    match kind:
        case "equal levels":
            most = max(rows, columns)
            return 3 * np.linalg.qr(rng.standard_normal((count, most, most)))[0][:, :rows, :columns]
        case "low rank":
            rank = max(1, least // 2)
            return gauss[:, :, :rank] @ rng.standard_normal((count, rank, columns))
        case "graded":
            return gauss * 10.0 ** -np.arange(columns)
        case "graded upwards":
            return gauss * 10.0 ** (np.arange(columns) - columns)
        case "diagonal":
            found = np.zeros((count, rows, columns))
            found[:, range(least), range(least)] = rng.integers(0, 3, (count, least))
            return found
        case "spike":
            return gauss + 100
        case "vanishing":
            return 0 * gauss
        case "ones":
            return 0 * gauss + 1
        case "tiny":
            return gauss * 1e-30
        case "huge":
            return gauss * 1e30
    return gauss


KINDS = (
    "gauss, equal levels, low rank, graded, graded upwards, diagonal, spike, vanishing, ones, tiny, huge"
).split(", ")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_levels_are_as_accurate_as_those_of_lapack(kind, dtype):
    for shape in SHAPES:
        weights = matrices(kind, *shape).astype(dtype)
        exact = np.linalg.svd(weights.astype(np.float64), compute_uv=False)[:, ::-1] ** 2
        found = levels.squared_singular_values(weights)
        largest = np.maximum(exact[:, -1:], np.finfo(np.float64).tiny)
        assert found.shape == exact.shape and (np.diff(found) >= 0).all() and (found >= 0).all()
        error, of_lapack = (
            (np.abs(each - exact) / largest).max() for each in (found, spectrum._gram_eigenvalues(weights))
        )
        assert error <= 20 * EPS, (shape, error / EPS)
        assert of_lapack <= 20 * EPS, (shape, of_lapack / EPS)


def test_a_matrix_does_not_feel_the_others_of_its_vector():
    weights = matrices("gauss", 12, 6, 40).astype(np.float32)
    alone = np.concatenate([levels.squared_singular_values(one[None]) for one in weights])
    weights[3], weights[17] = 0, np.eye(12, 6)  # these are done at once
    weights[5, 2, 1], weights[21, 0, 0], weights[22, 11, 5] = np.nan, np.inf, -np.inf
    found, changed = levels.squared_singular_values(weights), [3, 5, 17, 21, 22]
    np.testing.assert_array_equal(np.delete(found, changed, 0), np.delete(alone, changed, 0))
    assert np.isnan(found[[5, 21, 22]]).all() and (found[3] == 0).all() and (found[17] == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(12, 6), (6, 12), (5, 5)])
def test_matrices_in_lanes_have_the_same_levels(shape, dtype):
    weights = matrices("gauss", *shape, count=3 * LANES).astype(dtype)
    weights[7, 0, 0] = np.nan
    in_lanes = aligned(weights.reshape(3, LANES, -1).transpose(0, 2, 1))
    found = levels.in_lanes(in_lanes, shape).transpose(0, 2, 1).reshape(3 * LANES, -1)
    np.testing.assert_array_equal(found, levels.squared_singular_values(weights))


def test_what_the_steps_do_not_find_lapack_does(monkeypatch):
    weights = matrices("gauss", 6, 4, 5)
    weights[2, 0, 0] = np.nan
    expected = levels.squared_singular_values(weights)
    find = levels._found

    def lost(*arguments):
        found = find(*arguments)
        found[1] = np.nan
        return found

    monkeypatch.setattr(levels, "_found", lost)
    found = levels.squared_singular_values(weights)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.isnan(found[2]).all()


def test_without_a_compiler_levels_are_those_of_lapack(monkeypatch):
    weights = matrices("gauss", 6, 4, 5).astype(np.float32)
    assert spectrum.in_lanes()
    in_c = spectrum.squared_singular_values(weights)
    monkeypatch.setattr(spectrum, "in_lanes", lambda: False)
    np.testing.assert_allclose(spectrum.squared_singular_values(weights), in_c, rtol=1e-13)
    assert not levels.takes(2**10, 2**5) and not levels.takes(100, 100) and levels.takes(256, 64)
