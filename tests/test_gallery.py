"""Pages that programs write are what these write: `gallery.py`, `commands.py` and `tables.py` of docs."""

import importlib
import re
import sys
from pathlib import Path
from unittest import mock

import matplotlib.image
import pytest

from dysonjax.published import RECIPES

DOCS = Path(__file__).parents[1] / "docs"


def program(name: str):
    with mock.patch.object(sys, "path", [str(DOCS), *sys.path]):
        return importlib.import_module(name)


def test_the_gallery_is_what_its_program_writes():
    assert (DOCS / "gallery.md").read_text() == program("gallery").page(), (
        "python docs/gallery.py renews the page"
    )


def test_the_page_of_commands_is_their_help():
    assert (DOCS / "reference" / "commands.md").read_text() == program("commands").page(), (
        "python docs/commands.py renews the page"
    )


@pytest.mark.parametrize("page", program("tables").PAGES)
def test_the_numbers_of_a_page_are_those_of_the_files(page):
    assert (DOCS / page).read_text() == program("tables").renewed(page), "python docs/tables.py renews it"


def test_a_number_that_has_changed_is_seen(monkeypatch, tmp_path):
    tables = program("tables")
    measured = program("measured")
    changed = measured.RATIOS.read_text().replace('"numpy_loop": 535.0', '"numpy_loop": 536.0')
    assert changed != measured.RATIOS.read_text()
    (tmp_path / "ratios.json").write_text(changed)
    monkeypatch.setattr(measured, "RATIOS", tmp_path / "ratios.json")
    assert "| 536 |" in tables.renewed("performance.md") != (DOCS / "performance.md").read_text()


def test_the_gallery_shows_every_figure_once_and_all_its_pictures_exist():
    text = (DOCS / "gallery.md").read_text()
    assert sorted(re.findall(r"^dysonjax figure (\S+) --quick", text, re.M)) == sorted(
        recipe.name for recipe in RECIPES
    )
    pictures = re.findall(r"\]\((images/\S+\.png)\)", text)
    assert len(pictures) == len(set(pictures)) and all((DOCS / picture).exists() for picture in pictures)
    there = {path.stem for path in (DOCS / "images").rglob("*.png")}
    assert {Path(picture).stem for picture in pictures} == there & {recipe.name for recipe in RECIPES}


def clipped(picture) -> bool:
    """Whether ink touches the border of a picture, as where a label is cut off."""
    sides = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
    return any(float(side[..., :3].min()) < 0.95 for side in sides)


def test_no_picture_of_the_documents_is_cut_off():
    paths = sorted((DOCS / "images").rglob("*.png"))
    assert len(paths) > 30
    assert [str(path) for path in paths if clipped(matplotlib.image.imread(path))] == []
    # The twin: the same picture without its lowest rows is cut through the labels of its axis.
    picture = matplotlib.image.imread(DOCS / "images" / "phase_diagram.png")
    assert clipped(picture[: int(0.9 * len(picture))])
