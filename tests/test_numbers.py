"""The tables in the documents are what the committed numbers give; `python docs/tables.py` renews them."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from dysonjax.published import RECIPES

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def numbers():
    specification = importlib.util.spec_from_file_location("tables_of_the_documents", DOCS / "tables.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_tables_are_what_the_committed_numbers_give(numbers):
    text = (DOCS / "figures.md").read_text()
    assert numbers.renewed("figures.md", text) == text, "python docs/tables.py renews the tables"
    rows = re.findall(r"^\| `(\S+)` \|", text, re.M)
    assert set(rows) <= {recipe.name for recipe in RECIPES} and len(rows) > 20
    # The twin: another number is another page.
    name = text.index("**agrees**")
    assert numbers.renewed("figures.md", text[:name] + "**differs**" + text[name + 10 :]) == text


def test_the_tables_of_verdicts_are_what_the_committed_counts_give(numbers, monkeypatch, tmp_path):
    page = "how-to/spectra-of-a-network.md"
    text = (DOCS / page).read_text()
    assert numbers.renewed(page, text) == text, "python docs/tables.py renews the tables"
    kept = json.loads(numbers.VERDICTS.read_text())
    assert all(sum(row["words"].values()) == row["count"] for rows in kept.values() for row in rows)
    # The page says 2 %: within three standard errors, for every shape.
    for row in kept["noise"]:
        wrong = 1 - row["words"]["noise"] / row["count"]
        assert abs(wrong - 0.02) <= 3 * (0.02 * 0.98 / row["count"]) ** 0.5
    # The twin: another count is another page.
    kept["noise"][0]["words"]["noise"] -= 100
    monkeypatch.setattr(numbers, "VERDICTS", tmp_path / "verdicts.json")
    numbers.VERDICTS.write_text(json.dumps(kept))
    assert numbers.renewed(page, text) != text


def test_rates_of_gpus_are_the_newest_that_were_measured(numbers, tmp_path, monkeypatch):
    monkeypatch.setattr(numbers, "DEVICE", tmp_path)
    old = {"goal": 1e9, "8 threads (1, None) 4 warps 254 registers 0 B stack": 2e9, "XLA": 5e7}
    way, other = (f"{t} threads (1, None) summed, {w} warps, chunks of 16" for t, w in ((16, 2), (8, 4)))
    new = {"chosen": way, way: {"rate": 3e9, "stack": 0}, other: {"rate": 4e9}, "XLA": 6e7, "more": "text"}
    write = {
        "h100-9": {"rates": {"a, 1 x 2": old, "b, 3 x 4": old}},
        "h100-10": {"rates": {"a, 1 x 2": new, "b, 3 x 4": {"error": "no answer"}, "c": "no time"}},
    }
    for name, result in write.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    rows = numbers.gpu_rates().splitlines()[2:]
    assert rows == [
        "| a, 1 × 2 | 3 G | 16 × 2 | 4 G | 60 M | 50 |  | h100-10 |",
        "| b, 3 × 4 | 2 G | 8 × 4 | 2 G | 50 M | 40 | 1 G | h100-9 |",
    ]


def test_committed_numbers_hold_no_released_point(numbers):
    paths = list((DOCS / "numbers").glob("*.json"))
    assert paths
    for path in paths:
        kept = json.loads(path.read_text())
        assert set(kept) <= {*numbers.KEPT, "checks", "released"}
        for row in kept["released"]:
            assert row["points"] >= 5 and row["verdict"] in ("agrees", "differs")
            assert bool(row["why"]) == (row["verdict"] == "differs")


def test_summaries_are_taken_in_without_released_points(numbers, tmp_path, monkeypatch):
    monkeypatch.setattr(numbers, "NUMBERS", tmp_path / "numbers")
    check = {"name": "a|b", "measured": 1.23456, "error": 0.012, "expected": 1.2, "systematic": 0.0, "z": 2.9}
    summary = {
        "command": "figure", "name": "phase-diagram", "source": "[C]", "scale": "run", "networks": 4,
        "steps": 2000, "version": "1", "out": "somewhere", "checks": [{**check, "mistaken": 2.0}],
        "released": {"points": [{"released": 1.0}], "rows": []},
    }  # fmt: skip
    (tmp_path / "phase-diagram.json").write_text(json.dumps(summary))
    (tmp_path / "other.json").write_text("{}")
    numbers.take(tmp_path)
    [path] = (tmp_path / "numbers").iterdir()
    assert path.name == "phase-diagram-2000-steps.json"
    kept = json.loads(path.read_text())
    assert kept["released"] == [] and "out" not in kept and "mistaken" not in kept["checks"][0]
    path.write_text(json.dumps({**kept, "scale": "quick"}))
    assert "| a\\|b | 1.235 ± 0.012 | 1.2 | +2.9 |" in numbers.theory_table()


@pytest.mark.parametrize("load", [0.1, 9.0])
def test_wall_time_of_a_busy_machine_is_not_shown(numbers, tmp_path, monkeypatch, load):
    kind = {"least": 4.0, "median": 4.5}
    ways = {"warm": {"wall": kind, "cpu": kind}, "cold": {"wall": kind, "cpu": {"least": 8.0, "median": 9.0}}}
    monkeypatch.setattr(numbers, "PICTURE", tmp_path / "first_picture.json")
    numbers.PICTURE.write_text(json.dumps({"cores": 2, "load": load, "seconds": ways}))
    heads, _, warm, cold = numbers.first_picture().splitlines()
    assert ("| s, least |" in heads) == (load < 1)
    assert warm.endswith("| 4.0 | 4.5 | 1.00 |") and cold.endswith("| 8.0 | 9.0 | 2.00 |")
