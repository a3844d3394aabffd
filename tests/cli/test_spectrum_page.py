"""The page of many layers in a real browser, on a telephone and on a desk; skipped without one."""

import functools
import re

import numpy as np
import pytest

from dysonjax.layers.table import row_of
from dysonjax.layers.units import Unit
from dysonjax.layers.walk import Result
from dysonjax.report.spectrum_page import drawn, render
from dysonjax.spectra import analyse_matrix
from dysonjax.weights import Account
from tests import browser

MANY = 500
WHATEVER = """(() => {
  const table = document.querySelector("table"), heads = [...table.tHead.rows[0].cells];
  const texts = [...document.querySelectorAll("#profiles svg text, article svg text")];
  const parts = document.querySelectorAll("article, figure, h1, h2, h3, .facts, .contents");
  return {
    width: innerWidth, scroll: document.documentElement.scrollWidth,
    outside: [...parts].filter(part => part.getBoundingClientRect().right > innerWidth + 1).length,
    rows: table.tBodies[0].rows.length, heads: heads.map(head => head.textContent),
    articles: document.querySelectorAll("article").length,
    plots: [...document.querySelectorAll("article svg")].filter(
      svg => svg.getBoundingClientRect().height > 60).length,
    profiles: document.querySelectorAll("#profiles figure").length,
    smallest: Math.min(...texts.map(text => text.getBoundingClientRect().height)),
  };
})()"""
# The column is clicked, and read as a person reads it: the first number of a cell, or its text.
CLICKED = """(() => {
  const table = document.querySelector("table");
  table.tHead.rows[0].cells[%d].querySelector("button").click();
  return [...table.tBodies[0].rows].map(row => row.cells[%d].textContent.trim());
})()"""
SCROLLED = """(() => {
  const box = document.querySelector(".scroll"), cell = box.querySelector("tbody td");
  box.scrollIntoView(); box.scrollLeft = box.scrollWidth;
  const {left, right} = cell.getBoundingClientRect();
  return [box.scrollLeft, left - box.getBoundingClientRect().left, right / innerWidth];
})()"""


@functools.cache
def page(number):
    """Of so many layers."""
    rng = np.random.default_rng(0)
    layers = []
    few = [
        analyse_matrix(s * rng.normal(size=(48, 24)), n_resamples=20, quick=True)
        for s in rng.uniform(1, 2, 8)
    ]
    for index in range(number):
        name = f"model.decoder.layers.{index // 7}.block_sparse_moe.experts.{index % 7}.down_proj.weight"
        unit = Unit(name, "weight", 1, 48, 24, lambda: None)
        row = row_of(Result(unit, few[index % 8], None)) | {"name": name}
        row["mp_sigma2"] *= 1 + index / number
        layers.append(drawn(row, few[index % 8]))
    accounts = [Account(layer.row["name"], (48, 24), "float32", "matrix", "as stored") for layer in layers]
    return render("Spectra of many", [("matrices", str(number))], layers, accounts, ["a note"])


def natural(text):
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def numbers(cells):
    """Of those that have one; the sign of an error and what follows it left away."""
    return [float(cell.split()[0].replace("−", "-")) for cell in cells if cell != "–"]


@pytest.mark.skipif(browser.find() is None, reason="no Chromium or Chrome on this machine")
@pytest.mark.parametrize(
    ("number", "width", "phone"),
    [
        (60, 390, True),
        pytest.param(MANY, 390, True, marks=pytest.mark.slow),
        pytest.param(MANY, 1280, False, marks=pytest.mark.slow),
    ],
)
def test_many_layers_fit_the_window_and_sort_by_every_column(number, width, phone, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page(number), encoding="utf-8")
    tab = browser.Browser(tmp_path / "profile")
    try:
        tab.size(width, 844, phone)
        tab.open(file.as_uri())
        found = tab.ask(WHATEVER)
        assert found["width"] == width and found["scroll"] <= width and found["outside"] == 0
        assert found["rows"] == found["articles"] == found["plots"] == number
        assert found["profiles"] >= 5 and found["smallest"] >= 8
        assert len(found["heads"]) >= 10
        for column, head in enumerate(found["heads"]):
            once, twice = (tab.ask(CLICKED % (column, column)) for _ in range(2))
            if re.fullmatch(r"[-−\d.e–]+( ± .*)?", once[0]):
                once, twice = numbers(once), numbers(twice)
                assert (np.diff(once) >= 0).all(), head
            else:
                assert once == sorted(once, key=natural), head
            assert twice == once[::-1], head
        moved, offset, share = tab.ask(SCROLLED)
        # The name of a row stays, and leaves room for the numbers.
        assert abs(offset) < 3 and share < 0.5 and (moved > 0 or not phone)
        assert not tab.errors and not tab.requests
    finally:
        tab.close()
    assert len(page(number)) < 3e6
