"""`dysonjax export`: what is published is what was computed, and archives and programs can read it."""

import csv
import errno
import hashlib
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import xarray as xr

import dysonjax as dj
from dysonjax import files
from dysonjax.checks import InputError
from dysonjax.cli import main
from dysonjax.export import author

pytestmark = pytest.mark.usefixtures("sketches")

PEOPLE = ["--author", "Weyl, Hermann", "Dyson, Freeman (0000-0002-1825-0097)"]


@pytest.fixture(scope="module")
def exported(phases, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "published"
    words = ["export", str(phases), *PEOPLE, "--title", "Phases & <more>"]
    assert main([*words, "--out", str(out), "--quiet"]) == 0
    return out


def rows(path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def point(row) -> dict:
    return {name: float(row[name]) for name in ("batch_size", "lr", "sigma_w")}


def test_tables_hold_the_numbers_of_the_store(phases, exported):
    dataset = dj.read(phases).load()
    for row in rows(exported / "tables" / "eigenvalues.csv"):
        at = dataset["eigenvalues"].isel(record=-1).sel(point(row) | {"seed": int(row["seed"])})
        assert [float(row[f"level_{i}"]) for i in range(16)] == at.values.tolist()
    means = dataset["test_loss"].where(dataset["alive"])
    table = rows(exported / "tables" / "records.csv")
    assert len(table) == 2 * 6 * 4
    for row in table:
        at = means.sel(point(row) | {"record": int(row["step"])}).values
        assert float(row["test_loss"]) == pytest.approx(np.nanmean(at))
        assert float(row["test_loss_err"]) == pytest.approx(np.nanstd(at, ddof=1) / np.sqrt(3))
    assert len(rows(exported / "tables" / "members.csv")) == 36
    classes = dj.phase.classify(dataset, dj.phase.Thresholds(memory=0.6))["point"]
    for row in rows(exported / "figures" / "phase_diagram.csv"):
        index = int(classes.sel(point(row)).item())
        assert row["phase"] == dj.phase.PHASES[index]
    assert {row["line"] for row in rows(exported / "figures" / "phase_boundaries.csv")} == {
        "jamming",
        "noise",
    }


def test_the_store_has_what_cf_and_acdd_ask_for_and_its_numbers(phases, exported):
    found = xr.open_zarr(exported / "run.zarr")
    xr.testing.assert_equal(found.load(), dj.read(phases).load())
    needed = {
        "Conventions",
        "title",
        "history",
        "source",
        "references",
        "creator_name",
        "license",
        "date_created",
    }
    assert needed <= found.attrs.keys() and found.attrs["Conventions"] == "CF-1.11, ACDD-1.3"
    assert "computed by: dysonjax phase-diagram --lr 0.25,2,64" in found.attrs["history"]
    assert all({"long_name", "units"} <= variable.attrs.keys() for variable in found.variables.values())


@pytest.mark.slow
def test_an_export_is_a_run_folder(exported, tmp_path, capsys):
    assert main(["info", str(exported), "--quiet"]) == 0
    assert main(["report", str(exported), "--out", str(tmp_path / "x.html"), "--quiet"]) == 0
    assert main(["verify", str(exported), "--quiet"]) == 0
    assert main(["export", str(exported), "--out", str(tmp_path / "again"), "--quiet"]) == 0


def test_the_crate_is_sound_json_ld(exported):
    content = json.loads((exported / "ro-crate-metadata.json").read_text())
    assert content["@context"] == "https://w3id.org/ro/crate/1.1/context"
    graph = {entity["@id"]: entity for entity in content["@graph"]}
    assert len(graph) == len(content["@graph"]) and all("@type" in entity for entity in graph.values())
    descriptor = graph["ro-crate-metadata.json"]
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = graph[descriptor["about"]["@id"]]
    assert root["@type"] == "Dataset" and {"name", "description", "datePublished", "license"} <= root.keys()

    def references(value):
        if isinstance(value, dict):
            yield value["@id"]
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    for entity in graph.values():
        for key, value in entity.items():
            for name in references(value) if key not in ("conformsTo", "actionStatus") else ():
                assert name in graph, (entity["@id"], key, name)
    parts = {part["@id"] for part in root["hasPart"]}
    there = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert {p for p in there if not p.startswith("run.zarr/")} - {"ro-crate-metadata.json"} | {
        "run.zarr/"
    } == parts
    for name in parts - {"run.zarr/"}:
        data = (exported / name).read_bytes()
        assert graph[name]["contentSize"] == str(len(data))
        assert graph[name]["sha256"] == hashlib.sha256(data).hexdigest()
    assert "dysonjax phase-diagram" in graph["#run"]["description"]
    assert graph["https://orcid.org/0000-0002-1825-0097"]["familyName"] == "Dyson"


def test_citation_and_zenodo_say_who_and_what(exported):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    found = yaml.safe_load((exported / "CITATION.cff").read_text())
    assert (
        found["cff-version"] == "1.2.0" and found["type"] == "dataset" and found["title"] == "Phases & <more>"
    )
    assert [a["family-names"] for a in found["authors"]] == ["Weyl", "Dyson"]
    zenodo = json.loads((exported / ".zenodo.json").read_text())
    assert zenodo["upload_type"] == "dataset" and zenodo["license"] == "cc-by-4.0"
    assert zenodo["creators"][1] == {"name": "Dyson, Freeman", "orcid": "0000-0002-1825-0097"}


def test_hardware_run_time_versions_code_and_commands_are_there(phases, exported):
    machine = json.loads((exported / "machine.json").read_text())
    assert machine["run_seconds"] > 0 and "cores" in machine["run_hardware"]
    assert (
        machine["run_code_sha256"] == machine["export_code_sha256"] and len(machine["run_code_sha256"]) == 64
    )
    assert machine["run_versions"] == machine["export_versions"]
    commands = (exported / "commands.sh").read_text()
    assert "--threshold-memory 0.6 --out run" in commands and "dysonjax verify ." in commands
    assert subprocess.run(["sh", "-n", str(exported / "commands.sh")]).returncode == 0
    everything = b"".join(
        p.read_bytes() for p in exported.rglob("*") if p.suffix in (".json", ".md", ".sh", ".cff")
    )
    assert str(phases).encode() not in everything  # nobody else's machine has this place


def test_folders_of_levels_are_exported_too(of_levels, tmp_path):
    shutil.copytree(of_levels, tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "--quiet"]) == 0
    out, levels = tmp_path / "run-export", np.load(tmp_path / "run" / "levels.npz")
    name = "levels" if of_levels.name == "dyson" else "SGD_1"
    wanted = levels["levels"][:, -1] if of_levels.name == "dyson" else levels["SGD_1"]
    table = rows(out / "tables" / f"{name}.csv")
    assert np.array_equal([[float(r[f"level_{i}"]) for i in range(wanted.shape[1])] for r in table], wanted)
    assert "dysonjax verify .  # repeats the command" in (out / "commands.sh").read_text()


def test_an_export_that_fails_leaves_nothing(phases, tmp_path, monkeypatch, capsys):
    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(files, "put", full)
    assert main(["export", str(phases), "--out", str(tmp_path / "out")]) == 1
    assert "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "out"] and not any((tmp_path / "out").iterdir())


def test_a_name_cannot_become_a_command(phases, tmp_path):
    title = "x\ntouch owned\n"
    assert main(["export", str(phases), "--title", title, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    lines = (tmp_path / "out" / "commands.sh").read_text().splitlines()
    assert lines[1].startswith("# x touch owned, with") and not any(
        line.startswith("touch") for line in lines
    )


def test_authors_are_read_in_one_form():
    assert author(" von Neumann ,  John ") == ("von Neumann", "John", None)
    for wrong in ("Weyl", "a, b, c", "Weyl, H (1-2)", "", "Weyl, H (0000-0002-1825-0098)"):
        with pytest.raises(InputError):
            author(wrong)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{nowhere}"], "there is no such folder"),
        (["{empty}"], "holds no finished run"),
        (["{half}"], "is not finished; dysonjax resume"),
        (["{run}", "--out", "{full}"], "is not empty; choose another --out"),
        (["{run}", "--out", "{file}"], "is not a folder; choose another --out"),
        (["{run}", "--out", "{run}/inside"], "choose a folder beside it"),
        (["{run}", "--out", "{nowhere}/deep"], "does not exist; create it first"),
        (["{run}", "--author", "Weyl"], 'author must be "Family, Given"'),
        (["{run}", "--license", "GPL"], "license must be one of CC-BY-4.0, "),
    ],
)
def test_wrong_inputs_are_one_sentence(words, sentence, phases, tmp_path, capsys):
    for name in ("empty", "full", "half"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    if "{half}" in words:
        unfinished = (
            dj.read(phases)
            .load()
            .drop_attrs(deep=False)
            .assign_attrs({k: v for k, v in dj.read(phases).attrs.items() if k != "summary"})
        )
        unfinished.to_zarr(tmp_path / "half" / "run.zarr", consolidated=True)
    names = {name: tmp_path / name for name in ("empty", "full", "half", "file")}
    names |= {"run": phases, "nowhere": tmp_path / "nowhere"}
    before = sorted(phases.rglob("*"))
    assert main(["export", *(word.format(**names) for word in words)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and sorted(phases.rglob("*")) == before
    assert (tmp_path / "full" / "mine").read_text() == "mine" == (tmp_path / "file").read_text()
