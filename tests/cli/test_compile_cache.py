"""The cache of compiled programs, in processes of its own: it acts before JAX is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dysonjax import cache
from dysonjax.cli import compile_cache

PROBE = """
import os
from dysonjax.cli import compile_cache
compile_cache.activate()
print(os.environ.get("JAX_COMPILATION_CACHE_DIR"))
"""
COMPILE = PROBE + "import jax; print(float(jax.jit(lambda x: (x * 2).sum())(jax.numpy.arange(4.0))))"


def _run(program, home, **variables):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "DYSONJAX_"))}
    environment |= {"XDG_CACHE_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2]), **variables}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="XDG folders")
def test_it_lies_in_the_users_cache_folder_unless_turned_off_or_named(tmp_path):
    (place,) = _run(PROBE, tmp_path)
    assert Path(place).is_relative_to(tmp_path / "dysonjax" / "compiled") and Path(place).is_dir()
    assert _run(PROBE, tmp_path, DYSONJAX_CACHE="off") == ["None"]
    assert (
        Path(_run(PROBE, tmp_path, DYSONJAX_CACHE=str(tmp_path / "x"))[0]).parent == tmp_path / "x/compiled"
    )
    # A cache that the user has given to JAX is left alone.
    assert _run(PROBE, tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")) == [str(tmp_path / "own")]


@pytest.mark.slow
def test_a_command_keeps_what_it_traces_until_it_ends(tmp_path):
    program = """
import os, time
from dysonjax import cli
before = time.time()
seen = []
cli._parse = lambda *arguments: seen.append(os.environ.get("DYSONJAX_TRACES_SINCE"))
cli.main(["info", "x"])
print(*(bool(value) and before <= float(value) <= time.time() for value in seen))
print("DYSONJAX_TRACES_SINCE" in os.environ)
"""
    assert _run(program, tmp_path) == ["True", "False"]
    assert _run(program, tmp_path, DYSONJAX_CACHE="off") == ["False", "False"]
    assert _run("import jax" + program, tmp_path) == ["False", "False"], "a program that uses JAX already"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="XDG folders")
def test_a_damaged_entry_is_compiled_anew(tmp_path):
    prefix = "JAX_PERSISTENT_CACHE_MIN"
    always = {f"{prefix}_COMPILE_TIME_SECS": "0", f"{prefix}_ENTRY_SIZE_BYTES": "0"}
    place, value = _run(COMPILE, tmp_path, **always)
    entries = list(Path(place).glob("*-cache"))
    assert entries and value == "12.0"
    whole = {entry: entry.read_bytes() for entry in entries}
    for number, entry in enumerate(entries):
        entry.write_bytes(whole[entry][: 20 * (number > 0)])  # one is empty, as on a full disk
    assert _run(COMPILE, tmp_path, **always) == [place, "12.0"]
    assert {len(entry.read_bytes()) for entry in entries} == {len(content) for content in whole.values()}


def test_processes_that_use_jax_already_are_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compile_cache.activate()
    assert not list(tmp_path.iterdir())


def test_a_new_user_hears_what_compiling_is_for(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("DYSONJAX_CACHE", str(tmp_path))
    assert "the first time" in compile_cache.compiling("8 networks")
    assert str(tmp_path) in compile_cache.compiling("8 networks")
    compile_cache.folder().mkdir(parents=True)
    for path in (compile_cache.folder() / "x-cache", tmp_path / "traced" / "x.traced"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert compile_cache.compiling("8 networks") == "compiling for 8 networks ..."
        path.unlink()
    monkeypatch.setenv("DYSONJAX_CACHE", "off")
    assert compile_cache.compiling("8 networks") == "compiling for 8 networks ..."


def test_clearing_the_cache_leaves_what_this_program_did_not_make(monkeypatch, tmp_path):
    """DYSONJAX_CACHE may name a folder of the user's that has a `native` or `compiled` of its own."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("DYSONJAX_CACHE", str(tmp_path))
    mark = "0123456789abcdef0123"
    programs = compile_cache.folder()
    ours = [programs / "f-abc-cache", programs / "f-abc-atime", tmp_path / f"tiles/{mark}.json"]
    ours += [tmp_path / f"native/{mark}-{64 * 'a'}.so", tmp_path / f"native/{mark}.flags"]
    ours += [tmp_path / f"{kind}/{mark}-{64 * 'b'}.{kind}" for kind in ("cubin", "traced")]
    theirs = [
        "native/code.c",
        "native/tmp/x",
        "native/lib.so",
        "compiled/thesis.pdf",
        "tiles/blue.png",
        "a.py",
    ]
    theirs += ["compiled/jaxlib-mine/x-cache", "tiles/map.json", "cubin/of.mine", "traced/of.mine"]
    theirs = [tmp_path / name for name in theirs]
    for path in (*ours, *theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    (tmp_path / "native" / "build-x").mkdir()
    assert compile_cache.clear() == []
    assert all(path.read_text() == "content" for path in theirs) and not any(p.exists() for p in ours)
    assert not programs.exists() and not (tmp_path / "native/build-x").exists()
    for path in theirs:
        path.unlink()
    (tmp_path / "native/tmp").rmdir()
    assert compile_cache.clear() == [tmp_path / name for name in ("native", "tiles", "cubin", "traced")]


def test_clearing_the_cache_does_not_follow_links(monkeypatch, tmp_path):
    monkeypatch.setenv("DYSONJAX_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / f"{20 * '0'}-{64 * 'a'}.so").touch()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/native").symlink_to(place)
    assert compile_cache.clear() == [] and len(list(place.iterdir())) == 1


def test_the_oldest_programs_go_first(monkeypatch, tmp_path):
    for age in range(5):
        (tmp_path / str(age)).write_bytes(bytes(100))
        os.utime(tmp_path / str(age), (1e9 + age, 1e9 + age))
    cache.prune(tmp_path.iterdir(), 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]
