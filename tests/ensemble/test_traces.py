"""What tracing gave is used again where nothing that it depends on has changed, and nowhere else."""

import dataclasses
import os
import shutil
import time

import jax
import numpy as np
import pytest
from tiny import tiny

import dysonjax as dj
from dysonjax import cache
from dysonjax.compile import compiler_path
from dysonjax.ensemble import c_step, lanes, machine, trace_key, traces, whole
from dysonjax.ensemble.config import Config

pytestmark = pytest.mark.skipif(compiler_path() is None, reason="needs a C compiler")

GRID = dj.Grid(lr=[0.1, 0.3], sigma_w=1.0, batch_size=2, seeds=2)
MODEL = dj.models.linear()
MIN_SECONDS = "jax_persistent_cache_min_compile_time_secs"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty cache of our own, as a command has it, in a process that remembers nothing."""
    traces.forget()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(cache.TRACES, repr(time.time() + 1e6))  # sources under work are not newer
    return tmp_path / "cache" / traces.KIND


def entries(place):
    return sorted(place.glob("*.traced")) if place.exists() else []


def forbidden(*arguments, **options):
    raise AssertionError("something was traced")


@pytest.fixture
def untraced(monkeypatch):
    """Call it, and whatever is traced from then on is an error."""

    def forbid():
        for module in (lanes, whole):
            monkeypatch.setattr(module, "write_step", forbidden)
        monkeypatch.setattr(jax, "eval_shape", forbidden)
        monkeypatch.setattr(jax.stages.Wrapped, "lower", forbidden, raising=False)
        monkeypatch.setattr(c_step.step, "advance", forbidden)
        monkeypatch.setattr(c_step.step, "start", forbidden)
        monkeypatch.setattr(c_step.step, "observe", forbidden)

    return forbid


def run(model=MODEL, grid=GRID, **options):
    return dj.train(model, grid, 6, 3, **options).dataset.drop_attrs()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run, and the cache that it leaves."""
    folder = tmp_path_factory.mktemp("first")
    traces.forget()  # what tests before this one have traced is not written
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(folder))
        patch.setenv(cache.TRACES, repr(time.time() + 1e6))
        return run(), folder


@pytest.fixture
def again(first, place):
    """What the run gave, whose cache is now ours."""
    shutil.copytree(first[1], place.parent)
    assert len(entries(place)) >= 5
    return first[0]


def test_a_second_run_traces_nothing_and_ends_in_the_same_bits(again, untraced):
    untraced()
    assert run().identical(again)


@pytest.mark.slow  # as the one above
def test_so_it_does_in_double_precision_with_an_optimizer(place, untraced):
    options = {"x64": True, "optimizer": "adam", "randomness": "independent"}
    first = run(**options)
    untraced()
    assert run(**options).identical(first)


@pytest.mark.slow  # as the one above
def test_what_a_step_for_one_network_a_core_gives_is_kept_too(place, untraced, monkeypatch):
    monkeypatch.setitem(trace_key.VALUES, "lanes_most_state_bytes", 0)
    first = dj.train(MODEL, GRID, 6, 3, backend="native")
    assert first.summary["target"] == "whole"
    untraced()
    assert dj.train(MODEL, GRID, 6, 3, backend="native").dataset.eigenvalues.equals(first.dataset.eigenvalues)


@pytest.mark.slow
def test_what_comes_from_the_cache_of_jax_is_kept_whole(place, tmp_path, monkeypatch):
    """XLA's machine code that was read from there, if it was written again, would lack its functions."""
    before = {name: getattr(jax.config, name) for name in ("jax_compilation_cache_dir", MIN_SECONDS)}
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))
    jax.config.update(MIN_SECONDS, 0.0)
    traces.reset_cache()
    try:
        with monkeypatch.context() as patch:
            patch.delenv(cache.TRACES)
            expected = run()
        assert list((tmp_path / "jax").glob("*-cache"))
        for _ in range(2):
            jax.clear_caches()
            traces.forget()
            assert run().identical(expected)
            assert entries(place)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        traces.reset_cache()


@pytest.mark.slow  # test_each_thing_is_kept_under_its_name_and_shapes
def test_runs_of_other_shapes_do_not_take_it(again, monkeypatch):
    grid = dj.Grid(lr=[0.1, 0.2, 0.3], batch_size=2, seeds=3, scalars={"epsilon": [0.1, 0.2]})
    found = run(grid=grid)
    monkeypatch.delenv(cache.TRACES)
    traces.forget()
    assert found.identical(run(grid=grid))


@pytest.mark.parametrize("other", [GRID, dj.Grid(lr=[0.1], batch_size=2, seeds=2)], ids=["same", "fewer"])
def test_each_thing_is_kept_under_its_name_and_shapes(place, other):
    kept = trace_key.traces(MODEL, Config(GRID, 6, 3), 2)
    shapes = [jax.ShapeDtypeStruct((len(grid.lr),), float) for grid in (GRID, other)]
    assert kept.kept("a", shapes[0], lambda: 1) == kept.kept("a", shapes[0], lambda: 2) == 1
    assert kept.kept("b", shapes[0], lambda: 2) == 2
    assert kept.kept("a", shapes[1], lambda: 3) == (1 if other is GRID else 3)
    assert kept._replace(key="other").kept("a", shapes[0], lambda: 4) == 4
    with pytest.raises(KeyError):
        kept.kept("c", shapes[0], lambda: {}["what is raised is not kept"])
    assert kept.kept("c", shapes[0], lambda: 5) == 5


def test_library_calls_and_models_of_others_leave_no_file(place, monkeypatch):
    run(tiny())
    assert not entries(place)
    monkeypatch.delenv(cache.TRACES)
    traces.forget()
    run()
    assert not entries(place)


def test_a_damaged_entry_is_traced_again(again, place):
    for number, path in enumerate(entries(place)):
        path.write_bytes(path.read_bytes()[:-1] if number % 2 else b"")
    assert run().identical(again)
    assert all(path.stat().st_size > 0 for path in entries(place))


@pytest.mark.slow  # as the one above
def test_an_entry_that_cannot_be_read_any_more_is_traced_again(again, monkeypatch):
    def broken(content):
        raise ModuleNotFoundError("moved")

    monkeypatch.setattr(traces.pickle, "loads", broken)
    assert run().identical(again)


@pytest.mark.parametrize(
    ("model", "backend"),
    [
        (tiny, "native"),
        (tiny, "xla"),
        (dj.models.linear, "native"),
        pytest.param(dj.models.linear, "xla", marks=pytest.mark.slow),
    ],
)
def test_a_process_traces_the_same_step_once(model, backend):
    """A model that is made anew by the same code is the same model; seeds and rates are none of the step."""
    grids = [GRID, dj.Grid(lr=[0.2, 0.4], sigma_w=2.0, batch_size=2, seeds=2)]
    runs = [dj.train(model(), grid, 6, 3, key=seed, backend=backend) for seed, grid in enumerate(grids)]
    expected = [found.dataset.drop_attrs() for found in runs]
    with pytest.MonkeyPatch.context() as patch:  # that of pytest, which forgets nothing
        for module in (lanes, whole):
            patch.setattr(module, "write_step", forbidden)
        patch.setattr(jax, "eval_shape", forbidden)
        for name in ("advance", "start", "observe"):
            patch.setattr(c_step.step, name, forbidden)
        for seed, grid in enumerate(grids):
            again = dj.train(model(), grid, 6, 3, key=seed, backend=backend)
            assert again.dataset.drop_attrs().identical(expected[seed])


PULL = 1.0


def pulled(strength, kick=0.0):
    """A model whose step depends on a global, on what it closes over, and on a default."""
    plain = tiny()

    def update(params, memory, batch, world, point, more=kick):
        found = plain.update(params, memory, batch, world, point)
        return found._replace(direction={"w": PULL * strength * (params["w"] - world) + more})

    return dataclasses.replace(plain, update=update)


def test_what_a_step_of_ones_own_depends_on_is_seen(monkeypatch):
    """Else a run would go on with the numbers of an earlier one."""

    def levels(model):
        return dj.train(model, GRID, 6, 2, key=5).dataset.eigenvalues.values

    found = [levels(pulled(1.0)), levels(pulled(0.5)), levels(pulled(1.0, kick=0.1))]
    monkeypatch.setitem(globals(), "PULL", 0.25)
    found += [levels(pulled(1.0))]
    traces.forget()
    fresh = [levels(pulled(1.0))]
    monkeypatch.undo()
    fresh = [levels(pulled(1.0)), levels(pulled(0.5)), levels(pulled(1.0, kick=0.1)), *fresh]
    for one, other in zip(found, fresh, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({one.tobytes() for one in found}) == 4


def test_a_process_remembers_what_it_asked_for_last():
    memory = traces._Memory(2)
    for name in "ab":
        memory.keep(name, name.upper())
    assert memory.recall("a") == "A"
    memory.keep("c", "C")
    assert [memory.recall(name) for name in "abc"] == ["A", None, "C"]


def kept_of(model=MODEL, batch_size=2, steps=6, **options):
    return trace_key.traces(model, Config(GRID, steps, 3, **options), batch_size)


def key(*arguments, **options):
    """Under which files are kept."""
    found = kept_of(*arguments, **options)
    return found.key if found.on_disk else None


def test_every_ingredient_changes_the_key(place, monkeypatch):
    usual = key()
    assert usual is not None and key() == usual
    warm = dj.Optimizer(warmup=2)
    found = {
        "model": key(dj.models.teacher_student()),
        "option of the model": key(dataclasses.replace(MODEL, draws=not MODEL.draws)),
        "optimizer": key(optimizer="momentum"),
        "its options": key(optimizer=dj.Optimizer("momentum", momentum=0.5)),
        "its schedule": key(optimizer=warm),
        "steps of a schedule": key(optimizer=warm, steps=7),
        "batch size": key(batch_size=3),
        "randomness": key(randomness="independent"),
        "precision": key(precision="bfloat16"),
        "x64": key(x64=True),
        "devices": key(devices=1),
    }
    with jax.enable_x64(True):
        found["x64 around it"] = key()
    with jax.default_matmul_precision("tensorfloat32"):
        found["a setting of JAX"] = key()
    with monkeypatch.context() as patch:
        patch.setitem(trace_key.VALUES, "lanes_most_scratch_bytes", 1)
        found["thresholds"] = key()
    with monkeypatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
        found["flags of XLA"] = key()
    with monkeypatch.context() as patch:
        patch.setattr(cache, "processor", lambda: "another")
        found["processor"] = key()
    for library in trace_key.LIBRARIES:
        with monkeypatch.context() as patch:
            version = trace_key.importlib.metadata.version
            patch.setattr(
                trace_key.importlib.metadata,
                "version",
                lambda name, library=library, version=version: "0" if name == library else version(name),
            )
            trace_key._versions.cache_clear()
            found[library] = key()
    trace_key._versions.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(machine, "code_sha256", lambda: "other")
        found["code"] = key()
    assert key() == usual
    assert None not in found.values()
    assert len({usual, *found.values()}) == len(found) + 1


def test_what_is_no_part_of_a_program_does_not_change_the_key(place):
    assert key(seed=1, steps=7, keep_weights="all", save_every=1.0, backend="native") == key()


def test_the_code_is_all_files_of_the_package_by_name_and_content(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "PACKAGE", tmp_path)
    found = set()

    def look():
        found.add(machine.code_sha256.__wrapped__())

    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.py").write_text("1")
    look()
    (tmp_path / "inner" / "a.py").write_text("2")
    look()
    (tmp_path / "inner" / "a.py").rename(tmp_path / "inner" / "b.py")
    look()
    for name in ("c.h", "d.json"):
        (tmp_path / name).write_text("")
        look()
    assert len(found) == 5
    (tmp_path / "page.html").write_text("")
    look()
    assert len(found) == 5
    os.utime(tmp_path / "c.h", (2e9, 2e9))
    assert machine.code_changed() == 2e9


def test_code_that_changed_under_way_keeps_nothing(place, monkeypatch):
    """Else what the old code gave would be kept under the hash of the new one."""
    newest = machine.code_changed()
    monkeypatch.setenv(cache.TRACES, repr(newest))
    assert key() is None
    monkeypatch.setenv(cache.TRACES, repr(newest + 1))
    assert key() is not None


def test_an_optimizer_of_ones_own_leaves_no_file(place):
    import optax

    assert key(optimizer=optax.sgd(1.0)) is None
    assert np.all([key(optimizer=name) for name in ("sgd", "muon")])


def test_optimizers_of_ones_own_are_told_apart():
    import optax

    found = [kept_of(optimizer=optax.trace(decay)).key for decay in (0.9, 0.9, 0.5)]
    assert found[0] == found[1] != found[2]
    assert None not in found


def test_a_model_that_may_do_anything_is_traced_each_time():
    anything = object()

    def batch(key, world, step, batch_size):
        return jax.random.normal(key, (2, 2)) if anything else None

    assert kept_of(dataclasses.replace(tiny(), batch=batch)).key is None
