"""Write measured numbers into the pages, tables and sentences, from the files that commands have written.

    python benchmarks/check.py --write     # benchmarks/ratios.json
    make device-check                      # on a machine with a GPU; its result.json becomes a file of
                                           # benchmarks/device/results, with the next number
    dysonjax figure released --released FOLDER --out runs/record
    python benchmarks/first_picture.py --write --before FOLDER   # the sources of the version before
    python docs/tables.py runs/record      # takes the summaries of that folder in, then renews all pages
    python benchmarks/verdicts.py          # benchmarks/verdicts.json
    python docs/tables.py                  # renews all pages

A table stands between two comments that `renewed` knows, a number in a sentence between two that `places.py`
explains.

Kept of a summary is what may be published: our numbers with errors, theory, and means over released points
with z-scores; the released points themselves are left where they are.
"""

import sys
from pathlib import Path

import tables_of_rates as rates
import tables_of_verdicts as verdicts
from measured import DOCS, best, both, load, numbers, table, take
from places import with_places

from dysonjax.published import RECIPES


def released_table() -> str:
    """Means over the released points beside ours, at the released length, and why some differ."""
    found = [(one, row) for one in shown() if one.get("steps", 1e8) >= 9e7 for row in one["released"]]
    rows = [
        [*compared(one, row), f"{row['z']:+.1f}", f"{row['largest_z']:+.1f}",
         f"{100 * row['within_3']:.0f} %", f"**{row['verdict']}**"]
        for one, row in found
    ]  # fmt: skip
    heads = (*COMPARED, "z of the mean", "largest z", "within 3", "verdict")
    why = [f"- {name(one)}, {quantity(row)}: {row['why']}." for one, row in found if row["why"]]
    return "\n".join([table(heads, rows), "", *why]).rstrip()


def shorter_table() -> str:
    """The same of runs that are shorter than what was released."""
    rows = [
        [run(one), *compared(one, row), f"{row['z']:+.1f}", f"**{row['verdict']}**", row["why"]]
        for one in shown()
        if one.get("steps", 1e8) < 9e7
        for row in one["released"]
    ]
    return table(("networks × steps", *COMPARED, "z of the mean", "verdict", "why"), rows)


COMPARED = ("figure", "quantity", "points", "ours", "released")


def compared(one: dict, row: dict) -> list[str]:
    ours, released = (both(row[key], row[f"{key}_err"]) for key in ("ours", "released"))
    return [name(one), quantity(row), str(row["points"]), ours, released]


def name(one: dict) -> str:
    return f"`{one['name']}`"


def quantity(row: dict) -> str:
    return f"{row['quantity']}, {row['where']}"


def shown() -> list[dict]:
    """What is kept, without quick runs where longer ones are kept, unless the length is what is compared."""
    found = numbers()
    longer = {one["name"] for one in found if one["scale"] == "default" and "steps" not in one}
    return [one for one in found if one["scale"] != "quick" or one["name"] not in longer]


def run(one: dict) -> str:
    """Networks at a point and steps."""
    return f"{one['networks']} × {one['steps']:.0e}".replace("e+0", "e")


def theory_table() -> str:
    """Every number that a figure holds against its line, at its larger scale."""
    rows = [
        [f"`{one['name']}`", one["scale"], check["name"], both(check["measured"], check["error"]),
         both(check["expected"], check["systematic"]), "" if check["z"] is None else f"{check['z']:+.1f}"]
        for path in (best(recipe.name) for recipe in RECIPES)
        if path is not None
        for one in [load(path)]
        for check in one["checks"]
    ]  # fmt: skip
    return table(("figure", "scale", "number", "measured", "theory", "z"), rows)


TABLES = {  # page: names of its tables, and what makes them
    "../README.md": {"speed": rates.speed},
    "performance.md": {
        "speeds": rates.speeds,
        "first picture": rates.first_picture,
        "calls": rates.calls,
        "gpu rates": rates.gpu_rates,
        "gpu runs": rates.gpu_runs,
    },
    "figures.md": {"released": released_table, "shorter": shorter_table, "theory": theory_table},
    "how-to/spectra-of-a-network.md": {
        "noise": verdicts.noise_verdicts,
        "entries": verdicts.entry_verdicts,
        "spikes": verdicts.spike_verdicts,
        "tails": verdicts.tail_verdicts,
    },
}
PAGES = ["../README.md", *sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))]


def renewed(page: str, text: str | None = None) -> str:
    """The page as the files are now: tables between <!-- numbers: NAME --> and <!-- end -->, and `places`."""
    text = (DOCS / page).read_text(encoding="utf-8") if text is None else text
    for name, make in TABLES.get(page, {}).items():
        begin, end = f"<!-- numbers: {name} -->\n", "<!-- end -->"
        before, rest = text.split(begin)
        text = before + begin + "\n" + make() + "\n\n" + end + rest.split(end, 1)[1]
    return with_places(text)


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        take(Path(folder))
    for page in PAGES:
        (DOCS / page).write_text(renewed(page), encoding="utf-8")
