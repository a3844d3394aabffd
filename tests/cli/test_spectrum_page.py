"""The page of five hundred layers in a real browser, on a telephone and on a desk; skipped without one."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from dysonjax.layers.table import row_of
from dysonjax.layers.units import Unit
from dysonjax.layers.walk import Result
from dysonjax.report.spectrum_page import drawn, render
from dysonjax.spectra import analyse_matrix
from dysonjax.weights import Account

LAYERS = 500
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# What a reader would see, asked of the page itself: run in the browser, written where the test finds it.
PROBE = """
<script>
addEventListener("load", () => {
  const table = document.querySelector("table"), heads = [...table.querySelectorAll("th")];
  const column = heads.findIndex(head => head.textContent.includes("σ²"));
  const cells = () => [...table.tBodies[0].rows].map(row => parseFloat(row.cells[column].textContent));
  const click = () => (heads[column].querySelector("button, a") || heads[column]).click();
  const outside = [...document.querySelectorAll("article, figure, h1, h2, h3, .facts, .contents")].filter(
    part => part.getBoundingClientRect().right > innerWidth + 1);
  click(); const once = cells(); click(); const twice = cells();
  const texts = [...document.querySelectorAll("#profiles svg text, article svg text")];
  const found = {
    width: innerWidth, scroll: document.documentElement.scrollWidth, outside: outside.length,
    rows: table.tBodies[0].rows.length, once, twice,
    articles: document.querySelectorAll("article").length,
    plots: [...document.querySelectorAll("article svg")].filter(
      s => s.getBoundingClientRect().height > 60).length,
    profiles: document.querySelectorAll("#profiles figure").length,
    smallest: Math.min(...texts.map(text => text.getBoundingClientRect().height)),
  };
  document.body.dataset.probe = JSON.stringify(found);
});
</script></body>"""


@pytest.fixture(scope="module")
def page():
    rng = np.random.default_rng(0)
    layers = []
    few = [analyse_matrix(s * rng.normal(size=(48, 24)), n=20, quick=True) for s in rng.uniform(1, 2, 8)]
    for index in range(LAYERS):
        name = f"model.decoder.layers.{index // 7}.block_sparse_moe.experts.{index % 7}.down_proj.weight"
        unit = Unit(name, "weight", 1, 48, 24, lambda: None)
        row = row_of(Result(unit, few[index % 8], None)) | {"name": name}
        row["mp_sigma2"] *= 1 + index / LAYERS
        layers.append(drawn(row, few[index % 8]))
    accounts = [Account(layer.row["name"], (48, 24), "float32", "matrix", "as stored") for layer in layers]
    return render("Spectra of many", [("matrices", str(LAYERS))], layers, accounts, ["a note"])


@pytest.mark.skipif(BROWSER is None, reason="there is no browser here")
@pytest.mark.parametrize(("width", "height"), [(500, 900), (1280, 900)])
def test_five_hundred_layers_fit_the_window_and_sort(page, width, height, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", PROBE), encoding="utf-8")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         f"--window-size={width},{height}", "--virtual-time-budget=5000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    probe = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert probe is not None, done.stderr[-500:]
    found = json.loads(probe[1].replace("&quot;", '"'))
    assert found["width"] == width and found["scroll"] <= width and found["outside"] == 0
    assert found["rows"] == found["articles"] == found["plots"] == LAYERS
    assert found["profiles"] >= 5 and found["smallest"] >= 8
    once = np.array(found["once"])
    assert (np.diff(once) >= 0).all() or (np.diff(once) <= 0).all()
    assert found["twice"] == found["once"][::-1] and len(set(found["once"])) > 100
    assert len(page) < 3e6
