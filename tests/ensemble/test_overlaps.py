"""Overlaps of singular vectors with target, start and previous record, beside those of kept weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import Crash
from tiny import tiny

import dysonjax as dj
from dysonjax.ensemble import overlaps
from dysonjax.models.base import Start

RUN = {"steps": 12, "records": [0, 3, 7, 12], "x64": True, "keep_weights": "all", "keep": "overlaps"}
GRID = dj.Grid(lr=[0.1, 0.3], batch_size=4, sigma_w=[0.5, 2.0], seeds=3)
SLOW = pytest.mark.slow  # of many alike, two are in the quick suite


def aimed(size=5, target_sides=("right", "left")):
    """`tiny`, whose matrix is pulled towards one that is known."""
    return dataclasses.replace(tiny(size), targets=lambda world: {"w": world}, target_sides=target_sides)


@pytest.fixture(scope="module")
def run():
    return dj.train(aimed(), GRID, **RUN).dataset


def svd(w):
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    return u[..., ::-1], s[..., ::-1], vt.swapaxes(-1, -2)[..., ::-1]


def by_hand(now, then):
    """Right, left and signed overlaps of modes of the same place, of levels that all differ."""
    (u, _, v), (u0, _, v0) = svd(now), svd(then)
    left, right = np.sum(u * u0, axis=-2), np.sum(v * v0, axis=-2)
    return right**2, left**2, right * left


def values(dataset, reference):
    order = ("batch_size", "lr", "sigma_w", "seed", "record", "mode")
    return [dataset[f"overlap_{reference}_{p}"].transpose(*order).values for p in ("right", "left", "signed")]


def test_overlaps_are_those_of_the_weights(run):
    weights = run.weights.transpose("batch_size", "lr", "sigma_w", "seed", "record", "row", "column").values
    start = np.broadcast_to(weights[..., :1, :, :], weights.shape)
    teachers = [np.asarray(dj.world_of(aimed(), run, seed=s, batch_size=4)) for s in range(3)]
    target = np.broadcast_to(np.stack(teachers)[:, None], weights.shape)
    before = np.concatenate([weights[..., :1, :, :] * np.nan, weights[..., :-1, :, :]], axis=-3)
    for reference, then in (("target", target), ("start", start)):
        for found, expected in zip(values(run, reference), by_hand(weights, then), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-9)
    for found, expected in zip(
        values(run, "previous"), by_hand(weights[..., 1:, :, :], before[..., 1:, :, :]), strict=True
    ):
        np.testing.assert_allclose(found[..., 1:, :], expected, atol=1e-9)
        assert np.isnan(found[..., 0, :]).all()
    right, _, signed = values(run, "start")
    np.testing.assert_allclose([right[..., 0, :], signed[..., 0, :]], 1, atol=1e-12)
    assert run.overlap_target_right.attrs["long_name"]


@pytest.mark.parametrize(
    ("options", "backend"),
    [
        ({"tile": 1}, "xla"),
        ({"tile": 2, "devices": 1}, "native"),
        pytest.param({"tile": 1}, "native", marks=SLOW),
        pytest.param({"tile": 2, "devices": 1}, "xla", marks=SLOW),
    ],
    ids=str,
)
def test_overlaps_do_not_depend_on_tiles_and_targets(run, options, backend):
    found = dj.train(aimed(), GRID, **RUN | options | {"backend": backend, "keep_weights": "none"}).dataset
    assert "weights" not in found
    for reference in overlaps.REFERENCES:
        np.testing.assert_allclose(values(found, reference), values(run, reference), atol=1e-7)


@pytest.mark.usefixtures("save_often")
@pytest.mark.parametrize(
    "after",
    [pytest.param(0.1, marks=SLOW), 0.45, pytest.param(0.8, marks=SLOW), pytest.param(0.97, marks=SLOW)],
)
def test_a_resumed_run_compares_with_the_same_records(run, after, tmp_path):
    def progress(done, total):
        if done >= after * total:
            raise Crash

    options = RUN | {"out": tmp_path, "tile": 4, "keep_weights": "none"}
    with pytest.raises(Crash):
        dj.train(aimed(), GRID, progress=progress, save_every=1e-9, **options)
    seen = []
    found = dj.resume(
        tmp_path, aimed(), tile=2, progress=lambda done, total: seen.append(done / total)
    ).dataset
    assert seen[0] > 0 or after < 0.2
    for reference in overlaps.REFERENCES:
        np.testing.assert_allclose(values(found, reference), values(run, reference), atol=1e-7)


def test_only_what_was_asked_for_is_recorded():
    found = dj.train(tiny(), GRID, 4, 2, keep="overlaps-start, overlaps-previous").dataset
    names = {str(name) for name in found if str(name).startswith("overlap")}
    assert names == {f"overlap_{r}_{p}" for r in ("start", "previous") for p in overlaps.PARTS}
    found = dj.train(aimed(target_sides=("left",)), GRID, 4, 2, keep="overlaps-target").dataset
    assert {str(name) for name in found if str(name).startswith("overlap")} == {"overlap_target_left"}


@pytest.mark.parametrize(
    "model, keep, words",
    [
        (tiny(), "overlaps", "names no target"),
        (tiny(), "weights", "keep must be one of"),
        (aimed(), 3, "keep"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_a_sentence(model, keep, words, tmp_path):
    with pytest.raises(dj.InputError, match=words):
        dj.train(model, GRID, 4, 2, keep=keep, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_degenerate_levels_are_compared_as_subspaces():
    """Two equal levels of the reference: rotated within their plane, its vectors overlap with it as before;
    one by one, as levels that differ do, they lose a half."""
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(n, 4)))[0] for n in (7, 4))
    turn = np.eye(4)
    turn[2:, 2:] = np.array([[1, -1], [1, 1]]) / 2**0.5
    now = overlaps.vectors(((u @ turn) * [0.5, 1, 2, 2.1]) @ (v @ turn).T[None])
    same = overlaps.overlaps(now, overlaps.vectors((u * [0.5, 1, 2, 2]) @ v.T[None]))
    differ = overlaps.overlaps(now, overlaps.vectors((u * [0.5, 1, 2, 2.1]) @ v.T[None]))
    for part in overlaps.PARTS:
        np.testing.assert_allclose(same[part], 1, atol=1e-9)
        np.testing.assert_allclose(differ[part], [[1, 1, 0.5, 0.5]], atol=1e-9)


def test_signs_and_zero_levels():
    """A spike that points the wrong way has a negative product; below the rank, what lies outside counts."""
    rng = np.random.default_rng(1)
    u, v = (np.linalg.qr(rng.normal(size=(n, 4)))[0] for n in (7, 4))
    aim = overlaps.vectors((u[:, 3:] * 2) @ v[:, 3:].T[None])
    now = overlaps.vectors((u * [1, 2, 3, -4]) @ v.T[None])
    found = overlaps.overlaps(now, aim)
    np.testing.assert_allclose(found["right"], 1, atol=1e-9)
    np.testing.assert_allclose(found["left"], 1, atol=1e-9)
    np.testing.assert_allclose(found["signed"], [[np.nan, np.nan, np.nan, -1]], atol=1e-9)


@pytest.mark.parametrize("shape", [(9, 6), (6, 9), (6, 6)])
def test_vectors_are_those_of_the_singular_value_decomposition_even_of_small_levels(shape):
    rng = np.random.default_rng(2)
    u, v = (np.linalg.qr(rng.normal(size=(n, 6)))[0] for n in shape)
    s = np.array([[1e-7, 1e-3, 0.1, 0.5, 1, 2], [0.2, 0.3, 0.4, 0.5, 1, 2]])
    found = overlaps.vectors((u * s[:, None]) @ v.T)
    np.testing.assert_allclose(np.abs(np.sum(found.left * u, axis=1)), 1, atol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(found.right * v, axis=1)), 1, atol=1e-6)
    lost = overlaps.vectors(np.full((1, 4, 3), np.nan))
    assert np.isnan(overlaps.overlaps(lost, lost)["right"]).all()


def test_an_rbm_aligns_with_the_directions_of_its_data():
    """The visible side of a covariance with axes of its own; with axes of another it would stay at 1/N."""
    rng = np.random.default_rng(3)
    axes = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    model = dj.models.rbm(covariance=(axes / [2.0, 3.0, 5.0, 8.0]) @ axes.T, mu=3.0)
    grid = dj.Grid(lr=0.05, batch_size=256, sigma_w=0.3, seeds=4)
    found = dj.train(model, grid, 2000, 2, keep="overlaps-target").dataset
    assert set(found) & {"overlap_target_right", "overlap_target_signed"} == set()
    start, end = found.overlap_target_left.mean("seed").squeeze().values
    assert end.min() > 0.9 and start.max() < 0.7


def test_every_matrix_of_a_model_has_its_own():
    model = dataclasses.replace(
        aimed(), matrices=lambda params: {"w": params["w"], "part": params["w"][:, :1]}
    )
    found = dj.train(model, GRID, 4, 2, keep="overlaps").dataset
    assert found.overlap_target_left_w.sizes["mode_w"] == 2
    assert found.overlap_start_signed_part.sizes["mode_part"] == 1
    assert "overlap_target_left_part" not in found


def test_matrices_that_are_made_of_the_weights_are_compared():
    model = dataclasses.replace(
        tiny(5),
        init=lambda key, world, point: Start({"w": jax.random.normal(key, (5, 2))}, jnp.zeros(())),
        matrices=lambda params: {"doubled": 2 * params["w"]},
    )
    found = dj.train(model, GRID, 4, 2, keep="overlaps-start").dataset
    np.testing.assert_allclose(found.overlap_start_right.isel(record=0), 1, atol=1e-5)
