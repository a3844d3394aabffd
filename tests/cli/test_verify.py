"""`dysonjax verify`: what is stored is what comes out again, and what was changed is found."""

import json
import shutil

import numpy as np
import pytest
import zarr

import dysonjax as dj
from dysonjax.cli import main
from dysonjax.ensemble import verification

pytestmark = pytest.mark.usefixtures("sketches")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in single precision that is traced in no time."""
    path = tmp_path_factory.mktemp("verify") / "run"
    words = "linear --lr 0.05,0.1 --batch-size 16 --seeds 6 --steps 60 --records 4 --quiet".split()
    assert main([*words, "--out", str(path)]) == 0
    return path


def verified(path, capsys, *words) -> tuple[int, dict]:
    code = main(["verify", str(path), "--quiet", "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def altered(phases, tmp_path, change):
    """A copy of a run with one number changed: `change(array)` of the eigenvalues."""
    copy = tmp_path / "copy"
    shutil.copytree(phases, copy)
    shutil.rmtree(copy / "checksums")
    change(zarr.open_group(copy / "run.zarr", mode="r+")["eigenvalues"])
    return copy


@pytest.mark.slow
def test_a_sample_of_members_is_the_same_to_the_last_bit(phases, capsys):
    code, found = verified(phases, capsys, "--members", "9")
    assert code == 0 and found["equal"] and found["bit_equal"] and found["differing"] == []
    assert 9 <= found["members"] < found["of"] == 36 and found["differences"] == []


def test_the_last_bit_of_one_number_is_noticed(phases, tmp_path, capsys):
    def change(array):
        value = array[1, 2, 1, 2, 2, 0]
        array[1, 2, 1, 2, 2, 0] = np.nextafter(value, np.inf)

    copy = altered(phases, tmp_path, change)
    code, found = verified(copy, capsys, "--members", "1000")  # more than there are
    assert code == 1 and not found["equal"] and found["verdict"].startswith("NOT verified: 1 of 36")
    (member,) = found["differing"]
    assert member["place"] == {"batch_size": 4, "lr": 64.0, "sigma_w": 8.0, "seed": 2}
    assert member["variables"] == ["eigenvalues"] and member["first_step"] == 20


@pytest.mark.parametrize(("factor", "code"), [(1 + 1e-5, 0), (1.01, 1)])
def test_elsewhere_a_tolerance_decides_and_what_differs_is_named(factor, code, run, tmp_path, capsys):
    def change(array):
        array[:] = array[:] * factor

    copy = altered(run, tmp_path, change)
    metadata = copy / "run.zarr" / "zarr.json"
    content = json.loads(metadata.read_text())
    session = content["attributes"]["sessions"][-1]
    session["versions"] = json.dumps(json.loads(session["versions"]) | {"jax": "0.9"})
    session["processor"] = "another"
    metadata.write_text(json.dumps(content))
    done, found = verified(copy, capsys, "--members", "12")
    assert done == code and not found["bit_equal"] and found["equal"] == (code == 0)
    said = " ".join(found["differences"])
    assert "jax 0.9 then" in said and "processor another then" in said


def test_a_run_under_way_is_verified_as_far_as_it_is(run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checksums")
    with zarr.config.set({"array.write_empty_chunks": True}):
        levels = zarr.open_group(copy / "run.zarr", mode="r+")["eigenvalues"]
    levels[:, :, :, 2:] = np.nan
    code, found = verified(copy, capsys, "--members", "12")
    assert found["members"] == 4 and code == 0
    levels[:] = np.nan
    assert main(["verify", str(copy)]) == 2
    assert "no member of this run has its last record yet" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_of_python_is_verified_by_its_configuration_or_its_model(tmp_path, capsys):
    grid = dj.Grid(lr=[0.1, 0.2], batch_size=4, seeds=3)
    student = dj.models.teacher_student([3, 8, 4, 1], batches=4)
    dj.train(student, grid, 20, 3, out=tmp_path / "student")
    assert verified(tmp_path / "student", capsys)[0] == 0
    rbm = dj.models.rbm(4, 4)
    dj.train(rbm, grid, 20, 3, out=tmp_path / "rbm", randomness="independent", optimizer="momentum")
    assert main(["verify", str(tmp_path / "rbm")]) == 2
    assert "verify it in Python: dj.verify(folder, model)" in capsys.readouterr().err
    assert dj.verify(tmp_path / "rbm", rbm).bit_equal
    with pytest.raises(dj.InputError, match="another model"):
        dj.verify(tmp_path / "rbm", dj.models.rbm(4, 4, mu=4.0))


def test_deviations_are_in_units_of_the_largest_level():
    levels = np.array([[1.0, 4.0], [0.0, 2.0], [np.nan, np.nan]])
    assert verification._deviation(levels, levels) == 0
    other = levels.copy()
    other[1, 0] = 0.5
    assert verification._deviation(levels, other) == 0.25
    other[2] = 1.0
    assert verification._deviation(levels, other) == np.inf


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{nowhere}"], "there is no such folder"),
        (["{empty}"], "holds no run"),
        (["{dyson}"], "holds no run"),
        (["{run}", "--members", "0"], "members must be a positive integer"),
        (["{run}", "--seed", "-1"], "seed must be"),
    ],
)
def test_wrong_inputs_are_one_sentence(words, sentence, phases, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "dyson").mkdir()
    (tmp_path / "dyson" / "levels.npz").write_bytes(b"")
    names = {
        "run": phases,
        "nowhere": tmp_path / "x",
        "empty": tmp_path / "empty",
        "dyson": tmp_path / "dyson",
    }
    assert main(["verify", *(word.format(**names) for word in words)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def changed(folder, tmp_path, factor):
    """A copy of a folder with one level changed."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with np.load(copy / "levels.npz") as found:
        arrays = dict(found)
    name = min(arrays)
    arrays[name] = arrays[name].copy()
    place = np.unravel_index(np.argmax(arrays[name]), arrays[name].shape)
    arrays[name][place] *= factor
    np.savez_compressed(copy / "levels.npz", **arrays)
    return copy, name


def test_a_command_without_training_is_repeated_as_a_whole(of_levels, tmp_path, capsys):
    code, found = verified(of_levels, capsys)
    assert code == 0 and found["bit_equal"] and found["differing"] == [] and found["differences"] == []
    copy, name = changed(of_levels, tmp_path, 1 + 1e-6)
    code, found = verified(copy, capsys)
    assert code == 1 and not found["equal"] and found["verdict"].startswith(f"NOT verified: {name} of levels")
    assert found["differing"][0]["variables"] == [name]
    assert found["differing"][0]["deviation"] == pytest.approx(1e-6, rel=1e-2)


@pytest.mark.parametrize(("factor", "code"), [(1 + 1e-6, 0), (1.01, 1)])
def test_levels_of_another_version_agree_within_the_tolerance(factor, code, of_levels, tmp_path, capsys):
    copy, _ = changed(of_levels, tmp_path, factor)
    summary = json.loads((copy / "summary.json").read_text())
    (copy / "summary.json").write_text(json.dumps(summary | {"version": "0.0.1"}))
    found = verified(copy, capsys)
    assert found[0] == code and "dysonjax 0.0.1 then" in found[1]["differences"][0]


def test_levels_that_are_not_there_or_damaged_are_one_sentence(of_levels, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(of_levels, copy)
    content = bytearray((copy / "levels.npz").read_bytes())
    content[len(content) // 2 - 40 : len(content) // 2 + 40] = b"\xff" * 80
    (copy / "levels.npz").write_bytes(content)
    assert main(["verify", str(copy)]) == 2
    error = capsys.readouterr().err
    assert "levels.npz is damaged" in error and error.count("\n") == 1
    (copy / "levels.npz").unlink()
    assert main(["verify", str(copy)]) == 2
    assert "has no levels.npz yet" in capsys.readouterr().err
