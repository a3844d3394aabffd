"""The `figure` command, with a recipe that takes no time."""

import json

import numpy as np
import pytest
import xarray as xr

from dysonjax import published
from dysonjax.cli import main
from dysonjax.figures.style import new_figure
from dysonjax.published import Check, Recipe, Reproduction


def make(scale, progress=None):
    progress(1, 1)
    figure, axis = new_figure()
    axis.plot([0, 1], [0, 1])
    data = xr.Dataset({"y": ("x", [0.0, 1.0]), "n": ("x", np.array([2, 3]))}, {"x": [0.5, 1.5]})
    return Reproduction(figure, data, f"Made at scale {scale}.", (Check("slope", 1.1, 0.1, 1.0),))


LINE = Recipe("line", "[A] Fig. 0", "A straight line", make, dict.fromkeys(published.SCALES, 1))


@pytest.fixture
def line(monkeypatch):
    monkeypatch.setattr(published, "RECIPES", (LINE,))


def last_json(capsys):
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_figure_writes_picture_data_caption_and_summary(line, tmp_path, capsys):
    assert main(["figure", "line", "--quick", "--json", "--out", str(tmp_path)]) == 0
    summary = last_json(capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"line.{suffix}" for suffix in ("json", "nc", "pdf", "png", "txt")
    ]
    assert {str(path) for path in tmp_path.iterdir()} == set(summary["files"])
    assert json.loads((tmp_path / "line.json").read_text()) == summary
    assert summary["checks"][0]["z"] == pytest.approx(1) and summary["checks"][0]["mistaken"] is None
    caption = " ".join((tmp_path / "line.txt").read_text().split())
    assert caption == summary["caption"]
    assert "A straight line ([A] Fig. 0). Made at scale quick." in caption
    with xr.open_dataset(tmp_path / "line.nc", engine="scipy") as data:
        np.testing.assert_array_equal(data["y"].sel(x=1.5), 1.0)


def test_existing_figures_are_kept_and_others_may_join_them(line, tmp_path, capsys):
    (tmp_path / "other.png").write_text("somebody's")
    (tmp_path / "line.txt").write_text("mine")
    arguments = ["figure", "line", "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "line.txt exists already" in capsys.readouterr().err
    assert (tmp_path / "line.txt").read_text() == "mine"
    assert main([*arguments, "--overwrite"]) == 0
    assert (tmp_path / "line.txt").read_text() != "mine" and (tmp_path / "other.png").exists()


def test_all_makes_every_figure(line, tmp_path, capsys):
    assert main(["figure", "all", "--bare", "--out", str(tmp_path), "--json"]) == 0
    assert [figure["name"] for figure in last_json(capsys)["figures"]] == ["line"]
    assert (tmp_path / "line.png").exists()


def test_list_names_every_recipe_with_its_source(capsys):
    assert main(["figure", "--list", "--json"]) == 0
    listed = last_json(capsys)["figures"]
    assert [entry["name"] for entry in listed] == [recipe.name for recipe in published.RECIPES]
    assert all(
        entry["source"].startswith(("[", "arXiv ")) and entry["seconds"]["quick"] <= 60 for entry in listed
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("rbm-repulsio", "there is no figure 'rbm-repulsio'; did you mean rbm-repulsion"),
        ("xxxxxxxx", "there is no figure 'xxxxxxxx'; see dysonjax figure --list"),
        ("", "name a figure"),
        ("rbm-repulsion --quick --paper", "choose one of --quick and --paper"),
        ("rbm-repulsion --run somewhere", "draws from no run"),
        ("rbm-repulsion --out {file}", "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(arguments, sentence, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["figure", *arguments.format(file=tmp_path / "file").split()]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
