"""The list of targets: each is asked, each reason is kept, and no fall back is silent."""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from tiny import tiny

import dysonjax as dj
from dysonjax import compile as compiler
from dysonjax.ensemble import jobs, targets, thresholds, xla
from dysonjax.ensemble.contract import Refused

needs_c = pytest.mark.skipif(compiler.compiler_path() is None, reason="needs a C compiler")
GRID = dj.Grid(lr=[0.1, 0.3], batch_size=[2, 4], seeds=3)


def unsupported():
    """The tiny model with a step that no C is written for."""
    model = tiny()

    def update(params, *rest):
        found = model.update(params, *rest)
        return found._replace(direction={"w": jax.lax.lgamma(found.direction["w"])})

    return dj.models.Model(**{**vars(model), "update": update})


def entry(name, backend="native", refuses=None, error=None):
    def lower(task, tile):
        if error is not None:
            raise error
        return xla.TARGET.lower(task, tile)

    return xla.TARGET._replace(name=name, backend=backend, refuses=lambda task: refuses, lower=lower)


def chosen(model, grid, **options):
    """The job of the first batch size, not compiled."""
    config = dj.ensemble.Config(grid, 10, 1, **options)
    return jobs.job(model, config, 0, range(grid.seeds))


def test_the_first_that_does_not_refuse_is_taken_and_the_reasons_of_the_others_are_kept(monkeypatch):
    ways = [
        entry("a", refuses="it is Monday"),
        entry("b", error=Refused("it rains")),
        entry("c"),
        entry("d", error=AssertionError),
        xla.TARGET,
    ]
    monkeypatch.setattr(targets, "TARGETS", tuple(ways))
    job = chosen(tiny(), GRID)
    assert job.target.name == "c" and job.reasons == {"a": "it is Monday", "b": "it rains"}
    assert targets.sentence(job.reasons) == "a: it is Monday; b: it rains"
    assert job.again().target.name == "c"
    later = job.again(refused=job.reasons | {"c": "its compiler failed"})
    assert later.target.name == "xla" and "please report this" in later.reasons["d"]
    assert chosen(tiny(), GRID, backend="xla").reasons == {}
    monkeypatch.setattr(targets, "TARGETS", (*ways[:2], xla.TARGET))
    with pytest.raises(dj.InputError, match="tiny: a: it is Monday; b: it rains; use backend='auto'"):
        chosen(tiny(), GRID, backend="native")


def test_what_is_wrong_with_the_model_itself_is_raised(monkeypatch):
    def update(*arguments):
        raise ZeroDivisionError("of the model")

    broken = dj.models.Model(**{**vars(tiny()), "update": update})
    with pytest.raises(ZeroDivisionError, match="of the model"):
        chosen(broken, GRID)


@needs_c
def test_a_fall_back_is_told_once_and_kept_with_the_results(tmp_path):
    with pytest.warns(
        UserWarning, match=r"the operation lgamma, in line \d+ of .*; going on with xla"
    ) as told:
        run = dj.train(unsupported(), GRID, 6, 2, out=tmp_path / "run")
    assert len([w for w in told if "going on with" in str(w.message)]) == 1
    reason = run.summary["backend_reason"]
    assert reason.startswith("the operation lgamma") and run.summary["target"] == "xla"
    stored = dj.read(tmp_path / "run").attrs
    assert stored["backend_reason"] == reason
    assert json.loads(stored["summary"])["backend_reason"] == reason


@pytest.mark.slow  # tests/cuda/test_launch.py
@needs_c
def test_nothing_is_told_where_nothing_was_refused_or_asked():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for backend in ("auto", "xla"):
            assert dj.train(tiny(), GRID, 6, 2, backend=backend).summary["backend_reason"] is None


@pytest.mark.slow
@needs_c
def test_a_network_that_carries_a_random_key_is_trained_by_xla():
    model = tiny()

    def init(key, world, point):
        return model.init(key, world, point)._replace(memory=key)

    def update(params, memory, *rest):
        return model.update(params, jnp.zeros(()), *rest)._replace(memory=memory)

    keyed = dj.models.Model(**{**vars(model), "init": init, "update": update})
    with pytest.warns(UserWarning, match="a random key in the state of a network; going on with xla"):
        run = dj.train(keyed, GRID, 6, 2, x64=True)
    expected = dj.train(model, GRID, 6, 2, x64=True, backend="xla")
    xr.testing.assert_allclose(run.dataset["train_loss"], expected.dataset["train_loss"])
    assert run.example["w"].shape == (2, 2)


@needs_c
def test_the_flagship_with_large_batches_is_compiled_to_c():
    job = chosen(dj.models.teacher_student(batches=2), dj.Grid(lr=[0.1], batch_size=1024, seeds=1))
    assert job.target.backend == "native", job.reasons


@needs_c
def test_what_lanes_have_no_room_for_is_tried_as_a_whole(monkeypatch):
    model = tiny()
    monkeypatch.setitem(thresholds.VALUES, "lanes_most_scratch_bytes", -1)
    monkeypatch.setitem(thresholds.VALUES, "whole_least_bytes", 0)
    job = chosen(model, GRID)
    assert job.target.name == "whole" and "bytes of intermediate arrays" in job.reasons["lanes"]
    monkeypatch.setitem(thresholds.VALUES, "whole_least_bytes", 2**20)
    assert "XLA is faster below" in chosen(model, GRID).reasons["whole"]
    assert chosen(model, GRID, backend="native").target.name == "whole"  # who insists gets it
    monkeypatch.setitem(thresholds.VALUES, "lanes_most_state_bytes", 10)
    assert "more than 10 are too many in lanes" in chosen(model, GRID).reasons["lanes"]


def test_every_threshold_has_the_measurement_that_chose_it():
    for name, one in json.loads(thresholds.FILE.read_text()).items():
        assert one["rows"] and one["processor"] and one["decides"], name
        assert all(min(row["microseconds"].values()) > 0 for row in one["rows"])


@needs_c
@pytest.mark.parametrize("target", ["lanes", "whole", "xla"])
def test_a_network_that_fails_in_its_first_step_stays_as_it_began(target, monkeypatch):
    """Step 0 is a step: who stops there is no more alive than who stops later."""
    if target == "whole":
        monkeypatch.setitem(thresholds.VALUES, "lanes_most_state_bytes", 0)
    grid = dj.Grid(lr=0.1, sigma_w=[1.0, 1e4], batch_size=2, seeds=3)
    backend = "xla" if target == "xla" else "native"
    run = dj.train(tiny(), grid, 7, [0, 1, 7], backend=backend, devices=1)
    assert run.summary["target"] == target
    found = run.dataset.isel(batch_size=0, lr=0)
    assert (found.diverged_at.values == [[-1] * 3, [0] * 3]).all()
    levels = found.eigenvalues.transpose("sigma_w", "seed", "record", "mode").values
    np.testing.assert_array_equal(levels[1, :, 1:], levels[1, :, :1].repeat(2, axis=1))
    assert (levels[0, :, 2] != levels[0, :, 0]).all()
