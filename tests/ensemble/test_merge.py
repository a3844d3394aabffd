"""Joining runs of different seeds in the library."""

import pytest
from small_run import MODEL, RUN

import dysonjax as dj

pytestmark = pytest.mark.usefixtures("compile_once")


def grid(first, seeds, lr=(0.1, 0.3)):
    return dj.Grid(lr=lr, batch_size=4, seeds=seeds, first_seed=first)


@pytest.mark.slow  # tests/cli/test_merge_command.py
def test_runs_of_neighbouring_seeds_become_one(tmp_path):
    dj.train(MODEL, grid(3, 4), out=tmp_path / "b", **RUN)
    dj.train(MODEL, grid(0, 3), out=tmp_path / "a", **RUN)
    merged = dj.merge([tmp_path / "b", tmp_path / "a"], tmp_path / "all").load()
    whole = dj.train(MODEL, grid(0, 7), **RUN).dataset
    assert merged.drop_attrs().identical(whole.drop_attrs())
    assert merged.attrs["config"] == whole.attrs["config"]
    assert len(merged.attrs["sessions"]) == 2
    assert dj.resume(tmp_path / "all", MODEL).example is not None


@pytest.mark.slow  # tests/cli/test_merge_command.py
def test_overlaps_gaps_and_differences_are_refused(tmp_path):
    for name, part in {
        "a": grid(0, 3),
        "b": grid(2, 3),
        "c": grid(4, 2),
        "d": grid(3, 2, (0.1, 0.2)),
    }.items():
        dj.train(MODEL, part, out=tmp_path / name, **RUN)
    for names, sentence in {
        "ab": "seed 2 is in .*a and in .*b",
        "ac": "seeds 3 to 3 are missing between .*a and .*c",
        "ad": r"a and .*d differ: grid\.lr = .0\.1, 0\.3., not .0\.1, 0\.2.",
    }.items():
        with pytest.raises(dj.InputError, match=sentence):
            dj.merge([tmp_path / name for name in names], tmp_path / "all")
    assert not (tmp_path / "all").exists()
