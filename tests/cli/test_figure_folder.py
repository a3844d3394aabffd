"""Figures are published and verified like runs: what is in their folder is what their commands make."""

import csv
import hashlib
import json
import shutil

import numpy as np
import pytest
import xarray as xr

from dysonjax import published
from dysonjax.cli import agreement, main
from dysonjax.figures.style import new_figure
from dysonjax.published import Check, Recipe, Reproduction, initialisation

pytestmark = pytest.mark.usefixtures("sketches")


def recipe(name: str, slope: float = 1.0, draw=None, seconds: float = 1.0) -> Recipe:
    """A figure that takes no time."""

    def made(scale: str, progress=None) -> Reproduction:
        figure, axis = new_figure()
        axis.plot([0, 1], [0, slope])
        steps, words = np.array([2, 3]), np.array(["low", "high"])
        data = xr.Dataset(
            {
                "y": (("x", "kind"), slope * np.array([[1.0, 2.0], [np.nan, 3.0]])),
                "y_err": (("x", "kind"), np.full((2, 2), 0.1)),
                "steps": ("x", steps),
                "theory": ("kind", slope * np.array([0.1, 7.0])),
                "total": ((), 5.5),
            },
            {"x": [0.5, 1.5], "kind": words},
            attrs={"networks": 7, "steps": 100},
        )
        return Reproduction(figure, data, f"A line at {scale} scale.", (Check("slope", slope, 0.1, 1.0),))

    return Recipe(
        name, "[A] Fig. 0", f"The line {name}", made, dict.fromkeys(published.SCALES, seconds), draw
    )


@pytest.fixture
def lines(monkeypatch):
    """Two figures, of which one takes an hour and one can be drawn from a run."""
    drawn = recipe("drawn")
    slow, drawn = recipe("slow", seconds=3600), recipe("drawn", draw=lambda run: drawn.make("quick", None))
    monkeypatch.setattr(published, "RECIPES", (recipe("line"), slow, drawn))


@pytest.fixture
def folder(lines, tmp_path):
    out = tmp_path / "figures"
    for name in ("line", "slow"):
        assert main(["figure", name, "--quick", "--quiet", "--out", str(out)]) == 0
    return out


def verified(path, capsys, *words) -> tuple[int, dict]:
    capsys.readouterr()
    code = main(["verify", str(path), "--quiet", "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def rows(path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rewritten(folder, change, name="line"):
    """Data of a figure changed, with a hash that fits: as if the command had written them."""
    with xr.open_dataset(folder / f"{name}.nc", engine="scipy") as found:
        data = found.load()
    change(data)
    data.to_netcdf(folder / f"{name}.nc", engine="scipy")
    digest = hashlib.sha256((folder / f"{name}.nc").read_bytes()).hexdigest()
    summary = json.loads((folder / f"{name}.json").read_text())
    summary["sha256"][".nc"] = digest
    (folder / f"{name}.json").write_text(json.dumps(summary))


def elsewhere(folder, name="line"):
    """The figure as one of other code."""
    summary = json.loads((folder / f"{name}.json").read_text())
    summary["made_by"]["code"] = "another"
    (folder / f"{name}.json").write_text(json.dumps(summary))


def test_the_summary_says_how_to_repeat_the_figure_and_by_what_it_was_made(folder):
    summary = json.loads((folder / "line.json").read_text())
    assert summary["options"] == {"bare": False, "dpi": 160} and summary["scale"] == "quick"
    assert len(summary["made_by"]["code"]) == 64 and "cores" in summary["made_by"]["hardware"]
    assert summary["made_by"]["versions"]["jax"] and summary["made_by"]["processor"]
    for suffix, digest in summary["sha256"].items():
        assert hashlib.sha256((folder / f"line{suffix}").read_bytes()).hexdigest() == digest
    assert summary["sha256"].keys() == {".png", ".pdf", ".nc", ".txt"}


def test_an_export_holds_pictures_tables_metadata_and_commands_of_every_figure(folder, tmp_path):
    words = ["export", str(folder), "--author", "Weyl, Hermann", "--quiet"]
    assert main(words) == 0
    out = tmp_path / "figures-export"
    for name in ("line", "slow"):
        for suffix in (".png", ".pdf", ".txt"):
            exported, original = out / "figures" / f"{name}{suffix}", folder / f"{name}{suffix}"
            assert exported.read_bytes() == original.read_bytes()
        with xr.open_dataset(folder / f"{name}.nc", engine="scipy") as data:
            with xr.open_dataset(out / "figures" / f"{name}.nc", engine="scipy") as found:
                xr.testing.assert_equal(data, found)
                assert found.attrs["Conventions"] == "CF-1.11, ACDD-1.3" and found.attrs["caption"]
                assert f"computed by: dysonjax figure {name} --quick" in found.attrs["history"]
                assert found.attrs["figure"] == "[A] Fig. 0"
            for row in rows(out / "tables" / name / "x-kind.csv"):
                at = data.sel(x=float(row["x"]), kind=row["kind"])
                value = float(row["y"]) if row["y"] else np.nan
                np.testing.assert_array_equal([value, float(row["y_err"])], [at["y"], at["y_err"]])
            assert [float(r["theory"]) for r in rows(out / "tables" / name / "kind.csv")] == [0.1, 7.0]
            assert rows(out / "tables" / name / "numbers.csv") == [{"quantity": "total", "value": "5.5"}]
        (check,) = rows(out / "tables" / name / "checks.csv")
        assert check["name"] == "slope" and float(check["measured"]) == 1.0 and check["mistaken"] == ""
    machine = json.loads((out / "machine.json").read_text())
    assert machine["figures"].keys() == {"line", "slow"} and "cores" in machine["figures"]["line"]["hardware"]
    assert machine["figures"]["line"]["code_sha256"] == machine["export_code_sha256"]
    commands = (out / "commands.sh").read_text()
    assert all(f"\ndysonjax figure {n} --quick --out figures-again" in commands for n in ("line", "slow"))
    assert "Weyl" in (out / "CITATION.cff").read_text() and "Weyl" in (out / ".zenodo.json").read_text()
    assert str(tmp_path).encode() not in b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())


def test_the_crate_knows_every_file_and_which_command_made_it(folder, tmp_path):
    assert main(["export", str(folder), "--quiet"]) == 0
    out = tmp_path / "figures-export"
    content = json.loads((out / "ro-crate-metadata.json").read_text())
    graph = {entity["@id"]: entity for entity in content["@graph"]}
    assert len(graph) == len(content["@graph"])
    parts = {part["@id"] for part in graph["./"]["hasPart"]}
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert parts == there - {"ro-crate-metadata.json"}
    for name in parts:
        assert graph[name]["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()
    assert graph["./"]["mentions"] == [{"@id": "#line"}, {"@id": "#slow"}]
    assert graph["#slow"]["description"] == "dysonjax figure slow --quick"
    results = {part["@id"] for part in graph["#slow"]["result"]}
    assert {"figures/slow.png", "figures/slow.nc", "tables/slow/checks.csv"} <= results
    assert all("slow" in name for name in results)
    assert all(value["@id"] in graph for value in graph["#slow"]["object"])


def test_figures_are_the_same_to_the_last_bit_and_long_ones_are_not_made_again(folder, capsys):
    code, found = verified(folder, capsys)
    assert code == 0 and found["bit_equal"] and found["differences"] == [] == found["differing"]
    line, slow = found["figures"]
    assert (
        line["made_again"] and not slow["made_again"] and slow["reason"] == "takes 60 min; give --minutes 60"
    )
    assert found["verdict"].startswith("verified: all numbers behind 1 figure and their checks are the same")
    assert "of 1 more only that the files are those that were written" in found["verdict"]
    code, found = verified(folder, capsys, "--minutes", "61")
    assert code == 0 and all(one["made_again"] for one in found["figures"])
    assert main(["verify", str(folder), "--minutes", "0.001"]) == 2
    assert "can be made again (line: takes 1 s; give --minutes 0.1" in capsys.readouterr().err


def test_an_export_is_verified_and_exported_like_the_figures(folder, tmp_path, capsys):
    assert main(["export", str(folder), "--quiet"]) == 0
    out = tmp_path / "figures-export"
    assert verified(out, capsys)[0] == 0
    assert main(["info", str(out)]) == 0 and "dysonjax figure slow --quick" in capsys.readouterr().out
    assert main(["export", str(out), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    first, again = ((place / "tables").rglob("*") for place in (out, tmp_path / "again"))
    assert [p.read_bytes() for p in sorted(first) if p.is_file()] == [
        p.read_bytes() for p in sorted(again) if p.is_file()
    ]


def test_a_figure_of_a_run_is_drawn_from_it_again(lines, finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "source")
    out = tmp_path / "figures"
    words = ["figure", "drawn", "--run", str(tmp_path / "source"), "--quiet", "--out", str(out)]
    assert main(words) == 0
    assert verified(out, capsys)[1]["bit_equal"]
    assert main(["export", str(out), "--quiet"]) == 0
    exported = tmp_path / "figures-export"
    assert "dysonjax figure drawn --run source" in (exported / "commands.sh").read_text()
    assert verified(exported, capsys)[0] == 0  # the run stands beside it
    (tmp_path / "source").rename(tmp_path / "away")
    assert main(["verify", str(out)]) == 2
    assert "source is not there" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".nc", ".txt", ".json"])
def test_a_file_that_was_changed_is_named(suffix, folder, capsys):
    path = folder / f"slow{suffix}"  # also of a figure that is not made again
    content = path.read_bytes()
    if suffix == ".nc":
        content = content.replace(np.array(7.0, ">f8").tobytes(), np.array(7.5, ">f8").tobytes())
    else:
        content = content.replace(b"slow", b"fast") if suffix != ".png" else content + b"x"
        content = content.replace(b'"name": "fast"', b'"name": "slow"') if suffix == ".json" else content
        content = content + b"x" if suffix == ".pdf" else content
    assert content != path.read_bytes()
    path.write_bytes(content)
    code, found = verified(folder, capsys)
    assert code == 1 and found["figures"][1]["changed_files"] == [path.name] and found["figures"][0]["equal"]
    assert main(["export", str(folder)]) == 2
    error = capsys.readouterr().err
    assert f"{path} is not the file that its command wrote" in error and error.count("\n") == 1


def add(factor, name="theory"):
    def change(data):
        data[name] *= factor

    return change


def shifted(errors):
    def change(data):
        data["y"] += errors * data["y_err"] * np.sqrt(2)

    return change


@pytest.mark.parametrize(
    ("change", "name", "here", "there"),
    [
        (add(1 + 1e-15), "theory", 1, 0),
        (add(1 + 1e-4), "theory", 1, 0),
        (add(1.01), "theory", 1, 1),
        (shifted(3), "y", 1, 0),
        (shifted(5), "y", 1, 1),
        (add(1.5, "y_err"), "y_err", 1, 0),
        (add(2.5, "y_err"), "y_err", 1, 1),
        (lambda data: data.coords.update({"kind": ["mid", "high"]}), "kind", 1, 1),
        (lambda data: data.attrs.update(networks=8), "networks", 1, 1),
    ],
)
def test_numbers_that_differ_are_noticed_here_to_the_last_bit_elsewhere_by_a_tolerance(
    change, name, here, there, folder, capsys
):
    rewritten(folder, change)
    code, found = verified(folder, capsys)
    assert code == here and name in found["figures"][0]["variables"] and not found["bit_equal"]
    assert found["figures"][0]["changed_files"] == []
    elsewhere(folder)
    code, found = verified(folder, capsys)
    assert code == there and "code another then" in found["differences"][0]
    assert found["verdict"].startswith("NOT verified: line" if there else "verified: the numbers behind 1")


@pytest.mark.parametrize(("measured", "here", "there"), [(1.0001, 1, 0), (1.5, 1, 0), (1.6, 1, 1)])
def test_checks_of_the_summary_are_compared_too(measured, here, there, folder, capsys):
    summary = json.loads((folder / "line.json").read_text())
    summary["checks"][0]["measured"] = measured
    (folder / "line.json").write_text(json.dumps(summary))
    code, found = verified(folder, capsys)
    assert code == here and found["figures"][0]["variables"] == ["check slope"]
    elsewhere(folder)
    assert verified(folder, capsys)[0] == there


def test_figures_of_before_the_hashes_are_compared_within_the_tolerance(folder, capsys, tmp_path):
    for name in ("line", "slow"):
        summary = json.loads((folder / f"{name}.json").read_text())
        for key in ("options", "made_by", "sha256"):
            del summary[key]
        (folder / f"{name}.json").write_text(json.dumps(summary))
    code, found = verified(folder, capsys)
    assert code == 0 and found["bit_equal"]
    assert found["differences"] == ["the figure does not say by what it was computed"]
    assert main(["export", str(folder), "--quiet"]) == 0
    machine = json.loads((tmp_path / "figures-export" / "machine.json").read_text())
    assert machine["figures"]["line"]["code_sha256"] == "unknown"


def test_a_changed_recipe_is_noticed(folder, monkeypatch, capsys):
    monkeypatch.setattr(published, "RECIPES", (recipe("line", 1.5), recipe("slow", seconds=3600)))
    code, found = verified(folder, capsys)
    assert code == 1 and {"y", "theory", "check slope"} <= set(found["figures"][0]["variables"])


def test_a_figure_that_this_version_does_not_know_is_not_made_again(folder, monkeypatch, capsys):
    monkeypatch.setattr(published, "RECIPES", (recipe("line"),))
    code, found = verified(folder, capsys)
    assert code == 0 and found["figures"][1]["reason"] == "this version makes no such figure"


def damage(folder, name):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])


@pytest.mark.parametrize("command", ["verify", "export", "info"])
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: damage(f, "line.nc"), "line.nc is damaged: it cannot be read as NetCDF"),
        (lambda f: damage(f, "line.json"), "line.json is damaged: it holds no JSON"),
        (lambda f: (f / "line.png").unlink(), "line.png is missing; make the figure again with --overwrite"),
        (lambda f: (f / "line.json").write_text("{}"), "line.json is damaged: command is missing"),
        (
            lambda f: [path.unlink() for path in f.glob("*.json")],
            "holds no figure with its summary, NAME.json",
        ),
        (lambda f: [path.unlink() for path in f.iterdir()], "holds no"),
    ],
)
def test_wrong_folders_are_one_sentence(command, spoil, sentence, folder, tmp_path, capsys):
    spoil(folder)
    before = sorted(tmp_path.rglob("*"))
    assert main([command, str(folder)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1 and sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_real_figure_is_exported_and_verified(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(initialisation.SEEDS, "quick", 4)
    monkeypatch.setattr(initialisation, "ROWS", (128, 64))
    out = tmp_path / "figures"
    assert main(["figure", "mp-initialisation", "--quick", "--quiet", "--out", str(out)]) == 0
    code, found = verified(out, capsys)
    assert code == 0 and found["bit_equal"] and found["figures"][0]["made_again"]
    assert main(["export", str(out), "--quiet"]) == 0
    table = rows(tmp_path / "figures-export" / "tables" / "mp-initialisation" / "ratio-bin.csv")
    assert len(table) == 2 * 40 and {"density", "density_err", "x", "ratio", "bin"} == table[0].keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mp-initialisation", "linear-relaxation", "phase-cuts", "rbm-repulsion"])
def test_quick_figures_are_made_again_to_the_last_bit(name, tmp_path, capsys):
    assert main(["figure", name, "--quick", "--quiet", "--out", str(tmp_path / "f")]) == 0
    code, found = verified(tmp_path / "f", capsys)
    assert code == 0 and found["bit_equal"]


def test_agreement_is_in_units_of_the_largest_number_or_of_errors():
    a = np.array([1.0, 100.0, np.nan])
    assert agreement.deviation(a, a + 0.5) == 0.005 and agreement.deviation(a, a) == 0
    assert agreement.deviation(a, np.array([1.0, np.nan, 2.0])) is None
    assert not agreement.close(a, a + 0.5, None) and agreement.close(a, a + 0.05, None)
    assert agreement.close(a, a + 0.5, np.full(3, 0.2)) and not agreement.close(a, a + 0.5, np.full(3, 0.1))


def test_values_of_json_are_compared_by_their_names():
    old = {"rows": [{"p": 0.5, "verdict": "noise"}, {"p": 1.0, "verdict": "noise"}], "n": 2}
    assert agreement.of_values(old, json.loads(json.dumps(old))) == ({}, True)
    near = {"rows": [{"p": 0.5, "verdict": "noise"}, {"p": 1.0005, "verdict": "noise"}], "n": 2}
    found, within = agreement.of_values(old, near)
    assert found == {"rows.p": pytest.approx(5e-4)} and within
    other = {"rows": [{"p": 0.5, "verdict": "noise"}, {"p": 1.0, "verdict": "heavy tail"}], "n": 2}
    assert agreement.of_values(old, other) == ({"rows.verdict": None}, False)
    less = {"rows": [{"p": 0.5, "verdict": "noise"}], "n": 2}
    found, within = agreement.of_values(old, less)
    assert found["number of rows"] == 0.5 and not within
