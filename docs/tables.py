"""Renew the tables of numbers in `figures.md` from `numbers/*.json`, and those from summaries of figures.

    dysonjax figure released --released FOLDER --out runs/record
    python docs/tables.py runs/record     # takes the summaries of that folder in, then renews the tables
    python docs/tables.py                 # renews the tables alone

Kept of a summary is what may be published: our numbers with errors, theory, and means over released points
with z-scores; the released points themselves are left where they are.
"""

import json
import sys
from pathlib import Path

from dysonjax.published import RECIPES

DOCS = Path(__file__).parent
NUMBERS, PAGE = DOCS / "numbers", DOCS / "figures.md"
KEPT = ("name", "source", "scale", "networks", "steps", "version")
CHECK = ("name", "measured", "error", "expected", "systematic", "z")


def kept(summary: dict) -> dict:
    """The part of a figure's summary that stands in the documents."""
    return {
        **{key: summary[key] for key in KEPT if key in summary},
        "checks": [{key: check[key] for key in CHECK} for check in summary["checks"]],
        "released": summary.get("released", {}).get("rows", []),
    }


def take(folder: Path) -> None:
    """Keep the numbers of every figure that has a summary in the folder."""
    NUMBERS.mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.json")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        if summary.get("command") != "figure" or "checks" not in summary:
            continue
        scale = f"{summary['steps']}-steps" if summary["scale"] == "run" else summary["scale"]
        text = json.dumps(kept(summary), indent=1, ensure_ascii=False) + "\n"
        (NUMBERS / f"{summary['name']}-{scale}.json").write_text(text, encoding="utf-8")


def numbers() -> list[dict]:
    """What is kept, in the order of `dysonjax figure --list`, short runs first."""
    order = [recipe.name for recipe in RECIPES]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in NUMBERS.glob("*.json")]
    return sorted(found, key=lambda one: (order.index(one["name"]), one.get("steps", 0), one["scale"]))


def released_table(found: list[dict]) -> str:
    """Means over the released points beside ours."""
    rows = []
    for one in found:
        for row in one["released"]:
            rows.append([
                f"`{one['name']}`", row["source"].removeprefix("arXiv "), run(one),
                f"{row['quantity']}, {row['where']}", str(row["points"]),
                both(row["ours"], row["ours_err"]), both(row["released"], row["released_err"]),
                f"{row['z']:+.1f}", f"{row['largest_z']:+.1f}", f"{100 * row['within_3']:.0f} %",
                f"**{row['verdict']}**", row["why"],
            ])  # fmt: skip
    heads = ("figure", "arXiv", "networks × steps", "quantity", "points", "ours", "released", "z of the mean",
             "largest z", "within 3", "verdict", "why")  # fmt: skip
    return table(heads, rows)


def run(one: dict) -> str:
    """Networks at a point and steps, or the scale of a figure that does not say them."""
    if "steps" not in one:
        return one["scale"]
    return f"{one['networks']} × {one['steps']:.0e}".replace("e+0", "e")


def theory_table(found: list[dict]) -> str:
    """Every number that a figure holds against its line."""
    rows = [
        [f"`{one['name']}`", one["scale"], check["name"], both(check["measured"], check["error"]),
         both(check["expected"], check["systematic"]), "" if check["z"] is None else f"{check['z']:+.1f}"]
        for one in found
        if one["scale"] != "run"
        for check in one["checks"]
    ]  # fmt: skip
    return table(("figure", "scale", "number", "measured", "theory", "z"), rows)


def both(value: float | None, error: float | None) -> str:
    """A number with its error, two digits of it."""
    if value is None:
        return "not measured"
    if not error:
        return f"{value:.4g}"
    digits = max(0, 1 - int(f"{error:.1e}".split("e")[1]))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def table(heads, rows) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (heads, ["---"] * len(heads), *rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)


TABLES = {"released": released_table, "theory": theory_table}


def page(text: str) -> str:
    """The page with its tables renewed: what stands between <!-- numbers: NAME --> and <!-- end -->."""
    found = numbers()
    for name, make in TABLES.items():
        begin, end = f"<!-- numbers: {name} -->\n", "<!-- end -->"
        before, rest = text.split(begin)
        text = before + begin + "\n" + make(found) + "\n\n" + end + rest.split(end, 1)[1]
    return text


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        take(Path(folder))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
