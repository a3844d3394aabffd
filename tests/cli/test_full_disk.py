"""The disk is full from one file on: one sentence, exit code 1, no torn file, and nothing earlier is lost.

A limit of the kernel on the size of files stands in for the disk; from the moment that the file is opened
nothing can be written any more.
"""

import os
import re
import resource
import sys

import numpy as np
import pytest
from test_figure import LINE

from dysonjax import published
from dysonjax.bench import frame
from dysonjax.cli import main

pytestmark = pytest.mark.usefixtures("sketches")

LINEAR = "linear --lr 0.1 --batch-size 4 --sigma-w 1 --seeds 2 --steps 3 --records 2 --save-every 1e-9"
DYSON = "dyson --levels 1 --members 2 --steps 1 --samples 2 --time 0.1"
SPECTRUM = "spectrum {matrix} --csv --resamples 20"
COMPARE = "compare linear --members 4 --steps 2 --permutations 9"
ADVISE = "advise linear --seeds 1 --points 2 --steps 4"
NANOGPT = "nanogpt --lr 0.01 --batch-size 2 --sigma-w 1 --seeds 2 --steps 2 --records 2 --sample 5"
NANOGPT += " --width 8 --heads 1 --layers 1 --context 4"
SPIKES = "spikes --rows 8 --columns 4 --lr 0.1 --sigma-w 1 --seeds 2 --steps 2 --records 2"
BENCH = "bench statistics --task ratios --repetitions 1 --only limit"
WRITERS = [
    (LINEAR, r"run\.json"),
    (LINEAR, r"run\.zarr|\.store-"),
    (LINEAR, r"checksums"),
    (LINEAR, r"checkpoints/.*npz|checkpoints/\.[0-9a-f]{32}\.part"),
    (LINEAR, r"checkpoints/.*process"),
    (LINEAR, r"summary\.json"),
    (LINEAR, r"linear\.png"),
    pytest.param(LINEAR, r"linear\.pdf", marks=pytest.mark.slow),
    (DYSON, r"levels\.npz"),
    (DYSON, r"summary\.json"),
    pytest.param(DYSON, r"dyson\.png", marks=pytest.mark.slow),
    pytest.param(COMPARE, r"levels\.npz", marks=pytest.mark.slow),
    pytest.param(COMPARE, r"summary\.json", marks=pytest.mark.slow),
    pytest.param(COMPARE, r"compare\.png", marks=pytest.mark.slow),
    pytest.param(ADVISE, r"summary\.json", marks=pytest.mark.slow),
    pytest.param(ADVISE, r"advice\.png", marks=pytest.mark.slow),
    pytest.param(NANOGPT, r"sample\.txt", marks=pytest.mark.slow),
    pytest.param(NANOGPT, r"nanogpt\.png", marks=pytest.mark.slow),
    pytest.param(SPIKES, r"spikes\.png", marks=pytest.mark.slow),
    (BENCH, r"bench\.json"),
    (SPECTRUM, r"001_.*\.png"),
    (f"{SPECTRUM} --no-figures", r"spectrum\.csv"),
    (f"{SPECTRUM} --no-figures", r"report\.html"),
    (f"{SPECTRUM} --no-figures", r"summary\.json"),
    ("report {finished}", r"report\.html"),
    ("merge {one} {two}", r"run\.zarr|\.store-"),
    pytest.param("merge {one} {two}", r"summary\.json", marks=pytest.mark.slow),
    *(("figure line --quick", rf"line\.{suffix}") for suffix in ("png", "pdf", "nc", "txt", "json")),
]
_full_at: list[tuple[re.Pattern, str]] = []  # the name of the file, and the folder in which it counts


def _watch(event, arguments):
    """Audit hooks cannot be taken back; this one does nothing unless a test asks."""
    if event != "open" or not _full_at or not isinstance(arguments[0], str | os.PathLike):
        return
    pattern, folder = _full_at[0]
    path, flags = os.fspath(arguments[0]), arguments[2] or 0
    # A touch, by which a command tries whether it can write at all, makes no file that counts.
    writes = flags & (os.O_WRONLY | os.O_RDWR) and flags & (os.O_TRUNC | os.O_EXCL)
    if writes and path.startswith(folder) and pattern.search(path.removeprefix(folder)):
        _full_at.append((pattern, path))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


sys.addaudithook(_watch)


@pytest.fixture
def full_at():
    """A function that makes the disk full from the first file of this name on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def arm(pattern, folder):
        _full_at[:] = [(re.compile(pattern), str(folder))]

    yield arm
    _full_at.clear()
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    path = tmp_path_factory.mktemp("matrix") / "w.npy"
    np.save(path, np.random.default_rng(0).standard_normal((20, 30)))
    return path


def measured(module, jobs, repetitions, say):
    """In place of the benchmarks, whose numbers say nothing here."""
    return {job: frame.Rate(1.0, repetitions * [1.0], 0.0, 0, 0, {}) for job in jobs}, {}


@pytest.mark.parametrize(("text", "pattern"), WRITERS)
def test_a_disk_that_is_full_from_a_file_on(
    text, pattern, full_at, matrix, finished, shards, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(published, "RECIPES", (LINE,))
    monkeypatch.setattr(frame, "measure", measured)
    places = {"matrix": matrix, "finished": finished, "one": shards / "1", "two": shards / "2"}
    words = [word.format(**places) for word in text.split()]
    out = tmp_path / {"report": "report.html", "bench": "bench.json"}.get(words[0], "run")
    full_at(pattern, tmp_path)
    try:
        code = main([*words, "--quiet", "--out", str(out)])
    finally:  # at once: pytest itself writes of a test that fails
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert len(_full_at) == 2, "the file was never written"
    _full_at.clear()
    error = capsys.readouterr().err
    assert code == 1, (code, error)
    assert error.startswith("dysonjax: ") and error.count("\n") == 1, error
    assert "written" in error and "File too large" in error, error
    torn = [p for p in tmp_path.rglob("*") if p.is_file() and not p.stat().st_size]
    assert not torn and not [p for p in tmp_path.rglob("*") if ".part" in p.name]
    if not re.search("png|store|npz|txt", pattern):
        return
    # There is room again: the same command replaces what it left.
    again = [] if words[0] == "report" or not out.exists() else ["--overwrite"]
    assert main([*words, "--quiet", "--out", str(out), *again]) == 0, capsys.readouterr().err
