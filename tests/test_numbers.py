"""Numbers in the documents are what the committed files give; `python docs/tables.py` renews them."""

import importlib
import json
import os
import re
from pathlib import Path

import pytest

from dysonjax.published import RECIPES

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("tables")


@pytest.fixture
def measured(tables):
    return importlib.import_module("measured")


@pytest.fixture
def places(tables):
    return importlib.import_module("places")


def test_the_tables_are_what_the_committed_numbers_give(tables):
    text = (DOCS / "figures.md").read_text()
    assert tables.renewed("figures.md", text) == text, "python docs/tables.py renews the tables"
    rows = re.findall(r"^\| `(\S+)` \|", text, re.M)
    assert set(rows) <= {recipe.name for recipe in RECIPES} and len(rows) > 20
    # The twin: another number is another page.
    name = text.index("**agrees**")
    assert tables.renewed("figures.md", text[:name] + "**differs**" + text[name + 10 :]) == text


def test_the_tables_of_verdicts_are_what_the_committed_counts_give(tables, measured, monkeypatch, tmp_path):
    page = "how-to/spectra-of-a-network.md"
    text = (DOCS / page).read_text()
    assert tables.renewed(page, text) == text, "python docs/tables.py renews the tables"
    kept = json.loads(measured.VERDICTS.read_text())
    assert all(sum(row["words"].values()) == row["count"] for rows in kept.values() for row in rows)
    # The page says 2 %: within three standard errors, for every shape.
    for row in kept["noise"]:
        wrong = 1 - row["words"]["noise"] / row["count"]
        assert abs(wrong - 0.02) <= 3 * (0.02 * 0.98 / row["count"]) ** 0.5
    # The twin: another count is another page.
    kept["noise"][0]["words"]["noise"] -= 100
    monkeypatch.setattr(measured, "VERDICTS", tmp_path / "verdicts.json")
    measured.VERDICTS.write_text(json.dumps(kept))
    assert tables.renewed(page, text) != text


def test_rates_of_gpus_are_the_newest_that_were_measured(tables, measured, tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "DEVICE", tmp_path)
    old = {"goal": 1e9, "8 threads (1, None) 4 warps 254 registers 0 B stack": 2e9, "XLA": 5e7}
    way, other = (f"{t} threads (1, None) summed, {w} warps, chunks of 16" for t, w in ((16, 2), (8, 4)))
    new = {"chosen": way, way: {"rate": 3e9, "stack": 0}, other: {"rate": 4e9}, "XLA": 6e7, "more": "text"}
    write = {
        "h100-9": {"rates": {"a, 1 x 2": old, "b, 3 x 4": old}},
        "h100-10": {"rates": {"a, 1 x 2": new, "b, 3 x 4": {"error": "no answer"}, "c": "no time"}},
    }
    for name, result in write.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    rows = tables.rates.gpu_rates().splitlines()[2:]
    assert rows == [
        "| a, 1 × 2 | 3 G | 16 × 2 | 4 G | 60 M | 50 |  | h100-10 |",
        "| b, 3 × 4 | 2 G | 8 × 4 | 2 G | 50 M | 40 | 1 G | h100-9 |",
    ]


def test_committed_numbers_hold_no_released_point(measured):
    paths = list((DOCS / "numbers").glob("*.json"))
    assert paths
    for path in paths:
        kept = json.loads(path.read_text())
        assert set(kept) <= {*measured.KEPT, "caption", "checks", "released"}
        assert "caption" not in kept or not ("/" in kept["caption"] and "runs/" in kept["caption"])
        for row in kept["released"]:
            assert row["points"] >= 5 and row["verdict"] in ("agrees", "differs")
            assert bool(row["why"]) == (row["verdict"] == "differs")


def test_summaries_are_taken_in_without_released_points(tables, measured, tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "NUMBERS", tmp_path / "numbers")
    check = {"name": "a|b", "measured": 1.23456, "error": 0.012, "expected": 1.2, "systematic": 0.0, "z": 2.9}
    summary = {
        "command": "figure", "name": "phase-diagram", "source": "[C]", "scale": "run", "networks": 4,
        "steps": 2000, "version": "1", "out": "somewhere", "checks": [{**check, "mistaken": 2.0}],
        "released": {"points": [{"released": 1.0}], "rows": []},
    }  # fmt: skip
    (tmp_path / "phase-diagram.json").write_text(json.dumps(summary))
    (tmp_path / "other.json").write_text("{}")
    measured.take(tmp_path)
    [path] = (tmp_path / "numbers").iterdir()
    assert path.name == "phase-diagram-2000-steps.json"
    kept = json.loads(path.read_text())
    assert kept["released"] == [] and "out" not in kept and "mistaken" not in kept["checks"][0]
    # The same figure again, without a folder of released numbers: the comparison stays.
    path.write_text(json.dumps({**kept, "released": [{"quantity": "loss"}]}))
    del summary["released"]
    summary["checks"][0]["measured"] = 1.3
    (tmp_path / "phase-diagram.json").write_text(json.dumps(summary))
    measured.take(tmp_path)
    again = json.loads(path.read_text())
    assert again["released"] == [{"quantity": "loss"}] and again["checks"][0]["measured"] == 1.3
    (path.parent / "phase-diagram-quick.json").write_text(json.dumps({**kept, "scale": "quick"}))
    assert "| a\\|b | 1.235 ± 0.012 | 1.2 | +2.9 |" in tables.theory_table()


@pytest.mark.parametrize("load", [0.1, 9.0])
def test_wall_time_of_a_busy_machine_is_not_shown(tables, measured, tmp_path, monkeypatch, load):
    kind = {"least": 4.0, "median": 4.5}
    ways = {"warm": {"wall": kind, "cpu": kind}, "cold": {"wall": kind, "cpu": {"least": 8.0, "median": 9.0}}}
    monkeypatch.setattr(measured, "PICTURE", tmp_path / "first_picture.json")
    measured.PICTURE.write_text(json.dumps({"cores": 2, "load": load, "seconds": ways}))
    heads, _, warm, cold = tables.rates.first_picture().splitlines()
    assert ("| s, least |" in heads) == (load < 1)
    assert warm.endswith("| 4.0 | 4.5 | 1.00 |") and cold.endswith("| 8.0 | 9.0 | 2.00 |")


CAPTION = (
    "16 networks. hot: loss 0.1 ± 0.02, J grows by 50.1; cold, T = 0.5: loss 2e-05 ± 3e-06, h -0.9 of 1."
)


@pytest.fixture
def figure(measured, tmp_path, monkeypatch):
    """A figure of two checks, whose numbers alone are kept."""
    monkeypatch.setattr(measured, "NUMBERS", tmp_path)
    check = {"measured": -0.9866, "error": 0.0113, "expected": -1.0, "systematic": 0.01, "z": 0.89}
    checks = [
        {**check, "name": "power of |B|, Adam"},
        {**check, "name": "power of |B|, AdamW", "measured": 2.0},
    ]
    (tmp_path / "some-quick.json").write_text(
        json.dumps({"name": "some", "caption": CAPTION, "checks": checks})
    )
    return tmp_path


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("some > , Adam", "−0.987 ± 0.011"),
        ("some@quick > power of\n\\|B\\|, AdamW", "2.000 ± 0.011"),
        ("some > , Adam > theory", "−1.000"),
        ("some > , Adam > z", "+0.9"),
        ("some > , Adam > error :.4f", "0.0113"),
        ("some > caption > loss", "0.1 ± 0.02"),
        ("some > caption > cold > loss", "2e−05 ± 3e−06"),
        ("some > caption > hot > J grows by", "50.1"),
        ("some > caption > cold > h", "−0.9"),
        ("ratios > ratios > linear > limit", "1.02"),
        ("h100-3 > runs > seeds 51 to 100 > net_steps_per_second :rate", "3.37 G"),
    ],
)
def test_a_number_in_a_sentence_is_written_from_its_file(places, figure, path, written):
    text = f"It is <!--={path}-->1.000 ± 0.011<!--/--> here, <!--={path}-->?<!--/--> there."
    assert places.with_places(text) == text.replace("1.000 ± 0.011", written).replace("?", written)


def test_the_larger_scale_is_taken_where_there_is_one(places, figure):
    larger = (figure / "some-quick.json").read_text().replace("2.0", "3.0")
    (figure / "some-default.json").write_text(larger)
    assert places.value("some > AdamW") == "3.000 ± 0.011"
    assert places.value("some@quick > AdamW") == "2.000 ± 0.011"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a <!--=some > power-->1<!--/-->", "more than one"),
        ("a <!--=some > Muon-->1<!--/-->", "none"),
        ("a <!--=another > Adam-->1<!--/-->", "no file"),
        ("a <!--=some > caption > warm-->1<!--/-->", "does not stand"),
        ("a <!--=some > caption > cold > hot-->1<!--/-->", "does not stand"),
        ("a <!--=some > caption > of 1-->1<!--/-->", "no number"),
        ("a <!--=some > AdamW-->1, unfinished", "no end"),
        ("a\n<!--=some > AdamW-->1<!--/-->", "start of a line"),
    ],
)
def test_a_place_that_leads_nowhere_is_refused(places, figure, text, why):
    with pytest.raises(ValueError, match=why):
        places.with_places(text)


PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
PLACED = [page for page in PAGES if "<!--=" in page.read_text()]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!--=" in page.read_text()], ids=lambda p: p.stem
)
def test_a_stale_number_in_a_page_is_seen(tables, page):
    """With every place of a page out of date, none stays so: the page comes back as it is."""
    text = page.read_text()
    stale = re.sub(r"(<!--=.*?-->).*?(<!--/-->)", r"\1stale\2", text, flags=re.S)
    assert stale.count("stale<!--/-->") == text.count("<!--=")
    assert tables.renewed(os.path.relpath(page, DOCS), stale) == text, "python docs/tables.py renews it"
