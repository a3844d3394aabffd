"""The gallery shows every figure; a page that has fallen behind is renewed by `python docs/gallery.py`."""

import importlib.util
import re
from pathlib import Path

from dysonjax.published import RECIPES

DOCS = Path(__file__).parents[1] / "docs"


def written() -> str:
    specification = importlib.util.spec_from_file_location("gallery", DOCS / "gallery.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.page()


def test_the_gallery_is_what_its_program_writes():
    assert (DOCS / "gallery.md").read_text() == written(), "python docs/gallery.py renews the page"


def test_the_gallery_shows_every_figure_once_and_all_its_pictures_exist():
    text = (DOCS / "gallery.md").read_text()
    assert sorted(re.findall(r"^dysonjax figure (\S+) --quick", text, re.M)) == sorted(
        recipe.name for recipe in RECIPES
    )
    pictures = re.findall(r"\]\((images/\S+\.png)\)", text)
    assert len(pictures) == len(set(pictures)) and all((DOCS / picture).exists() for picture in pictures)
    there = {path.stem for path in (DOCS / "images").rglob("*.png")}
    assert {Path(picture).stem for picture in pictures} == there & {recipe.name for recipe in RECIPES}
