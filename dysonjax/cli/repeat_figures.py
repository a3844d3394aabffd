"""Figures are verified by making them again with the same command and comparing the numbers behind them."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.cli.agreement import ERRORS, TOLERANCE, close, deviation, of_datasets
from dysonjax.cli.common import duration
from dysonjax.cli.terminal import Terminal

MOST_ROWS = 20


class Compared(NamedTuple):
    """A figure, made again or not."""

    name: str
    files: list[str]  # that are not what the command wrote
    again: bool
    why_not: str  # if it was not made again
    seconds: float
    differences: list[str]  # between the machine, versions and code then and now, in words
    variables: dict[str, float | None]  # that differ in any bit: largest deviation, None: of another kind
    within: bool  # what differs does so within the tolerance

    @property
    def bit_equal(self) -> bool:
        return not self.files and not self.variables

    @property
    def equal(self) -> bool:
        return not self.files and (not self.variables or (bool(self.differences) and self.within))


def verify(folder: Path, minutes: float, terminal: Terminal) -> dict:
    """The summary of `dysonjax verify` for a folder of `dysonjax figure`.

    minutes: so long may the figures have taken that are made again. Raises InputError if a figure is
    incomplete or damaged, or if none can be made again.
    """
    from dysonjax import ensemble, published
    from dysonjax.export import figure_folder

    limit = 60 * checks.positive("minutes", minutes)
    figures = figure_folder.stored(folder)
    ensemble.one_device_per_core()
    left = _left_out(figures, limit, published)
    if len(left) == len(figures):
        reasons = "; ".join(f"{name}: {why}" for name, why in list(left.items())[:3])
        raise InputError(f"no figure of {folder} can be made again ({reasons})")
    order = [recipe.name for recipe in published.RECIPES]  # those that share an ensemble stand side by side
    figures = sorted(figures, key=lambda f: order.index(f.name) if f.name in order else len(order))
    found = [_compared(figure, left.get(figure.name), published, terminal) for figure in figures]
    return _told(folder, found, terminal)


def _left_out(figures: list, limit: float, published) -> dict[str, str]:
    """Figures that are not made again, and why: the shortest are, as many as fit into the time."""
    left, cost = {}, {}
    for figure in figures:
        summary, recipes = figure.summary, {recipe.name: recipe for recipe in published.RECIPES}
        recipe, scale = recipes.get(figure.name), summary["scale"]
        if recipe is None or scale not in ("run", *published.SCALES):
            left[figure.name] = "this version makes no such figure"
        elif scale == "run" and _run_of(figure) is None:
            given = summary.get("options", {}).get("run")
            left[figure.name] = f"the run {given or 'that it was drawn from'} is not there"
        else:
            # With others it may have shared an ensemble that it would have to train alone.
            cost[figure.name] = max(summary["seconds"], 0 if scale == "run" else recipe.seconds[scale])
    spent = 0.0
    for name in sorted(cost, key=cost.__getitem__):
        spent += cost[name]
        if spent > limit:
            needed = f"{spent / 60:.0f}" if spent > 600 else f"{spent / 60 + 0.05:.1f}"
            left[name] = f"takes {duration(cost[name])}; give --minutes {needed}"
    return left


def _run_of(figure) -> Path | None:
    """The run that a figure was drawn from: where it stood, or beside the figures."""
    given = figure.summary.get("options", {}).get("run")
    if not isinstance(given, str):
        return None
    places = (Path(given), *(above / Path(given).name for above in figure.folder.resolve().parents[:2]))
    return next((place for place in places if (place / "run.zarr").is_dir()), None)


def _compared(figure, why_not: str | None, published, terminal: Terminal) -> Compared:
    from dysonjax.export import figure_folder
    from dysonjax.published import former

    files = [f"{figure.name}{suffix}" for suffix in figure_folder.changed(figure)]
    if why_not is not None:
        return Compared(figure.name, files, False, why_not, 0.0, [], {}, True)
    begin = time.perf_counter()
    made = _made(figure, published.get(figure.name), terminal)
    again = _stored_form(made.data)
    differences = _differences(figure.summary)
    stored = former.without_former(figure.name, figure.data)
    variables, within = of_datasets(stored, again)
    numbers = _of_checks(figure.summary, made)
    variables |= numbers[0]
    said = "".join(made.caption.split()) in "".join(figure.summary["caption"].split())
    if not said and not differences:
        variables["caption"] = None
    seconds = time.perf_counter() - begin
    return Compared(figure.name, files, True, "", seconds, differences, variables, within and numbers[1])


def _made(figure, recipe, terminal: Terminal):
    """The figure, made by its command once more; nothing is written."""
    from dysonjax import ensemble

    if figure.summary["scale"] == "run":
        run = _run_of(figure)
        if recipe.draw is None or run is None:
            raise InputError(f"{figure.path('.json')} is damaged: {recipe.name} draws from no run")
        return recipe.draw(ensemble.read(run))
    with terminal.progress(f"making {recipe.name} again", "network-steps") as progress:
        return recipe.make(figure.summary["scale"], progress)


def _stored_form(data: xr.Dataset) -> xr.Dataset:
    """The data as a file gives them back, whose types are fewer."""
    from dysonjax.export import figure_folder

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "again.nc"
        data.to_netcdf(path, engine="scipy")
        return figure_folder.numbers(path)


def _differences(summary: dict) -> list[str]:
    """In words what is not as it was, of all that bits depend on."""
    from dysonjax.ensemble import devices
    from dysonjax.export import figure_folder

    then, now = summary.get("made_by"), figure_folder.made_by(devices.named())
    if then is None:
        return ["the figure does not say by what it was computed"]
    found = []
    for name in sorted(now["versions"]):
        before, after = then.get("versions", {}).get(name, "unknown"), now["versions"][name]
        found += [f"{name} {before} then, {after} now"] if before != after else []
    for name in ("device", "processor", "code"):
        before, after = then.get(name, "unknown"), now[name]
        found += [f"{name} {before} then, {after} now"] if before != after else []
    return found


def _of_checks(summary: dict, made) -> tuple[dict[str, float | None], bool]:
    """The same of the checks, by their names."""
    from dysonjax.cli.figure import checks_of

    old = {row["name"]: row for row in summary["checks"]}
    new = {row["name"]: row for row in json.loads(json.dumps(checks_of(made)))}
    found: dict[str, float | None] = {}
    within = True
    for name in old.keys() | new.keys():
        a, b = old.get(name), new.get(name)
        if a == b:
            continue
        key = f"check {name}"
        if a is None or b is None or a.keys() != b.keys():
            found[key], within = None, False
            continue
        x, y = (np.array([row["measured"], row["error"]], float) for row in (a, b))
        found[key] = deviation(x[:1], y[:1])
        within &= close(x[:1], y[:1], np.hypot(x[1:], y[1:])) and close(x[1:], y[1:], None, of_error=True)
        # A line is not measured, and may follow from what is: within the tolerance.
        then, now = (np.array([row.get(n) for n in ("expected", "systematic")], float) for row in (a, b))
        within &= close(then, now, np.hypot(x[1], y[1]) * np.ones(2))
    return found, within


def _told(folder: Path, found: list[Compared], terminal: Terminal) -> dict[str, Any]:
    """Print what came out; the summary of the command."""
    differences = list(dict.fromkeys(sentence for one in found for sentence in one.differences))
    rows = [
        [
            one.name,
            name,
            "of another kind" if value is None else f"{value:.2g}",
            "" if one.within else "beyond",
        ]
        for one in found
        for name, value in sorted(one.variables.items())
    ]
    if rows:
        terminal.table(
            "numbers that differ", ["figure", "in", "largest deviation", "tolerance"], rows[:MOST_ROWS]
        )
    for name in [name for one in found for name in one.files]:
        terminal.print(f"{name} is not the file that the command wrote")
    for sentence in differences:
        terminal.print(f"not as it was: {sentence}")
    for one in found:
        if not one.again:
            terminal.print(f"not made again: {one.name}, {one.why_not}")
    verdict = _verdict(found, differences)
    terminal.print(verdict)
    return {
        "command": "verify",
        "out": str(folder),
        "equal": all(one.equal for one in found),
        "bit_equal": all(one.bit_equal for one in found),
        "tolerance": TOLERANCE,
        "tolerance_errors": ERRORS,
        "differences": differences,
        "figures": [
            {
                "name": one.name,
                "made_again": one.again,
                **({"seconds": round(one.seconds, 2)} if one.again else {"reason": one.why_not}),
                "equal": one.equal,
                "bit_equal": one.bit_equal,
                "changed_files": one.files,
                "variables": list(one.variables),
            }
            for one in found
        ],
        "differing": [
            {"place": {"figure": one.name}, "deviation": value, "first_step": None, "variables": [name]}
            for one in found
            for name, value in sorted(one.variables.items())
        ],
        "verdict": verdict,
    }


def _verdict(found: list[Compared], differences: list[str]) -> str:
    again = [one for one in found if one.again]
    many = f"{len(again)} figure{'' if len(again) == 1 else 's'}"
    rest = len(found) - len(again)
    less = f"; of {rest} more only that the files are those that were written" if rest else ""
    wrong = [one.name for one in found if not one.equal]
    if not wrong and all(one.bit_equal for one in found):
        return f"verified: all numbers behind {many} and their checks are the same to the last bit{less}"
    if not wrong:
        return (
            f"verified: the numbers behind {many} agree within {TOLERANCE:g} of the largest of their kind or "
            f"{ERRORS:g} standard errors; their last bits differ, as the machine, the versions or the code "
            f"do{less}"
        )
    named = ", ".join(wrong)
    if any(one.files for one in found if not one.equal) or not differences:
        where = "" if differences else ", on the same machine with the same versions and code"
        return f"NOT verified: {named} is not what its command makes{where}"
    return (
        f"NOT verified: {named} lies beyond {TOLERANCE:g} of the largest number of its kind and {ERRORS:g} "
        "standard errors; rounding may do that where training is chaotic, so verify on a machine like that "
        "of the figure"
    )
