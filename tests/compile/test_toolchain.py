"""What is compiled and kept: never run if damaged, foreign or stale, and never more than the limit."""

import ctypes
import errno
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from dysonjax import cache
from dysonjax import compile as compiler
from dysonjax.compile import kept, toolchain

pytestmark = pytest.mark.skipif(compiler.compiler_path() is None, reason="needs a C compiler")

SOURCE = "int answer(void) { return 42; }\n"
REAL = compiler.compiler_path()
PACKAGE = str(Path(toolchain.__file__).parents[2])


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache of our own."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "native"
    forget()


def forget():
    """What a new process would not know."""
    toolchain.LOADED.clear()
    for known in (toolchain._version, toolchain._known, toolchain._temporary_folder):
        known.cache_clear()


def answer(source=SOURCE, **options) -> int:
    forget()
    return toolchain.load(source, **options).answer()


def libraries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.so"))


def rewrite(path: Path, content: bytes):
    """Another file under this name: the old one is mapped into this process."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)


@pytest.fixture
def compilations(monkeypatch):
    """The sources that were compiled."""
    seen, original = [], toolchain._compile
    monkeypatch.setattr(toolchain, "_compile", lambda *a: seen.append(a[1]) or original(*a))
    return seen


def test_a_library_is_compiled_once(home, compilations):
    assert answer() == answer() == 42
    assert len(compilations) == len(libraries(home)) == 1


DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "shorter by a byte": lambda content: content[:-1],
    "empty": lambda content: b"",
    "flipped": lambda content: content[:-900] + bytes([content[-900] ^ 8]) + content[-899:],
    "flipped first": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "longer": lambda content: content + b"\0",
    "text": lambda content: b"no library",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_library_is_compiled_again_and_never_loaded(damage, home, compilations, monkeypatch):
    assert answer() == 42
    (library,) = libraries(home)
    whole = library.read_bytes()
    rewrite(library, DAMAGE[damage](whole))
    loaded, load = [], ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda path: loaded.append(Path(path).read_bytes()) or load(path))
    assert answer() == 42 and len(compilations) == 2
    assert DAMAGE[damage](whole) not in loaded and len(libraries(home)) == 1


def test_every_flipped_bit_is_noticed(home):
    assert answer() == 42
    (library,) = libraries(home)
    whole = library.read_bytes()
    for place in range(0, len(whole), 97):
        rewrite(library, whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        assert toolchain._kept(home, library.name[:20]) is None and not library.exists()


def test_a_library_of_another_architecture_is_compiled_again(home, compilations):
    assert answer() == 42
    (library,) = libraries(home)
    foreign = bytearray(library.read_bytes())
    foreign[4] = 1 if foreign[4] == 2 else 2  # the class of an ELF file, 32 bits for 64
    library.unlink()
    digest = toolchain.hashlib.sha256(foreign).hexdigest()
    other = home / f"{library.name[:20]}-{digest}.so"  # whole, by its sum
    other.write_bytes(foreign)
    assert answer() == 42 and len(compilations) == 2 and not other.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners of files")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_may_write_to_is_not_used(mode, home, compilations):
    assert answer() == 42
    (library,) = libraries(home)
    before = library.read_bytes()
    home.chmod(mode)
    assert answer() == 42 and len(compilations) == 2
    assert [p.read_bytes() for p in libraries(home)] == [before]
    assert "can be written by others" in cache.private("native")[1]
    place = toolchain._folder()
    assert place != home and stat.S_IMODE(place.stat().st_mode) == 0o700


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["folder", "library", "parent"])
def test_root_does_not_load_what_somebody_else_owns(what, home, compilations):
    assert answer() == 42
    (library,) = libraries(home)
    os.chown({"folder": home, "library": library, "parent": home.parent}[what], 12345, 12345)
    assert answer() == 42 and len(compilations) == 2
    assert all(os.stat(p).st_uid == 0 for p in libraries(toolchain._folder()))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs modes of files")
def test_modes_and_links(home, compilations, tmp_path):
    assert answer() == 42
    (library,) = libraries(home)
    assert stat.S_IMODE(home.stat().st_mode) == stat.S_IMODE(home.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(library.stat().st_mode) == 0o600
    home.chmod(0o755)  # as older versions made it: others could read, not write
    assert answer() == 42 and len(compilations) == 1 and stat.S_IMODE(home.stat().st_mode) == 0o700
    library.chmod(0o666)
    assert answer() == 42 and len(compilations) == 2
    (library,) = libraries(home)
    library.rename(tmp_path / "elsewhere.so")
    library.symlink_to(tmp_path / "elsewhere.so")
    assert answer() == 42 and len(compilations) == 3 and not library.is_symlink()
    shutil.move(home, tmp_path / "moved")
    home.symlink_to(tmp_path / "moved")
    assert answer() == 42 and len(compilations) == 4 and "not a folder" in cache.private("native")[1]


@pytest.mark.parametrize("value", ["off", "/proc/nowhere"])
def test_without_a_cache_libraries_live_as_long_as_the_process(value, monkeypatch, compilations):
    monkeypatch.setenv(cache.VARIABLE, value)
    assert answer() == 42
    assert toolchain._folder().name.startswith("dysonjax-")


def fake(folder: Path, text: str, name: str = "cc") -> Path:
    """A compiler in front of the real one."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\n{text}\nexec {REAL} "$@"\n')
    path.chmod(0o755)
    return path


def test_another_version_of_the_compiler_compiles_anew(home, tmp_path, monkeypatch, compilations):
    for version in ("1", "2", "2"):
        text = f'[ "$1" = --version ] && echo cc version {version} && exit 0'
        monkeypatch.setenv("CC", str(fake(tmp_path / "bin", text)))
        assert answer() == 42
    assert len(compilations) == len(libraries(home)) == 2


def test_another_processor_compiles_anew(home, monkeypatch, compilations):
    assert answer() == 42
    monkeypatch.setattr(cache, "processor", lambda: "other")
    assert answer() == 42 and len(compilations) == 2


@pytest.mark.parametrize("words", ["{cc} -pthread", "env {cc}", "{cc} '-DTEXT=\"a b\"'", " {cc} ", '"{cc}"'])
def test_cc_may_hold_arguments(words, home, monkeypatch):
    monkeypatch.setenv("CC", words.format(cc=compiler.compiler_path()))
    assert compiler.compiler_path() and answer() == 42


def test_cc_may_be_a_path_with_a_space(home, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", str(fake(tmp_path / "my tools", "")))
    assert answer() == 42


@pytest.mark.parametrize("value", ["no-such-compiler", "'unfinished", "no-such -pthread"])
def test_a_compiler_that_is_not_there_is_named(value, home, monkeypatch):
    monkeypatch.setenv("CC", value)
    assert compiler.compiler_path() is None
    with pytest.raises(compiler.CompilerError, match="set CC to its path"):
        answer()


def test_an_empty_cc_is_none(home, monkeypatch):
    monkeypatch.setenv("CC", "")
    assert answer() == 42


def test_flags_that_a_compiler_does_not_know_are_left_out_and_asked_for_once(home, tmp_path, monkeypatch):
    log = tmp_path / "calls"
    text = f'echo "$@" >> {log}\nfor a in "$@"; do [ "$a" = -fno-tree-sink ] && exit 1; done'
    monkeypatch.setenv("CC", str(fake(tmp_path / "bin", text)))
    flags = ("-fno-tree-sink", "-fno-unroll-loops", "-fno-such-flag-anywhere")
    assert answer(flags=flags) == 42
    (final,) = [line for line in log.read_text().splitlines() if "-shared" in line]
    assert "-fno-unroll-loops" in final and "-fno-tree-sink" not in final and "-fno-such" not in final
    log.unlink()
    assert answer("int answer(void) { return 7; }\n", flags=flags) == 7
    assert sum("probe.c" in line for line in log.read_text().splitlines()) == 0


def test_a_damaged_record_of_flags_is_asked_for_again(home):
    flags = ("-fno-unroll-loops",)
    assert answer(flags=flags) == 42
    (record,) = home.glob("*.flags")
    whole = record.read_text()
    record.write_text(whole.replace("-O3\n", ""))
    assert answer(flags=flags) == 42 and record.read_text() == whole


def test_what_was_used_longest_ago_goes_first(home, monkeypatch):
    sources = [f"int answer(void) {{ return {i}; }}\n" for i in range(4)]
    for source in sources[:3]:
        answer(source)
    size = max(p.stat().st_size for p in libraries(home))
    for age, path in enumerate(libraries(home)):
        os.utime(path, (1e9 + age, 1e9 + age))
    oldest, used, _ = libraries(home)
    toolchain._kept(home, oldest.name[:20])  # used again: now the youngest
    monkeypatch.setattr(cache, "MOST_BYTES", int(3.5 * size))
    answer(sources[3])
    assert len(libraries(home)) == 3 and oldest.exists() and not used.exists()


def test_left_overs_of_killed_compilers_and_of_earlier_versions_go(home):
    answer()
    (home / "build-dead").mkdir()
    (home / "build-dead" / "kernel.c").touch()
    (home / "tmpabcd1234").mkdir()
    (home / "build-file").touch()
    (home / "0123456789abcdef0123.so").touch()  # kept without a sum
    (home / "build-alive").mkdir()
    (home / "notes").touch()  # not ours
    for name in ("build-dead", "tmpabcd1234", "build-file"):
        os.utime(home / name, (1e9, 1e9))
    answer("int answer(void) { return 1; }\n")
    assert {p.name for p in home.iterdir() if p.suffix not in (".so", ".flags")} == {"build-alive", "notes"}
    assert len(libraries(home)) == 2


def test_four_processes_at_once_make_one_library(home):
    # Not all of the package: the processes are to start at the same moment, not to import JAX.
    program = f"""
import sys, types
for name in ("dysonjax", "dysonjax.compile"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [{PACKAGE!r} + "/" + name.replace(".", "/")]
from dysonjax import compile as compiler
from dysonjax.compile import kept, toolchain
print(toolchain.load({SOURCE!r}).answer())
"""
    environment = os.environ

    def start(_):
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment
        )

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(start, range(4)))
    assert [f.stdout for f in found] == ["42\n"] * 4, found[0].stderr
    assert not list(home.glob("build-*")) and len({p.name[:20] for p in libraries(home)}) == 1


def test_what_the_compiler_says_is_passed_on_without_temporary_names(home):
    with pytest.raises(compiler.CompilerError, match=r"failed: kernel\.c:1:\d+: error"):
        answer("int answer(void) { return undeclared; }\n")
    assert not list(home.glob("build-*"))


def test_a_cache_without_room_changes_neither_what_compiles_nor_the_cache(home, compilations, monkeypatch):
    """The numbers of a run would be those of another backend."""
    original = kept.write

    def full(path, content):
        if path.is_relative_to(home):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(path, content)

    monkeypatch.setattr(kept, "write", full)
    assert answer() == 42 and not list(home.iterdir())


def test_a_compiler_that_fails_for_want_of_room_is_tried_elsewhere(home, monkeypatch):
    original, folders = toolchain._compile, []

    def full(command, source, folder, key):
        folders.append(folder)
        if folder == home:  # the linker says no more than that it failed
            raise toolchain.CompilerError("the C compiler failed: ld returned 1 exit status")
        return original(command, source, folder, key)

    monkeypatch.setattr(toolchain, "_compile", full)
    with pytest.raises(toolchain.CompilerError, match="ld returned"):
        answer()
    assert folders == [home]  # there is room: it fails for another reason
    monkeypatch.setattr(toolchain.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert answer() == 42 and folders[1:] == [home, toolchain._temporary_folder()]
