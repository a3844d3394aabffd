"""Files of measured numbers that stand in the documents, and how a number is written there."""

import json
from pathlib import Path

from dysonjax.published import RECIPES

DOCS = Path(__file__).parent
BENCHMARKS = DOCS.parent / "benchmarks"
NUMBERS = DOCS / "numbers"
RATIOS = BENCHMARKS / "ratios.json"
PICTURE = BENCHMARKS / "first_picture.json"
VERDICTS = BENCHMARKS / "verdicts.json"
DEVICE = BENCHMARKS / "device" / "results"
KEPT = ("name", "source", "scale", "networks", "steps", "version")
CHECK = ("name", "measured", "error", "expected", "systematic", "z")


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def kept(summary: dict) -> dict:
    """The part of a figure's summary that stands in the documents."""
    # Captions of a run name its folder, and those with released numbers may name such.
    own = summary["scale"] != "run" and "released" not in summary
    caption = summary.get("caption", "").split(" Command:")[0] if own else ""
    return {
        **{key: summary[key] for key in KEPT if key in summary},
        **({"caption": caption} if caption else {}),
        "checks": [{key: check[key] for key in CHECK} for check in summary["checks"]],
        "released": summary.get("released", {}).get("rows", []),
    }


def take(folder: Path) -> None:
    """Keep the numbers of every figure that has a summary in the folder.

    A figure that was drawn without `--released` keeps the comparison of the last one that was.
    """
    NUMBERS.mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.json")):
        summary = load(path)
        if summary.get("command") != "figure" or "checks" not in summary:
            continue
        scale = f"{summary['steps']}-steps" if summary["scale"] == "run" else summary["scale"]
        place = NUMBERS / f"{summary['name']}-{scale}.json"
        new = kept(summary)
        if "released" not in summary and place.exists():
            new["released"] = load(place)["released"]
        place.write_text(json.dumps(new, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def best(name: str) -> Path | None:
    """The numbers of a figure's default scale, or those of the quick one where there are no others."""
    paths = (NUMBERS / f"{name}-{scale}.json" for scale in ("default", "quick"))
    return next((path for path in paths if path.exists()), None)


def numbers() -> list[dict]:
    """What is kept, in the order of `dysonjax figure --list`, short runs first."""
    order = [recipe.name for recipe in RECIPES]
    found = [load(path) for path in NUMBERS.glob("*.json")]
    return sorted(found, key=lambda one: (order.index(one["name"]), one.get("steps", 0), one["scale"]))


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{float(f'{value:.3g}'):.0f}" if value >= 100 else f"{value:.3g}"


def rate(value: float | None) -> str:
    if value is None:
        return "not kept"
    if value >= 1e9:
        return f"{value / 1e9:.3g} G"
    return f"{value / 1e6:.3g} M" if value >= 1e5 else f"{number(value)}"


def both(value: float | None, error: float | None) -> str:
    """A number with its error, two digits of it."""
    if value is None:
        return "not measured"
    if not error:
        return f"{value:.4g}"
    digits = decimals(error)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def decimals(error: float) -> int:
    """Digits after the point that show two of an error."""
    return max(0, 1 - int(f"{error:.1e}".split("e")[1]))


def table(heads, rows) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (heads, ["---"] * len(heads), *rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)
