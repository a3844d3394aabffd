"""A member is made again from its identity, whatever the grid it was trained in."""

import jax
import numpy as np
import pytest
from thin import loss_only

import dysonjax as dj

MODEL = dj.models.teacher_student((3, 6, 5, 1), batches=20)


# Of independent randomness: test_a_run_of_an_earlier_version_goes_on_with_its_own_random_numbers
@pytest.fixture(scope="module", params=["common", pytest.param("independent", marks=pytest.mark.slow)])
def run(request):
    sizes = 4 if request.param == "common" else [2, 4]  # on which the noise of one's own depends
    grid = dj.Grid(lr=[0.1, 1.0], sigma_w=[0.5, 2.0], batch_size=sizes, seeds=2, first_seed=3)
    model = MODEL if request.param == "common" else loss_only(MODEL)
    return dj.train(
        model, grid, 5, [0, 5], x64=True, keep_weights="all", key=7, randomness=request.param
    ).dataset


def test_start_teacher_and_observables_are_those_of_the_run(run):
    place = {"seed": 4, "batch_size": 4, "lr": 1.0, "sigma_w": 2.0}
    member, stored = dj.member_of(MODEL, run, **place), run.sel(place)
    np.testing.assert_allclose(member.params["w2"], stored.weights.isel(record=0), rtol=1e-12)
    levels = np.linalg.svd(member.world.teacher[1], compute_uv=False)[::-1] ** 2
    np.testing.assert_allclose(levels, stored.target_eigenvalues, rtol=1e-10)
    # Everything that was observed at the end, from the weights that were stored.
    weights = {"w2": np.array(stored.weights.isel(record=1).values)}
    with jax.enable_x64(True):
        now = jax.jit(MODEL.observe)
        seen = now(weights, member.params, member.world, member.observation_key, member.point)
    for name, value in seen.items():
        if name not in stored:  # of a run that records the loss alone
            continue
        np.testing.assert_allclose(value, stored[name].isel(record=1), rtol=1e-8, err_msg=name)
    # The twin: the next seed is another network.
    other = dj.member_of(MODEL, run, **(place | {"seed": 3}))
    assert np.abs(other.params["w2"] - member.params["w2"]).max() > 0.1


def test_a_world_is_shared_by_the_members_of_a_seed_or_belongs_to_one(run):
    place = {"seed": 3, "batch_size": 4}
    if '"common"' in run.attrs["config"]:
        world = dj.world_of(MODEL, run, **place)
        member = dj.member_of(MODEL, run, **place, lr=0.1, sigma_w=0.5)
        assert world.inputs.shape == (20, 4, 6)
        jax.tree.map(
            np.testing.assert_array_equal, jax.tree.leaves(world)[:-1], jax.tree.leaves(member.world)[:-1]
        )
    else:
        with pytest.raises(dj.InputError, match="its own realisation"):
            dj.world_of(MODEL, run, **place)


def test_another_model_or_a_missing_scalar_is_refused(run):
    place = {"seed": 0, "batch_size": 4, "lr": 0.1, "sigma_w": 1.0}
    with pytest.raises(dj.InputError, match="another model; they differ in batches, widths"):
        dj.member_of(dj.models.teacher_student(widths=(3, 8, 8, 1)), run, **place)
    with pytest.raises(dj.InputError, match="does not vary epsilon; leave it out"):
        dj.member_of(MODEL, run, **place, epsilon=0.1)
    linear = dj.models.linear()
    grid = dj.Grid(lr=0.1, batch_size=4, scalars={"epsilon": [0.1, 0.2]})
    data = dj.train(linear, grid, 1, [0, 1], keep_weights="all").dataset
    with pytest.raises(dj.InputError, match="varies epsilon; say which value by epsilon="):
        dj.member_of(linear, data, **place)
    start = dj.member_of(linear, data, **place, epsilon=0.2).params["w"]
    np.testing.assert_allclose(start, data.weights.isel(record=0, epsilon=1).squeeze(), rtol=1e-5)
