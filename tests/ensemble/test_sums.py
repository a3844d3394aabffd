"""Every file of a store has a checksum that belongs to its place."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr
from small_run import GRID, MODEL, RUN, compiled_once, same

import dysonjax as dj
from dysonjax.cli import main
from dysonjax.ensemble import jobs, sums

pytestmark = pytest.mark.usefixtures("save_often", "compile_once")
SLOW = pytest.mark.slow  # of many alike, some are in the quick suite


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "job", compiled_once)
        dj.train(MODEL, GRID, out=folder, **RUN)
    return folder


@pytest.fixture
def run(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


def files(folder, pattern="**/*"):
    return sorted(path for path in (folder / "run.zarr").glob(pattern) if path.is_file())


def test_every_file_of_the_store_has_a_sum(original):
    known = set()
    for path in (original / sums.FOLDER).glob("*.json"):
        content = json.loads(path.read_text())
        assert all(len(found) <= 2 for found in content["sums"].values())
        known |= set(content["sums"])
    assert known == {path.relative_to(original / "run.zarr").as_posix() for path in files(original)}


@pytest.mark.parametrize("flips", [1, pytest.param(3, marks=SLOW)])
def test_no_flipped_bit_of_any_file_goes_unnoticed(original, run, flips):
    """Also of metadata and coordinates, which Zarr writes without a checksum."""
    rng = np.random.default_rng(0)
    for path in files(run):
        whole = path.read_bytes()
        for place in rng.integers(len(whole), size=flips):
            path.write_bytes(
                whole[:place] + bytes([whole[place] ^ (1 << rng.integers(8))]) + whole[place + 1 :]
            )
            with pytest.raises(dj.InputError, match=f"{path.relative_to(run / 'run.zarr')} is not what was"):
                dj.read(run).load()
        path.write_bytes(whole)
    assert dj.read(run).load().identical(dj.read(original).load())


@pytest.mark.parametrize(
    "which", ["eigenvalues/c/**/*", pytest.param("train_loss/c/**/*", marks=SLOW), "*/c/0"]
)
def test_files_that_changed_places_are_noticed_and_repaired(which, run, expected):
    """Whole, with right checksums of their own, in each other's place."""
    first, second = files(run, which)[:2]
    one, other = first.read_bytes(), second.read_bytes()
    assert one != other
    first.write_bytes(other)
    second.write_bytes(one)
    with pytest.raises(dj.InputError, match="its checksum differs"):
        dj.read(run).load()
    with pytest.warns(UserWarning, match="damaged"):
        resumed = dj.train(MODEL, GRID, out=run, resume=True, **RUN)
    same(resumed.dataset, expected)
    same(dj.read(run).load(), expected)


def test_a_chunk_of_another_run_is_noticed(run, tmp_path):
    other = dj.train(MODEL, GRID, out=tmp_path / "other", **RUN | {"optimizer": "sgd"}).out
    shutil.copy(files(other, "train_loss/c/**/*")[0], files(run, "train_loss/c/**/*")[0])
    xr.open_zarr(run / "run.zarr").load()  # Zarr alone does not see it
    with pytest.raises(dj.InputError, match="train_loss/c/0"):
        dj.read(run).load()


@pytest.mark.parametrize(
    ("how", "damage"),
    [
        ("deleted", "metadata.json"),
        ("flipped", "000-00000.json"),
        ("text", "metadata.json"),
        pytest.param("deleted", "000-00000.json", marks=SLOW),
        pytest.param("flipped", "metadata.json", marks=SLOW),
        pytest.param("text", "000-00000.json", marks=SLOW),
    ],
)
def test_sums_that_are_damaged_themselves_are_repaired(damage, how, run, expected):
    path = run / sums.FOLDER / damage
    content = path.read_text()
    path.write_text({"text": "[1]", "flipped": content.replace("a", "b", 1), "deleted": ""}[how])
    if how == "deleted":
        path.unlink()
    with pytest.raises(dj.InputError, match="is missing" if how == "deleted" else "is damaged"):
        dj.read(run).load()
    with pytest.warns(UserWarning, match="damaged"):
        same(dj.train(MODEL, GRID, out=run, resume=True, **RUN).dataset, expected)
    same(dj.read(run).load(), expected)


def test_a_run_of_a_version_without_sums_is_read_and_resumed(run, expected):
    shutil.rmtree(run / sums.FOLDER)
    same(dj.read(run).load(), expected)
    files(run, "alive/c/**/*")[0].write_bytes(b"torn")
    with pytest.warns(UserWarning, match="networks again"):
        same(dj.resume(run, MODEL, tile=4).dataset, expected)


@pytest.mark.parametrize("command", ["info", "report"])
@pytest.mark.parametrize("victim", ["eigenvalues/c", "train_loss/c", "lr/c", "zarr.json"])
def test_commands_name_the_damaged_file_and_the_way_out(command, victim, run, capsys):
    path = next(p for p in files(run) if p.relative_to(run / "run.zarr").as_posix().startswith(victim))
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    code, error = main([command, str(run)]), capsys.readouterr().err
    assert (code, command, victim) == (2, command, victim) or (command, victim) == ("info", "eigenvalues/c")
    if code == 2:
        assert f"{path.relative_to(run / 'run.zarr')} is not what was written" in error
        assert f"dysonjax resume {run} repairs it" in error and error.count("\n") == 1


def test_an_addition_to_the_attributes_by_hand_is_noticed(run):
    path = run / "run.zarr" / "zarr.json"
    content = json.loads(path.read_text())
    content["attributes"]["note"] = "mine"
    path.write_text(json.dumps(content))
    with pytest.raises(dj.InputError, match=r"zarr\.json is not what was written"):
        dj.read(run)
