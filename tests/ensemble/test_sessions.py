"""With what a run was computed is recorded session by session; going on with something else is said."""

import json

import pytest
from small_run import MODEL, RUN, Crash, start_and_crash

import dysonjax as dj
from dysonjax.ensemble import results, run_folder, schema, store

pytestmark = pytest.mark.usefixtures("save_often")
ONE = dj.Grid(0.1, batch_size=2, seeds=3)


def sessions(folder):
    return dj.read(folder).attrs["sessions"]


def test_another_backend_is_said_and_recorded(tmp_path, monkeypatch):
    """As where the machine that goes on has no compiler, or another one."""

    def progress(done, total):
        if done > 0.5 * total:
            raise Crash

    with pytest.raises(Crash):
        dj.train(MODEL, ONE, 24, [0, 7, 24], out=tmp_path, save_every=1e-9, progress=progress)
    (first,) = sessions(tmp_path)
    assert first["backend"] == "native" and first["target"] == "lanes" and first["processor"]
    assert {"jax", "jaxlib", "optax", "c_compiler"} <= json.loads(first["versions"]).keys()
    said = []
    versions = results.versions() | {"jax": "99.0"}
    monkeypatch.setattr(results, "versions", lambda: versions)
    dj.resume(tmp_path, MODEL, backend="xla", say=said.append)
    (sentence,) = said
    assert "goes on with another machine or software" in sentence and "its last digits may differ" in sentence
    for change in ("backend = xla, not native", "target = xla, not lanes", "jax = 99.0, not "):
        assert change in sentence
    assert [s["backend"] for s in sessions(tmp_path)] == ["native", "xla"]


@pytest.mark.usefixtures("compile_once")
def test_the_same_again_is_recorded_without_a_word(tmp_path):
    start_and_crash(tmp_path, 0.5)
    dj.resume(tmp_path, MODEL, tile=RUN["tile"], say=pytest.fail)
    first, second = sessions(tmp_path)
    assert first == second


def test_what_early_versions_did_not_record_is_no_change(tmp_path):
    run = dj.train(MODEL, ONE, 3, 2, out=tmp_path)
    opened = store.reopen(tmp_path, run.dataset)
    opened.set_attributes({"sessions": [{"versions": '{"jax": "1"}', "device": None}]})
    run_folder.note_session(opened, {"versions": '{"jax": "1", "numpy": "2"}', "backend": "xla"}, pytest.fail)
    assert len(sessions(tmp_path)) == 2


@pytest.mark.parametrize("broken", ["none", [1], [{}], [{"versions": 3}], [{"versions": "{"}]])
def test_damaged_sessions_are_named(broken, tmp_path):
    found = {"config": "{}", "format": 1, "seeds_per_block": 1, "sessions": broken}
    with pytest.raises(dj.InputError, match=r"sessions|versions"):
        schema.sessions(found, tmp_path)
