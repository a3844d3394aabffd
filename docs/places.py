"""Measured numbers inside sentences and cells of the pages, written there from files.

A place is a pair of comments around a number, which GitHub and the built pages do not show:

    The splitting is <!--=rbm-repulsion > of the pairs-->0.997 ± 0.008<!--/--> of the theory.

Before the first `>` stands a file. It is a figure, and then the numbers of its default scale are taken, or
those of the quick one where no others are kept (`rbm-repulsion@quick` names a scale). Or it is a file of
`benchmarks`. What follows leads to the number: a key, or words with which only the wanted key ends, or which
it alone contains. Keys of a figure are the names of its checks; `theory`, `error` or `z` may come after them.
After `caption`, words of the caption lead to the first number behind them. A colon comes before how to write
the number:

    <!--=optimizers > Ω over theory, SGD > z-->+0.3<!--/-->
    <!--=phase-couplings > caption > jammed > loss-->0.33 ± 0.03<!--/-->
    <!--=h100-3 > runs > seeds 1 to 50 > net_steps_per_second :rate-->3.37 G<!--/-->
    <!--=first_picture > seconds > warm > wall > median :.0f-->4<!--/-->
"""

import re

import measured
from measured import both, decimals, load, number, rate

PLACE = re.compile(r"<!--=(?P<path>.*?)(?: :(?P<style>[^\s>]+?))?-->(?P<shown>.*?)<!--/-->", re.S)
NUMBER = re.compile(r"[^\d]{0,12}?(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?: ± \d+(?:\.\d+)?(?:e[+-]?\d+)?)?)")
FIELDS = {"theory": "expected", "error": "error", "z": "z"}


def with_places(text: str) -> str:
    """The page with the number of every place as its file has it now."""
    if len(PLACE.findall(text)) != text.count("<!--=") or text.count("<!--=") != text.count("<!--/-->"):
        raise ValueError("a place <!--=…--> has no end <!--/-->, or an end has no place")
    if begun := re.search(r"^[ >]*<!--=.*", text, re.M):
        raise ValueError(f"a comment at the start of a line ends the paragraph: move {begun[0]!r}")
    return PLACE.sub(lambda place: _renewed(place), text)


def _renewed(place: re.Match) -> str:
    return f"{place[0].partition('-->')[0]}-->{value(place['path'], place['style'])}<!--/-->"


def value(path: str, style: str | None = None) -> str:
    """The number at a path, as it is written in a sentence."""
    name, *steps = (" ".join(step.split()).replace("\\|", "|") for step in path.split(" > "))
    found = COUNTS[name]() if name in COUNTS else load(_file(name))
    for step in steps:
        if isinstance(found, dict) and "measured" in found and step in FIELDS:
            style = style or ("+.1f" if step == "z" else f".{decimals(found['error'])}f")
        found = _inside(found, step)
    return _written(found, style).replace("-", "−")


def _file(name: str):
    figure, _, scale = name.partition("@")
    places = [measured.NUMBERS / f"{figure}-{scale}.json"] if scale else [measured.best(figure)]
    places += [measured.BENCHMARKS / f"{name}.json", measured.DEVICE / f"{name}.json"]
    found = [path for path in places if path is not None and path.exists()]
    if not found:
        raise ValueError(f"no file of numbers is called {name!r}")
    return found[0]


def _inside(found, step: str):
    """What a word leads to in an object of a file; in a caption, what stands behind it."""
    if isinstance(found, str):
        if step not in found:
            raise ValueError(f"{step!r} does not stand in the caption, or not behind the word before it")
        return found.split(step, 1)[1]
    if "measured" in found and step in FIELDS:
        return found[FIELDS[step]]
    entries = found
    if "checks" in found and step not in found:  # a summary
        entries = {check["name"]: check for check in found["checks"]}
    if step in entries:
        return entries[step]
    for alike in (str.endswith, str.__contains__):
        if len(keys := [key for key in entries if alike(key, step)]) == 1:
            return entries[keys[0]]
    raise ValueError(f"{step!r} is none, or more than one, of {list(entries)}")


def _written(found, style: str | None) -> str:
    if isinstance(found, str):
        if (first := NUMBER.match(found)) is None:
            raise ValueError(f"no number stands at the start of {found[:30]!r}")
        return first[1]
    if isinstance(found, dict):
        return both(found["measured"], found["error"])
    if style == "rate":
        return rate(found)
    return format(found, style) if style else str(found) if isinstance(found, int) else number(found)


def _released() -> dict:
    """How many comparisons at the published size agree, and how many points of a map do, within 3 errors."""
    found = [one for one in measured.numbers() if one.get("steps", 0) >= 9e7]
    rows = [row for one in found for row in one["released"]]
    points = {}
    for one in found:
        maps = [row for row in one["released"] if "line" not in row["quantity"]]
        points[one["name"]] = {
            "points": sum(row["points"] for row in maps),
            "within 3": round(sum(row["within_3"] * row["points"] for row in maps)),
        }
    return {"rows": len(rows), "agree": sum(row["verdict"] == "agrees" for row in rows), **points}


COUNTS = {"released": _released}
