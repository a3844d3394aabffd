"""What the engine asks of the driver, and what it does when the driver says no: runs on the stand-in."""

import json
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import dysonjax as dj
from dysonjax.cli import main
from dysonjax.compile import driver, nvrtc
from dysonjax.ensemble import cuda, jobs, targets

sys.path.append(str(Path(__file__).parents[1] / "ensemble"))
from tiny import tiny

GRID = dj.Grid(lr=[0.1, 0.2, 0.3], sigma_w=[0.5, 1.0], batch_size=2, seeds=5)
RUN = {"steps": 12, "records": 4}


@pytest.fixture(scope="module")
def by_xla():
    return dj.train(tiny(), GRID, **RUN, backend="xla").dataset


def same(found, expected):
    for name in expected.data_vars:
        a, b = found[name].values, expected[name].values
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6, err_msg=name)


@pytest.fixture
def short_pieces(monkeypatch):
    monkeypatch.setattr(jobs.Pace, "piece", lambda self, left: min(3, left))


@pytest.mark.parametrize("devices", [1, 2])
def test_a_run_launches_every_piece_once_on_every_device(stand_in, short_pieces, by_xla, devices):
    run = dj.train(tiny(), GRID, **RUN, devices=devices)
    assert (run.summary["backend"], run.summary["target"]) == ("cuda", "cuda")
    assert run.summary["backend_reason"] is None
    same(run.dataset, by_xla)
    calls = stand_in("cuModuleLoadData", "cuLaunchKernel", "cuStreamSynchronize")
    pieces = 3 * 2  # of three steps and of one, between records
    assert calls[:devices] == devices * ["cuModuleLoadData"]
    assert calls[devices:] == pieces * [*devices * ["cuLaunchKernel"], *devices * ["cuStreamSynchronize"]]
    assert stand_in().index("cuInit") < stand_in().index("cuDevicePrimaryCtxRetain")


def test_numbers_that_are_read_before_the_stream_is_waited_for_are_old(stand_in, by_xla, monkeypatch):
    """The twin of the test above: the stand-in launches when it is waited for."""
    monkeypatch.setattr(driver.Function, "wait", lambda self: None)
    run = dj.train(tiny(), GRID, **RUN, devices=1)
    with pytest.raises(AssertionError):
        same(run.dataset, by_xla)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_record_still_shows_the_state_of_before_and_states_come_back_plain(stand_in, devices):
    config = dj.ensemble.Config(GRID, 10, 1, devices=devices, backend="cuda")
    job = jobs.job(tiny(), config, 0, range(GRID.seeds)).compiled()
    identity, run = job.waves[0].identity, job.executable
    world, state = run.start(identity)
    plain = jax.tree.map(np.array, run.unpack(state))
    assert jax.tree.map(lambda leaf: leaf.shape, plain) == jax.tree.map(lambda leaf: leaf.shape, job.state)
    jax.tree.map(np.testing.assert_array_equal, run.unpack(run.pack(plain)), plain)
    observed = run.observe(identity, world, state)
    ends = (jobs.per_device(n, devices) for n in (0, 3))
    moved = run.unpack(run.advance(identity, world, state, *ends).result())
    assert (moved.params["w"] != plain.params["w"]).all()
    np.testing.assert_array_equal(np.asarray(observed.result().matrices["w"]), plain.params["w"])
    jax.tree.map(np.testing.assert_array_equal, run.unpack(state), plain)


@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize(
    "call", [pytest.param("cuLaunchKernel:3", marks=pytest.mark.slow), "cuStreamSynchronize:2"]
)
def test_a_launch_that_fails_leaves_the_rest_to_the_next_target(stand_in, by_xla, monkeypatch, call):
    monkeypatch.setenv("STAND_IN_FAIL", call)
    monkeypatch.setattr(driver, "OUT_OF_MEMORY", -1)
    said = []
    run = dj.train(tiny(), GRID, **RUN, devices=1, backend="cuda", say=said.append)
    name = call.split(":")[0]
    assert said == [
        f"the NVIDIA driver refused {name}: out of memory (error 2); going on without the cuda target"
    ]
    assert run.summary["backend"] != "cuda" and name in run.summary["backend_reason"]
    same(run.dataset, by_xla)


@pytest.mark.slow  # tests/ensemble/test_resume.py
@pytest.mark.usefixtures("short_pieces")
def test_too_little_memory_halves_the_tile(stand_in, by_xla, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAIL", "cuLaunchKernel:2")
    said = []
    run = dj.train(tiny(), GRID, **RUN, devices=1, backend="cuda", say=said.append)
    assert len(said) == 1 and said[0].startswith("out of device memory; going on with ")
    assert run.summary["backend"] == "cuda"
    same(run.dataset, by_xla)


@pytest.mark.slow  # states come back plain, see above
@pytest.mark.usefixtures("short_pieces")
def test_a_run_that_is_interrupted_and_resumed_on_another_target_ends_alike(
    stand_in, by_xla, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    monkeypatch.setattr(targets, "TARGETS", (cuda.TARGET, targets.TARGETS[-1]))
    steps = {"steps": 12, "records": [0, 4, 8, 12]}

    class Stop(Exception):
        pass

    def stop(done, total):
        if done > 0.6 * total:
            raise Stop

    with pytest.raises(Stop):
        dj.train(tiny(), GRID, **steps, out=out, devices=1, save_every=0.001, progress=stop)
    assert "cuLaunchKernel" in stand_in()
    monkeypatch.delenv(driver.VARIABLE)
    run = dj.ensemble.resume(out, tiny(), devices=1)
    assert run.summary["backend"] == "xla"
    same(run.dataset, dj.train(tiny(), GRID, **steps, backend="xla").dataset)


def refusal(**options):
    with pytest.raises(dj.InputError) as caught:
        dj.train(tiny(), GRID, **RUN, devices=1, backend="cuda", **options)
    return str(caught.value)


def test_a_machine_without_a_gpu_says_so():
    assert "there is no NVIDIA GPU" in refusal()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = dj.train(tiny(), GRID, steps=1, records=1, devices=1).summary
    assert summary["target"] != "cuda" and "NVIDIA" not in (summary["backend_reason"] or "")


def test_a_driver_that_is_too_old_says_so(stand_in, monkeypatch):
    monkeypatch.setenv("STAND_IN_VERSION", "11080")
    sentence = refusal()
    assert "driver is too old: it is for CUDA 11.8, and 12.0 or newer is needed" in sentence


def test_a_gpu_that_is_too_old_says_so(stand_in, monkeypatch):
    monkeypatch.setenv("STAND_IN_MAJOR", "7")
    assert "a GPU of compute capability 7.0" in refusal()


def test_a_driver_that_finds_no_gpu_says_so(stand_in, monkeypatch):
    monkeypatch.setenv("STAND_IN_DEVICES", "0")
    assert "no CUDA-capable device is detected" in refusal()


def test_a_missing_compiler_names_the_extra(monkeypatch):
    monkeypatch.setattr(nvrtc, "library", lambda: None)
    assert "pip install 'dysonjax[cuda]'" in nvrtc.refuses()
    with pytest.raises(nvrtc.NvrtcError, match="install the extra"):
        nvrtc.compile("", 90, {})


def test_a_network_that_is_too_large_says_what_fits(stand_in):
    with pytest.raises(
        dj.InputError, match="bytes of state, and more than 16384 do not fit into the registers"
    ):
        dj.train(tiny(5000), GRID, steps=1, records=1, devices=1, backend="cuda")


def test_the_command_says_it_in_a_sentence(tmp_path, capsys):
    words = [
        "linear",
        "--steps",
        "2",
        "--seeds",
        "1",
        "--records",
        "2",
        "--backend",
        "cuda",
        "--out",
        str(tmp_path / "a"),
    ]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "there is no NVIDIA GPU" in said and "Traceback" not in said


@pytest.mark.slow  # test_a_fall_back_is_told_once_and_kept_with_the_results
def test_the_store_holds_why_the_gpu_was_not_used_to_the_end(stand_in, monkeypatch, tmp_path):
    monkeypatch.setenv("STAND_IN_FAIL", "cuStreamSynchronize:1")
    monkeypatch.setattr(driver, "OUT_OF_MEMORY", -1)
    run = dj.train(
        tiny(), GRID, **RUN, devices=1, backend="cuda", say=lambda text: None, out=tmp_path / "run"
    )
    summary = json.loads(run.dataset.attrs["summary"])
    assert "cuStreamSynchronize" in summary["backend_reason"]
